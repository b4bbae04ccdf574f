"""t-SNE: patches as points of a plane, near ones near, from nothing but their distances (no torch).

The points are scikit-learn's. What is added here is a start that the distances themselves give (classical scaling,
Torgerson 1952). A random start gives a picture whose large-scale order is chance (Kobak & Linderman 2021).
"""

import numpy as np
import numpy.typing as npt
from scipy.linalg import eigh

from angioshare.errors import DataError
from angioshare.rng import stream
from angioshare.types import FloatArray

PERPLEXITY = 30.0
"""How many neighbours count, roughly; the published value."""

FEWEST = 4
"""Patches below which there is no neighbourhood to speak of."""

_SPREAD, _JITTER = 1e-4, 1e-7


def fitting_perplexity(n: int, wanted: float = PERPLEXITY) -> float:
    """The perplexity that n points can have: it asks each point for three times as many neighbours.

    Example:
        >>> fitting_perplexity(900), fitting_perplexity(40)
        (30.0, 13.0)
    """
    return min(wanted, (n - 1) / 3)


def tsne(distances: FloatArray, *, perplexity: float = PERPLEXITY, seed: int = 0) -> npt.NDArray[np.float32]:
    """Place points in a plane so that near neighbours stay near.

    Args:
        distances: Shape (n, n), n >= 4, symmetric, finite, >= 0, zero on the diagonal.
        perplexity: Lowered to what n allows (see `fitting_perplexity`); > 0.
        seed: Sets points apart that are the same. Public.

    Returns:
        Shape (n, 2), float32, finite. The same for the same distances and seed, whatever the number of threads; other
        versions of the libraries, or another processor, may place the points otherwise.

    Raises:
        DataError: `distances` is no matrix of distances of enough patches.

    Units: none. Only who is whose neighbour can be read; distances between clouds and their sizes mean nothing.

    References:
        van der Maaten & Hinton (2008), Journal of Machine Learning Research 9:2579. Kobak & Linderman (2021), Nature
        Biotechnology 39:156 (the start).

    Example:
        >>> line = np.arange(12.0)
        >>> tsne(np.abs(line[:, None] - line)).shape
        (12, 2)
    """
    from sklearn.manifold import TSNE  # half a second, which a run that draws nothing need not wait

    _check(distances)
    found = TSNE(
        perplexity=fitting_perplexity(len(distances), perplexity),
        metric="precomputed",
        init=_start(np.asarray(distances, np.float64), seed),
        random_state=0,
        n_jobs=1,
    )
    points: npt.NDArray[np.float32] = found.fit_transform(distances)
    return points


def _check(distances: FloatArray) -> None:
    """Refuse what is no matrix of distances."""
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1] or len(distances) < FEWEST:
        raise DataError(f"distances of shape {distances.shape} must be (n, n) with n >= {FEWEST}; give more patches")
    if not np.isfinite(distances).all() or (distances < 0).any() or distances.diagonal().any():
        raise DataError("distances must be finite, 0 or more, and 0 from each patch to itself; measure them anew")
    if not np.allclose(distances, distances.T):
        raise DataError("distances must be the same both ways; give a symmetric matrix")


def _start(distances: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float32]:
    """Classical scaling to two axes, made so small that it sets the order alone, and a trace of chance against ties."""
    n = len(distances)
    squares = np.square(distances)
    means = squares.mean(axis=0)
    products = -(squares - means - means[:, None] + means.mean()) / 2
    values, axes = eigh(products, subset_by_index=[n - 2, n - 1])
    axes *= np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])  # an axis has no direction of its own: choose one
    found = (axes * np.sqrt(np.maximum(values, 0)))[:, ::-1]
    spread = found[:, 0].std()
    found *= _SPREAD / spread if spread > 0 else 0
    found += stream(seed, "embedding").normal(0, _JITTER, found.shape)
    return np.asarray(found, np.float32)
