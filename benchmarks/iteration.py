"""Claim: data, ledger, noise and optimiser together take less than 15 % of a private GAN iteration.

One iteration is five private critic updates and one generator update of the published networks, with patches read from
disk and charges written to a ledger. Processor time, one thread.
"""

import argparse
import json
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from angioshare.patches.extract import PatchSettings
from angioshare.patches.patchset import PatchSet
from angioshare.privacy.engine import PrivateEngine
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.noise import GaussianNoise
from angioshare.privacy.plan import PrivacyPlan
from angioshare.progress import SilentProgress
from angioshare.protocols import Context
from angioshare.synthesis.rmsprop import ClampedRmsprop
from angioshare.synthesis.wgan import Wgan, WganSettings

PATCHES = 2_000


class Watch:
    """Adds up the time of functions by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def over(self, owner: type, name: str, part: str) -> None:
        """Time every call of a method from now on."""
        whole: Callable[..., Any] = getattr(owner, name)

        def timed(*arguments: Any, **named: Any) -> Any:
            began = time.process_time()
            try:
                return whole(*arguments, **named)
            finally:
                self.seconds[part] += time.process_time() - began

        setattr(owner, name, timed)


def shares(features: int, batch: int, iterations: int, folder: Path) -> dict[str, float]:
    """Seconds of an iteration by part; the first iterations, which choose ways of working, are left out."""
    generator = np.random.default_rng(0)
    np.save(folder / "image.npy", generator.standard_normal((PATCHES, 96, 96), np.float32))
    image = np.load(folder / "image.npy", mmap_mode="r")
    patches = PatchSet(image=image, label=(image > 1).astype(np.uint8))
    settings = WganSettings(features=features, batch=batch, iterations=2 + iterations, checkpoint_every=10_000)
    wgan = Wgan(settings, Context(patches=PatchSettings(size=96), provenance="dp"))
    watch, marks = Watch(), []
    for owner, name, part in (
        (PatchSet, "pairs", "data"),
        (Ledger, "reserve", "ledger"),
        (GaussianNoise, "add_to", "noise"),
        (ClampedRmsprop, "step", "optimiser"),
        (Wgan, "_update_generator", "generator, its optimiser included"),
    ):
        watch.over(owner, name, part)

    class Marks(SilentProgress):
        """Notes the time of each iteration."""

        def advance(self, note: str = "", steps: int = 1) -> None:
            marks.append(time.process_time())
            if len(marks) == 2:
                watch.seconds.clear()

    plan = PrivacyPlan(
        unit="patch", n_units=PATCHES, n_subjects=20, patches_per_subject=100, sampling_probability=batch / PATCHES,
        noise_multiplier=1.0, steps=wgan.schedule().steps,
    )  # fmt: skip
    with Ledger.open(folder / "ledger.jsonl", subjects={"a": "ab"}) as ledger:

        def engine(D: torch.nn.Module, rows: int, done: int) -> PrivateEngine:
            return PrivateEngine(plan=plan, critic=D, synthetic_rows=rows, ledger=ledger, run="benchmark")

        wgan.fit(patches, engine, seed=0, folder=folder, progress=Marks())
    found = {part: seconds / iterations for part, seconds in watch.seconds.items()}
    return found | {"iteration": (marks[-1] - marks[1]) / iterations}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5, help="iterations that are timed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = shares(options.features, options.batch, options.rounds, Path(folder))
    beside = sum(found.get(part, 0.0) for part in ("data", "ledger", "noise", "optimiser"))
    answer = {part: {"seconds": s, "share": s / found["iteration"]} for part, s in found.items()}
    answer["data, ledger, noise and optimiser"] = {"seconds": beside, "share": beside / found["iteration"]}
    if options.json:
        print(json.dumps({"cores": os.cpu_count(), "features": options.features, "batch": options.batch, **answer}))
    else:
        print(f"f = {options.features}, B = {options.batch}, one thread ({os.cpu_count()} cores)")
        for part, row in answer.items():
            print(f"  {part:40} {row['seconds']:8.4f} s  {row['share']:6.1%}")
