"""What a piece of work took at most, of its own process or of a child; each in a fresh process, which keeps nothing."""

import subprocess
import sys
from pathlib import Path

import pytest

from angioshare import peak
from angioshare.peak import PeakMemory

linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no such system")

FREED = """
from angioshare.peak import PeakMemory
first = PeakMemory()
b"1" * 300_000_000
before = first.mb()
print(before, PeakMemory().mb())
"""

CHILD = """
import subprocess, sys
from angioshare.peak import PeakMemory
measured = PeakMemory()
own = measured.mb()
subprocess.run([sys.executable, "-c", "import sys; b'1' * int(sys.argv[1])", "300000000"], check=True)
print(own, measured.mb())
"""


def told(code: str) -> list[float]:
    """The numbers that a fresh process prints."""
    output = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return [float(number) for number in output.split()]


@linux
def test_freed_memory_counts_while_it_was_used_and_not_for_what_comes_after():
    before, after = told(FREED)
    assert before > 300
    assert after < before - 250


@linux
def test_the_largest_child_counts():
    own, largest = told(CHILD)
    assert own < 200
    assert largest > 300


def test_a_system_that_does_not_tell_gives_nothing(monkeypatch):
    monkeypatch.setattr(peak, "_RESET", Path("/nowhere/clear_refs"))
    assert PeakMemory().mb() is None
