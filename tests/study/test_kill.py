"""Kill -9 of the controller, of a job, and of everything; each time the same study goes on and ends whole."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from angioshare.privacy.planner import ledger_report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("snakemake") is None, reason="needs the extra: pip install -e '.[study]'"),
]
STEPS = 400
PATIENCE_S = 600
POINTS = {"wgan-private-1-seed0", "wgan-private-2-seed0"}


class Studies:
    """Starts controllers in one place, and leaves none behind."""

    def __init__(self, place):
        self.place, self.started = place, []

    def start(self, *more, interrupts=signal.SIG_DFL):
        command = [sys.executable, "-m", "angioshare", "study", "plan.yaml", "out", "--jobs", "2", *more]
        self.started.append(
            subprocess.Popen(
                command,
                cwd=self.place,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                # A shell's background jobs, and so what they start, ignore interrupts; a terminal's do not.
                preexec_fn=lambda: signal.signal(signal.SIGINT, interrupts),
            )
        )
        return self.started[-1]

    def resume(self):
        """Go on, and give the answer."""
        process = self.start("--resume", "--json")
        out, said = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, said
        return json.loads(out)

    def training(self):
        """Wait until a private training has its first checkpoint; give the process that does it."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            for curve in (self.place / "out" / "points").glob("*/private/sources/*/curve.json"):
                told = self.place / "out" / "work" / "progress" / f"{curve.parents[3].name}.json"
                if not (curve.parents[2] / "done" / "train").exists() and told.exists():
                    return json.loads(told.read_text())["pid"]
            time.sleep(0.02)
        raise AssertionError("no training began")


@pytest.fixture
def studies(place):
    found = Studies(place)
    yield found
    for process in found.started:
        for pid in [process.pid, *children(process.pid)] if process.poll() is None else []:
            os.kill(pid, signal.SIGKILL)
        process.communicate()


def stat(pid):
    """State and parent of a process; Z and 0 if it is gone."""
    try:
        state, parent = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return "Z", 0
    return state, int(parent)


def children(pid):
    """All processes below one."""
    direct = [
        int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit() and stat(entry.name)[1] == pid
    ]
    return direct + [grandchild for child in direct for grandchild in children(child)]


def alive(pid):
    return stat(pid)[0] != "Z"


def charged(place):
    report = ledger_report(place / "cohort" / "derivatives" / "angioshare" / "ledger.jsonl")
    assert report["chain_ok"]
    return report["steps_charged"]


def assert_whole(place, answer):
    assert (answer["points"], answer["finished"]) == (2, 2)
    trained = [r for r in json.loads((place / "out" / "results.json").read_text())
               if (r["stage"], r["metric"]) == ("train", "wall_time")]  # fmt: skip
    assert sorted(record["point"] for record in trained) == sorted(POINTS)


def test_a_killed_controller_takes_its_engine_along_and_its_jobs_are_waited_for(place, studies):
    controller = studies.start()
    job = studies.training()
    engine = children(controller.pid)[0]
    controller.kill()
    controller.communicate()
    time.sleep(0.5)
    assert not alive(engine)
    assert alive(job)
    assert_whole(place, studies.resume())
    assert charged(place) == 2 * STEPS


def test_a_killed_job_is_done_again_and_the_ledger_says_so(place, studies):
    controller = studies.start("--json")
    os.kill(studies.training(), signal.SIGKILL)
    out, said = controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == 0, said
    assert_whole(place, json.loads(out))
    assert charged(place) >= 2 * STEPS


def test_when_everything_is_killed_finished_work_is_kept(place, studies):
    controller = studies.start()
    studies.training()
    everything = [controller.pid, *children(controller.pid)]
    for pid in everything:
        os.kill(pid, signal.SIGKILL)
    controller.communicate()
    kept = {path: path.stat().st_mtime_ns for path in (place / "out").rglob("done/*/*.json")}
    assert kept
    assert_whole(place, studies.resume())
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert charged(place) >= 2 * STEPS


@pytest.mark.parametrize(
    ("stop", "code", "interrupts"), [(signal.SIGINT, 130, signal.SIG_DFL), (signal.SIGTERM, 143, signal.SIG_IGN)]
)
def test_a_stop_stops_the_jobs_too(place, studies, stop, code, interrupts):
    controller = studies.start(interrupts=interrupts)
    job = studies.training()
    controller.send_signal(stop)
    controller.communicate(timeout=PATIENCE_S)
    assert controller.returncode == code
    assert not alive(job)
    assert_whole(place, studies.resume())
