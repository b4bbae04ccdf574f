"""The few directions in which readers of simulated sites differ, and how far a cohort's readers lie along them.

A reader that was trained a little further on one site's pairs has moved: it has gains and shifts d_s (`models.gains`),
which begin at 0. Over many simulated sites, which are public, the moves have a mean m and around it a principal
subspace P (k, D). A site's place is c = P (d - m), k numbers in place of D gains. Those are few enough to be released
of a dozen people.
"""

import hashlib
from dataclasses import dataclass

import numpy as np

from angioshare.errors import SettingsError
from angioshare.privacy.release import Release
from angioshare.types import FloatArray

_RADIUS_QUANTILE = 0.5
"""Share of simulated sites whose place the bound of the release leaves as it is: noise grows with the bound."""


@dataclass(frozen=True, kw_only=True)
class Directions:
    """From moves to released numbers, and back. Public.

    Attributes:
        mean: The mean move m (D,) of simulated sites, float32.
        axes: Orthonormal directions P (k, D), float32, the one that tells most first.
        places: Places (sites, k) of the simulated sites along them.
    """

    mean: FloatArray
    axes: FloatArray
    places: FloatArray

    @property
    def spread(self) -> FloatArray:
        """Standard deviation (k,) of the places of simulated sites along each direction."""
        return np.asarray(self.places.std(axis=0))

    @property
    def radius(self) -> float:
        """What a place is divided by, so that half of the simulated sites have a norm of at most 1."""
        return max(float(np.quantile(np.linalg.norm(self.places, axis=1), _RADIUS_QUANTILE)), 1e-9)

    def first(self, numbers: int) -> "Directions":
        """The first directions alone."""
        return Directions(mean=self.mean, axes=self.axes[:numbers], places=self.places[:, :numbers])

    def vector(self, move: FloatArray) -> FloatArray:
        """Turn one subject's move (D,) into the numbers (k,) that are released.

        Guarantees:
            The norm is not bounded here, and a move that is not finite stays so: `privacy.release` bounds both.
        """
        with np.errstate(invalid="ignore", over="ignore"):
            return np.asarray(self.axes @ (move - self.mean), np.float64) / self.radius

    def move(self, release: Release) -> FloatArray:
        """The move (D,) that a noisy mean leaves likely: shrunk, direction by direction, as far as the noise asks for.

        Places of sites are taken as normal around 0, with the variance of simulated sites: d = m + c P, where c is
        spread^2 / (spread^2 + noise^2) times the released place. Under all noise the move is the mean one.
        """
        noise = release.noise_std * self.radius
        trust = self.spread**2 / (self.spread**2 + noise**2)
        return np.asarray(self.mean + (trust * release.mean * self.radius) @ self.axes, np.float32)

    def digest(self) -> str:
        """Name what released numbers mean: those of other directions must not be taken for them."""
        rounded = np.round(np.vstack([self.mean[None], self.axes / self.radius]), 5)
        return hashlib.sha256(rounded.tobytes()).hexdigest()[:16]


def learn_directions(moves: FloatArray, numbers: int) -> Directions:
    """Learn from simulated sites in which directions readers differ most.

    Args:
        moves: One row for each simulated site, shape (sites, D), float32.
        numbers: How many directions k, >= 1.

    Raises:
        SettingsError: There are no more sites than directions.

    Example:
        >>> moves = np.array([[3.0, 0, 5], [-3, 0, 5], [0, 1, 5], [0, -1, 5]], np.float32)
        >>> learned = learn_directions(moves, 1)
        >>> learned.mean.tolist(), abs(learned.axes).round(3).tolist(), learned.spread.round(3).tolist()
        ([0.0, 0.0, 5.0], [[1.0, 0.0, 0.0]], [2.121])
    """
    if numbers >= len(moves):
        raise SettingsError(
            f"numbers={numbers} must be below the {len(moves)} simulated sites that moved; lower numbers or raise "
            "lessons"
        )
    # D is far above the number of sites: the small matrix of products has the same principal directions.
    mean = moves.mean(axis=0)
    around = moves - mean
    values, vectors = np.linalg.eigh((around @ around.T).astype(np.float64))
    largest = np.argsort(values)[::-1][:numbers]
    lengths = np.sqrt(np.maximum(values[largest], 1e-12))
    axes = (vectors[:, largest] / lengths).T.astype(np.float32) @ around
    return Directions(mean=mean, axes=axes, places=(around @ axes.T).astype(np.float64))
