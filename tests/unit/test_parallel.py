"""Workers are real processes here, so their jobs come from a module that they too can import."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from angioshare.errors import AngioShareError, SettingsError
from angioshare.parallel import run_jobs

JOBS = '''
import os, signal, time
from dataclasses import dataclass
from pathlib import Path

import torch

from angioshare.errors import SettingsError
from angioshare.progress import SilentProgress
from angioshare.parallel import run_jobs
from angioshare.simulator.many import simulate_each
from angioshare.simulator.sites import SITES


@dataclass(frozen=True)
class Touch:
    """Writes its process and threads into a file, after doing what `then` says."""

    path: Path
    count: int = 3
    then: str = ""

    def steps(self):
        return self.count

    def done(self):
        return self.path.exists()

    def run(self, progress):
        for _ in range(self.count):
            progress.advance()
        until = time.monotonic() + 120
        while self.then == "wait for others" and not all(self.path.with_name(name).exists() for name in "bcd"):
            if time.monotonic() > until:
                raise SettingsError("the others never came")
            time.sleep(0.05)
        if self.then == "have workers":
            subjects = list(simulate_each([(SITES["demo-1"], 1), (SITES["demo-1"], 2)], workers=2, extent=0.25))
            inner = [Touch(self.path.with_name(f"{self.path.name}{n}")) for n in range(len(subjects))]
            run_jobs(inner, task="work within work", workers=2, progress=SilentProgress())
        if self.then == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.then == "refuse":
            raise SettingsError("lower the thing")
        if self.then == "break":
            raise ZeroDivisionError("a fault of ours")
        self.path.write_text(f"{os.getpid()} {torch.get_num_threads()}")
        while self.then == "go on":
            progress.advance()
            time.sleep(0.05)


if __name__ == "__main__":
    jobs = [Touch(Path(__file__).with_name(name), then="go on") for name in "ab"]
    run_jobs(jobs, task="work", workers=2, progress=SilentProgress())
'''


@pytest.fixture
def touch(tmp_path, monkeypatch):
    """The job class."""
    (tmp_path / "jobs_of_this_test.py").write_text(JOBS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "jobs_of_this_test", raising=False)
    import jobs_of_this_test

    return jobs_of_this_test.Touch


class Counting:
    def __init__(self) -> None:
        self.started: tuple[str, int, int] | None = None
        self.steps = 0
        self.finished = False

    def start(self, task: str, total: int, done: int = 0) -> None:
        self.started = (task, total, done)

    def advance(self, note: str = "", steps: int = 1) -> None:
        self.steps += steps

    def finish(self) -> None:
        self.finished = True


def run(jobs, workers: int) -> Counting:
    progress = Counting()
    run_jobs(jobs, task="work", workers=workers, progress=progress)
    return progress


def written_by(path: Path) -> int:
    """The process that wrote a job's file, once it has."""
    for _ in range(600):
        if path.exists() and path.read_text():
            return int(path.read_text().split()[0])
        time.sleep(0.1)
    raise AssertionError(f"{path} was never written")


def ended(pid: int) -> bool:
    """Whether a process is gone, or dead and not yet collected, within a few seconds."""
    status = Path(f"/proc/{pid}/stat")
    for _ in range(100):
        try:
            if status.read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


def test_one_worker_is_this_process(touch, tmp_path):
    progress = run([touch(tmp_path / "a"), touch(tmp_path / "b", 5)], workers=1)
    assert written_by(tmp_path / "a") == written_by(tmp_path / "b") == int(Path("/proc/self").readlink().name)
    assert (progress.started, progress.steps, progress.finished) == (("work", 8, 0), 8, True)


def test_several_workers_are_other_processes_of_one_thread_and_tell_all_steps(touch, tmp_path):
    jobs = [touch(tmp_path / str(index), index + 1) for index in range(4)]
    progress = run(jobs, workers=2)
    written = [job.path.read_text().split() for job in jobs]
    assert len({pid for pid, _ in written} - {Path("/proc/self").readlink().name}) == 2
    assert {threads for _, threads in written} == {"1"}
    assert (progress.steps, progress.finished) == (10, True)


def test_finished_jobs_are_not_done_again(touch, tmp_path):
    (tmp_path / "a").write_text("earlier")
    progress = run([touch(tmp_path / "a"), touch(tmp_path / "b")], workers=2)
    assert (tmp_path / "a").read_text() == "earlier"
    assert (progress.started, progress.steps) == (("work", 6, 3), 3)


def test_no_job_is_no_work():
    assert run([], workers=2).finished


@pytest.mark.parametrize(
    ("then", "kind", "says"),
    [
        ("refuse", SettingsError, "lower the thing"),
        ("break", AngioShareError, "a fault of ours"),
        ("die", AngioShareError, "ended with code -9.*fewer workers"),
    ],
)
def test_a_failure_in_a_worker_is_told_stops_the_others_and_keeps_what_is_finished(touch, tmp_path, then, kind, says):
    first, bad, endless = touch(tmp_path / "a", 9), touch(tmp_path / "b", 5, then), touch(tmp_path / "c", 8, "go on")
    with pytest.raises(kind, match=says) as caught:
        run([first, bad, endless], workers=2)  # dealt by length: a and b to one worker, c to the other
    assert type(caught.value) is kind
    assert first.path.exists()
    assert not bad.path.exists()
    assert not endless.path.exists() or ended(written_by(endless.path))


def test_workers_end_when_their_parent_is_killed(touch, tmp_path):
    with subprocess.Popen([sys.executable, str(tmp_path / "jobs_of_this_test.py")]) as parent:
        try:
            workers = [written_by(tmp_path / name) for name in "ab"]
        finally:
            parent.kill()
    assert all(ended(worker) for worker in workers)


def test_a_job_that_wants_workers_of_its_own_does_their_work_itself(touch, tmp_path):
    run([touch(tmp_path / "a", then="have workers"), touch(tmp_path / "b", then="have workers")], workers=2)
    by = {name: written_by(tmp_path / name) for name in ("a", "a0", "a1", "b", "b0", "b1")}
    assert by["a"] == by["a0"] == by["a1"] != by["b"] == by["b0"] == by["b1"]


def test_who_is_free_takes_the_next_job(touch, tmp_path):
    # Handed out beforehand, c would wait behind a, which waits for it.
    jobs = [touch(tmp_path / "a", count=5, then="wait for others"), *(touch(tmp_path / name) for name in "bcd")]
    assert run(jobs, workers=2).steps == 14
    by = {name: (tmp_path / name).read_text() for name in "abcd"}
    assert by["b"] == by["c"] == by["d"] != by["a"]
