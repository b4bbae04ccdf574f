import numpy as np
import pytest
from scipy.linalg import sqrtm

from angioshare.errors import DataError
from angioshare.metrics.frechet import frechet_distance, frechet_extrapolated


def features(n: int, d: int, seed: int, shift: float = 0.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + shift


def plain_formula(a: np.ndarray, b: np.ndarray) -> float:
    covariance_a, covariance_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    shift = a.mean(axis=0) - b.mean(axis=0)
    return float(shift @ shift + np.trace(covariance_a + covariance_b - 2 * sqrtm(covariance_a @ covariance_b).real))


@pytest.mark.parametrize(("n", "m", "d"), [(200, 300, 12), (40, 41, 30), (500, 100, 5)])
def test_the_distance_is_that_of_the_plain_formula(n, m, d):
    a, b = features(n, d, 1), features(m, d, 2, shift=0.5)
    assert frechet_distance(a, b) == pytest.approx(plain_formula(a, b), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(7, 9), (7, 500), (300, 300)])
def test_features_that_lie_in_a_subspace_are_no_special_case(n, m):
    a, b = features(n, 4, 1), features(m, 4, 2)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(50, 50)))[0][:4]
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_it_is_symmetric_and_zero_between_a_set_and_itself():
    a, b = features(30, 64, 1), features(20, 64, 2)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a))
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_a_shift_adds_its_square():
    a = features(100, 3, 1)
    assert frechet_distance(a, a + np.array([3.0, 4.0, 0.0])) == pytest.approx(25)


def test_small_sets_are_too_far_apart_and_extrapolation_mends_most_of_it():
    rng = np.random.default_rng(0)
    pairs = [rng.normal(size=(2, 200, 40)) for _ in range(10)]
    plain = np.mean([frechet_distance(a, b) for a, b in pairs])
    mended = np.mean([frechet_extrapolated(a, b) for a, b in pairs])
    assert plain > 2
    assert abs(mended) < plain / 4


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        (np.zeros((5, 3)), np.zeros((5, 4)), "one network"),
        (np.zeros((1, 3)), np.zeros((5, 3)), "more samples"),
        (np.full((5, 3), np.nan), np.zeros((5, 3)), "NaN"),
    ],
)
def test_what_has_no_distance_is_refused(a, b, said):
    with pytest.raises(DataError, match=said):
        frechet_distance(a, b)


def test_too_few_samples_cannot_be_extrapolated():
    with pytest.raises(DataError, match="give 6 or more"):
        frechet_extrapolated(np.zeros((5, 2)), np.zeros((9, 2)))


@pytest.mark.filterwarnings("ignore")
def test_it_equals_that_of_monai():
    import torch
    from monai.metrics import FIDMetric

    a, b = features(300, 20, 1), features(300, 20, 2)
    theirs = float(FIDMetric()(torch.from_numpy(a), torch.from_numpy(b)))
    assert frechet_distance(a, b) == pytest.approx(theirs, rel=1e-6)
