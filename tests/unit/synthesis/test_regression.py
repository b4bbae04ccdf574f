import numpy as np
import pytest

from angioshare.errors import SettingsError
from angioshare.rng import stream
from angioshare.synthesis.calibration.regression import learn
from angioshare.synthesis.calibration.statistics import NAMES, statistics


@pytest.fixture(scope="module")
def known():
    """A made-up world: 6 parameters, statistics that are mixtures of 4 of them with noise."""
    rng = np.random.default_rng(2)
    mixing = np.vstack([rng.standard_normal((4, 12)), np.zeros((2, 12))])

    def measure(shares, rng):
        return shares @ mixing + 0.05 * rng.standard_normal((len(shares), 12))

    shares = rng.random((300, 6))
    return learn(shares, measure(shares, rng), 4), measure


def test_numbers_that_are_released_are_sorted_by_what_they_tell(known):
    calibration, measure = known
    rng = np.random.default_rng(5)
    spread = np.std([calibration.vector(one) for one in measure(rng.random((200, 6)), rng)], axis=0)
    assert np.all(np.diff(spread) < 0.05)


def test_too_few_lessons_are_refused():
    with pytest.raises(SettingsError, match="simulate more"):
        learn(np.zeros((5, 3)), np.zeros((5, 4)), 3)


def patches_with(thick=1, noise=0.1, bright=1.0):
    """Bars of `thick` pixels on noise, labelled."""
    rng = stream(0, "bars")
    label = np.zeros((10, 32, 32), np.uint8)
    label[:, 16 : 16 + thick, 4:28] = 1
    return label * bright - 0.5 + noise * rng.standard_normal(label.shape), label


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("width", {"thick": 2}, {"thick": 6}),
        ("share.vessel", {"thick": 2}, {"thick": 6}),
        ("spread.vessel", {"noise": 0.05}, {"noise": 0.2}),
        ("peak.large", {"bright": 0.5, "thick": 3}, {"bright": 1.0, "thick": 3}),
        ("dim.2", {"bright": 1.0}, {"bright": 0.1}),
    ],
)
def test_statistics_rise_with_what_they_are_named_after(name, low, high):
    measured = [statistics(*patches_with(**how))[NAMES.index(name)] for how in (low, high)]
    assert measured[0] < measured[1]


def test_statistics_do_not_see_scale_and_shift():
    image, label = patches_with()
    assert statistics(0.3 * image - 0.2, label)[9:] == pytest.approx(
        statistics(image, label)[9:], nan_ok=True, abs=0.05
    )


@pytest.mark.parametrize("count", [0, 1])
def test_patches_without_anything_to_measure_give_nan_not_an_error(count):
    empty = np.zeros((count, 32, 32))
    found = statistics(empty, empty.astype(np.uint8))
    assert found.shape == (len(NAMES),)
    assert np.isnan(found[NAMES.index("width")])
