"""Processes that simulate, and what becomes of them."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ENDLESS = """
from angioshare.simulator.many import simulate_each
from angioshare.simulator.sites import SITES

if __name__ == "__main__":
    for _ in simulate_each([(SITES["demo-1"], seed) for seed in range(100_000)], workers=2, extent=0.1):
        print("one", flush=True)
"""


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def alive(pid):
    """Whether a process is there and not merely waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_they_end_when_the_one_that_started_them_is_killed(tmp_path):
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout.readline() == "one\n"
            workers = children(parent.pid)
        finally:
            parent.kill()
    assert len(workers) >= 2
    until = time.monotonic() + 30
    while any(map(alive, workers)) and time.monotonic() < until:
        time.sleep(0.05)
    left = [worker for worker in workers if alive(worker)]
    for worker in left:
        os.kill(worker, signal.SIGKILL)
    assert left == []
