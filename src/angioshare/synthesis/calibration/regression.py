"""From many statistics of a subject to the few numbers that say most about its parameters.

Subjects from all over the prior teach, in public, how parameters and statistics hang together; a linear map to what the
parameters can be told from does the rest (semi-automatic summaries, Fearnhead and Prangle 2012).
"""

from dataclasses import dataclass

import numpy as np

from angioshare.errors import SettingsError
from angioshare.types import FloatArray

_MOST = 3.0
"""A statistic counts at most so many standard deviations of the simulated subjects."""
_RADIUS_QUANTILE = 0.8
_RIDGE = 0.05


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What simulated subjects taught. Public.

    Attributes:
        centre: Mean (d,) of the statistics over the simulated subjects.
        scale: Their standard deviation (d,).
        projection: Statistics (d,), standardised, to released numbers (k,), in units of the public radius.
    """

    centre: FloatArray
    scale: FloatArray
    projection: FloatArray

    def vector(self, statistics: FloatArray) -> FloatArray:
        """Turn one subject's statistics (d,) into the numbers (k,) that are released; NaN counts as the mean.

        Guarantees:
            Every number is finite. The norm is not bounded here: `privacy.release` bounds it.
        """
        with np.errstate(all="ignore"):
            standard = np.clip(np.nan_to_num((statistics - self.centre) / self.scale, nan=0.0), -_MOST, _MOST)
        return np.asarray(standard @ self.projection)


def learn(shares: FloatArray, statistics: FloatArray, numbers: int) -> Calibration:
    """Learn from simulated subjects which numbers say most about their parameters.

    Args:
        shares: Where each subject's parameters lie in the prior's range, shape (n, p), in [0, 1].
        statistics: What was measured of each, shape (n, d).
        numbers: How many numbers k are to be released, >= 1.

    Raises:
        SettingsError: There are fewer subjects than numbers ask for.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> shares, mixing = rng.random((200, 3)), rng.standard_normal((3, 5))
        >>> calibration = learn(shares, shares @ mixing, 3)
        >>> calibration.vector(shares[0] @ mixing).shape
        (3,)
    """
    if len(shares) < 2 * numbers + 2:
        raise SettingsError(f"{len(shares)} simulated subjects cannot teach {numbers} numbers; simulate more")
    # A statistic that could be measured nowhere says nothing: all its values are one.
    known = np.where(np.isfinite(statistics).any(axis=0), statistics, 0.0)
    centre = np.nanmean(known, axis=0)
    scale = np.maximum(np.nanstd(known, axis=0), 1e-6)
    standard = np.clip(np.nan_to_num((known - centre) / scale, nan=0.0), -_MOST, _MOST)
    parameters = (shares - 0.5) * np.sqrt(12)
    weights = _predictors(standard, parameters)
    _, _, axes = np.linalg.svd(standard @ weights, full_matrices=False)
    projection = weights @ axes[:numbers].T
    released = standard @ projection
    radius = max(float(np.quantile(np.linalg.norm(released, axis=1), _RADIUS_QUANTILE)), 1e-9)
    return Calibration(centre=centre, scale=scale, projection=projection / radius)


def _predictors(standard: FloatArray, parameters: FloatArray) -> FloatArray:
    """Ridge weights (d, p) from statistics to parameters, each parameter scaled by how well it can be told.

    What a regression cannot tell of subjects that it did not see must take no room in a release.
    """
    count, size = standard.shape
    inverse = np.linalg.inv(standard.T @ standard / count + _RIDGE * np.eye(size))
    weights = inverse @ standard.T @ parameters / count
    leverage = np.einsum("nd,de,ne->n", standard, inverse, standard) / count
    # The error on each subject, had it been left out (Golub et al. 1979).
    left_out = (parameters - standard @ weights) / np.maximum(1 - leverage, 1e-3)[:, None]
    explained = 1 - np.mean(left_out**2, axis=0) / np.mean(parameters**2, axis=0)
    return np.asarray(weights * np.sqrt(np.maximum(explained, 0)))
