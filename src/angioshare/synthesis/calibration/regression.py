"""From statistics to sites: what a regression on simulated subjects knows, and what a noisy mean leaves open.

Subjects from all over the prior teach, in public, how parameters and statistics hang together. A linear map then turns
a subject's statistics into the few numbers that say most about the parameters (semi-automatic summaries, Fearnhead and
Prangle 2012); only those are released. Given their noisy mean, the parameters have a Gaussian posterior in closed
form: where the noise drowns a direction, the prior stays.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from angioshare.errors import SettingsError
from angioshare.privacy.release import Release
from angioshare.types import FloatArray

_MOST = 3.0
"""A statistic counts at most so many standard deviations of the simulated subjects."""
_RADIUS_QUANTILE = 0.8
_RIDGE = 0.05
_SLOPE_RIDGE = 0.1
"""Few subjects stand against many parameters, so slopes are drawn towards zero: the posterior stays wide."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """What simulated subjects taught. Public.

    Attributes:
        centre: Mean (d,) of the statistics over the simulated subjects.
        scale: Their standard deviation (d,).
        projection: Statistics (d,), standardised, to released numbers (k,), in units of the public radius.
        slope: Parameters (p,) to released numbers (k,), each parameter with mean 0 and variance 1: (k, p).
        scatter: Covariance (k, k) of the released numbers of subjects with the same parameters.
    """

    centre: FloatArray
    scale: FloatArray
    projection: FloatArray
    slope: FloatArray
    scatter: FloatArray

    def vector(self, statistics: FloatArray) -> FloatArray:
        """Turn one subject's statistics (d,) into the numbers (k,) that are released; NaN counts as the mean.

        Guarantees:
            Every number is finite. The norm is not bounded here: `privacy.release` bounds it.
        """
        with np.errstate(all="ignore"):
            standard = np.clip(np.nan_to_num((statistics - self.centre) / self.scale, nan=0.0), -_MOST, _MOST)
        return np.asarray(standard @ self.projection)

    def digest(self) -> str:
        """Name what a released list of numbers means: lists of other calibrations must not be taken for it."""
        return hashlib.sha256(np.round(self.projection, 6).tobytes()).hexdigest()[:16]

    def posterior(self, release: Release) -> tuple[FloatArray, FloatArray]:
        """Return mean (p,) and covariance (p, p) of a site's parameters, in standard units, given a noisy mean.

        The prior is a standard normal one. A mean over many subjects scatters less than one subject, but the
        regression is not exact either, so the whole scatter of one subject is kept as its error.
        """
        error = self.scatter + release.noise_std**2 * np.eye(len(self.scatter))
        gain = self.slope.T @ np.linalg.inv(self.slope @ self.slope.T + error)
        covariance = np.eye(self.slope.shape[1]) - gain @ self.slope
        return gain @ release.mean, (covariance + covariance.T) / 2

    def sites(self, release: Release, count: int, rng: np.random.Generator) -> FloatArray:
        """Draw places (count, p) in the prior's range, in [0, 1], from the posterior."""
        mean, covariance = self.posterior(release)
        values, vectors = np.linalg.eigh(covariance)
        root = vectors * np.sqrt(np.maximum(values, 0))
        drawn = mean + rng.standard_normal((count, len(mean))) @ root.T
        return np.asarray(np.clip(0.5 + drawn / np.sqrt(12), 0, 1))


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
        >>> told = Release(mean=calibration.vector(shares[0] @ mixing), noise_std=0.0)
        >>> calibration.sites(told, 4, rng).shape
        (4, 3)
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
    projection, released = projection / radius, released / radius
    narrow = parameters.T @ parameters / len(parameters) + _SLOPE_RIDGE * np.eye(parameters.shape[1])
    slope = np.linalg.solve(narrow, parameters.T @ released / len(parameters)).T
    rest = released - parameters @ slope.T
    return Calibration(
        centre=centre, scale=scale, projection=projection, slope=slope, scatter=rest.T @ rest / len(rest)
    )


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
