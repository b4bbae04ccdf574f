"""The report of a real, tiny study: from its folder to pages and pictures."""

import json
import stat

import pytest

from angioshare.cli.main import main
from angioshare.errors import SettingsError
from angioshare.progress import SilentProgress
from angioshare.study.engine import job_list
from angioshare.study.folder import make_study, planned_study
from angioshare.study.job import run_job
from angioshare.study.plan import load_plan
from angioshare.study.report import gather_study, report_paths, write_report

PRIVATE = ("wgan-private-1", "wgan-private-2")


@pytest.fixture
def short(place):
    """A study of three settings whose trainings are short, its folder made."""
    text = (place / "plan.yaml").read_text()
    (place / "plan.yaml").write_text(text + "    vary: {settings.iterations: [4]}\nbaselines: [real]\n")
    plan = load_plan(str(place / "plan.yaml"))
    study = planned_study(
        place / "out",
        plan,
        cohort=None,
        second_sites=(),
        ledger=None,
        state=place / "state" / "angioshare",
        resume=False,
    )
    make_study(study)
    return study


def carry_out(study, *groups):
    for job in job_list(study)["jobs"]:
        if job.split("/")[0] in groups:
            run_job(study.root, *job.split("/"), state=study.state, log=SilentProgress())


@pytest.mark.slow
def test_a_study_is_reported_at_every_stage_of_it(short, capsys):
    root = short.root
    page = write_report(root, state=short.state).internal.read_text()
    assert "0 of them finished" in page
    assert "prepare, train, sample, segment, evaluate" in page

    carry_out(short, "prepare", "learn")
    trained = gather_study(root, state=short.state)
    everyone = {"real-seed0", "wgan-private-1-seed0", "wgan-private-2-seed0"}
    assert {source.name for source in trained.report.sources} == everyone
    assert {samples.source for samples in trained.report.samples} == everyone
    assert all(stages == ["segment", "evaluate"] for stages in trained.missing.values())
    assert not trained.sites

    carry_out(short, "measure")
    assert main(["study-report", str(root), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    paths = report_paths(root)
    assert answer["report_internal"] == str(paths.internal)
    check_whole(short, paths)


def check_whole(study, paths):
    """Everything of a finished study stands where it should, and only what may leave is for all to read."""
    content = gather_study(study.root, state=study.state)
    assert content.missing == {}
    names = {setting.name: setting for setting in content.settings}
    assert {names[name].family for name in PRIVATE} == {"wgan-private, iterations 4"}
    assert [names[name].noise_multiplier for name in PRIVATE] == [1.0, 2.0]
    assert names["real"].role == "real"
    scored = {record.trained_on for record in content.report.records if record.stage == "evaluate"}
    assert scored == {"real-seed0", "wgan-private-1-seed0", "wgan-private-2-seed0"}
    assert {view.source for view in content.views} == scored
    figures = {path.name for path in (paths.internal.parent / "figures").iterdir()}
    for key in ("figure-2", "figure-3", "figure-4", "figure-6", "figure-7", "figure-8", "figure-9", "tradeoff"):
        assert {f"{key}.png", f"{key}.pdf"} <= figures
    assert "figure-5.png" not in figures
    assert stat.S_IMODE(paths.internal.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE(paths.internal.stat().st_mode) == 0o600
    shared = {path.name for path in (paths.shareable.parent / "figures").iterdir()}
    assert shared == {"figure-2.png", "figure-2.pdf", "figure-8.png", "figure-8.pdf"}
    assert str(study.root) not in paths.shareable.read_text()


def test_a_figure_that_is_no_longer_drawn_does_not_stay(short):
    stale = report_paths(short.root).shareable.parent / "figures" / "tradeoff.png"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"old")
    write_report(short.root, state=short.state)
    assert not stale.exists()


def test_what_is_no_study_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="no study"):
        write_report(tmp_path, state=tmp_path)
