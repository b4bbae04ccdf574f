"""Planning with the accountant: noise from epsilon, steps from epsilon, and whether a run can learn anything at all.

What is calibrated is calculated once more with the accountant itself, and never lies above the target.
"""

import math
from collections.abc import Callable
from dataclasses import replace

from scipy import stats
from scipy.optimize import brentq

from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy.accounting import guarantee, rdp_epsilon
from angioshare.privacy.events import Spend, StepEvent

_LEAST_HALVINGS = 6  # noise multipliers below 1/64 are not asked for
_CLOSE = 1e-3  # noise is calibrated to this relative accuracy, always upwards
_NOISIEST = 1e5
_FAR = 100.0
_MEANINGFUL = 10.0  # the largest epsilon that is commonly defended in public
_HOPELESS, _WORKABLE = 100_000, 5_000_000  # numbers a network needs; one of this project has millions of weights


def auto_delta(n_units: int) -> float:
    """The default delta for `n_units` protected units: a tenth of one over their number, and never above 1e-5.

    Example:
        >>> auto_delta(41), auto_delta(41000)
        (1e-05, 2.4390243902439027e-06)
    """
    if n_units < 1:
        raise SettingsError(f"n_units={n_units} must be at least 1")
    return min(1e-5, 0.1 / n_units)


def calibrate_noise(epsilon: float, delta: float, event: StepEvent, steps: int) -> StepEvent:
    """The event with the least noise multiplier that keeps `steps` of it within (epsilon, delta) for its unit.

    Args:
        epsilon: Target, > 0.
        delta: In (0, 1).
        event: Gives unit, relation and sampling probability; its noise multiplier does not matter.
        steps: How many steps, >= 1.

    Returns:
        The event with its noise multiplier set.

    Raises:
        SettingsError: The target is out of range.
        PrivacyError: No noise multiplier up to 100,000 reaches it.

    Guarantees:
        The epsilon of the result, calculated again, is at most the target.

    Example:
        >>> event = StepEvent(unit="patch", sampling_probability=0.01, noise_multiplier=1.0)
        >>> round(calibrate_noise(1.828, 1e-5, event, 1000).noise_multiplier, 2)
        1.0
    """
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise SettingsError(f"epsilon={epsilon} must be finite and > 0; for a run without privacy use no engine at all")
    if steps < 1:
        raise SettingsError(f"steps={steps} must be at least 1")

    def cost(noise: float) -> float:
        spends = [Spend(event=replace(event, noise_multiplier=noise), steps=steps)]
        if (loose := rdp_epsilon(spends, delta)) > _FAR * max(epsilon, 1):
            return loose  # so far beyond the target that the slow, exact answer would be no as well
        return guarantee(spends, delta, event.unit, event.relation).epsilon

    # In the precision 1 / noise, cost rises: walk up from where the looser accountant says that it is low enough.
    low = 1.0
    while cost(1 / low) > epsilon:
        low /= 2
        if 1 / low > _NOISIEST:
            raise PrivacyError(
                f"no noise multiplier up to {_NOISIEST:g} reaches epsilon={epsilon} over {steps} steps; "
                "take fewer steps, a smaller sampling probability or a larger epsilon"
            )
    high = 2 * low
    while high < 2**_LEAST_HALVINGS and cost(1 / high) <= epsilon:
        low, high = high, 2 * high
    found = _last_within(lambda precision: cost(1 / precision), epsilon, low, high, lambda x: x * _CLOSE)
    return replace(event, noise_multiplier=1 / found)


def steps_for(epsilon: float, delta: float, event: StepEvent, most: int, earlier: tuple[Spend, ...] = ()) -> int:
    """How many steps of `event` fit into (epsilon, delta) beside what was spent earlier.

    Args:
        epsilon: The budget for the event's unit, > 0.
        delta: In (0, 1).
        event: What one step does.
        most: No more than these are asked for, >= 0.
        earlier: What was spent before.

    Returns:
        A number in [0, most]: so many steps cost at most `epsilon`, and one more would cost more or is beyond `most`.

    Example:
        >>> event = StepEvent(unit="patch", sampling_probability=0.01, noise_multiplier=1.0)
        >>> steps_for(1.83, 1e-5, event, most=5000) >= 1000
        True
    """

    def cost(steps: float) -> float:
        spends = [*earlier, Spend(event=event, steps=int(steps))]
        return guarantee(spends, delta, event.unit, event.relation).epsilon

    if not math.isfinite(epsilon) or epsilon <= 0:
        raise SettingsError(f"epsilon={epsilon} must be finite and > 0")
    if most <= 0 or cost(0) > epsilon:
        return 0
    low, high = 0, 1
    while cost(high) <= epsilon:
        if high == most:
            return most
        low, high = high, min(8 * high, most)
    return int(_last_within(cost, epsilon, low, high, lambda _: 1.0))


def _last_within(
    cost: Callable[[float], float], target: float, low: float, high: float, close: Callable[[float], float]
) -> float:
    """The largest x with cost(x) <= target, as closely from below as `close(x)`, which is also the least step.

    Interpolates between `low`, which is within the target, and `high`, which is not; every third time it halves, so
    that it ends whatever the shape of the (rising) cost. A call of `cost` takes up to a second: few are made.
    """
    at_low, at_high = cost(low), cost(high)
    turn = 0
    while high - low > close(low) * (1 + 1e-9):
        turn += 1
        share = 0.5 if turn % 3 == 0 else (target - at_low) / (at_high - at_low)
        if not math.isfinite(share):
            share = 0.5
        step = close(low)
        # Beside the guess rather than on it, once to either side: so both ends close in.
        guess = low + share * (high - low) + (step / 2 if turn % 2 else -step / 2)
        guess = min(max(low + step * round((guess - low) / step), low + step), max(high - step, (low + high) / 2))
        guess = float(int(guess)) if step == 1.0 else guess
        if (found := cost(guess)) <= target:
            low, at_low = guess, found
        else:
            high, at_high = guess, found
    return low


def gaussian_mu(epsilon: float, delta: float) -> float:
    """The mu of the Gaussian mechanism that has exactly this epsilon and delta.

    References:
        Dong, Roth & Su (2022), Gaussian differential privacy, arXiv:1905.02383, corollary 1.

    Example:
        >>> round(gaussian_mu(1.0, 1e-5), 3)
        0.268
    """

    def surplus(mu: float) -> float:
        # The second term is e^epsilon Phi(.), through logarithms so that a large epsilon does not overflow.
        tail = math.exp(min(epsilon + stats.norm.logcdf(-epsilon / mu - mu / 2), 0.0))
        return float(stats.norm.cdf(-epsilon / mu + mu / 2)) - tail - delta

    return float(brentq(surplus, 1e-9, 10 + 2 * math.sqrt(max(epsilon, 1)) + 2 * epsilon, xtol=1e-12))


def signal_to_noise(epsilon: float, delta: float, n_units: int) -> float:
    """Signal to noise mu N: how far all units together stand out of the noise that (epsilon, delta) asks for.

    Example:
        >>> round(signal_to_noise(1.0, 1 / 41000, 41000), -2)
        11600.0
    """
    return math.inf if not math.isfinite(epsilon) else gaussian_mu(epsilon, delta) * n_units


def affordable_numbers(signal: float) -> int:
    """About how many numbers can be released at a signal of two standard deviations each.

    Spread evenly over k numbers, each keeps a signal-to-noise ratio of mu N / sqrt(k).

    Example:
        >>> affordable_numbers(16.0)
        64
    """
    return int((signal / 2) ** 2) if math.isfinite(signal) else 10**12


def verdict(epsilon: float, delta: float, n_units: int | None, subject_epsilon: float | None) -> str:
    """Say in a sentence whether such a run protects anybody, and whether a network can learn from it.

    Args:
        epsilon: For the unit.
        delta: In (0, 1).
        n_units: How many units; None leaves out what can be learnt.
        subject_epsilon: For a whole subject; None if not asked for.

    Example:
        >>> verdict(1.0, 1e-5, 41, 1.0)
        'hopeless for a network: the noise leaves about 30 numbers; meaningful protection of one unit'
    """
    if epsilon <= 0:
        return "nothing is spent, and nothing can be learnt from private data"
    protects = "meaningful" if epsilon <= _MEANINGFUL else "no meaningful"
    words = f"{protects} protection of one unit"
    if subject_epsilon is not None and subject_epsilon > _MEANINGFUL >= epsilon:
        words += ", none of a whole subject"
    return words if n_units is None else f"{_learnable(signal_to_noise(epsilon, delta, n_units))}; {words}"


def _learnable(signal: float) -> str:
    """What can be learnt at a signal to noise of mu N."""
    numbers = affordable_numbers(signal)
    ease = "hopeless" if numbers < _HOPELESS else "hard" if numbers < _WORKABLE else "workable"
    return f"{ease} for a network: the noise leaves about {numbers} numbers"


def rdp_of(event: StepEvent, steps: int, delta: float) -> float:
    """Epsilon by Renyi accounting for the unit that is drawn (the looser cross-check), infinity if it has none."""
    epsilon = rdp_epsilon([Spend(event=event, steps=steps)], delta)
    return epsilon if math.isfinite(epsilon) else math.inf
