"""A public cohort teaches readers for nothing: who it may be, what it changes, and what is said of it."""

import json
import shutil

import numpy as np
import pytest

from angioshare.cli.main import main
from angioshare.config import parse_config
from angioshare.errors import SettingsError
from angioshare.patches.store import open_store, read_manifest
from angioshare.segmentation.trained import TrainedUnet
from angioshare.stages import prepare, report, train
from angioshare.stages.folder import make_folder, open_run, planned_run
from angioshare.stages.pipeline import check_sources
from angioshare.stages.report import source_info
from angioshare.synthesis import readers
from angioshare.synthesis.taught import TaughtReaderSettings
from angioshare.synthesis.untaught import UntaughtReaderSettings

SETTINGS = """
[split]
validation = 1
test = 2
[patches]
size = 16
vessel = 12
random = 12
[[sources]]
name = "taught"
synthesizer = "taught-reader"
pairs = 12
privacy = { noise_multiplier = 1.0 }
[sources.settings]
site = "demo-1"
simulated_subjects = 1
channels = [2, 4]
first_iterations = 20
iterations = 2
batch = 6
levels = 1
crop = 8
[[sources]]
name = "untaught"
synthesizer = "untaught-reader"
pairs = 12
[sources.settings]
site = "demo-1"
simulated_subjects = 1
channels = [2, 4]
first_iterations = 20
"""


@pytest.fixture
def run_of(place, cohorts, monkeypatch):
    def make(name="run", public=cohorts / "B", settings=SETTINGS):
        config = parse_config(settings, name="test")
        run = planned_run(place / name, config, place / "A", state=place / "state", public_cohort=public)
        check_sources(run)
        return make_folder(run)

    return make


def trained_run(run):
    assert [main([stage, str(run.root)]) for stage in ("prepare", "train")] == [0, 0]
    return run


def test_its_patches_are_cut_like_the_cohorts_and_name_nobody(run_of):
    run = run_of()
    assert main(["prepare", str(run.root)]) == 0
    store = open_store(run.public_patches)
    assert (store.provenance, store.subjects, len(store)) == ("public", (), 2 * 24)
    assert store.image.shape[1:] == open_store(run.private / "patches").image.shape[1:]
    assert "sub-" not in (run.public_patches / "manifest.json").read_text()


def check_readers_learn_from_it_and_the_noisy_steps_are_charged_as_without(run_of):
    plain, beside = trained_run(run_of("plain", public=None)), trained_run(run_of("beside"))
    statements = {}
    for run in (plain, beside):
        for name in ("taught", "untaught"):
            statements[run.root.name, name] = json.loads((run.source(name) / "statement.json").read_text())
    readers = [TrainedUnet.load(run.source("untaught") / "reader.safetensors") for run in (plain, beside)]
    assert readers[0].record.patches != readers[1].record.patches
    assert not np.array_equal(*(next(iter(one.network.parameters())).detach().numpy() for one in readers))
    for name in ("taught", "untaught"):
        said, without = statements["beside", name], statements["plain", name]
        assert [said[unit]["epsilon"] for unit in ("patch", "subject")] == [
            without[unit]["epsilon"] for unit in ("patch", "subject")
        ]
        assert said["not_covered"][-1] == "people of the public cohort"
        assert "people of the public cohort" not in without["not_covered"]
    assert main(["sample", str(beside.root)]) == 0
    assert read_manifest(beside.pairs(beside.config.sources[1]))["provenance"] == "public"


def test_readers_learn_from_it_and_the_noisy_steps_are_charged_as_without(run_of):
    check_readers_learn_from_it_and_the_noisy_steps_are_charged_as_without(run_of)


def check_the_private_cohorts_own_people_are_no_public_cohort(run_of, place, capsys):
    shutil.copytree(place / "A", place / "copy")
    run = run_of(public=place / "copy")
    assert main(["prepare", str(run.root)]) == 3
    assert "is the same scan as sub-A0" in capsys.readouterr().err
    assert not (run.private / "patches").exists()


def test_the_private_cohorts_own_people_are_no_public_cohort(run_of, place, capsys):
    check_the_private_cohorts_own_people_are_no_public_cohort(run_of, place, capsys)


def says_nothing_of_its_people(monkeypatch):
    monkeypatch.setattr(train, "_beside_public", lambda statement, _: statement)


def never_shows_it(monkeypatch):
    monkeypatch.setattr(readers, "_of_public", lambda *_: None)


@pytest.mark.parametrize("mutant", [says_nothing_of_its_people, never_shows_it])
def test_check_of_what_it_teaches_catches(run_of, monkeypatch, mutant):
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check_readers_learn_from_it_and_the_noisy_steps_are_charged_as_without(run_of)


def knows_nobody_again(monkeypatch):
    monkeypatch.setattr(prepare, "_refuse_shared_scans", lambda sites: None)


def test_check_of_its_people_catches(run_of, place, capsys, monkeypatch):
    knows_nobody_again(monkeypatch)
    with pytest.raises(AssertionError):
        check_the_private_cohorts_own_people_are_no_public_cohort(run_of, place, capsys)


def test_a_second_site_is_no_public_cohort(place, cohorts, tmp_path, capsys):
    settings = tmp_path / "settings.toml"
    settings.write_text(SETTINGS)
    sites = ["--second-site", str(cohorts / "B"), "--public-cohort", str(cohorts / "B")]
    assert main(["run", str(place / "A"), str(place / "run"), "--config", str(settings), *sites]) == 3
    assert "hold other people" in capsys.readouterr().err


def test_a_run_keeps_its_public_cohort(run_of, place, cohorts, capsys):
    run = run_of()
    assert open_run(run.root, state=place / "state").public_cohort == (cohorts / "B").resolve()
    with pytest.raises(SettingsError, match="holds a run with the public cohort"):
        run_of(public=None)
    call = ["run", str(place / "A"), str(run.root), "--resume", "--dry-run"]
    assert main(call) == 0
    assert main([*call, "--public-cohort", str(place / "A")]) == 2
    assert "was begun with --public-cohort" in capsys.readouterr().err


def test_a_run_that_would_not_look_at_it_is_refused(run_of, place):
    other = SETTINGS[: SETTINGS.index("[[sources]]")] + '[[sources]]\nname = "real"\nsynthesizer = "real"\npairs = 4\n'
    with pytest.raises(SettingsError, match=r"no source of this run learns from.*untaught-reader"):
        run_of(settings=other)
    assert not (place / "run").exists()


def test_a_killed_prepare_cuts_it_anew(run_of):
    run = run_of()
    assert main(["prepare", str(run.root)]) == 0
    run.done("prepare", "cohort").unlink()
    (run.public_patches / "label.npy").write_bytes(b"half")
    assert main(["prepare", str(run.root)]) == 0
    open_store(run.public_patches, verify=True)


def test_private_patches_in_the_place_of_public_ones_teach_nobody(run_of, capsys):
    run = run_of()
    assert main(["prepare", str(run.root)]) == 0
    shutil.rmtree(run.public_patches)
    shutil.copytree(run.private / "patches", run.public_patches)
    assert main(["train", str(run.root)]) == 3
    assert "holds patches that are unprotected, not public" in capsys.readouterr().err


SHOWN = (
    SETTINGS.replace("first_iterations", "public_scans = 0.5\nfirst_iterations")
    + """
[[sources]]
name = "alone"
synthesizer = "public-cohort"
pairs = 30
"""
)


def shown_of(run, source):
    """Which pairs of a source have a scan of the public cohort, turned or not: turns leave the sum as it is."""
    sums = {round(float(one.astype(np.float64).sum()), 3) for one in open_store(run.public_patches).image}
    assert run.pairs(source).is_relative_to(run.public)
    return [round(float(one.astype(np.float64).sum()), 3) in sums for one in open_store(run.pairs(source)).image]


def check_its_scans_leave_only_where_somebody_said_so(run_of):
    unasked = trained_run(run_of("unasked"))
    run = trained_run(run_of(settings=SHOWN))
    assert [main(["sample", str(one.root)]) for one in (unasked, run)] == [0, 0]
    for source in unasked.config.sources:
        assert not any(shown_of(unasked, source))
    taught, untaught, alone = run.config.sources
    public = open_store(run.public_patches)
    for source in (taught, untaught):
        assert 0 < sum(shown_of(run, source)) < len(open_store(run.pairs(source)))
        said = json.loads((run.public / "statements" / f"{source.name}.json").read_text())
        assert said["not_covered"][-1] == "people of the public cohort, whose scans are among the pairs"
    own, sums = open_store(run.pairs(alone)), public.image.astype(np.float64).sum((1, 2))
    rows = np.isin(sums, own.image.astype(np.float64).sum((1, 2)))
    assert np.array_equal(own.image, public.image[rows])
    assert np.array_equal(own.label, public.label[rows])
    assert own.label.any()
    assert (len(own), own.provenance) == (30, "public")
    assert source_info(alone, public=True).kind == "public"  # which no page to share shows
    assert run.pairs(alone).is_relative_to(run.private)
    assert not (run.public / "statements" / "alone.json").exists()


def test_its_scans_leave_only_where_somebody_said_so(run_of):
    check_its_scans_leave_only_where_somebody_said_so(run_of)


def hands_on_whatever_is_public(monkeypatch):
    monkeypatch.setattr("angioshare.stages.run.PUBLIC_COHORT", "none")


def says_nothing_of_scans_among_pairs(monkeypatch):
    monkeypatch.setattr(train, "shows_public", lambda *_: False)


def takes_them_for_simulated(monkeypatch):
    monkeypatch.setitem(report.KINDS, "public-cohort", "simulator")


def needs_nobody_to_ask(monkeypatch):
    for settings in (TaughtReaderSettings, UntaughtReaderSettings):
        monkeypatch.setattr(settings.model_fields["public_scans"], "default", 0.5)
        settings.model_rebuild(force=True)


@pytest.mark.parametrize(
    "mutant",
    [
        hands_on_whatever_is_public,
        says_nothing_of_scans_among_pairs,
        takes_them_for_simulated,
        needs_nobody_to_ask,
    ],
)
def test_check_of_its_scans_catches(run_of, monkeypatch, mutant):
    with monkeypatch.context() as patched:
        mutant(patched)
        with pytest.raises(AssertionError):
            check_its_scans_leave_only_where_somebody_said_so(run_of)
    for settings in (TaughtReaderSettings, UntaughtReaderSettings):
        settings.model_rebuild(force=True)
        assert settings().public_scans == 0.0


def test_its_scans_are_not_asked_for_where_there_is_none(run_of, place):
    only = SETTINGS[: SETTINGS.index("[[sources]]")] + SHOWN[SHOWN.rindex("[[sources]]") :]
    for settings in (SHOWN, only):
        with pytest.raises(SettingsError, match=r"has scans of a public cohort among its pairs, and there is none"):
            run_of(public=None, settings=settings)
    assert not (place / "run").exists()
