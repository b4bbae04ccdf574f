"""Rule 10 under kill -9: at no moment does the ledger know of fewer steps than were made."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

FAILED = (AssertionError, pytest.fail.Exception)
KILLER = '''
"""Forks a training that charges and "makes" steps, kills it at a random moment, and compares; many times over."""
import json, os, random, signal, sys, time
from pathlib import Path
from angioshare.privacy.chain import spent
from angioshare.privacy.events import StepEvent
from angioshare.privacy.ledger import Ledger, read_lines

folder, ahead, kills, side = Path(sys.argv[1]), sys.argv[2] == "ahead", int(sys.argv[3]), int(sys.argv[4])
EVENT = StepEvent(unit="patch", sampling_probability=0.01, noise_multiplier=1.0)
AT_ONCE = 4

def train(path, witness):
    """Every step leaves a byte in `witness` at the moment when its gradient would be released."""
    with Ledger.open(path, subjects={"sub-1": "aa"}) as ledger:
        while True:
            if ahead:
                ledger.reserve(EVENT, "run", AT_ONCE)
            for _ in range(AT_ONCE):
                os.write(witness, b"x")
                time.sleep(0.0005)  # a step takes a while
            if not ahead:
                ledger.reserve(EVENT, "run", AT_ONCE)

path, seen = folder / "ledger.jsonl", folder / "witness"
witness = os.open(seen, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
under, worst, progressed, made = 0, 0, 0, 0
for _ in range(kills):
    children = []
    for _ in range(side):
        children.append(os.fork())
        if children[-1] == 0:
            try:
                train(path, witness)
            finally:
                os._exit(1)
    for child in children:
        time.sleep(random.uniform(0.002, 0.06))
        os.kill(child, signal.SIGKILL)
    for child in children:
        os.waitpid(child, 0)
    charged = sum(spend.steps for spend in spent(read_lines(path))) if path.exists() else 0
    before, made = made, seen.stat().st_size
    under, worst = under + (charged < made), max(worst, charged - made)
    progressed += made > before
with Ledger.open(path, subjects={"sub-1": "aa"}) as ledger:
    problems = ledger.verify()
print(json.dumps({"under": under, "worst": worst, "progressed": progressed, "made": made, "problems": problems}))
'''


def killed(folder: Path, order: str, kills: int, side: int) -> dict[str, int]:
    call = [sys.executable, "-c", KILLER, str(folder), order, str(kills), str(side)]
    done = subprocess.run(call, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


def check_ledger_never_under_counts(folder: Path, order: str, kills: int, side: int = 1) -> None:
    found = killed(folder, order, kills, side)
    assert found["progressed"] > kills / 4, f"the kills came too early to test anything: {found}"
    assert found["problems"] == []
    assert found["under"] == 0, f"{found['under']} of {kills} kills left uncharged steps"
    assert found["worst"] <= 4 * kills * side, "more was charged than was reserved"


@pytest.mark.slow
def test_two_hundred_kills_leave_no_uncharged_step(tmp_path: Path) -> None:
    check_ledger_never_under_counts(tmp_path, "ahead", 200)


def test_kills_leave_no_uncharged_step(tmp_path: Path) -> None:
    check_ledger_never_under_counts(tmp_path, "ahead", 40)


def test_kills_of_trainings_side_by_side_leave_no_uncharged_step(tmp_path: Path) -> None:
    check_ledger_never_under_counts(tmp_path, "ahead", 20, side=3)


def test_check_of_kills_catches_a_ledger_that_is_written_afterwards(tmp_path: Path) -> None:
    with pytest.raises(FAILED, match="uncharged"):
        check_ledger_never_under_counts(tmp_path, "afterwards", 40)
