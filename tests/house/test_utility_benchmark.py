import json
import re
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from phantoms import phantom

from angioshare.cohort.writer import write_bids_cohort

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = """
[simulator]
site = "demo-1"
subjects = 1
[untaught-reader]
site = "demo-1"
simulated_subjects = 1
channels = [2, 4]
first_iterations = 3
[wgan]
features = 2
z = 4
batch = 6
critic_updates = 1
iterations = 3
"""
FLAGS = (
    *("--methods", "evolution", "--epsilons", "8", "--units", "patch", "--seeds", "1,2", "--steps", "4"),
    *("--pairs", "20", "--set", "patches.size=16", "--set", "patches.vessel=8", "--set", "patches.random=8"),
    *("--set", "segmentation.channels=[2, 4]", "--set", "segmentation.batch=8", "--set", "split.validation=1"),
    *("--set", "split.test=2", "--set", "evaluation.fidelity_patches=20", "--set", "evaluation.embedded_patches=0"),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A cohort of five phantoms, a second site of two, tiny settings."""
    root = tmp_path_factory.mktemp("utility")
    rng = np.random.default_rng(0)
    for site, count in (("A", 5), ("B", 2)):
        write_bids_cohort(root / site, site, (phantom(rng, f"{site}{index}") for index in range(count)))
    (root / "tiny.toml").write_text(TINY)
    return root


@pytest.fixture
def benchmark(monkeypatch, place):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setenv("XDG_STATE_HOME", str(place / "state"))
    import utility

    return utility


def arguments(place, *more):
    out = ("--cohort", str(place / "A"), "--second-site", str(place / "B"), "--out", str(place / "out"))
    return [*out, "--settings", str(place / "tiny.toml"), *FLAGS, *more]


@pytest.fixture
def finished(benchmark, place):
    """The study carried out job by job, without Snakemake; a point of the second seed is left."""
    from angioshare.cli.output import state_folder
    from angioshare.progress import SilentProgress
    from angioshare.study.engine import job_list
    from angioshare.study.folder import make_study, planned_study
    from angioshare.study.job import run_job
    from angioshare.study.plan import load_plan

    options = benchmark.read_options(arguments(place))
    study = planned_study(
        place / "out" / "study", load_plan(str(benchmark.write_plan(options))), cohort=options.cohort,
        second_sites=options.second_site, ledger=None, state=state_folder(), resume=True,
    )  # fmt: skip
    make_study(study)
    for job in job_list(study)["jobs"]:
        if job != "measure/wgan-seed2":
            run_job(study.root, *job.split("/"), state=study.state, log=SilentProgress())
    return place / "out"


def test_the_table_holds_every_finished_row_and_says_what_is_not_to_be_had(benchmark, place, finished, capsys):
    page = place / "page.md"
    page.write_text("before\n<!-- utility -->\nold\n<!-- end of utility -->\nafter\n")
    assert benchmark.main(arguments(place, "--collate", "--json", "--write", str(page))) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["setting"]: row for row in found["rows"]}
    assert list(rows) == ["real", "simulator", "untaught-reader", "shuffled", "wgan", "wgan-patch-8"]
    assert found["missing"] == ["wgan-seed2"]
    assert found["refused"]["Private evolution (patch), epsilon 8"]
    private = rows["wgan-patch-8"]
    assert 0 < private["epsilon"]["patch"] <= 8 < private["epsilon"]["subject"]
    assert rows["real"]["epsilon"] == {"patch": None, "subject": None}
    for free in ("simulator", "untaught-reader"):
        assert rows[free]["epsilon"] == {"patch": 0, "subject": 0}
    said = "\n".join(found["verdicts"])
    assert "**Untaught reader**, A: " in said
    for rival in ("simulator alone", "untaught reader"):
        assert re.search(rf"\*\*WGAN as published \(patch\)\*\*, B: .*beat.* the {rival} at epsilon 8", said)
    assert not re.search("Untaught reader.*the untaught reader", said)
    assert re.search("Untaught reader.*at epsilon 0 ", said)
    public = finished / "study" / "points" / "untaught-reader-seed1" / "public" / "synthetic" / "untaught-reader"
    assert public.is_dir()  # it may leave: nothing private was read
    assert set(private["sites"]) == {"A", "B"}
    assert private["sites"]["B"]["dice"]["seeds"] == 2
    assert private["sites"]["A"]["minus_simulator"]["subjects"] == 2
    assert len(private["frechet"]["fd_scattering_test"]) == 2
    text = page.read_text()
    assert text.startswith("before\n<!-- utility -->")
    assert text.endswith("<!-- end of utility -->\nafter\n")
    assert "old" not in text
    assert "WGAN as published (patch)**, A:" in text
    assert not [word for word in (str(place), "sub-A", "sub-B") if word in text]


def test_tables_of_two_runs_stand_on_one_page(benchmark, place, finished):
    page = place / "two.md"
    parts = "".join(f"<!-- {name} -->\n{name} of old\n<!-- end of {name} -->\n" for name in ("utility", "another"))
    page.write_text(parts)
    assert benchmark.main(arguments(place, "--collate", "--write", str(page), "--part", "another")) == 0
    kept, written = page.read_text().split("<!-- another -->")
    assert "utility of old" in kept
    assert "another of old" not in written
    assert "WGAN as published (patch)**, A:" in written


def test_every_method_stands_beside_its_rivals_and_only_what_a_method_offers_is_planned(benchmark, place):
    options = benchmark.read_options(["--cohort", str(place / "A"), "--out", str(place / "plan")])
    names = [cell.name for cell in benchmark.cells_of(options)]
    assert names[:5] == ["real", "simulator", "untaught-reader", "shuffled", "wgan"]
    assert {"calibrated", "calibrated-subject-0p5", "wgan-patch-3", "wgan-pretrained-subject-8"} <= set(names)
    assert len(names) == len(set(names))
    base = benchmark.settings_of(options, benchmark.cells_of(options))
    assert base.split.seed is None
    sources = {source.name: source for source in base.sources}
    assert benchmark.refusal(base, sources["calibrated-subject-1"], 12) == ""
    assert "subject" in benchmark.refusal(base, sources["evolution-patch-1"], 12)
    assert len(base.segmentation.grid()) == 1
    assert sources["simulator"].settings["site"] == "wide"


def test_named_cells_stand_beside_the_rivals_alone(benchmark, place, capsys):
    given = ["--cohort", str(place / "A"), "--out", str(place / "plan"), "--cells"]
    options = benchmark.read_options([*given, "calibrated:subject:1", "calibrated:patch:0.5", "wgan"])
    names = [cell.name for cell in benchmark.cells_of(options)]
    rivals = ["real", "simulator", "untaught-reader", "shuffled"]
    assert names == [*rivals, "calibrated-subject-1", "calibrated-patch-0p5", "wgan"]
    with pytest.raises(SystemExit):
        benchmark.read_options([*given, "calibrated:person:1"])
    assert "METHOD:UNIT:EPSILON" in capsys.readouterr().err


def test_seeds_that_a_study_cannot_count_are_refused(benchmark, capsys):
    with pytest.raises(SystemExit):
        benchmark.read_options(["--cohort", "A", "--out", "B", "--seeds", "1,3"])
    assert "must be consecutive" in capsys.readouterr().err


def test_a_benchmark_that_is_asked_to_end_ends_its_study(benchmark, place, monkeypatch):
    endless = place / "endless"
    endless.write_text(f"#!/bin/sh\nsleep 0.3\nkill -TERM $PPID\nsleep 10\ntouch {place}/late\n")
    endless.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(endless))
    before = signal.signal(signal.SIGTERM, handler := lambda *_: None)
    try:
        options = benchmark.read_options(arguments(place, "--dry-run"))
        with pytest.raises(SystemExit, match="143"):
            benchmark.run_study(options, place / "plan.toml")
        assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not (place / "late").exists()


@pytest.mark.slow
@pytest.mark.skipif(find_spec("snakemake") is None, reason="needs the extra: pip install -e '.[study]'")
def test_one_command_does_what_is_missing_and_a_second_one_nothing_more(benchmark, place):
    out = ("--out", str(place / "whole"), "--methods", "wgan", "--epsilons", "inf")  # the methods take minutes
    flags = (*out, "--seeds", "1", "--jobs", "2", "--json")
    call = [sys.executable, BENCHMARKS / "utility.py", *arguments(place, *flags)]

    def finished_work():
        done = subprocess.run(call, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert (found["missing"], len(found["rows"])) == ([], 5)
        return {path: path.stat().st_mtime_ns for path in (place / "whole").rglob("done/*/*.json")}

    first = finished_work()
    assert len(first) == 5 * 5
    assert finished_work() == first


def scored(name, by_seed, unit=None, target=None):
    """A row with one site, a test subject, and a Dice for each seed."""
    from utility_table import Row

    dice = {"A": {(seed, "one"): value for seed, value in by_seed.items()}}
    return Row(
        name=name, title=f"{name} ({unit}), epsilon {target:g}" if target else name, synthesizer=name, unit=unit,
        target=target, epsilon=(0.0, 0.0), delta=None, scores={"dice": dice}, frechet={}, minutes=(0.0, 0.0),
        memory_mb=None,
    )  # fmt: skip


def test_a_share_of_real_training_is_taken_over_the_seeds_that_both_have(benchmark):
    from utility_table import Table, page, share_of_real

    real, few = scored("real", {1: 0.4, 2: 0.8, 3: None}), scored("wgan", {2: 0.6, 3: 0.9})
    table = Table(rows=[real, few], sites=["A"], statement="", refused={}, missing=[])
    assert share_of_real(table, few, "A") == "0.75"
    assert share_of_real(table, scored("wgan", {4: 0.6}), "A") == "-"
    assert "| wgan | 2 |" in page(table)


def test_what_one_seed_says_is_called_that_beside_rows_of_more(benchmark):
    from utility_table import Table, verdicts

    rows = [
        scored("simulator", {1: 0.4, 2: 0.5, 3: 0.6}),
        scored("wgan", {2: 0.6}),
        scored("diffusion", {1: 0.1, 2: 0.2}),
    ]
    one, more = verdicts(Table(rows=rows, sites=["A"], statement="", refused={}, missing=[]))
    assert "one seed, so nothing is known of others" in one
    assert "one seed" not in more


def test_the_picture_has_a_point_for_each_seed_at_its_epsilon_and_a_line_for_each_rival(benchmark):
    from utility_picture import picture
    from utility_table import RIVALS, Table

    rows = [
        scored("real", {1: 0.7, 2: 0.8}),
        scored("wgan", {1: 0.3}),  # without privacy: neither a point nor a line
        scored("taught-reader", {1: 0.6, 2: 0.62, 3: None}, "patch", 1.0),
        scored("taught-reader", {1: 0.64}, "patch", 10.0),
        scored("calibrated", {1: 0.5}, "subject", 1.0),
        *(scored(rival, {1: 0.55}) for rival in RIVALS if rival != "real"),
    ]
    figure = picture(Table(rows=rows, sites=["A"], statement="", refused={}, missing=[]))
    clouds = [[one for one in axes.collections if isinstance(one, PathCollection)] for axes in figure.axes]
    drawn = [[tuple(point) for cloud in found for point in cloud.get_offsets()] for found in clouds]
    for found, seeds in zip(drawn, ([(0, 0.6), (0, 0.62), (1, 0.64)], [(0, 0.5)]), strict=True):
        points = [(round(float(x)), round(float(y), 3)) for x, y in found]
        assert sorted(points) == seeds
    for axes in figure.axes:
        assert [line.get_ydata()[0] for line in axes.lines if line.get_label() == "real"] == [0.75]
        low, high = axes.get_ylim()
        assert 0 < low < 0.5
        assert 0.75 < high < 0.8
        assert axes.get_ylabel() == "Dice (not from 0)"
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        "A: one patch protected",
        "A: a whole subject protected",
    ]
    assert picture(Table(rows=rows[:2], sites=["A"], statement="", refused={}, missing=[])) is None


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_a_picture_is_written_beside_the_table(benchmark, place, finished, kind):
    file = place / f"utility.{kind}"
    assert benchmark.main(arguments(place, "--collate", "--picture", str(file))) == 0
    assert file.read_bytes().startswith(b"\x89PNG" if kind == "png" else b"<?xml")
    with pytest.raises(SystemExit) as end:
        benchmark.read_options(arguments(place, "--picture", "utility.gif"))
    assert end.value.code == 2


@pytest.mark.parametrize("wrong", ["0", "-1", "nan", "inf", "one"])
def test_an_epsilon_that_promises_nothing_is_refused(benchmark, capsys, wrong):
    flags = [f"--cells=calibrated:subject:{wrong}"] + [f"--epsilons={wrong},1"] * (wrong != "inf")  # there: no privacy
    for flag in flags:
        with pytest.raises(SystemExit) as end:
            benchmark.read_options(["--cohort", "C", "--out", "O", flag])
        assert end.value.code == 2
        assert "must be a finite number above 0" in capsys.readouterr().err
