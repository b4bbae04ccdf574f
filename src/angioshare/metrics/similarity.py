"""Structural similarity (SSIM) of every patch of a set with every other one: a sign of mode collapse (no torch).

The published check takes 1,000 patches, that is 499,500 pairs; a loop over scikit-image filters five images for each.
Four of the five belong to one patch alone and are filtered once here. What is left for a pair is one filtered product,
at the pixels whose window lies within the patch (the ones that count), and it is compiled, so that it never leaves the
processor's nearest cache.

SSIM of patches x and y is the mean over these pixels of

    (2 mx my + C1) (2 cxy + C2) / ((mx^2 + my^2 + C1) (vx + vy + C2))

with m, v, c the mean, variance and covariance under a Gaussian window, C1 = (0.01 L)^2, C2 = (0.03 L)^2, L the range of
intensities. Pairs are worked in single precision, where the subtraction in ``c = mean(x y) - mx my`` costs digits. A
covariance does not change when a patch is shifted, so each patch is shifted by its most frequent value, its background:
there the subtraction is exact.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numba
import numpy as np
import numpy.typing as npt

from angioshare.errors import DataError
from angioshare.types import FloatArray

SIGMA = 1.5
"""Standard deviation of the Gaussian window in pixels (Wang et al. 2004)."""

REACH = 5
"""Pixels from the window's centre to its edge: 11 x 11, as published; 3.5 SIGMA, rounded, as scikit-image takes it."""

Single: TypeAlias = npt.NDArray[np.float32]
PATCHES_AT_ONCE = 8
"""Patches that all others are compared with in turn: as many as a processor's second cache of 1 MB holds."""

Double: TypeAlias = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """SSIM over all pairs of a set.

    Attributes:
        mean: Mean over the pairs, at most 1; 1 if all patches are the same.
        sd: Standard deviation over the pairs (they are not independent: it describes them and is no error).
        pairs: How many pairs.
    """

    mean: float
    sd: float
    pairs: int


def pairwise_similarity(image: FloatArray, *, data_range: float = 2.0, threads: int = 1) -> Similarity:
    """Mean and SD of SSIM over all pairs of different patches.

    Args:
        image: Shape (n, h, w), n >= 2, h and w >= 11, finite.
        data_range: L, > 0; 2 for patches in [-1, 1].
        threads: How many to use, >= 1; the result does not depend on it.

    Returns:
        Mean, SD and number of pairs. Within 1e-6 of scikit-image's
        ``structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False)`` in double precision.

    Raises:
        DataError: There are fewer than two patches, they are smaller than the window, or hold NaN or infinity.

    Units: none. Memory: 100 KB for each patch of 96 x 96; time grows with n^2, so take 1,000 of a large set.

    References:
        Wang et al. (2004), IEEE Transactions on Image Processing 13:600.

    Example:
        >>> patch = np.eye(16)
        >>> round(pairwise_similarity(np.stack([patch, patch, patch])).mean, 6)
        1.0
    """
    values = pair_values(image, data_range=data_range, threads=threads)
    return Similarity(mean=float(values.mean()), sd=float(values.std()), pairs=len(values))


def pair_values(image: FloatArray, *, data_range: float = 2.0, threads: int = 1) -> Double:
    """SSIM of the pairs (0, 1), (0, 2), ... (1, 2), ..., as `numpy.triu_indices(n, 1)` orders them.

    Arguments and errors as `pairwise_similarity`.

    Example:
        >>> pair_values(np.zeros((3, 12, 12))).shape
        (3,)
    """
    _check(image, data_range, threads)
    C1, C2 = np.float32((0.01 * data_range) ** 2), np.float32((0.03 * data_range) ** 2)
    known = _prepare(np.asarray(image))
    n = len(image)
    found = np.zeros((n, n))
    window = gaussian_window()[: REACH + 1].astype(np.float32)

    def work(first: int) -> None:
        compiled()(*known, window, C1, C2, first, min(first + PATCHES_AT_ONCE, n), found)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, reversed(range(0, n, PATCHES_AT_ONCE))))  # the blocks with most pairs first
    return found[np.triu_indices(n, 1)]


def block_of_pairs(
    patches: Single, means: Single, background: Single, variances: Single, window: Single, C1: np.float32,
    C2: np.float32, first: int, last: int, out: Double,
) -> None:  # fmt: skip
    """Write the SSIM of patches `first` ... `last` - 1 with each patch before them; it runs compiled (see `compiled`).

    Args:
        patches: Patches less their background, shape (n, h, w).
        means: Window means of `patches`, shape (n, h - 10, w - 10).
        background: What was taken from each patch, shape (n,).
        variances: Window variances, shape (n, h - 10, w - 10).
        window: The first half of the window's weights and the middle one, shape (6,).
        C1: See the module.
        C2: See the module.
        first: The first of the block of patches; these few stay in the processor's cache.
        last: One after the last.
        out: Shape (n, n); the pairs i < j are written.
    """
    _, h, w = patches.shape
    rows, columns = h - 2 * REACH, w - 2 * REACH
    product, filtered = np.empty((h, w), np.float32), np.empty(w, np.float32)
    g0, g1, g2, g3, g4, g5 = window[0], window[1], window[2], window[3], window[4], window[5]
    two = np.float32(2)
    for x in range(last):
        for y in range(max(first, x + 1), last):
            total = 0.0
            for i in range(h):
                for j in range(w):
                    product[i, j] = patches[x, i, j] * patches[y, i, j]
            for i in range(rows):
                for j in range(w):
                    filtered[j] = (  # written out, since a loop over the window is half as fast
                        g0 * (product[i, j] + product[i + 10, j])
                        + g1 * (product[i + 1, j] + product[i + 9, j])
                        + g2 * (product[i + 2, j] + product[i + 8, j])
                        + g3 * (product[i + 3, j] + product[i + 7, j])
                        + g4 * (product[i + 4, j] + product[i + 6, j])
                        + g5 * product[i + 5, j]
                    )
                row = np.float32(0)
                for j in range(columns):
                    both = (
                        g0 * (filtered[j] + filtered[j + 10])
                        + g1 * (filtered[j + 1] + filtered[j + 9])
                        + g2 * (filtered[j + 2] + filtered[j + 8])
                        + g3 * (filtered[j + 3] + filtered[j + 7])
                        + g4 * (filtered[j + 4] + filtered[j + 6])
                        + g5 * filtered[j + 5]
                    )
                    covariance = both - means[x, i, j] * means[y, i, j]
                    m_x, m_y = means[x, i, j] + background[x], means[y, i, j] + background[y]
                    norm = (m_x * m_x + m_y * m_y + C1) * (variances[x, i, j] + variances[y, i, j] + C2)
                    row += (two * m_x * m_y + C1) * (two * covariance + C2) / norm
                total += float(row)
            out[x, y] = total / (rows * columns)


@cache
def compiled() -> Callable[..., None]:
    """`block_of_pairs` as machine code; made at the first call, which takes one to two seconds.

    Sums may be reordered (their order is no part of the definition); that NaN and infinity be seen is not given up.
    """
    made: Callable[..., None] = numba.njit(
        fastmath={"reassoc", "contract", "arcp", "nsz"}, error_model="numpy", nogil=True
    )(block_of_pairs)
    return made


def gaussian_window() -> Double:
    """Weights of the window along one axis, shape (11,), with sum 1.

    Example:
        >>> gaussian_window().round(4)[:6].tolist()
        [0.001, 0.0076, 0.036, 0.1094, 0.213, 0.266]
    """
    steps = np.arange(-REACH, REACH + 1)
    weights: Double = np.exp(-(steps**2) / (2 * SIGMA**2))
    weights /= weights.sum()
    return weights


def _check(image: FloatArray, data_range: float, threads: int) -> None:
    """Refuse what has no pairwise SSIM."""
    if image.ndim != 3 or len(image) < 2 or min(image.shape[1:]) <= 2 * REACH or data_range <= 0 or threads < 1:
        raise DataError(
            f"patches of shape {image.shape}, range {data_range}, {threads} threads have no pairwise SSIM; give "
            f"(n, h, w) with n of 2 or more, h and w of {2 * REACH + 1} or more, a range above 0, and 1 thread or more"
        )
    if not np.isfinite(image).all():
        raise DataError("a patch holds NaN or infinity and is similar to none; replace those pixels first")


def _prepare(image: FloatArray) -> tuple[Single, Single, Single, Single]:
    """The first four arguments of `block_of_pairs`, filtered once in double precision."""
    n, h, w = image.shape
    patches, background = np.empty((n, h, w), np.float32), np.empty(n, np.float32)
    means, variances = np.empty((2, n, h - 2 * REACH, w - 2 * REACH), np.float32)
    G_h, G_w = _band(h), _band(w)
    for index, patch in enumerate(image):
        values, counts = np.unique(patch, return_counts=True)
        background[index] = values[counts.argmax()]
        x = np.asarray(patch, np.float64) - background[index]
        mean = G_h @ x @ G_w.T
        patches[index], means[index] = x, mean
        variances[index] = G_h @ np.square(x) @ G_w.T - np.square(mean)
    return patches, means, background, variances


def _band(length: int) -> Double:
    """The matrix that filters a column of `length` pixels, shape (length - 10, length)."""
    matrix = np.zeros((length - 2 * REACH, length))
    for row in range(len(matrix)):
        matrix[row, row : row + 2 * REACH + 1] = gaussian_window()
    return matrix
