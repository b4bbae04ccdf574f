"""Where in a prior's range a site may lie, given a few noisy numbers of it.

Simulated subjects from all over the range teach, in public, how numbers follow from places: a linear map, and what it
leaves open. Given noisy numbers, places then have a Gaussian posterior in closed form. Where the noise drowns a
direction, or no number speaks of it, the prior stays; where numbers point beyond all lessons, so do the places.
"""

from dataclasses import dataclass

import numpy as np

from angioshare.types import FloatArray

_RIDGE = 0.08
"""Few subjects stand against many parameters, so slopes are drawn towards zero."""

_DOUBT = 0.5
"""What a linear map leaves of one subject's numbers is half the subject's own, which a mean over a cohort averages out,
and half the map's error, which stays."""

_FOLDS = 10


@dataclass(frozen=True, kw_only=True)
class Places:
    """What lessons taught. Public.

    Attributes:
        slope: From places in standard units (p,), each with mean 0 and variance 1, to numbers (k,): shape (k, p).
        scatter: Covariance (k, k) of the numbers around what the slope says.
    """

    slope: FloatArray
    scatter: FloatArray

    def posterior(self, numbers: FloatArray, noise: float) -> tuple[FloatArray, FloatArray]:
        """Mean (p,) and covariance (p, p) of a site's place, in standard units, under a standard normal prior.

        Args:
            numbers: The cohort's noisy numbers (k,).
            noise: Standard deviation of the noise on each, >= 0.

        References:
            Bishop (2006), Pattern recognition and machine learning, equations 2.116 and 2.117.
        """
        error = _DOUBT * self.scatter + noise**2 * np.eye(len(self.scatter))
        gain = self.slope.T @ np.linalg.inv(self.slope @ self.slope.T + error)
        covariance = np.eye(self.slope.shape[1]) - gain @ self.slope
        return gain @ numbers, (covariance + covariance.T) / 2

    def draw(self, numbers: FloatArray, noise: float, count: int, rng: np.random.Generator) -> FloatArray:
        """Draw places (count, p) in [0, 1] from the posterior; what falls outside is mirrored at the border.

        Args:
            numbers: The cohort's noisy numbers (k,).
            noise: Standard deviation of the noise on each, >= 0.
            count: How many.
            rng: Where they come from.
        """
        mean, covariance = self.posterior(numbers, noise)
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0))
        drawn = np.abs(0.5 + (mean + rng.standard_normal((count, len(mean))) @ root.T) / np.sqrt(12))
        return np.asarray(np.clip(np.where(drawn > 1, 2 - drawn, drawn), 0, 1))


def learn_places(shares: FloatArray, numbers: FloatArray) -> Places:
    """Learn from simulated subjects how numbers follow from places.

    Args:
        shares: Where each lies in the prior's range, shape (n, p), in [0, 1].
        numbers: What each gives, shape (n, k), with mean 0.

    Returns:
        The map; its scatter is measured on subjects that it was not learnt from.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> shares, mixing = rng.random((200, 3)), rng.standard_normal((3, 4))
        >>> told = learn_places(shares, (shares - 0.5) @ mixing)
        >>> told.draw((shares[0] - 0.5) @ mixing, 0.0, 5, rng).shape
        (5, 3)
    """
    places = (shares - 0.5) * np.sqrt(12)
    fold, rest = np.arange(len(places)) % min(_FOLDS, len(places)), np.empty_like(numbers, np.float64)
    for one in np.unique(fold):
        others = fold != one
        rest[~others] = numbers[~others] - places[~others] @ _slope(places[others], numbers[others]).T
    return Places(slope=_slope(places, numbers), scatter=rest.T @ rest / len(rest))


def _slope(places: FloatArray, numbers: FloatArray) -> FloatArray:
    """Ridge regression, shape (k, p)."""
    narrow = places.T @ places / len(places) + _RIDGE * np.eye(places.shape[1])
    return np.asarray(np.linalg.solve(narrow, places.T @ numbers / len(places)).T)
