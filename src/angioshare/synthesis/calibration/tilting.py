"""Choosing among simulated patches so that their mean features are those of a site.

Of all ways to weight a pool, exponential tilting departs least from it (maximum entropy): w_i is proportional to
exp(lambda . x_i), with lambda such that the weighted mean is the target, up to a tolerance that keeps the weights from
resting on a few patches.
"""

import numpy as np
from scipy.optimize import minimize

from angioshare.types import BoolArray, FloatArray, IntArray

_STEPS = 500


def tilted(pool: FloatArray, target: FloatArray, tolerance: float) -> FloatArray:
    """Weights that move the mean of a pool to a target.

    Args:
        pool: Shape (n, k).
        target: Shape (k,).
        tolerance: Variance of the target's error in each direction, > 0; the larger, the more even the weights.

    Returns:
        Shape (n,), non-negative, of sum 1.

    References:
        Jaynes (1957), Information theory and statistical mechanics; Dudik et al. (2007), Maximum entropy density
        estimation with generalized regularization, section 4 (the l2 penalty).

    Example:
        >>> pool = np.array([[0.0], [1.0], [2.0]])
        >>> float((tilted(pool, np.array([1.5]), 1e-9) @ pool)[0].round(3))
        1.5
    """

    def dual(slope: FloatArray) -> tuple[float, FloatArray]:
        weights, log_sum = _weights(pool, slope)
        value = log_sum - slope @ target + tolerance / 2 * slope @ slope
        return float(value), pool.T @ weights - target + tolerance * slope

    found = minimize(dual, np.zeros(pool.shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": _STEPS})
    return _weights(pool, found.x)[0]


def hedged(weights: FloatArray, anywhere: BoolArray, doubt: float) -> FloatArray:
    """Give a share of all weight to patches of subjects from all over the prior, evenly.

    Args:
        weights: Shape (n,), of sum 1.
        anywhere: Which patches (n,) are of such subjects; if none is, weights stay as they are.
        doubt: The share, in [0, 1].

    References:
        Hesterberg (1995), Weighted average importance sampling and defensive mixture distributions.

    Example:
        >>> hedged(np.array([0.5, 0.5, 0.0]), np.array([False, False, True]), 0.2).tolist()
        [0.4, 0.4, 0.2]
    """
    if not anywhere.any():
        return weights
    return np.asarray((1 - doubt) * weights + doubt * anywhere / anywhere.sum())


def _weights(pool: FloatArray, slope: FloatArray) -> tuple[FloatArray, float]:
    """Normalised weights and the logarithm of their sum before that."""
    exponent = pool @ slope
    highest = float(exponent.max())
    weights = np.exp(exponent - highest)
    total = float(weights.sum())
    return weights / total, highest + float(np.log(total))


def evenly(weights: FloatArray, count: int, rng: np.random.Generator) -> IntArray:
    """Draw `count` indices in proportion to weights, as evenly as can be (systematic resampling).

    Args:
        weights: Shape (n,), of sum 1.
        count: How many.
        rng: Where the one offset comes from.

    Returns:
        Shape (count,), ascending; index i comes within one of `count * weights[i]` times.

    Example:
        >>> evenly(np.array([0.5, 0.25, 0.25]), 4, np.random.default_rng(0)).tolist()
        [0, 0, 1, 2]
    """
    marks = (rng.random() + np.arange(count)) / count
    return np.minimum(np.searchsorted(np.cumsum(weights), marks), len(weights) - 1)
