"""What a step costs: CPU and wall seconds, interleaved in one process; peak memory, each contender in its own."""

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from peers import Step

_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Cost:
    """Medians over rounds: of CPU seconds (all threads), and of wall seconds."""

    cpu_seconds: float
    wall_seconds: float


def interleaved(steps: dict[str, Step], rounds: int) -> dict[str, Cost]:
    """Run A B C A B C ..., so that a drifting machine slows all alike; the first round warms up and does not count."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    for round_ in range(rounds + 1):
        for name, step in steps.items():
            cpu, wall = time.process_time(), time.perf_counter()
            step()
            if round_:
                taken[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    return {
        name: Cost(statistics.median(cpu for cpu, _ in times), statistics.median(wall for _, wall in times))
        for name, times in taken.items()
    }


def peak_growth(name: str, size: int, features: int, batch: int) -> float | None:
    """MiB by which two steps lift the peak memory of a fresh process above the built network; None if it was killed."""
    call = [
        sys.executable,
        "-m",
        "peers.memory",
        name,
        str(size),
        str(features),
        str(batch),
        str(torch.get_num_threads()),
    ]
    done = subprocess.run(call, cwd=_HERE.parent, capture_output=True, text=True, check=False)
    return float(done.stdout) / 2**20 if done.returncode == 0 else None
