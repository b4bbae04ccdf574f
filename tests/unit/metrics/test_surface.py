import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angioshare.errors import DataError
from angioshare.metrics.surface import ahd_voxel, assd_mm, bahd_mm, bahd_voxel, hd95_mm, surface

SPACING = (0.5, 0.6, 1.4)
EMPTY = np.zeros((3, 4, 5), bool)
IN_MM = [bahd_mm, hd95_mm, assd_mm]


def masks(seed: int, share: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    G, S = rng.random((2, 7, 6, 5)) < share
    G[3, 3, 2] = S[2, 2, 2] = True
    return G, S


pairs = st.builds(masks, st.integers(0, 10**6), st.floats(0.01, 0.7))


def test_balanced_distance_of_a_hand_calculated_line():
    G, S = np.zeros((2, 10, 1, 1), bool)
    G[2:6] = True  # G = 2..5
    S[4:9] = True  # S = 4..8, so d(G, S) = 2 1 0 0 and d(S, G) = 0 0 1 2 3
    assert bahd_voxel(G, S) == pytest.approx((3 + 6) / (2 * 4))
    assert ahd_voxel(G, S) == pytest.approx((3 / 4 + 6 / 5) / 2)


def test_balanced_distance_divides_by_the_reference_so_it_is_not_symmetric():
    G, S = np.zeros((2, 10, 1, 1), bool)
    G[2:6], S[4:9] = True, True
    assert bahd_voxel(S, G) == pytest.approx((3 + 6) / (2 * 5))


def test_surface_distances_of_hand_calculated_planes():
    G, S = np.zeros((2, 9, 6, 6), bool)
    G[1], S[4] = True, True
    assert assd_mm(G, S, SPACING) == pytest.approx(3 * 0.5)
    assert hd95_mm(G, S, SPACING) == pytest.approx(3 * 0.5)


def test_hd95_forgives_one_stray_voxel_in_a_hundred_and_assd_counts_it():
    G = np.zeros((30, 10, 10), bool)
    G[0] = True
    S = G.copy()
    S[20, 0, 0] = True
    assert hd95_mm(G, S, (1.0, 1.0, 1.0)) == 0
    assert assd_mm(G, S, (1.0, 1.0, 1.0)) == pytest.approx(20 / 201)


def test_hd95_is_the_larger_of_both_directions():
    G, S = np.zeros((2, 30, 1, 1), bool)
    G[0], S[0] = True, True
    S[10:20] = True
    assert hd95_mm(G, S, (1.0, 1.0, 1.0)) == hd95_mm(S, G, (1.0, 1.0, 1.0)) == pytest.approx(18.5)


def test_the_inside_of_a_blob_counts_in_the_balanced_but_not_in_the_surface_distance():
    ball = np.pad(np.ones((5, 5, 5), bool), 4)
    hollow = surface(ball)
    assert bahd_voxel(hollow, ball) > 0
    assert assd_mm(hollow | ball, ball, SPACING) == 0


def test_a_voxel_at_the_edge_of_the_grid_is_on_the_surface():
    assert surface(np.ones((2, 2, 2), bool)).all()
    assert not surface(np.ones((3, 3, 3), bool))[1, 1, 1]


@pytest.mark.parametrize("metric", IN_MM)
def test_two_empty_masks_lie_zero_apart_and_one_empty_mask_has_no_distance(metric):
    full = ~EMPTY
    assert metric(EMPTY, EMPTY, SPACING) == 0
    assert math.isnan(metric(full, EMPTY, SPACING))
    assert math.isnan(metric(EMPTY, full, SPACING))


@pytest.mark.parametrize("metric", [bahd_voxel, ahd_voxel])
def test_the_same_holds_in_voxels(metric):
    assert metric(EMPTY, EMPTY) == 0
    assert math.isnan(metric(~EMPTY, EMPTY))
    assert math.isnan(metric(EMPTY, ~EMPTY))


@pytest.mark.parametrize("metric", IN_MM)
@settings(max_examples=25, deadline=None)
@given(pair=pairs)
def test_distances_scale_with_the_voxel(metric, pair):
    doubled = tuple(2 * size for size in SPACING)
    assert metric(*pair, doubled) == pytest.approx(2 * metric(*pair, SPACING))


@pytest.mark.parametrize(
    "metric", [lambda G, S: ahd_voxel(G, S), *(lambda G, S, m=m: m(G, S, SPACING) for m in IN_MM[1:])]
)
@settings(max_examples=25, deadline=None)
@given(pair=pairs)
def test_all_but_the_balanced_distance_are_symmetric(metric, pair):
    assert metric(*pair) == pytest.approx(metric(*reversed(pair)))


@pytest.mark.parametrize("metric", IN_MM)
@settings(max_examples=25, deadline=None)
@given(pair=pairs, shift=st.tuples(*[st.integers(0, 4)] * 3))
def test_moving_both_masks_changes_nothing(metric, pair, shift):
    moved = [np.pad(mask, [(before, 4 - before) for before in shift]) for mask in pair]
    assert metric(*moved, SPACING) == pytest.approx(metric(*(np.pad(m, 4) for m in pair), SPACING))


@pytest.mark.parametrize("metric", IN_MM)
@settings(max_examples=25, deadline=None)
@given(pair=pairs)
def test_a_mask_lies_zero_from_itself_and_above_zero_from_another(metric, pair):
    G, S = pair
    assert metric(G, G, SPACING) == 0
    if metric is not hd95_mm and (surface(G) != surface(S)).any():
        assert metric(G, S, SPACING) > 0


@settings(max_examples=25, deadline=None)
@given(pair=pairs)
def test_balanced_distance_counts_voxels_where_the_voxel_is_a_unit_cube(pair):
    assert bahd_mm(*pair, (1.0, 1.0, 1.0)) == bahd_voxel(*pair)


@pytest.mark.parametrize("metric", IN_MM)
def test_other_shapes_and_absurd_spacings_are_refused(metric):
    with pytest.raises(DataError, match="one grid"):
        metric(EMPTY, EMPTY[1:], SPACING)
    with pytest.raises(DataError, match="three sizes > 0"):
        metric(EMPTY, EMPTY, (0.5, 0.0, 0.7))
    with pytest.raises(DataError, match="three sizes > 0"):
        metric(EMPTY, EMPTY, (0.5, math.nan, 0.7))
    with pytest.raises(DataError, match="two 3-D masks"):
        metric(EMPTY[0], EMPTY[0], SPACING)


@pytest.mark.parametrize("seed", range(20))
def test_masks_that_fill_the_grid_mean_the_same_however_their_voxels_lie_in_memory(seed):
    """Scans come in Fortran order, and keep it where a vessel reaches both edges along i and j."""
    G, S = masks(seed, 0.4)
    F = tuple(np.asfortranarray(mask) for mask in (G, S))
    assert np.array_equal(surface(F[0]), surface(G))
    assert [metric(*F, SPACING) for metric in IN_MM] == [metric(G, S, SPACING) for metric in IN_MM]
