import numpy as np
import pytest

from angioshare.errors import DataError
from angioshare.metrics.overlap import cldice, crop_to_union, dice, volumes


def tube(radius: int, *, length: int = 16) -> np.ndarray:
    mask = np.zeros((11, 11, length), bool)
    mask[5 - radius : 6 + radius, 5 - radius : 6 + radius] = True
    return mask


EMPTY = np.zeros((11, 11, 16), bool)


def test_dice_of_a_hand_counted_pair():
    G, S = np.zeros((2, 4, 4), np.uint8)
    G[0, :3] = 1
    S[0, 1:] = 255
    assert dice(G, S) == pytest.approx(2 * 2 / (3 + 3))


def test_dice_is_one_for_a_mask_with_itself_and_zero_for_strangers():
    assert dice(tube(1), tube(1)) == 1
    assert dice(tube(1), ~tube(1)) == 0


@pytest.mark.parametrize("metric", [dice, cldice])
def test_two_empty_masks_agree_and_one_empty_mask_scores_zero(metric):
    assert metric(EMPTY, EMPTY) == 1
    assert metric(EMPTY, tube(1)) == 0
    assert metric(tube(1), EMPTY) == 0


@pytest.mark.parametrize("metric", [dice, cldice])
def test_overlap_is_symmetric(metric):
    one, other = tube(2), np.roll(tube(1), 2, axis=0)
    assert metric(one, other) == metric(other, one) < 1


def test_centre_line_dice_forgives_thickness_that_dice_does_not():
    assert cldice(tube(2), tube(1)) == 1
    assert dice(tube(2), tube(1)) < 0.6


def test_centre_line_dice_counts_a_thin_branch_as_much_as_a_thick_one():
    thick_and_thin = tube(2)
    thick_and_thin[0, 0, 2:14] = True
    without_thin = tube(2)
    assert dice(thick_and_thin, without_thin) > 0.97
    assert cldice(thick_and_thin, without_thin) < 0.8


def test_centre_line_dice_is_the_harmonic_mean():
    two = np.zeros((11, 11, 16), bool)
    two[2, 2], two[8, 8] = True, True
    one = two.copy()
    one[8, 8] = False
    assert cldice(two, one) == pytest.approx(2 / 3)  # precision 1, sensitivity 1/2


def test_centre_lines_that_miss_the_other_mask_score_zero():
    assert cldice(tube(1), np.roll(tube(1), 5, axis=0)) == 0


def test_centre_line_dice_does_not_change_when_the_grid_grows():
    one, other = tube(2), np.roll(tube(1), 1, axis=0)
    assert cldice(np.pad(one, 7), np.pad(other, 7)) == cldice(one, other)


def test_the_crop_keeps_every_vessel_voxel_of_both():
    one, other = np.zeros((2, 9, 9, 9), bool)
    one[2, 3, 4] = other[5, 3, 8] = True
    G, S = crop_to_union(one, other)
    assert G.shape == S.shape == (4, 1, 5)
    assert G.sum() == S.sum() == 1


def test_the_crop_of_two_empty_masks_is_empty():
    assert crop_to_union(EMPTY, EMPTY)[0].size == 0


def test_volumes_are_in_millilitres():
    assert volumes(tube(1), EMPTY, (0.5, 0.5, 0.8)) == pytest.approx(
        {"reference_ml": 9 * 16 * 0.2 / 1000, "prediction_ml": 0}
    )


@pytest.mark.parametrize("metric", [dice, cldice, lambda a, b: volumes(a, b, (1, 1, 1))])
def test_masks_on_different_grids_are_refused_with_both_shapes(metric):
    with pytest.raises(DataError, match=r"\(11, 11, 16\).*\(11, 11, 15\)"):
        metric(tube(1), tube(1, length=15))


def test_a_mask_that_is_not_3d_has_no_centre_line():
    with pytest.raises(DataError, match=r"shape \(11, 11\).*two 3-D masks"):
        cldice(tube(1)[..., 0], tube(1)[..., 0])
