"""Who enters a step: a fresh Poisson draw of units, as a token that is good for one step (NumPy alone).

Each unit enters by its own coin of probability q. The accountant's theorem speaks of exactly this draw; shuffled,
truncated or reused draws have other, worse guarantees, and are not offered.
"""

import numpy as np

from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy.entropy import KeyStream
from angioshare.types import IntArray


class Draw:
    """The units of one step; good for one release.

    Its size is as private as its members, so that neither is shown.

    Attributes:
        indices: Which units were drawn, ascending, shape (drawn,), each in [0, n_units). May be empty.
    """

    def __init__(self, indices: IntArray) -> None:
        self.indices = indices
        self.indices.setflags(write=False)
        self._spent = False

    @property
    def spent(self) -> bool:
        """Whether the step of this draw has been made."""
        return self._spent

    def spend(self) -> None:
        """Use the draw up.

        Raises:
            PrivacyError: It was used before. A second release from one draw costs more than two draws.
        """
        if self._spent:
            raise PrivacyError("this draw was spent before and gives one release only; ask the engine for a fresh draw")
        self._spent = True

    def __repr__(self) -> str:
        return f"Draw(spent={self._spent})"


class PoissonSelector:
    """Draws units, each by an independent coin.

    Args:
        n_units: How many units there are, > 0. Public.
        probability: Chance q that a unit is drawn, in (0, 1]. Public.
        stream: Where the coins come from; None makes a fresh stream from the operating system.

    Guarantees:
        Every unit is drawn with probability q within 2**-64, independently of all others and of all other draws.

    Example:
        >>> selector = PoissonSelector(1000, 0.1, KeyStream(test_seed=1))
        >>> selector.draw().indices[:5].tolist() == selector.draw().indices[:5].tolist()
        False
    """

    def __init__(self, n_units: int, probability: float, stream: KeyStream | None = None) -> None:
        if n_units < 1:
            raise SettingsError(f"n_units={n_units} must be at least 1; there is nobody to draw")
        if not 0 < probability <= 1:
            raise SettingsError(f"sampling_probability={probability} must be in (0, 1]")
        self.n_units, self.probability = n_units, probability
        self._stream = stream if stream is not None else KeyStream()
        # A 64-bit word lies below q 2**64 with probability q; at q = 1 no threshold fits into 64 bits.
        self._threshold = None if probability == 1 else np.uint64(int(probability * 2**64))

    @property
    def seeded(self) -> bool:
        """Whether the draws can be replayed (tests alone)."""
        return self._stream.seeded

    def draw(self) -> Draw:
        """Make a fresh draw."""
        if self._threshold is None:
            return Draw(np.arange(self.n_units))
        return Draw(np.flatnonzero(self._stream.words(self.n_units) < self._threshold))
