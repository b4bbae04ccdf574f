import numpy as np
import pytest
from scipy.spatial.distance import cdist
from threadpoolctl import threadpool_limits

from angioshare.errors import DataError
from angioshare.metrics import embedding
from angioshare.metrics.embedding import fitting_perplexity, tsne


def distances_of(points):
    return cdist(points, points)


@pytest.fixture(scope="module")
def clouds():
    """Three clouds of 40 points in ten dimensions, far from each other."""
    rng = np.random.default_rng(0)
    centres = np.repeat(20 * np.eye(10)[:3], 40, axis=0)
    return distances_of(centres + rng.normal(size=centres.shape))


@pytest.fixture(scope="module")
def placed(clouds):
    return tsne(clouds)


def test_neighbours_stay_neighbours(placed):
    nearest = (cdist(placed, placed) + 1e9 * np.eye(len(placed))).argmin(axis=1)
    assert (nearest // 40 == np.arange(120) // 40).all()


def test_the_same_distances_give_the_same_points_on_any_number_of_threads(clouds, placed):
    with threadpool_limits(limits=3):
        np.testing.assert_array_equal(tsne(clouds), placed)


def test_equal_patches_are_placed_and_set_apart_by_the_seed():
    collapsed = np.zeros((12, 12))
    points = tsne(collapsed, seed=1)
    assert np.isfinite(points).all()
    assert len(np.unique(points, axis=0)) == 12
    assert not np.array_equal(points, tsne(collapsed, seed=2))


def test_half_a_set_may_be_one_patch(clouds):
    some = clouds[:60, :60].copy()
    some[:30, :30] = 0
    some[:30, 30:], some[30:, :30] = 9, 9
    assert np.isfinite(tsne(some)).all()


def test_the_start_is_principal_components_where_distances_are_euclidean():
    data = np.random.default_rng(1).normal(size=(30, 4)) * [9, 4, 1, 1]
    centred = data - data.mean(axis=0)
    components = centred @ np.linalg.svd(centred)[2][:2].T
    start = embedding._start(distances_of(data), seed=0)
    for axis in range(2):
        assert abs(np.corrcoef(start[:, axis], components[:, axis])[0, 1]) > 0.99999
    assert start[:, 0].std() == pytest.approx(1e-4, rel=1e-2)


def test_the_start_does_not_depend_on_the_unit():
    distances = distances_of(np.random.default_rng(2).normal(size=(20, 3)))
    np.testing.assert_allclose(
        embedding._start(distances, seed=0), embedding._start(1000 * distances, seed=0), atol=1e-9
    )


def test_the_published_perplexity_is_taken_where_there_are_enough_patches():
    assert fitting_perplexity(900) == 30
    assert fitting_perplexity(91) == 30
    assert fitting_perplexity(90) < 30


def test_the_fewest_patches_can_be_placed():
    assert tsne(distances_of(np.eye(embedding.FEWEST))).shape == (embedding.FEWEST, 2)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((3, 3)),
        np.zeros((6, 5)),
        np.ones((6, 6)),
        np.eye(6) - 1,
        np.full((6, 6), np.nan),
        np.triu(np.ones((6, 6)), 1),
    ],
    ids=["few", "no square", "own distance", "negative", "nan", "one way"],
)
def test_what_is_no_matrix_of_distances_is_refused(wrong):
    with pytest.raises(DataError, match="distances"):
        tsne(wrong)
