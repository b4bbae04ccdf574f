import json
import math
import shutil
import threading
import time
from dataclasses import replace
from functools import partial
from itertools import count

import numpy as np
import pytest
from phantoms import phantom

from angioshare.cli.main import main
from angioshare.cohort.writer import write_bids_cohort
from angioshare.errors import SettingsError
from angioshare.patches.store import read_manifest
from angioshare.progress import SilentProgress
from angioshare.rundir import read_json
from angioshare.stages.inputs import INPUTS
from angioshare.stages.run import Run
from angioshare.stages.train import outlook_of_source
from angioshare.study import folder
from angioshare.study.engine import job_list, profile_text
from angioshare.study.folder import controlled, make_study, planned_study
from angioshare.study.gather import study_results, summary
from angioshare.study.job import _take_over, run_job
from angioshare.study.outlook import outlook
from angioshare.study.plan import load_plan
from angioshare.study.rehearsal import SeenEnough, Watch, rehearsed
from angioshare.study.watch import StageTimes, standing

STUDY = {"cohort": None, "second_sites": (), "ledger": None}


def planned(place, out="out", resume=False, **more):
    plan = load_plan(str(place / "plan.yaml"))
    return planned_study(place / out, plan, **STUDY, **more, state=place / "state" / "angioshare", resume=resume)


@pytest.fixture
def short(place):
    """A study whose trainings are short, its folder made."""
    text = (place / "plan.yaml").read_text()
    (place / "plan.yaml").write_text(text + "    vary: {settings.iterations: [4]}\nbaselines: [real]\n")
    study = planned(place)
    make_study(study)
    return study


def carry_out(study):
    """All jobs one after the other, without Snakemake."""
    for job in job_list(study)["jobs"]:
        run_job(study.root, *job.split("/"), state=study.state, log=SilentProgress())


def test_a_standing_folder_is_refused_without_resume(place):
    (place / "out").mkdir()
    (place / "out" / "thesis.txt").write_text("mine")
    with pytest.raises(SettingsError, match="--resume"):
        planned(place)
    with pytest.raises(SettingsError, match="no study"):
        planned(place, resume=True)


def test_a_study_may_grow_but_not_change(place, short):
    plan = place / "plan.yaml"
    text = plan.read_text()
    plan.write_text(text.replace("seeds: 1", "seeds: 2"))
    assert len(planned(place, resume=True).points) == 2 * len(short.points)
    plan.write_text(text.replace("[1.0, 2.0]", "[1.5, 2.0]"))
    with pytest.raises(SettingsError, match=r"wgan-private-1-seed0 stands .* other settings"):
        planned(place, resume=True)
    plan.write_text(text.replace("baselines: [real]", ""))
    with pytest.raises(SettingsError, match="may only grow"):
        planned(place, resume=True)


def test_what_lies_ahead_of_pate_gan_on_patches_is_no_promise_to_a_subject(place):
    pate = (
        'name = "pate"\nsynthesizer = "pate-gan"\nprivacy = { noise_multiplier = 9.0 }\nsettings = { iterations = 2 }'
    )
    base = place / "base.toml"
    base.write_text(base.read_text().replace("[segmentation]", f"[[sources]]\n{pate}\n[segmentation]"))
    plan = (place / "plan.yaml").read_text()
    (place / "plan.yaml").write_text(plan.replace("wgan-private", "pate").replace("[1.0, 2.0]", "[9.0]"))
    study = planned(place)
    found = outlook(study, 1)
    row = next(row for row in found.jobs if "epsilon" in row)
    alone = outlook_of_source(study.run_of(study.points[0]), study.points[0].source.name)
    assert row["epsilon"] == alone["epsilon"]
    assert row["epsilon"]["subject"] is None
    assert row["epsilon"]["patch"] == found.statement.patch.epsilon > 0
    assert math.isinf(found.statement.subject.epsilon)


def test_a_title_that_the_page_to_share_may_not_show_is_told_beforehand(place):
    plan = place / "plan.yaml"
    plan.write_text(plan.read_text().replace("title: Tiny", "title: All but sub-A0"))
    with pytest.raises(SettingsError, match="'All but sub-A0' holds a path or the id of a subject"):
        planned(place)
    assert not (place / "out").exists()


def test_a_plan_without_a_cohort_names_the_cure(place):
    (place / "plan.yaml").write_text("preset: demo\nbaselines: [real]")
    with pytest.raises(SettingsError, match="--cohort"):
        planned(place)


def test_a_second_controller_is_refused(short, monkeypatch):
    monkeypatch.setattr(folder, "TAKEOVER_S", 0.1)
    with controlled(short), pytest.raises(SettingsError, match="being run by process"), controlled(short):
        pass


def test_jobs_wait_for_what_they_need_and_trainings_with_a_budget_for_each_other(short):
    jobs = job_list(short)["jobs"]
    assert jobs["measure/wgan-private-1-seed0"]["after"] == ["learn/wgan-private-1-seed0"]
    assert jobs["learn/wgan-private-1-seed0"]["after"] == ["prepare/real-seed0"]
    assert not any(job["resources"]["budget"] for job in jobs.values())
    with_budget = replace(short, points=tuple(budgeted(point) for point in short.points))
    jobs = job_list(with_budget)["jobs"]
    in_turn = {name for name, job in jobs.items() if job["resources"]["budget"]}
    assert in_turn == {"learn/wgan-private-1-seed0", "learn/wgan-private-2-seed0"}


def budgeted(point):
    """The point with a budget, if it has any privacy."""
    privacy = point.source.privacy and point.source.privacy.model_copy(update={"budget": 5.0})
    source = point.source.model_copy(update={"privacy": privacy})
    return replace(point, config=point.config.model_copy(update={"sources": (source,)}))


def test_all_jobs_give_records_that_know_their_point_and_both_epsilons(short):
    carry_out(short)
    results = study_results(short.root, state=short.state)
    scored = {r.point: r for r in results.records() if r.metric == "dice"}
    assert set(scored) == {point.name for point in short.points}
    first, second = scored["wgan-private-1-seed0"], scored["wgan-private-2-seed0"]
    assert (first.noise_multiplier, second.noise_multiplier, scored["real-seed0"].noise_multiplier) == (1.0, 2.0, None)
    assert first.epsilon_patch > second.epsilon_patch > 0
    assert first.epsilon_subject > first.epsilon_patch
    assert scored["real-seed0"].epsilon_patch is None
    assert [point.steps_charged for point in results.points] == [0, 4, 4]
    assert results.statement.patch.epsilon >= first.epsilon_patch
    header, rows = summary(results)
    assert [len(row) for row in rows] == [len(header)] * 3
    printed = {float(row[header.index("epsilon per patch")]) for row in rows[1:]}
    assert all(
        exact <= shown < 1.01 * exact
        for exact, shown in zip(sorted([first.epsilon_patch, second.epsilon_patch]), sorted(printed), strict=True)
    )


def test_patches_are_cut_once_and_shared(short):
    carry_out(short)
    stores = {(short.run_of(point).private / "patches" / "image.npy").stat().st_ino for point in short.points}
    assert len(stores) == 1


def test_a_job_that_runs_again_does_nothing(short):
    carry_out(short)
    before = {path: path.stat().st_mtime_ns for path in (short.root / "points").rglob("*.json")}
    carry_out(short)
    assert {path: path.stat().st_mtime_ns for path in (short.root / "points").rglob("*.json")} == before


def test_patches_that_a_killed_job_took_over_are_taken_over_anew(short):
    run_job(short.root, "prepare", "real-seed0", state=short.state, log=SilentProgress())
    keeper, taker = (short.run_of(next(p for p in short.points if p.name == name))
                     for name in ("real-seed0", "wgan-private-1-seed0"))  # fmt: skip
    shutil.copytree(keeper.private / "patches", taker.private / "patches")
    (taker.private / "patches" / "manifest.json").write_text("of an earlier cohort")
    run_job(short.root, "learn", taker.root.name, state=short.state, log=SilentProgress())
    assert read_manifest(taker.private / "patches") == read_manifest(keeper.private / "patches")


def test_a_public_cohort_is_that_of_every_point_and_cut_once(place):
    rng = np.random.default_rng(1)
    write_bids_cohort(place / "open", "B", (phantom(rng, f"B{index}") for index in range(2)))
    base, reader = place / "base.toml", '[[sources]]\nname = "untaught"\nsynthesizer = "untaught-reader"\npairs = 4\n'
    base.write_text(base.read_text().replace("[segmentation]", f"{reader}[segmentation]"))
    plan = place / "plan.yaml"
    before = plan.read_text()
    plan.write_text(before + "baselines: [real]\n")
    with pytest.raises(SettingsError, match="no point of this study learns from the public cohort"):
        planned(place, public_cohort=place / "open")
    alone = '[[sources]]\nname = "alone"\nsynthesizer = "public-cohort"\npairs = 4\n'
    base.write_text(base.read_text().replace("[segmentation]", f"{alone}[segmentation]"))
    plan.write_text(before + "baselines: [real, alone]\n")
    with pytest.raises(SettingsError, match="source alone has scans of a public cohort among its pairs"):
        planned(place)
    plan.write_text(before + "baselines: [real, untaught]\npublic_cohort: open\n")
    study = planned(place)
    make_study(study)
    assert {study.run_of(point).public_cohort for point in study.points} == {(place / "open").resolve()}
    run_job(study.root, "prepare", "real-seed0", state=study.state, log=SilentProgress())
    keeper, taker = (study.run_of(next(p for p in study.points if p.name == name))
                     for name in ("real-seed0", "untaught-seed0"))  # fmt: skip
    _take_over(keeper, taker)
    assert (taker.public_patches / "label.npy").samefile(keeper.public_patches / "label.npy")
    assert read_json(taker.private / INPUTS) == read_json(keeper.private / INPUTS)
    plan.write_text(plan.read_text().replace("public_cohort: open\n", ""))
    with pytest.raises(SettingsError, match=r"holds a study with the public cohort .*open"):
        planned(place, resume=True)


def test_what_a_point_takes_over_counts_no_cost_of_the_point_that_made_it(short):
    run_job(short.root, "prepare", "real-seed0", state=short.state, log=SilentProgress())
    run_job(short.root, "learn", "wgan-private-1-seed0", state=short.state, log=SilentProgress())
    points = {point.name: point for point in study_results(short.root, state=short.state).points}
    maker, taker = (
        [r.metric for r in points[name].records if r.stage == "prepare"]
        for name in ("real-seed0", "wgan-private-1-seed0")
    )
    assert "peak_memory" in maker
    assert sorted(taker) == sorted(maker)


def test_a_job_waits_for_whoever_works_in_its_folder(short):
    job = threading.Thread(target=run_job, args=(short.root, "prepare", "real-seed0"),
                           kwargs={"state": short.state, "log": SilentProgress()})  # fmt: skip
    with short.run_of(short.points[0]).alone():
        job.start()
        until = time.monotonic() + 60
        while "waits" not in " ".join(standing(short, StageTimes(), 1).running):
            assert time.monotonic() < until
            time.sleep(0.1)
        assert short.missing(short.points[0])[0] == "prepare"
    job.join(60)
    assert "prepare" not in short.missing(short.points[0])


def test_a_job_does_not_wait_where_nobody_works(short, monkeypatch):
    def refused(*_):
        raise SettingsError("anything else")

    monkeypatch.setattr(Run, "alone", refused)
    with pytest.raises(SettingsError, match="anything else"):
        run_job(short.root, "prepare", "real-seed0", state=short.state, log=SilentProgress())


def test_a_failure_is_left_for_the_controller(short):
    with pytest.raises(SettingsError):
        run_job(short.root, "learn", "wgan-private-1-seed0", state=short.state, log=SilentProgress())
    left = json.loads((short.work / "failed" / "wgan-private-1-seed0.json").read_text())
    assert left["error"] == "SettingsError"
    assert "prepare" in left["text"]


def test_an_unknown_job_is_refused(short):
    with pytest.raises(SettingsError, match="no job learn/nobody"):
        run_job(short.root, "learn", "nobody", state=short.state, log=SilentProgress())


def test_the_outlook_knows_epsilon_beforehand_and_time_afterwards(short):
    before = outlook(short, 1)
    predicted = {row["point"]: row["epsilon"]["patch"] for row in before.jobs if "epsilon" in row}
    assert before.seconds is None
    carry_out(short)
    after = outlook(short, 1)
    assert after.seconds == 0
    assert {row["state"] for row in after.jobs} == {"done"}
    found = {p.name: p.statement.patch.epsilon for p in study_results(short.root, state=short.state).points}
    assert {name: pytest.approx(found[name]) for name in predicted} == predicted
    assert after.statement.patch.epsilon == pytest.approx(before.statement.patch.epsilon)


def test_time_left_counts_trainings_with_a_budget_one_after_the_other(short):
    times = StageTimes()
    times.of[("train", "wgan", True)] = [10.0]
    private = [(point, "train", 0.5, None) for point in short.points if point.private]
    assert times.left(private, jobs=8) == 10.0 / 8
    assert times.left([(budgeted(point), *rest) for point, *rest in private], jobs=8) == 10.0
    assert times.left([(short.points[0], "evaluate", 0.0, None)], jobs=8) is None
    assert times.left([(short.points[0], "evaluate", 0.25, 8.0)], jobs=2) == 3.0


def dry_run(place, capsys, *more):
    assert main(["study", str(place / "plan.yaml"), str(place / "out"), "--dry-run", "--json", *more]) == 0
    return json.loads(capsys.readouterr().out)


def test_dry_run_lists_jobs_and_changes_nothing(place, capsys):
    found = dry_run(place, capsys)
    assert [row["state"] for row in found["jobs"]] == ["missing"] * 5
    assert found["statement"]["subject"]["epsilon"] > found["statement"]["patch"]["epsilon"]
    assert not (place / "out").exists()
    shorter = dry_run(place, capsys, "--set", "sources.wgan-private.settings.iterations=9")
    assert 0 < shorter["statement"]["patch"]["epsilon"] < found["statement"]["patch"]["epsilon"]


def test_a_rehearsal_tells_the_time_of_all_trainings_and_leaves_nothing(place):
    before = {path: path.stat().st_mtime_ns for path in place.rglob("*")}
    study, told = planned(place), []
    clock = partial(next, count(0.0))  # a second between two looks at it: each step takes one
    found = outlook(study, 1, lambda times: rehearsed(study, times, told.append, 1.0, clock))
    assert len(told) == len(set(told))
    assert sum("train" in what for what in told) == 1  # two noise multipliers take the same time
    seconds = {row["job"]: row["seconds"] for row in found.jobs}
    assert all(value > 0 for job, value in seconds.items() if not job.startswith("prepare"))
    assert found.seconds == pytest.approx(sum(seconds.values()))
    longer = planned_study(
        place / "out",
        study.plan.model_copy(update={"changes": ("segmentation.steps=4000",)}),
        **STUDY,
        state=study.state,
        resume=False,
    )
    after = outlook(longer, 1, lambda times: rehearsed(longer, times, told.append, 1.0, clock))
    more = 4000 - study.points[0].config.segmentation.steps
    assert after.seconds - found.seconds == pytest.approx(more * len(study.points))
    assert {path: path.stat().st_mtime_ns for path in place.rglob("*")} == before


def test_finished_stages_are_believed_before_a_rehearsal(short):
    carry_out(short)
    times = StageTimes()
    times.read(short)
    known = {
        (point.name, stage): times.expected(point, stage) for point in short.points for stage in ("train", "sample")
    }
    rehearsed(short, times, pytest.fail)
    times.rehearsed[short.points[-1].name, "train"] = 1e9
    assert known == {(name, stage): times.expected(by_name(short, name), stage) for name, stage in known}


def by_name(study, name):
    return next(point for point in study.points if point.name == name)


def test_a_watch_leaves_out_the_first_step_and_ends_the_work():
    moments = iter([0.0, 10.0, 11.0, 12.0, 12.5])
    watch = Watch(seconds=1.8, clock=lambda: next(moments))
    watch.start("lessons", 10, done=7)
    watch.advance()
    assert watch.pace() is None
    watch.advance()
    with pytest.raises(SeenEnough):
        watch.advance()
    assert (watch.pace(), watch.skipped) == (5.5, 7)


def test_a_rehearsal_without_a_dry_run_is_refused(place, capsys):
    assert main(["study", str(place / "plan.yaml"), str(place / "out"), "--rehearse"]) == 2
    assert "--dry-run" in capsys.readouterr().err


def test_an_unknown_profile_names_the_shipped_ones():
    with pytest.raises(SettingsError, match="kubernetes, local, slurm"):
        profile_text("moon")
