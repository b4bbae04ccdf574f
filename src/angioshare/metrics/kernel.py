"""Kernel distance between two sets of features: KID, the squared maximum mean discrepancy (no torch).

Unlike the Frechet distance it has no bias, so that small sets may be compared by it; unlike it, it looks at more than
mean and covariance.
"""

import numpy as np

from angioshare.metrics.frechet import Matrix, checked_features
from angioshare.types import FloatArray

ROWS_AT_ONCE = 1024
"""Rows of the kernel matrix in memory at once; bounds it to 8 KB times the number of samples."""


def kernel_distance(a: FloatArray, b: FloatArray) -> float:
    """Squared maximum mean discrepancy with the kernel ``(x . y / d + 1)^3``.

    All pairs of samples are used, where the usual programs average over random subsets of 1,000: the same expectation
    with less scatter and no seed.

    Args:
        a: Features of one set, shape (n, d), n >= 2.
        b: Features of the other, shape (m, d), m >= 2.

    Returns:
        The unbiased estimate, in double precision; of two sets from one source it scatters around 0, so that it may be
        slightly negative.

    Raises:
        DataError: The shapes do not fit, a set has fewer than two samples, or a feature is not finite.

    Units: none; it grows with the cube of the features' squares, so compare numbers of one network only.

    References:
        Binkowski et al. (2018), Demystifying MMD GANs, arXiv:1801.01401.

    Example:
        >>> kernel_distance(np.array([[1.0], [1.0]]), np.array([[0.0], [0.0]]))      # 2^3 + 1 - 2 * 1
        7.0
    """
    x, y = checked_features(a, b)
    n, m = len(x), len(y)
    within_x = (_kernel_sum(x, x) - _diagonal_sum(x)) / (n * (n - 1))
    within_y = (_kernel_sum(y, y) - _diagonal_sum(y)) / (m * (m - 1))
    return within_x + within_y - 2 * _kernel_sum(x, y) / (n * m)


def _kernel_sum(x: Matrix, y: Matrix) -> float:
    """Sum of the kernel over all pairs."""
    total = 0.0
    for first in range(0, len(x), ROWS_AT_ONCE):
        gram = x[first : first + ROWS_AT_ONCE] @ y.T / x.shape[1] + 1
        total += float((gram * gram * gram).sum())
    return total


def _diagonal_sum(x: Matrix) -> float:
    """Sum of the kernel of every sample with itself."""
    return float(((np.square(x).sum(axis=1) / x.shape[1] + 1) ** 3).sum())
