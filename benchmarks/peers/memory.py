"""`python -m peers.memory NAME SIZE FEATURES BATCH THREADS` prints by how many bytes two steps lift the peak."""

import resource
import sys
from pathlib import Path

import torch

from peers.registry import CONTENDERS


def peak() -> int:
    """The most bytes that this process has held in memory.

    Linux hands the peak of the parent process down to `ru_maxrss`, so its own account is read where there is one.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    name, size, features, batch, threads = sys.argv[1], *map(int, sys.argv[2:])
    torch.set_num_threads(threads)
    contender = CONTENDERS[name]
    contender.build(contender.task(16, 1, 2))()  # loads what is only imported when it is needed
    step = contender.build(contender.task(size, features, batch))
    before = peak()
    step()
    step()
    print(peak() - before)
