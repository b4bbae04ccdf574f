"""Distances between image patches, all pairs of a set: pixel by pixel, and by optimal transport (no torch).

`wasserstein` is the published choice, as scikit-learn's t-SNE takes it when it is handed
`scipy.stats.wasserstein_distance`: W1 between the pixel intensities of two patches. Two distributions of equally many
equal masses are transported in sorted order, so it is the mean absolute difference of the sorted intensities. It does
not see place: shuffle the pixels of a patch, and the distance stays.

`sliced` sees place. A patch is brightness, of sum 1, that lies in the plane; seen along a direction it is a
distribution on a line, whose W1 is the area between cumulative sums. The mean over directions in equal steps says how
many pixels brightness must travel.

Each distance is written as one between vectors, a vector for each patch, so that nothing is sorted or summed twice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.spatial.distance import pdist, squareform

from angioshare.errors import DataError
from angioshare.types import FloatArray

DIRECTIONS = 16
"""Directions of the sliced distance, in equal steps over half a turn."""

Double: TypeAlias = npt.NDArray[np.float64]
MetricName: TypeAlias = Literal["euclidean", "wasserstein", "sliced"]


@dataclass(frozen=True, kw_only=True)
class PatchMetric:
    """A distance between patches, as one between vectors.

    Attributes:
        title: What a reader sees.
        explanation: What it sees and what it cannot see, in a sentence.
        vectors: Maps patches (n, h, w) to vectors (n, d).
        norm: The vectors' distance: `"euclidean"`, or `"cityblock"` (sum of absolute differences).
    """

    title: str
    explanation: str
    vectors: Callable[[Double], Double]
    norm: Literal["euclidean", "cityblock"]


def distance_matrix(image: FloatArray, metric: MetricName) -> Double:
    """Distance of every patch to every other.

    Args:
        image: Shape (n, h, w), n >= 1, at least one pixel, finite. `sliced` needs values >= -1, where -1 is no
            brightness.
        metric: A key of `METRICS`.

    Returns:
        Shape (n, n), symmetric, zero on the diagonal, >= 0.

    Raises:
        DataError: The shape is another one, a pixel is not finite, or is below -1 for `sliced`.

    Units: `euclidean` and `wasserstein` that of intensities, `sliced` pixels. Memory: 16 bytes a pixel of all patches,
    and 12 n^2.

    Example:
        >>> patch, moved = np.full((2, 8, 8), -1.0)
        >>> patch[2, 2] = moved[2, 5] = 1
        >>> for metric in METRICS:
        ...     metric, distance_matrix(np.stack([patch, moved]), metric)[0, 1].round(3)
        ('euclidean', np.float64(2.828))
        ('wasserstein', np.float64(0.0))
        ('sliced', np.float64(1.904))
    """
    if image.ndim != 3 or not image.size or not np.isfinite(image).all():
        raise DataError(f"patches of shape {image.shape} must be (n, h, w), not empty and finite; replace or drop them")
    chosen = METRICS[metric]
    found: Double = squareform(pdist(chosen.vectors(np.asarray(image, np.float64)), chosen.norm))
    return found


def _pixels(image: Double) -> Double:
    """The pixels as they lie."""
    return image.reshape(len(image), -1)


def _sorted_intensities(image: Double) -> Double:
    """Sorted intensities, each with its share of the whole."""
    flat = np.sort(_pixels(image), axis=1)
    flat /= flat.shape[1]
    return flat


def _cumulative_brightness(image: Double) -> Double:
    """Brightness on one side of every place on the line of every direction, each with its direction's share."""
    if image.min() < -1:
        raise DataError(f"a pixel of {image.min():.3g} lies below -1, where brightness is none; scale to [-1, 1] first")
    brightness = _pixels(image) + 1
    total = brightness.sum(axis=1, keepdims=True)
    dark = total[:, 0] == 0  # no brightness lies nowhere: take it as the same everywhere
    brightness[dark], total[dark] = 1, brightness.shape[1]
    lines = (_projections(*image.shape[1:]) @ brightness.T).T / total
    along = lines.reshape(len(image), DIRECTIONS, -1).cumsum(axis=2)
    found: Double = along.reshape(len(image), -1) / DIRECTIONS
    return found


def _projections(h: int, w: int) -> csr_array:
    """Sums a patch along every direction, shape (DIRECTIONS * places, h * w); places are a pixel apart.

    What falls between two places is shared by both so that its mean place stays: the distance of two single pixels is
    exact.
    """
    angles = np.arange(DIRECTIONS) * np.pi / DIRECTIONS
    i, j = np.divmod(np.arange(h * w), w)
    reach = np.ceil(np.hypot(h, w) / 2)
    at = np.cos(angles)[:, None] * (i - (h - 1) / 2) + np.sin(angles)[:, None] * (j - (w - 1) / 2) + reach
    places = int(2 * reach) + 2
    low = np.floor(at).astype(np.int64)
    rows = low + np.arange(DIRECTIONS)[:, None] * places
    columns = np.broadcast_to(np.arange(h * w), rows.shape)
    weights = np.stack([1 - (at - low), at - low])
    index = (np.stack([rows, rows + 1]).ravel(), np.stack([columns, columns]).ravel())
    return csr_array((weights.ravel(), index), shape=(DIRECTIONS * places, h * w))


METRICS: dict[MetricName, PatchMetric] = {
    "euclidean": PatchMetric(
        title="Euclidean distance",
        explanation="Pixel by pixel: a vessel a few pixels further on is as far as one anywhere else.",
        vectors=_pixels,
        norm="euclidean",
    ),
    "wasserstein": PatchMetric(
        title="Wasserstein distance of intensities",
        explanation="The published one: only which intensities occur and how often counts, not where.",
        vectors=_sorted_intensities,
        norm="cityblock",
    ),
    "sliced": PatchMetric(
        title="Sliced Wasserstein distance in the plane",
        explanation="How many pixels brightness must travel to turn one patch into the other.",
        vectors=_cumulative_brightness,
        norm="cityblock",
    ),
}
"""Distances by name; t-SNE is drawn once with each."""
