import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from phantoms import phantom

from angioshare.cohort.writer import write_bids_cohort
from angioshare.config import parse_config
from angioshare.progress import SilentProgress
from angioshare.stages.folder import make_folder, open_run, planned_run
from angioshare.stages.pipeline import STAGE_FUNCTIONS

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SETTINGS = """
seed = {seed}
[split]
validation = 1
test = 2
[patches]
size = 16
vessel = 8
random = 8
[[sources]]
name = "real"
synthesizer = "real"
pairs = 30
[[sources]]
name = "simulator"
synthesizer = "simulator"
pairs = 20
settings = {{ site = "demo-1", subjects = 1 }}
[segmentation]
channels = [2, 4]
learning_rates = [1e-2]
dropouts = [0.0]
augmentations = [false]
batch = 8
steps = 5
[evaluation]
fidelity_patches = 0
similarity_patches = 0
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two runs that differ in their seed, on a cohort of five and a second site of one."""
    root = tmp_path_factory.mktemp("finetune")
    rng = np.random.default_rng(0)
    for site, count in (("A", 5), ("B", 1)):
        write_bids_cohort(root / site, site, (phantom(rng, f"{site}{index}") for index in range(count)))
    for seed in (1, 2):
        config = parse_config(SETTINGS.format(seed=seed), name="tiny")
        run = make_folder(planned_run(root / f"run{seed}", config, root / "A", [root / "B"], state=root / "state"))
        for stage in ("prepare", "train", "sample", "segment", "evaluate"):
            STAGE_FUNCTIONS[stage](run, SilentProgress())
    return root


@pytest.fixture
def finetune(monkeypatch, place):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))
    import finetune

    return finetune


def call(finetune, place, *more):
    runs = [str(place / f"run{seed}") for seed in (1, 2)]
    finetune.main([*runs, "--out", str(place / "out"), "--subjects", "1,2", "--steps", "3", *more])


def test_all_are_scored_on_both_sites_and_a_second_call_trains_nothing(finetune, place, capsys, monkeypatch):
    call(finetune, place, "--json")
    rows = {(row["unet"], row["real_subjects"]): row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert set(rows) == {("synthetic alone", 0), ("all real training subjects", 0)} | {
        (contender, count) for contender in finetune.CONTENDERS for count in (1, 2)
    }
    for row in rows.values():
        assert {(one["score"], one["site"], one["seeds"]) for one in row["scores"]} == {
            (score, site, 2) for score in ("dice", "cldice") for site in "AB"
        }
    assert set(rows["alone", 2]["fine_tuned_minus_this"]) == {"A", "B"}
    assert not rows["fine-tuned", 2]["fine_tuned_minus_this"]
    kept = [json.loads(path.read_text()) for path in (place / "out").glob("*.json")]
    assert len(kept) == 12
    assert {one["provenance"] for one in kept} == {"unprotected"}
    assert all(path.stat().st_mode & 0o077 == 0 for path in (place / "out").glob("*.json"))

    monkeypatch.setattr(finetune.Setting, "train", lambda self: pytest.fail("trained anew"))
    page = place / "page.md"
    call(finetune, place, "--write", str(page))
    assert "| fine-tuned | 2 |" in page.read_text()
    assert not [word for word in (str(place), "sub-") if word in page.read_text()]
    with pytest.raises(SystemExit, match="other steps"):
        call(finetune, place, "--steps", "4")


def test_contenders_differ_in_their_start_and_steps_alone(finetune, place):
    run = open_run(place / "run1", state=place / "state")
    source = finetune.source_of(run, None)
    assert source.name == "simulator"
    tuned, alone, longer = (
        finetune.Setting(run, source, 2, contender, 3).train().record for contender in finetune.CONTENDERS
    )
    assert (tuned.settings.steps, alone.settings.steps, longer.settings.steps) == (3, 3, 8)
    assert longer.patches == alone.patches != tuned.patches
    begun = finetune.chosen_unet(run, source).record
    assert (tuned.mean, tuned.sd) == (begun.mean, begun.sd) != (alone.mean, alone.sd)


def test_fewer_subjects_are_among_the_more_and_too_many_are_refused(finetune, place):
    run = open_run(place / "run1", state=place / "state")
    one, two = (finetune.some_subjects(run, count) for count in (1, 2))
    assert (len(one), len(two)) == (16, 32)
    assert {image.tobytes() for image in one.image} < {image.tobytes() for image in two.image}
    with pytest.raises(SystemExit, match="2 training subjects, not 5"):
        finetune.some_subjects(run, 5)


def test_two_runs_of_one_seed_are_refused(finetune, place):
    with pytest.raises(SystemExit, match="one seed"):
        finetune.main([str(place / "run1"), str(place / "run1"), "--out", str(place / "other")])


@pytest.mark.parametrize(("name", "key"), [("scans.json", "sub-A1"), ("split.json", "train")])
def test_runs_of_other_scans_or_another_split_are_refused(finetune, place, tmp_path, name, key):
    copy = shutil.copytree(place / "run2", tmp_path / "run2")
    held = json.loads((copy / "private" / name).read_text())
    assert key in held
    (copy / "private" / name).write_text(json.dumps({**held, key: held[key][::-1]}))
    with pytest.raises(SystemExit, match=rf"{name} differs .*one cohort"):
        finetune.main([str(place / "run1"), str(copy), "--out", str(place / "other"), "--quick"])
