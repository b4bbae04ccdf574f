from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from angioshare.errors import DataError
from angioshare.metrics.transport import DIRECTIONS, METRICS, distance_matrix


@pytest.fixture(scope="module")
def patches() -> np.ndarray:
    """Noise, bright and dark patches, one with many equal pixels, and one twice."""
    rng = np.random.default_rng(0)
    noise = rng.uniform(-1, 1, (4, 9, 7))
    masked = np.where(noise[:2] > 0.3, noise[:2], -1)
    return np.concatenate([noise, masked, 0.2 * noise[2:3] - 0.7, noise[:1]])


def by_loop(patches, distance):
    return np.array([[distance(a, b) for b in patches] for a in patches])


def test_wasserstein_is_what_scipy_gives_for_every_pair(patches):
    slow = by_loop(patches, lambda a, b: wasserstein_distance(a.ravel(), b.ravel()))
    np.testing.assert_allclose(distance_matrix(patches, "wasserstein"), slow, atol=1e-12, rtol=0)


def test_euclidean_is_the_root_of_summed_squares(patches):
    slow = by_loop(patches, lambda a, b: np.sqrt(((a - b) ** 2).sum()))
    np.testing.assert_allclose(distance_matrix(patches, "euclidean"), slow, atol=1e-12, rtol=0)


def seen_along(patch, angle):
    """Places and masses of a patch on a line, pixel by pixel, what falls between two places shared by both."""
    masses = {}
    for (i, j), value in np.ndenumerate(patch):
        at = np.cos(angle) * (i - (patch.shape[0] - 1) / 2) + np.sin(angle) * (j - (patch.shape[1] - 1) / 2)
        below = np.floor(at)
        for place, share in ((below, below + 1 - at), (below + 1, at - below)):
            masses[place] = masses.get(place, 0.0) + share * (value + 1)
    return list(masses), list(masses.values())


def test_sliced_is_the_mean_over_directions_of_what_scipy_gives(patches):
    def slow(a, b):
        total = 0.0
        for k in range(DIRECTIONS):
            (places_a, masses_a), (places_b, masses_b) = (seen_along(one, np.pi * k / DIRECTIONS) for one in (a, b))
            total += wasserstein_distance(places_a, places_b, masses_a, masses_b)
        return total / DIRECTIONS

    few = patches[[0, 1, 4, 6]]
    np.testing.assert_allclose(distance_matrix(few, "sliced"), by_loop(few, slow), atol=1e-12, rtol=0)


@given(st.tuples(*[st.integers(0, 11)] * 4))
def test_brightness_of_one_pixel_travels_as_far_as_the_pixel(where):
    first, then = np.full((2, 12, 12), -1.0)
    first[where[:2]] = then[where[2:]] = 0.5
    angles = np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    moved = (where[2] - where[0]) * np.cos(angles) + (where[3] - where[1]) * np.sin(angles)
    found = distance_matrix(np.stack([first, then]), "sliced")[0, 1]
    assert found == pytest.approx(np.abs(moved).mean(), abs=1e-9)


def test_farther_vessels_are_farther_for_sliced_alone():
    patches = np.full((3, 24, 24), -0.8)
    for patch, column in zip(patches, (2, 8, 18), strict=True):
        patch[:, column] = 1
    near, far = distance_matrix(patches, "sliced")[0, 1:]
    assert far > 2 * near
    near, far = distance_matrix(patches, "euclidean")[0, 1:]
    assert far == pytest.approx(near)
    assert distance_matrix(patches, "wasserstein").max() == pytest.approx(0, abs=1e-12)


def test_wasserstein_sees_no_place_and_the_others_do(patches):
    shuffled = np.random.default_rng(1).permutation(patches[0].ravel()).reshape(patches[0].shape)
    pair = np.stack([patches[0], shuffled])
    assert distance_matrix(pair, "wasserstein")[0, 1] == 0
    assert distance_matrix(pair, "euclidean")[0, 1] > 1
    assert distance_matrix(pair, "sliced")[0, 1] > 0.01


def test_sliced_takes_a_patch_without_brightness_as_the_same_everywhere():
    dark, grey = np.full((6, 6), -1.0), np.full((6, 6), 0.3)
    assert distance_matrix(np.stack([dark, grey]), "sliced")[0, 1] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
@settings(max_examples=20)
@given(seed=st.integers(0, 2**31))
def test_distances_are_distances(metric, seed):
    found = distance_matrix(np.random.default_rng(seed).uniform(-1, 1, (5, 6, 5)), metric)
    assert (found == found.T).all()
    assert not found.diagonal().any()
    assert (found[:, :, None] <= found[:, None, :] + found[None, :, :].transpose(0, 2, 1) + 1e-12).all()


@pytest.mark.parametrize("metric", METRICS)
def test_half_precision_is_read_as_it_is(patches, metric):
    half = patches.astype(np.float16)
    np.testing.assert_array_equal(distance_matrix(half, metric), distance_matrix(half.astype(np.float64), metric))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("image", [np.zeros((0, 4, 4)), np.zeros((4, 4)), np.full((2, 4, 4), np.nan)])
def test_what_are_no_patches_is_refused(metric, image):
    with pytest.raises(DataError, match="patches of shape"):
        distance_matrix(image, metric)


def test_sliced_refuses_less_than_no_brightness():
    with pytest.raises(DataError, match="below -1"):
        distance_matrix(np.full((2, 4, 4), -1.5), "sliced")


def test_every_distance_says_what_it_sees():
    titles = [metric.title for metric in METRICS.values()]
    assert all(a != b for a, b in pairwise(sorted(titles)))
    assert "published" in METRICS["wasserstein"].explanation
