"""A training's freed memory stays with the process."""

import os
import platform
import subprocess
import sys

import pytest

HELD = """
import sys
import torch
from angioshare.heap import keep_freed_memory
def resident_mib():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024
if sys.argv[1] == "keep":
    assert keep_freed_memory()
before = resident_mib()
for _ in range(3):
    [torch.ones(20 << 20) for _ in range(5)]
print(resident_mib() - before)
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


def held_mib(mode: str) -> int:
    """What a process holds of 400 MiB that it has freed."""
    told = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run([sys.executable, "-c", HELD, mode], env=told, capture_output=True, text=True, check=True)
    return int(done.stdout)


@glibc
def test_what_a_step_has_freed_stays_for_the_next():
    # Blocks of 80 MiB; by itself the C library gives back each that is above 32 MiB.
    assert held_mib("leave") < 150
    assert held_mib("keep") > 350


@glibc
def test_the_environment_has_the_last_word(monkeypatch):
    from angioshare.heap import keep_freed_memory

    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert not keep_freed_memory()


def test_another_c_library_is_left_alone(monkeypatch):
    import ctypes

    from angioshare import heap

    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert not heap.keep_freed_memory()
