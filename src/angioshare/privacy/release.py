"""One number list, released once: the private mean of one bounded vector per unit.

The Gaussian mechanism without sampling: everybody enters, each vector is bounded to an L2 norm of C, the sum gets noise
once and is divided by the public number of units. A few dozen numbers survive what no network could learn from.
"""

from dataclasses import dataclass

import numpy as np
import torch

from angioshare.errors import BudgetExceeded, PrivacyError, SettingsError
from angioshare.privacy.calibration import steps_for
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.noise import GaussianNoise
from angioshare.privacy.plan import PrivacyPlan
from angioshare.types import FloatArray

_ROUNDING = 1e-9  # share of C that is left for rounding errors in float64


@dataclass(frozen=True, kw_only=True)
class Release:
    """A noisy mean, and how noisy.

    Attributes:
        mean: Shape (d,), float64.
        noise_std: Standard deviation of the noise on each number of the mean; public. 0 without privacy.
    """

    mean: FloatArray
    noise_std: float


def bounded_sum(vectors: FloatArray, clip_norm: float) -> FloatArray:
    """Sum vectors after bounding each to an L2 norm of `clip_norm`.

    Args:
        vectors: One row for each unit, shape (n, d). May be empty.
        clip_norm: Bound C, > 0. Public.

    Returns:
        Shape (d,), float64.

    Guarantees:
        Adding or removing one row moves the sum by at most `clip_norm` in L2, whatever the row holds: a row that is
        not finite counts as zero, since raising would reveal it.

    Example:
        >>> bounded_sum(np.array([[3.0, 4.0], [np.nan, 1.0]]), 1.0).round(6).tolist()
        [0.6, 0.8]
    """
    wide = np.asarray(vectors, np.float64)
    finite = np.isfinite(wide).all(axis=1, keepdims=True)
    # Divided by the largest entry first: the square of a huge number would be infinite.
    wide = np.where(finite, wide, 0.0)
    largest = np.abs(wide).max(axis=1, initial=0.0)
    unit = wide / np.where(largest > 0, largest, 1.0)[:, None]
    with np.errstate(over="ignore"):
        norm = largest * np.linalg.norm(unit, axis=1)
        length = np.minimum(norm, clip_norm * (1 - _ROUNDING))
    direction = unit / np.maximum(np.linalg.norm(unit, axis=1), 1.0)[:, None]
    return np.asarray((direction * length[:, None]).sum(axis=0))


def private_mean(
    vectors: FloatArray, plan: PrivacyPlan, ledger: Ledger, run: str, *, noise: GaussianNoise | None = None
) -> Release:
    """Release the mean of one vector per unit, once.

    Args:
        vectors: One row for each unit that is there, shape (n, d), n at most n_units; for unit subject, n_units.
        plan: One step, sampling probability 1; noise multiplier and clip norm C.
        ledger: The cohort's ledger, open.
        run: Name of the run in the ledger.
        noise: Source of noise; None makes a fresh one from the operating system.

    Returns:
        (sum of bounded rows + noise of standard deviation sigma C) / n_units. Units that are not there count as zero.

    Raises:
        SettingsError: The plan has more than one step, or samples.
        PrivacyError: There are more rows than units, or not one for each subject.
        BudgetExceeded: The cohort's budget has no room for it, or the plan keeps its target and this run was charged
            for a release before.
        LedgerError: It could not be charged on disk; then nothing was released.

    Guarantees:
        The charge is on disk before any vector is read. The whole list together satisfies the guarantee of the plan's
        one event: the sum moves by at most C if a unit is added or removed.

    References:
        Dwork & Roth (2014), The algorithmic foundations of differential privacy, section 3.5.
    """
    if plan.steps != 1 or plan.sampling_probability != 1:
        raise SettingsError(
            f"steps={plan.steps}, sampling_probability={plan.sampling_probability}: one release is one step in which "
            "everybody takes part; plan it with steps=1 and sampling_probability=1"
        )
    if len(vectors) > plan.n_units or (plan.unit == "subject" and len(vectors) < plan.n_units):
        raise PrivacyError(f"vectors do not fit n_units={plan.n_units}; give one for each {plan.unit}")
    budget = plan.epsilon_budget
    source = noise if noise is not None else GaussianNoise()
    with ledger.turn():
        if plan.keeps_target and ledger.spent_by(run):
            raise BudgetExceeded(
                f"{run} was charged for its release before, and was stopped before it was on disk; another one would "
                "cost more than the run was asked for. A run in another folder begins anew and is charged beside it"
            )
        if budget is not None and not steps_for(budget, plan.delta_value, plan.event(), 1, tuple(ledger.spends())):
            raise BudgetExceeded(
                f"this release would lift epsilon for one {plan.unit} above epsilon_budget={budget}, all runs on the "
                "cohort together; raise it or stop here"
            )
        ledger.reserve(plan.event(), run, 1)
    total = torch.from_numpy(bounded_sum(vectors, plan.clip_norm))
    noised = source.add_to(total, plan.noise_std).numpy() / plan.n_units
    return Release(mean=noised, noise_std=plan.noise_std / plan.n_units)
