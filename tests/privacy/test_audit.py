"""The second line: an audit of the running engine with planted records, against the whole curve of its guarantee.

Canaries have orthogonal gradients, so one run holds thousands of independent games. For half of them the record is in
the data, for half it is not; each game's score is the canary's coordinate of the released gradients. If the engine has
the guarantee, then at every threshold and every epsilon: TPR <= e^epsilon FPR + delta(epsilon), in both directions.
Rates are replaced by exact confidence limits, all of them together wrong in less than 1 of 10**6 runs.

An audit of one epsilon misses reused, shuffled and truncated draws; the direct tests of the other files are the
gate. This one sees wrong noise and a draw that is reused.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor, nn

from angioshare.privacy.accounting import FINEST, composed
from angioshare.privacy.engine import PrivateEngine
from angioshare.privacy.events import Spend
from angioshare.privacy.noise import GaussianNoise
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.selection import Draw

FAILED = (AssertionError, pytest.fail.Exception)
CANARIES = 2000
THRESHOLDS = 60
EPSILONS = np.linspace(0, 8, 41)
CHANCE = 1e-6 / (4 * THRESHOLDS)


def plan_of(q: float, noise: float, steps: int) -> PrivacyPlan:
    return PrivacyPlan(
        unit="patch", n_units=CANARIES, n_subjects=1, patches_per_subject=CANARIES, sampling_probability=q,
        noise_multiplier=noise, steps=steps, delta=1e-6,
    )  # fmt: skip


def played(make: Callable[..., PrivateEngine], plan: PrivacyPlan) -> NDArray[np.float64]:
    """Scores of one training, shape (2, canaries): those whose record is in the data, those whose is not."""
    critic = nn.Sequential(nn.Linear(2 * CANARIES, 1, bias=False))
    engine = make(plan=plan, critic=critic, synthetic_rows=0, ledger=None, run="audit")
    total = torch.zeros(2 * CANARIES)
    for _ in range(plan.steps):
        draw = engine.draw()
        rows = torch.zeros(len(draw.indices), 2 * CANARIES)
        rows[torch.arange(len(rows)), torch.from_numpy(draw.indices.copy())] = 10.0
        engine.step_gradient(draw, rows, None, rows[:0], lambda scores: scores, lambda scores: scores)
        total += critic[0].weight.grad[0] * plan.expected_units
    return total.double().numpy().reshape(2, CANARIES)


def check_audit_finds_nothing(make: Callable[..., PrivateEngine], plan: PrivacyPlan, runs: int) -> None:
    scores = np.concatenate([played(make, plan) for _ in range(runs)], axis=1)
    loss = composed([Spend(event=plan.event(), steps=plan.steps)], 1e-6, "patch", "add-or-remove-one", FINEST)[1]
    delta = np.asarray(loss.get_delta_for_epsilon(EPSILONS))
    for threshold in np.quantile(scores, np.concatenate((np.linspace(0.05, 0.9, 30), 1 - np.geomspace(0.1, 1e-3, 30)))):
        inside, outside = (scores > threshold).sum(1)
        for hits, alarms in ((inside, outside), (scores.shape[1] - outside, scores.shape[1] - inside)):
            rate = stats.beta.ppf(CHANCE, hits, scores.shape[1] - hits + 1) if hits else 0.0
            false = stats.beta.isf(CHANCE, alarms + 1, scores.shape[1] - alarms) if alarms < scores.shape[1] else 1.0
            excess = rate - np.exp(EPSILONS) * false - delta
            assert excess.max() <= 0, f"{excess.max():.4f} above the guarantee at epsilon {EPSILONS[excess.argmax()]}"


class WeakNoise(GaussianNoise):
    def add_to(self, value: Tensor, std: float) -> Tensor:
        return super().add_to(value, 0.8 * std)


class OneFifthForgotten(GaussianNoise):
    """Leaves every fifth number without noise."""

    def normal(self, count: int) -> Tensor:
        made = super().normal(count)
        made[::5] = 0
        return made


def with_weak_noise(**settings: object) -> PrivateEngine:
    return PrivateEngine(**settings, noise=WeakNoise())  # type: ignore[arg-type]


def with_forgotten_noise(**settings: object) -> PrivateEngine:
    return PrivateEngine(**settings, noise=OneFifthForgotten())  # type: ignore[arg-type]


class ReusesDraws(PrivateEngine):
    """One draw for five steps, as published."""

    def draw(self) -> Draw:
        fresh = super().draw()
        if self._made % 5 != 1:
            fresh.indices = self.kept
        self.kept = fresh.indices
        return fresh


class UnclippedUnits(PrivateEngine):
    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self._clipped._bound = 2.0


ONE = plan_of(1.0, 1.0, 1)
FIVE = plan_of(0.05, 1.0, 5)


@pytest.mark.slow
def test_audit_finds_nothing_in_the_engine() -> None:
    check_audit_finds_nothing(PrivateEngine, ONE, runs=10)
    check_audit_finds_nothing(PrivateEngine, FIVE, runs=60)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mutant", "plan", "runs"),
    [
        (with_weak_noise, ONE, 10),
        (with_forgotten_noise, ONE, 10),
        (UnclippedUnits, ONE, 10),
        (ReusesDraws, FIVE, 60),
    ],
)
def test_audit_catches(mutant: Callable[..., PrivateEngine], plan: PrivacyPlan, runs: int) -> None:
    with pytest.raises(FAILED, match="above the guarantee"):
        check_audit_finds_nothing(mutant, plan, runs)
