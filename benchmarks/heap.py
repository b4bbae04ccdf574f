"""Claim: training is faster where the C library keeps freed memory, since steps ask for the same blocks again.

A U-Net step of 32 patches and a gradient of the published critic without privacy, both of 96 x 96, each in processes of
its own that take turns, because a process cannot go back to the default.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch

import peers
from angioshare.heap import keep_freed_memory
from angioshare.segmentation.folded import folded_forward
from unet import batch, step_of

KEPT, LEFT = "freed memory is kept", "as the C library does"
STEPS = 8


def unet_step() -> Callable[[], object]:
    """One step of a narrow U-Net as trainings take it."""
    return step_of(folded_forward, *batch())


def critic_step() -> Callable[[], object]:
    """One gradient of the published critic, f = 32, 32 real and 32 synthetic pairs."""
    critic = peers.critic(96, 32)
    pairs = torch.randn(64, 2, 96, 96)

    def step() -> None:
        critic.zero_grad()
        torch.autograd.backward(critic(pairs).mean())

    return step


WORK = {"U-Net step": unet_step, "critic step": critic_step}


def inside(work: str, way: str) -> None:
    """Time steps in this process; print their median and the page faults."""
    import resource

    if way == KEPT and not keep_freed_memory():
        sys.exit("this C library keeps nothing")
    step = WORK[work]()
    taken = []
    for round_ in range(STEPS + 2):
        began = time.perf_counter()
        step()
        if round_ >= 2:
            taken.append(time.perf_counter() - began)
    usage = resource.getrusage(resource.RUSAGE_SELF)
    row = {"seconds": statistics.median(taken), "faults": usage.ru_minflt, "peak_mib": usage.ru_maxrss / 1024}
    print(json.dumps(row))


def measured(rounds: int) -> dict[str, Any]:
    """Medians over processes that take turns, and their ratios."""
    found: dict[str, Any] = {}
    for work in WORK:
        rows: dict[str, list[dict[str, float]]] = {KEPT: [], LEFT: []}
        for _ in range(rounds):
            for way, kept in rows.items():
                command = [sys.executable, __file__, "--inside", work, way]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                kept.append(json.loads(done.stdout.splitlines()[-1]))
        middle = {
            way: {key: statistics.median(row[key] for row in kept) for key in kept[0]} for way, kept in rows.items()
        }
        found[work] = {**middle, "ratio": middle[KEPT]["seconds"] / middle[LEFT]["seconds"]}
    return found


def main() -> None:
    """Print, for each work, both ways and the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inside", nargs=2, metavar=("WORK", "WAY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.inside:
        inside(*options.inside)
        return
    found = measured(options.rounds)
    if options.json:
        json.dump({"cores": os.cpu_count(), "work": found}, sys.stdout, indent=1)
        print()
        return
    for work, rows in found.items():
        print(f"{work}: {KEPT} / {LEFT}: x {rows['ratio']:.2f}")
        for way in (KEPT, LEFT):
            row = rows[way]
            print(
                f"  {way:24} {row['seconds']:.4f} s, {row['faults']:,.0f} page faults, peak {row['peak_mib']:,.0f} MiB"
            )


if __name__ == "__main__":
    main()
