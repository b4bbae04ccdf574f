"""Steps of AngioShare: through its private engine, and through the engine of its non-private rival."""

import numpy as np

from angioshare.privacy.clipping import ROUNDING, ROUNDING_PER_UNIT
from angioshare.privacy.engine import PrivateEngine
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.selection import Draw
from angioshare.synthesis.losses import critic_real, critic_synthetic
from angioshare.synthesis.plain import PlainEngine
from peers import Step, Task


def private(task: Task) -> Step:
    """The private engine, draw and cryptographic noise included; every patch is drawn, so that B is fixed."""
    batch = len(task.real)
    plan = PrivacyPlan(
        unit="patch", n_units=batch, n_subjects=1, patches_per_subject=batch, sampling_probability=1.0,
        noise_multiplier=task.noise_multiplier, clip_norm=task.clip_norm, steps=1_000_000,
    )  # fmt: skip
    engine = PrivateEngine(
        plan=plan, critic=task.critic, synthetic_rows=len(task.synthetic), ledger=None, run="benchmark"
    )

    def step() -> None:
        engine.step_gradient(engine.draw(), task.real, None, task.synthetic, critic_real, critic_synthetic)

    return step


def slack(task: Task) -> float:
    """The share of the clip norm that the private engine leaves free for rounding."""
    return ROUNDING + ROUNDING_PER_UNIT * (2 if len(task.synthetic) else 1) * len(task.real)


def plain(task: Task) -> Step:
    """The engine of a run without privacy, on real and synthetic patches."""
    batch = len(task.real)
    engine = PlainEngine(task.critic, batch, batch, seed=1)
    everybody = Draw(np.arange(batch))

    def step() -> None:
        engine.step_gradient(everybody, task.real, None, task.synthetic, critic_real, critic_synthetic)

    return step
