"""Mean, spread and uncertainty of a metric over subjects (no torch).

The subject is what is drawn again: voxels and patches of one person are not independent. With few subjects the interval
is a rough one, and too narrow rather than too wide; it says nothing about other sites or other training seeds.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from angioshare.errors import DataError, SettingsError
from angioshare.rng import stream
from angioshare.types import FloatArray

RESAMPLES = 10_000
"""How often subjects are drawn again; moves the ends of an interval by about 1 % of its width."""


@dataclass(frozen=True)
class Summary:
    """A metric over subjects.

    Attributes:
        mean: Mean over the subjects where it is defined; NaN if there is none.
        sd: Standard deviation over them (n - 1 in the denominator); NaN below two.
        low: Lower end of the mean's confidence interval; NaN below two.
        high: Upper end of it; NaN below two.
        n: Subjects where the metric is defined.
        undefined: Subjects where it is not, for example the distance to an empty prediction. A mean that leaves them
            out flatters the method: show this number beside it.
    """

    mean: float
    sd: float
    low: float
    high: float
    n: int
    undefined: int = 0


def summarise(values: Sequence[float | None], *, seed: int, confidence: float = 0.95) -> Summary:
    """Mean, standard deviation and percentile bootstrap interval of the mean over subjects.

    Args:
        values: One number per subject; None or NaN where it is undefined.
        seed: Drives the bootstrap; the same seed gives the same interval.
        confidence: Share of intervals that should cover the true mean, in (0, 1).

    Returns:
        The summary, see `Summary`.

    Raises:
        SettingsError: `confidence` is not in (0, 1).

    Units: those of `values`.

    References:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, chapter 13.

    Example:
        >>> summary = summarise([0.7, 0.8, None], seed=1)
        >>> round(summary.mean, 2), summary.n, summary.undefined
        (0.75, 2, 1)
    """
    _check(confidence)
    known = _known(values)
    n, undefined = len(known), len(values) - len(known)
    if n < 2:
        mean = float(known[0]) if n else math.nan
        return Summary(mean, math.nan, math.nan, math.nan, n, undefined)
    low, high = _bootstrap_interval(known, seed, confidence)
    return Summary(float(known.mean()), float(known.std(ddof=1)), low, high, n, undefined)


def paired_difference(
    first: Sequence[float | None], second: Sequence[float | None], *, seed: int, confidence: float = 0.95
) -> Summary:
    """Summarise `first - second` subject by subject: is one method better on the same people?

    Args:
        first: One number per subject; None or NaN where it is undefined.
        second: The same subjects in the same order.
        seed: Drives the bootstrap.
        confidence: Share of intervals that should cover the true mean difference, in (0, 1).

    Returns:
        The summary of the differences; a pair with an undefined member counts as undefined.

    Raises:
        DataError: The two lists differ in length.
        SettingsError: `confidence` is not in (0, 1).

    Units: those of the values.

    Example:
        >>> paired_difference([0.8, 0.9], [0.7, 0.8], seed=1).low > 0
        True
    """
    if len(first) != len(second):
        raise DataError(f"{len(first)} and {len(second)} values cannot be paired; give one of each per subject")
    pairs = zip(first, second, strict=True)
    return summarise([None if a is None or b is None else a - b for a, b in pairs], seed=seed, confidence=confidence)


def _check(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise SettingsError(f"confidence={confidence} must lie between 0 and 1; 0.95 is usual")


def _known(values: Sequence[float | None]) -> FloatArray:
    return np.array([value for value in values if value is not None and math.isfinite(value)], np.float64)


def _bootstrap_interval(values: FloatArray, seed: int, confidence: float) -> tuple[float, float]:
    drawn = stream(seed, "bootstrap").integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
