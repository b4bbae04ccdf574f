"""Density and coverage: is what was made like the real, and is all of the real there? (no torch).

A single distance cannot tell a synthesizer that makes few patches well from one that makes all of them badly. Around
every real sample lies a ball that reaches to its k-th nearest real neighbour. Density asks in how many balls a
synthetic sample lies, coverage asks how many balls hold one.
"""

from dataclasses import dataclass

import numpy as np

from angioshare.errors import DataError
from angioshare.metrics.frechet import Matrix, checked_features
from angioshare.types import FloatArray

NEIGHBOURS = 5
"""The k of Naeem et al. (2020)."""

ROWS_AT_ONCE = 1024
"""Rows of distances in memory at once; bounds it to 8 KB times the number of samples."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Both numbers of one set against real ones.

    Attributes:
        density: Real balls that a synthetic sample lies in, over k, on average: about 1 where both sets are from one
            source, near 0 for samples unlike any real one, above 1 where they crowd in the densest places.
        coverage: Share of real samples whose ball holds a synthetic one, in [0, 1]: of two sets of one source and size
            about 1 - 2^-k (0.97 for k = 5), near 0 after a mode collapse.
    """

    density: float
    coverage: float


def density_and_coverage(synthetic: FloatArray, real: FloatArray, *, neighbours: int = NEIGHBOURS) -> Coverage:
    """Measure density and coverage of synthetic samples among real ones.

    Args:
        synthetic: Features, shape (n, d), n >= 2.
        real: Features, shape (m, d), more than `neighbours` rows. Coverage rises with n / m: give as many of each.
        neighbours: k >= 1.

    Returns:
        Both numbers.

    Raises:
        DataError: The shapes do not fit, there are too few real samples, or a feature is not finite.

    Units: none.

    References:
        Naeem et al. (2020), Reliable fidelity and diversity metrics for generative models, ICML, arXiv:2002.09797.

    Example:
        >>> real = np.arange(10.0)[:, None]
        >>> density_and_coverage(np.array([[4.5], [99.0]]), real, neighbours=1)      # within the balls of 4 and of 5
        Coverage(density=1.0, coverage=0.2)
    """
    fake, true = checked_features(synthetic, real)
    if not 1 <= neighbours < len(true):
        raise DataError(
            f"{len(true)} real samples have no {neighbours}th neighbour each; give {neighbours + 1} or more, or take k "
            "of 1 or more"
        )
    inside, covered = 0, 0
    centre = true.mean(axis=0)  # distances from dot products are the more precise the nearer the origin lies
    fake, true = fake - centre, true - centre
    for first in range(0, len(true), ROWS_AT_ONCE):
        rows = true[first : first + ROWS_AT_ONCE]
        radius = np.partition(_squares(rows, true), neighbours, axis=1)[:, neighbours]  # place 0 is the sample itself
        held = _squares(rows, fake) < radius[:, None]
        inside += int(held.sum())
        covered += int(held.any(axis=1).sum())
    return Coverage(density=inside / (neighbours * len(fake)), coverage=covered / len(true))


def _squares(x: Matrix, y: Matrix) -> Matrix:
    """Squared Euclidean distances, shape (n, m)."""
    found: Matrix = np.square(x).sum(axis=1)[:, None] - 2 * (x @ y.T) + np.square(y).sum(axis=1)
    return found
