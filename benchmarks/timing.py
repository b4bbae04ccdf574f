"""Interleaved timing: A B C A B C ..., medians and ratios, so that a drifting machine slows all alike."""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable


def interleaved(work: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median wall seconds of each piece of work over `rounds` rounds after one warm-up."""
    taken: dict[str, list[float]] = {name: [] for name in work}
    for round_ in range(rounds + 1):
        for name, run in work.items():
            began = time.perf_counter()
            run()
            if round_:
                taken[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in taken.items()}


def arguments(claim: str, rounds: int) -> argparse.Namespace:
    """Read `--rounds` and `--json`."""
    parser = argparse.ArgumentParser(description=claim)
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def tell(claim: str, seconds: dict[str, float], against: str, as_json: bool) -> None:
    """Print medians and their ratio to one of them."""
    rows = {name: {"seconds": value, "ratio": value / seconds[against]} for name, value in seconds.items()}
    if as_json:
        json.dump({"claim": claim, "cores": os.cpu_count(), "against": against, "rows": rows}, sys.stdout, indent=1)
        print()
        return
    print(f"{claim} ({os.cpu_count()} cores; ratio to {against!r})")
    for name, row in rows.items():
        print(f"  {name:48} {row['seconds']:9.4f} s   x {row['ratio']:.2f}")
