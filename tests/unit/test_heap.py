"""A training's freed memory stays with the process."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
import torch
from angioshare.heap import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
def step():
    return [torch.ones(1 << 18) for _ in range(200)]
for _ in range(2):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")


def faults(mode: str, **environment: str) -> int:
    told = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    command = [sys.executable, "-c", FAULTS, mode]
    done = subprocess.run(command, env=told | environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@glibc
def test_what_a_step_has_freed_serves_the_next_without_page_faults():
    # 200 MiB a step; by itself the C library keeps 64 MiB at most.
    assert faults("keep") < faults("leave") / 10


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
