"""Rule 1: one fresh Poisson draw, one release. Statistical checks fail by chance in less than 1 of 10**6 runs."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy.entropy import KeyStream
from angioshare.privacy.selection import Draw, PoissonSelector
from angioshare.types import IntArray

UNITS, Q, STEPS = 200, 0.05, 4000
CHANCE = 1e-7  # false-alarm rate of one test; eight of them make a check
FAILED = (AssertionError, pytest.fail.Exception)


class Shuffled(PoissonSelector):
    """Deals a shuffled deck in batches, as most training loops do."""

    deck: IntArray = np.zeros(0, int)

    def draw(self) -> Draw:
        size = int(self.n_units * self.probability)
        if len(self.deck) < size:
            self.deck = np.random.default_rng().permutation(self.n_units)
        dealt, self.deck = self.deck[:size], self.deck[size:]
        return Draw(np.sort(dealt))


class Truncated(PoissonSelector):
    """Cuts a draw that does not fit into a batch."""

    def draw(self) -> Draw:
        return Draw(super().draw().indices[:14].copy())


class Reused(PoissonSelector):
    """Uses each draw for five steps, as the published loop did."""

    count = 0

    def draw(self) -> Draw:
        if self.count % 5 == 0:
            self.last = super().draw().indices
        self.count += 1
        return Draw(self.last.copy())


class TooMany(PoissonSelector):
    """Draws a little more often than it says."""

    def __init__(self, n_units: int, probability: float) -> None:
        super().__init__(n_units, 1.1 * probability)


class Favourites(PoissonSelector):
    """Right on average, but draws half of the units more often than the other half."""

    def draw(self) -> Draw:
        chance = self.probability * np.where(np.arange(self.n_units) % 2, 1.2, 0.8)
        return Draw(np.flatnonzero(np.random.default_rng().random(self.n_units) < chance))


def check_draws_are_poisson(make: Callable[[int, float], PoissonSelector]) -> None:
    selector = make(UNITS, Q)
    drawn = np.zeros((STEPS, UNITS), bool)
    for step in range(STEPS):
        drawn[step, selector.draw().indices] = True
    variance = UNITS * Q * (1 - Q)
    sizes = drawn.sum(1)
    assert abs(_z(drawn.sum(), UNITS * STEPS, Q)) < stats.norm.isf(CHANCE / 2), "mean size"
    spread = (sizes.var(ddof=1) / variance - 1) / np.sqrt(2 / STEPS)
    assert abs(spread) < 1.1 * stats.norm.isf(CHANCE / 2), "variance of the size"
    per_unit = (((drawn.sum(0) - STEPS * Q) ** 2) / (STEPS * Q * (1 - Q))).sum()
    assert stats.chi2.sf(per_unit, UNITS) > CHANCE, "units are not drawn equally often"
    for lag in range(1, 6):
        both = (drawn[lag:] & drawn[:-lag]).sum()
        assert abs(_z(both, UNITS * (STEPS - lag), Q * Q)) < stats.norm.isf(CHANCE / 2), f"correlation at lag {lag}"


def _z(count: int, trials: int, chance: float) -> float:
    return float((count - trials * chance) / np.sqrt(trials * chance * (1 - chance)))


def test_draws_are_poisson() -> None:
    check_draws_are_poisson(PoissonSelector)


@pytest.mark.parametrize("mutant", [Shuffled, Truncated, Reused, TooMany, Favourites])
def test_check_of_draws_catches(mutant: type[PoissonSelector]) -> None:
    with pytest.raises(FAILED):
        check_draws_are_poisson(mutant)


class Unspendable(Draw):
    """A token that can be used again."""

    def spend(self) -> None:
        self._spent = True


def check_draw_is_good_for_one_release(make: Callable[[IntArray], Draw]) -> None:
    draw = make(np.array([1, 2]))
    draw.spend()
    with pytest.raises(PrivacyError, match="spent"):
        draw.spend()


def test_draw_is_good_for_one_release() -> None:
    check_draw_is_good_for_one_release(Draw)


def test_check_of_tokens_catches_one_that_can_be_reused() -> None:
    with pytest.raises(FAILED):
        check_draw_is_good_for_one_release(Unspendable)


def test_draw_does_not_tell_its_size() -> None:
    assert repr(Draw(np.arange(7))) == "Draw(spent=False)"


def test_indices_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Draw(np.arange(3)).indices[0] = 2


def test_everybody_is_drawn_at_probability_one() -> None:
    assert PoissonSelector(5, 1.0).draw().indices.tolist() == [0, 1, 2, 3, 4]


def test_two_selectors_draw_differently() -> None:
    first, second = (PoissonSelector(1000, 0.5).draw().indices for _ in range(2))
    assert not np.array_equal(first, second)


def test_only_a_test_seed_makes_draws_repeatable() -> None:
    first, second = (PoissonSelector(1000, 0.5, KeyStream(test_seed=1)) for _ in range(2))
    assert np.array_equal(first.draw().indices, second.draw().indices)
    assert first.seeded
    assert not PoissonSelector(5, 0.5).seeded


@pytest.mark.parametrize(("units", "probability"), [(0, 0.5), (5, 0.0), (5, 1.5), (5, float("nan"))])
def test_impossible_selectors_are_refused(units: int, probability: float) -> None:
    with pytest.raises(SettingsError):
        PoissonSelector(units, probability)
