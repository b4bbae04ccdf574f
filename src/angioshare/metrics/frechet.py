"""Frechet distance between two sets of features: how far apart two Gaussians of the same mean and covariance lie.

With the pool3 features of the FID Inception network this is the FID of Heusel et al. (2017); with any other features it
has another scale and another name (see `fidelity`). Here it is pure linear algebra on arrays (no torch).

The usual way multiplies two covariance matrices of d x d and takes a matrix square root, which is singular as soon as a
set has no more samples than features: it then returns complex numbers or noise, and programs add a small constant. None
of that is needed. With centred features A (n x d) and B (m x d), scaled so that the covariances are A'A and B'B, the
trace of the square root of their product is the sum of the singular values of A B'. That is exact for any n, m and d.
"""

import numpy as np
import numpy.typing as npt

from angioshare.errors import DataError
from angioshare.types import FloatArray

Matrix = npt.NDArray[np.float64]

PARTS = (1, 2, 3)
"""Into how many parts the sets are cut to see how the distance falls with more samples."""


def frechet_distance(a: FloatArray, b: FloatArray) -> float:
    """Distance of the Gaussians that fit two sets of features.

    ``|mean a - mean b|^2 + tr(Sa + Sb - 2 (Sa Sb)^(1/2))`` with covariances over n - 1, as all FID programs do.

    Args:
        a: Features of one set, shape (n, d), n >= 2.
        b: Features of the other, shape (m, d), m >= 2.

    Returns:
        A number >= 0, calculated in double precision; symmetric in a and b.

    Raises:
        DataError: The shapes do not fit, a set has fewer than two samples, or a feature is not finite.

    Units: squares of the features' unit.

    Edge cases: fewer samples than features are no special case; but the distance of small sets is too large, see
    `frechet_extrapolated`.

    References:
        Heusel et al. (2017), arXiv:1706.08500. Dowson & Landau (1982), Journal of Multivariate Analysis 12:450.

    Example:
        >>> a = np.array([[0.0, 0.0], [2.0, 0.0]])      # mean (1, 0), variance 2 along the first axis
        >>> float(frechet_distance(a, a + 3))
        18.0
    """
    x, y = checked_features(a, b)
    shift = x.mean(axis=0) - y.mean(axis=0)
    A, B = _root(x), _root(y)
    common = np.linalg.svd(A @ B.T, compute_uv=False).sum()
    return max(float(shift @ shift + np.square(A).sum() + np.square(B).sum() - 2 * common), 0.0)


def frechet_extrapolated(a: FloatArray, b: FloatArray) -> float:
    """Frechet distance that sets without end would have, by a line through the distances of parts of these sets.

    The distance of finite sets is too large by about c / n, with c depending on the sets, so that two synthesizers may
    not even be ranked by it. Distances of whole sets, of halves and of thirds (averaged over the parts) lie on a line
    over 1 / n; its intercept is returned.

    Args:
        a: Features of one set in random order, shape (n, d), n >= 6.
        b: Features of the other in random order, shape (m, d), m >= 6.

    Returns:
        A number that is not bound to be positive: of two sets from one source it scatters around 0.

    Raises:
        DataError: As `frechet_distance`, or a set has fewer than six samples.

    Units: squares of the features' unit.

    References:
        Chong & Forsyth (2020), Effectively unbiased FID and Inception score, CVPR, arXiv:1911.07023.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> a, b = rng.normal(size=(2, 300, 20))
        >>> frechet_distance(a, b) > 5 * abs(frechet_extrapolated(a, b))
        True
    """
    x, y = checked_features(a, b)
    if min(len(x), len(y)) < 2 * max(PARTS):
        raise DataError(
            f"{len(x)} and {len(y)} samples cannot be cut into {max(PARTS)} parts; give {2 * max(PARTS)} or more"
        )
    means = []
    for parts in PARTS:
        cuts = zip(np.array_split(x, parts), np.array_split(y, parts), strict=True)
        means.append(np.mean([frechet_distance(one, other) for one, other in cuts]))
    _slope, intercept = np.polyfit(PARTS, means, 1)
    return float(intercept)


def checked_features(a: FloatArray, b: FloatArray) -> tuple[Matrix, Matrix]:
    """See two sets of features as finite matrices of as many columns.

    Raises:
        DataError: They are not.
    """
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1] or min(len(x), len(y)) < 2:
        raise DataError(
            f"features {x.shape} and {y.shape} must be (n, d) and (m, d) with n and m of 2 or more; "
            "take both from one network, and more samples"
        )
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError("a feature is NaN or infinite; see what the feature network makes of these patches")
    return x, y


def _root(x: Matrix) -> Matrix:
    """A matrix R with R'R = the covariance of x, with no more than d rows."""
    centred: Matrix = (x - x.mean(axis=0)) / np.sqrt(len(x) - 1)
    if len(x) <= x.shape[1]:
        return centred
    upper: Matrix = np.asarray(np.linalg.qr(centred, mode="r"), np.float64)
    return upper
