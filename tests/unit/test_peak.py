"""What a piece of work took at most, of its own process or of a child."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from angioshare import peak
from angioshare.peak import PeakMemory

linux = pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no such system")
MB = 1_000_000


@linux
def test_freed_memory_counts_while_it_was_used_and_not_for_what_comes_after():
    measured = PeakMemory()
    np.ones(300 * MB, np.uint8)
    before = measured.mb()
    assert before > 300
    assert PeakMemory().mb() < before - 250


@linux
def test_the_largest_child_counts():
    measured = PeakMemory()
    own = measured.mb()
    subprocess.run([sys.executable, "-c", "x = b'1' * 900_000_000"], check=True)
    assert measured.mb() > max(own, 900)


def test_a_system_that_does_not_tell_gives_nothing(monkeypatch):
    monkeypatch.setattr(peak, "_RESET", Path("/nowhere/clear_refs"))
    assert PeakMemory().mb() is None
