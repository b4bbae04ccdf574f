"""Claim: charging a private step to the ledger costs less than 1 % of the step.

A reservation is one chained line with fsync, good for many steps; here it stands in a ledger that has grown already.
The reservation counts by the clock, since it waits for the disk; the step by its processor time, so that a busy machine
cannot make the share look small.
"""

import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from angioshare.privacy.engine import RESERVED_AT_ONCE
from angioshare.privacy.events import StepEvent
from angioshare.privacy.ledger import Ledger
from peers import options
from peers.measure import interleaved
from peers.registry import CONTENDERS, OURS_WHOLE

PUBLISHED = StepEvent(
    unit="patch", sampling_probability=32 / 41_000, noise_multiplier=1.0, patches_per_subject=1000
)  # fmt: skip
BATCH = 32
MOST_SHARE = 0.01


def reservation_seconds(folder: Path, earlier: int, times: int) -> list[float]:
    """Wall seconds of each of `times` reservations behind `earlier` ones, on the disk of `folder`."""
    taken = []
    with (
        tempfile.TemporaryDirectory(dir=folder) as place,
        Ledger.open(Path(place) / "ledger.jsonl", subjects={"sub-1": "ab12"}) as ledger,
    ):
        for _ in range(earlier + times):
            began = time.perf_counter()
            ledger.reserve(PUBLISHED, "benchmark", RESERVED_AT_ONCE)
            taken.append(time.perf_counter() - began)
    return taken[earlier:]


if __name__ == "__main__":
    parser = options.parser(__doc__, rounds=5)
    parser.add_argument("--features", type=options.numbers, default=[16, 32, 64, 96], help="widths f (16,32,64,96)")
    parser.add_argument("--batch", type=int, default=BATCH, help="real patches, and as many synthetic ones (32)")
    parser.add_argument("--earlier", type=int, default=500, help="reservations that the ledger holds before (500)")
    parser.add_argument("--folder", type=Path, default=Path(), help="the ledger's disk is the one of this folder (.)")
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    waits = reservation_seconds(flags.folder, flags.earlier, 20 * flags.rounds)
    median, worst = statistics.median(waits), max(waits)
    rows, ours = [], CONTENDERS[OURS_WHOLE]
    for features in flags.features:
        steps = {"step": ours.build(ours.task(flags.size, features, flags.batch))}
        step = interleaved(steps, flags.rounds)["step"].cpu_seconds
        share = median / RESERVED_AT_ONCE / step
        rows.append({"features": features, "step_cpu_seconds": step, "share": share, "met": share < MOST_SHARE})
    found = {"reservation_seconds": median, "worst_reservation_seconds": worst, "steps": RESERVED_AT_ONCE, "rows": rows}
    if flags.json:
        json.dump({"claim": __doc__.splitlines()[0], "cores": os.cpu_count(), **found}, sys.stdout, indent=1)
        print()
    else:
        print(
            f"{__doc__}\nreservation of {RESERVED_AT_ONCE} steps: {1e3 * median:.2f} ms, at worst {1e3 * worst:.2f} ms"
        )
        for row in rows:
            word = "met" if row["met"] else "MISSED"
            print(f"  f = {row['features']:3}: step {row['step_cpu_seconds']:7.3f} s, share {row['share']:.4%}, {word}")
