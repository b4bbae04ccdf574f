"""A run folder that is begun, killed, begun by two at once, or prepared on a cohort that is another one by now."""

import json
import shutil
import threading
import time

import numpy as np
import pytest
from phantoms import phantom

from angioshare.cohort.writer import write_bids_cohort
from angioshare.config import parse_config
from angioshare.errors import BusyError, DataError, SettingsError
from angioshare.patches.store import read_manifest
from angioshare.progress import SilentProgress
from angioshare.records import Record
from angioshare.stages import prepare as stage
from angioshare.stages.folder import make_folder, planned_run
from angioshare.stages.prepare import prepare, split_of

SETTINGS = """
[split]
validation = 1
test = 1
[patches]
size = 16
vessel = 4
random = 4
[[sources]]
name = "real"
synthesizer = "real"
pairs = 4
"""


def write_cohort(root, count):
    rng = np.random.default_rng(0)
    shutil.rmtree(root, ignore_errors=True)
    write_bids_cohort(root, "A", (phantom(rng, f"A{index}") for index in range(count)))


def plan(root, settings=SETTINGS):
    return planned_run(root / "run", parse_config(settings, name="test"), root / "cohort", state=root / "state")


class Killed(BaseException):
    """What a kill stands for."""


@pytest.fixture
def killed(tmp_path, monkeypatch):
    """A run of six subjects that was killed when its patches were whole and nothing else was."""
    write_cohort(tmp_path / "cohort", 6)
    run = make_folder(plan(tmp_path))

    def kill(*_, **__):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(stage, "write_json", kill)
        with pytest.raises(Killed):
            prepare(run, SilentProgress())
    assert {row["id"] for row in read_manifest(run.private / "patches")["subjects"]} == {
        "sub-A0", "sub-A1", "sub-A2", "sub-A3",
    }  # fmt: skip
    return run


def test_patches_of_a_killed_prepare_are_cut_anew_from_the_cohort_as_it_is_now(killed, tmp_path):
    write_cohort(tmp_path / "cohort", 5)
    prepare(killed, SilentProgress())
    split = split_of(killed)[1]
    held = {row["id"] for row in read_manifest(killed.private / "patches")["subjects"]}
    assert held == set(split.train) == {"sub-A0", "sub-A1", "sub-A2"}
    assert not held & {*split.validation, *split.test}


def test_labels_that_were_mended_meanwhile_are_those_that_are_cut(killed, tmp_path):
    before = (killed.private / "patches" / "label.npy").read_bytes()
    rng = np.random.default_rng(0)
    shutil.rmtree(tmp_path / "cohort")
    subjects = [phantom(rng, f"A{index}") for index in range(6)]
    for subject in subjects:
        subject.label[5:9, 5:9] = 1
    write_bids_cohort(tmp_path / "cohort", "A", iter(subjects))
    prepare(killed, SilentProgress())
    assert (killed.private / "patches" / "label.npy").read_bytes() != before


def test_a_split_that_something_was_trained_on_is_not_made_anew(killed, tmp_path):
    prepare(killed, SilentProgress())
    killed.source("real").mkdir(parents=True)
    done = killed.done("prepare", "cohort")
    done.unlink()
    before = {path: path.stat().st_mtime_ns for path in killed.private.rglob("*.*")}
    with pytest.raises(DataError, match=r"cohort\.json is missing.*holds real.*put the file back.*another folder"):
        prepare(killed, SilentProgress())
    assert {path: path.stat().st_mtime_ns for path in killed.private.rglob("*.*")} == before


def test_results_of_two_lanes_that_end_together_all_stand(tmp_path, monkeypatch):
    write_cohort(tmp_path / "cohort", 3)
    run = make_folder(plan(tmp_path))
    read, plain = threading.Event(), type(run).records

    def slow(this):
        found = plain(this)
        if not read.is_set():
            read.set()
            time.sleep(0.5)
        return found

    def finish(stage):
        run.once(stage, "real", lambda: [Record(stage=stage, metric="m", value=1.0, seed=0)])

    monkeypatch.setattr(type(run), "records", slow)
    first = threading.Thread(target=finish, args=("train",))
    first.start()
    assert read.wait(60)
    finish("sample")
    first.join()
    stages = {row["stage"] for row in json.loads((tmp_path / "run" / "results.json").read_text())}
    assert stages == {"train", "sample"}


def made(root):
    return json.loads((root / "run" / "run.json").read_text())["id"], (root / "run" / "config.toml").read_text()


def test_of_two_that_plan_a_folder_at_once_the_later_takes_it_only_if_it_is_the_same_run(tmp_path):
    write_cohort(tmp_path / "cohort", 3)
    first, same, other = plan(tmp_path), plan(tmp_path), plan(tmp_path, f"seed = 9\n{SETTINGS}")
    make_folder(first)
    held = made(tmp_path)
    make_folder(same)
    with pytest.raises(SettingsError, match="other settings"):
        make_folder(other)
    assert made(tmp_path) == held


def test_what_a_killed_process_left_is_gone_before_the_next_one_works(tmp_path):
    write_cohort(tmp_path / "cohort", 3)
    run = make_folder(plan(tmp_path))
    left = run.public / "synthetic" / "simulator" / ".statement.json.4711.tmp"
    left.parent.mkdir(parents=True)
    left.write_text("half")
    with run.alone():
        assert not left.exists()
        assert (run.root / "run.json").exists()


def test_a_folder_is_not_made_while_another_process_makes_it(tmp_path, monkeypatch):
    write_cohort(tmp_path / "cohort", 3)
    first, second = plan(tmp_path), plan(tmp_path)
    with first.alone(), pytest.raises(BusyError):
        make_folder(second)
    assert not (tmp_path / "run" / "config.toml").exists()
    entered = type(first).alone

    def late(run):
        monkeypatch.setattr(type(first), "alone", entered)
        make_folder(first)  # the other one is quicker: it is through before this one has the lock
        held.append(made(tmp_path))
        return entered(run)

    held = []
    monkeypatch.setattr(type(first), "alone", late)
    make_folder(second)
    assert [made(tmp_path)] == held
