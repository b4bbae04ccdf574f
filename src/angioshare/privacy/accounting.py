"""What steps cost: events in, epsilon out (dp-accounting does the mathematics; no torch).

Privacy loss distributions, rounded pessimistically, give the number. Renyi divergences, an independent and looser
method, must not lie below it: if they do, or if a number is no number, nothing is reported (`PrivacyError`).

Four cases, by what a step drew (its event's unit) and who is protected:

==========  =========  ==========================================================================================
step drew   protected  theorem
==========  =========  ==========================================================================================
patches     a patch    Poisson-subsampled Gaussian
subjects    a subject  Poisson-subsampled Gaussian
patches     a subject  a subject's K patches enter one by one, so its contribution is a sum of Binomial(K, q) clipped
                       gradients: a mixture of Gaussians (Choquette-Choo et al., arXiv:2310.15526), under
                       replace-one taken as removal and addition (group privacy for two)
subjects    a patch    adding or removing a patch replaces its subject's clipped gradient by another: the
                       replace-one guarantee of the subject, a bound
==========  =========  ==========================================================================================
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import dp_accounting
import numpy as np
from dp_accounting.pld import privacy_loss_distribution as pld
from dp_accounting.rdp import RdpAccountant
from scipy import stats

from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy.events import Spend, StepEvent, merged
from angioshare.privacy.unit import Guarantee, NeighbouringRelation, PrivacyUnit

ACCOUNTANT = f"dp-accounting {version('dp-accounting')}"
FINEST = 1e-4
"""Width of the grid of privacy losses; all coarser ones are rounded up more."""
MEANINGLESS = 100.0
"""An epsilon beyond which only a rough upper bound is calculated: it protects nobody anyway."""
HOPELESS = 1e6
"""An epsilon beyond which nothing is calculated any more: it is reported as infinity."""
# A grid is fine enough once a ten times finer one lowers epsilon by less than this share: what rounding up still adds
# then is a tenth of that. Where epsilon is beyond `MEANINGLESS`, a rough bound will do.
_SETTLED, _SETTLED_ROUGHLY = 0.02, 0.25
_CELLS = 40_000  # a mixture's grid has no more cells than this, since each takes a tenth of a millisecond
_TOLERANCE = 0.01  # rounding may lift the exact method this much above the loose one, relative and absolute
_TAIL = 1e-3  # share of delta that pays for the draws of absurdly many patches that a mixture leaves out
_LARGEST_TO_DIVIDE = 600.0  # exp(-600) is a normal number, and what is left to 708 holds all that a sum leaves out
_CLOSE = 1e-6  # relative error, upwards, of an epsilon that is halved in upon
_RELATIONS = {
    "add-or-remove-one": dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE,
    "replace-one": dp_accounting.NeighboringRelation.REPLACE_ONE,
}
PUBLISHED_ORDERS = tuple(1 + x / 10 for x in range(1, 100)) + tuple(range(12, 64))
"""Renyi orders of the published experiments."""


def guarantee(
    spends: Sequence[Spend], delta: float, unit: PrivacyUnit, relation: NeighbouringRelation = "add-or-remove-one"
) -> Guarantee:
    """Compose everything that was spent into one guarantee.

    Args:
        spends: What ran; may be empty, and may mix units and settings.
        delta: Probability that epsilon may fail, in (0, 1).
        unit: Who is protected.
        relation: What makes two data sets neighbours.

    Returns:
        An epsilon that is never below the true one; infinity where there is none or where it is beyond `HOPELESS`.

    Raises:
        SettingsError: `delta` is out of range.
        PrivacyError: The accountants contradict each other.

    Example:
        >>> event = StepEvent(unit="patch", sampling_probability=0.01, noise_multiplier=1.0)
        >>> round(guarantee([Spend(event=event, steps=1000)], 1e-5, "patch").epsilon, 3)
        1.828
    """
    if not 0 < delta < 1:
        raise SettingsError(f"delta={delta} must be in (0, 1), and far below one over the number of units")
    epsilon, method = _epsilon(tuple(merged(spends)), delta, unit, relation)
    return Guarantee(unit=unit, epsilon=epsilon, delta=delta, relation=relation, method=method)


def rdp_epsilon(spends: Sequence[Spend], delta: float, orders: Sequence[float] | None = None) -> float:
    """Epsilon by Renyi divergences, for the unit that was drawn, add-or-remove-one: the cross-check.

    Args:
        spends: What ran, all on the same unit.
        delta: In (0, 1).
        orders: Renyi orders; None takes the library's.

    Example:
        >>> event = StepEvent(unit="patch", sampling_probability=0.01, noise_multiplier=1.0)
        >>> round(rdp_epsilon([Spend(event=event, steps=1000)], 1e-5), 2)
        2.1
    """
    accountant = RdpAccountant(orders)
    library = logging.getLogger("absl")
    level = library.level
    library.setLevel(logging.ERROR)  # it tells of every order that it leaves out, which only loosens the result
    try:
        for spend in merged(spends):
            gaussian = dp_accounting.GaussianDpEvent(spend.event.noise_multiplier)
            sampled = dp_accounting.PoissonSampledDpEvent(spend.event.sampling_probability, gaussian)
            accountant.compose(sampled, spend.steps)
        return float(accountant.get_epsilon(delta))
    finally:
        library.setLevel(level)


@lru_cache(maxsize=512)
def _epsilon(
    spends: tuple[Spend, ...], delta: float, unit: PrivacyUnit, relation: NeighbouringRelation
) -> tuple[float, str]:
    """Epsilon and the words for how it was found; cached, since statements ask for the same again and again."""
    if not spends:
        return 0.0, "nothing spent"
    as_group = [s for s in spends if unit == "subject" and s.event.unit == "patch"]
    if any(s.event.patches_per_subject is None for s in as_group):
        return math.inf, "number of patches per subject unknown"
    in_pairs = bool(as_group) and relation == "replace-one"
    if not as_group and relation == "add-or-remove-one" and all(s.event.unit == unit for s in spends):
        return _checked(spends, delta, unit, relation), "PLD"
    epsilon = _refined(spends, delta, unit, "add-or-remove-one" if in_pairs else relation, in_pairs)
    method = "mixture-of-Gaussians PLD" if as_group else "PLD"
    if any(s.event.unit != unit for s in spends) and not as_group:
        method += " (bound by the whole subject)"
    return epsilon, method + (" (bound by group privacy for two)" if in_pairs else "")


def _checked(spends: tuple[Spend, ...], delta: float, unit: PrivacyUnit, relation: NeighbouringRelation) -> float:
    """Epsilon by PLD where Renyi accounting applies too; a finer grid is tried before a contradiction is believed."""
    loose = rdp_epsilon(spends, delta)
    if not loose < HOPELESS:
        return math.inf
    # Rounding up adds at most one cell a step: so much of epsilon may be given away for a grid that is quick.
    interval = max(FINEST, loose / 3e6, 1e-4 * loose / sum(spend.steps for spend in spends))
    for width in (interval, interval / 10):
        exact = composed(spends, delta, unit, relation, width)[0]
        if cross_checked(exact, loose):
            return exact
    raise PrivacyError(
        f"the accountants contradict each other: epsilon={exact} by PLD, {loose} by RDP, which must not be smaller; "
        "nothing is reported; change noise or sampling, and report this as a defect"
    )


def cross_checked(exact: float, loose: float) -> bool:
    """Whether an epsilon by PLD is a number that does not contradict the one by RDP."""
    return math.isfinite(exact) and exact >= 0 and exact <= loose * (1 + _TOLERANCE) + _TOLERANCE


def _refined(
    spends: tuple[Spend, ...], delta: float, unit: PrivacyUnit, relation: NeighbouringRelation, in_pairs: bool
) -> float:
    """Epsilon on grids that grow finer until it settles; huge losses settle on coarse, cheap grids."""
    best, widest = math.inf, max(_widest(spend, delta / len(spends)) for spend in spends)
    for interval in (1.0, 0.1, 0.01, 0.001, FINEST):
        if widest > _CELLS * interval:
            break
        try:
            epsilon = composed(spends, delta, unit, relation, interval, in_pairs)[0]
        except (ValueError, TypeError):  # the library does not bear every mixture on every grid
            if math.isfinite(best):
                break  # a coarser grid's bound holds all the same
            continue
        if math.isnan(epsilon) or epsilon < 0:
            raise PrivacyError(f"epsilon={epsilon} by PLD is no number; nothing is reported; report this as a defect")
        gained, best = best - epsilon, min(best, epsilon)  # every grid gives an upper bound
        share = _SETTLED_ROUGHLY if best > MEANINGLESS else _SETTLED
        if math.isfinite(best) and gained <= share * best:
            break
    return best if best < HOPELESS else math.inf


def composed(
    spends: Sequence[Spend],
    delta: float,
    unit: PrivacyUnit,
    relation: NeighbouringRelation,
    interval: float,
    in_pairs: bool = False,
) -> tuple[float, Any]:
    """Epsilon by composing privacy loss distributions on one grid, and the distribution.

    Draws of so many patches of one subject that all steps together see them with chance `_TAIL` delta are left out;
    that chance is taken from delta on the one side and lifts epsilon on the other.
    """
    total: Any = None
    lifted, delta_left = 0.0, delta
    for spend in spends:
        event, steps = _at_once(spend)
        step, left_out = _step_loss(event, unit, relation, _TAIL * delta / len(spends) / steps, interval)
        many = step.self_compose(steps) if steps > 1 else step
        total = many if total is None else total.compose(many)
        delta_left -= left_out * steps
        lifted -= math.log1p(-left_out) * steps
    epsilon = _for_two(total, delta_left) if in_pairs else read_off(total, delta_left)
    return epsilon + lifted * (2 if in_pairs else 1), total


def read_off(total: Any, delta: float) -> float:
    """Return the epsilon of a privacy loss distribution at a delta.

    The library divides by sums of exp(-loss), which from about 708 on are no normal numbers: it then gives infinity, or
    a number with few digits. There delta, which it finds without such sums, is halved in upon from above.
    """
    with np.errstate(over="ignore"):
        epsilon = float(total.get_epsilon_for_delta(delta))
    if epsilon < _LARGEST_TO_DIVIDE or math.isnan(epsilon):  # what is no number is refused by whoever asked
        return epsilon
    low, high = _LARGEST_TO_DIVIDE, 2 * _LARGEST_TO_DIVIDE
    while not total.get_delta_for_epsilon(high) <= delta:  # a delta that is no number is none that was reached
        if high > HOPELESS:
            return math.inf
        low, high = high, 2 * high
    while high - low > _CLOSE * high:
        middle = (low + high) / 2
        low, high = (low, middle) if total.get_delta_for_epsilon(middle) <= delta else (middle, high)
    return high


def _at_once(spend: Spend) -> tuple[StepEvent, int]:
    """Steps without sampling are together one Gaussian with less noise, exactly; others stay as they are."""
    if spend.event.sampling_probability < 1 or spend.steps < 2:
        return spend.event, spend.steps
    return replace(spend.event, noise_multiplier=spend.event.noise_multiplier / math.sqrt(spend.steps)), 1


@lru_cache(maxsize=64)
def _step_loss(
    event: StepEvent, unit: PrivacyUnit, relation: NeighbouringRelation, tail: float, interval: float
) -> tuple[Any, float]:
    """The privacy loss distribution of one step, and the chance of what it leaves out."""
    if unit == "subject" and event.unit == "patch":
        return _mixture_loss(event, tail, interval)
    # One patch less turns its subject's clipped gradient into any other one: the subject is replaced.
    standing = relation if event.unit == unit else "replace-one"
    loss = pld.from_gaussian_mechanism(
        event.noise_multiplier,
        sampling_prob=event.sampling_probability,
        value_discretization_interval=interval,
        neighboring_relation=_RELATIONS[standing],
    )
    return loss, 0.0


def _mixture_loss(event: StepEvent, tail: float, interval: float) -> tuple[Any, float]:
    """A subject's patches enter one by one: its contribution is a sum of Binomial(K, q) clipped gradients."""
    patches, q = event.patches_per_subject or 0, event.sampling_probability
    if q == 1:  # all K enter: one Gaussian of K times the sensitivity, where the library's mixture breaks down
        whole = pld.from_gaussian_mechanism(event.noise_multiplier / patches, value_discretization_interval=interval)
        return whole, 0.0
    largest = _largest_draw(patches, q, tail)
    counts = np.arange(largest + 1)
    chances = stats.binom.pmf(counts, patches, q)
    loss = pld.from_mixture_gaussian_mechanism(
        event.noise_multiplier,
        counts.astype(float).tolist(),
        (chances / chances.sum()).tolist(),
        value_discretization_interval=interval,
    )
    return loss, float(stats.binom.sf(largest, patches, q))


def _largest_draw(patches: int, q: float, tail: float) -> int:
    """The number of one subject's patches that a step exceeds with a chance of at most `tail`."""
    return int(np.argmax(stats.binom.sf(np.arange(patches + 1), patches, q) <= tail))


def _widest(spend: Spend, delta: float) -> float:
    """About the largest loss of one step that a grid must hold, for a mixture; the others are narrow."""
    event = spend.event
    if event.unit == "subject":
        return 0.0
    largest = _largest_draw(event.patches_per_subject or 0, event.sampling_probability, _TAIL * delta / spend.steps)
    return (largest / event.noise_multiplier) ** 2 / 2


def _for_two(total: Any, delta: float) -> float:
    """Twice the smallest epsilon with (1 + e^epsilon) delta(epsilon) <= delta: one removal, then one addition."""
    once = np.concatenate(([0.0], np.geomspace(1e-4, 50, 5000)))  # steps of 0.3 %, rounded up
    enough = (1 + np.exp(once)) * total.get_delta_for_epsilon(once) <= delta
    return float(2 * once[np.argmax(enough)]) if enough.any() else math.inf
