"""Scaling: each patch by itself, onto [-1, 1], and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from angioshare.errors import DataError
from angioshare.patches.scale import scale_patch, unscale_patch

patches = arrays(np.float64, (3, 4, 5), elements=st.floats(-1e6, 1e6, width=32))


@given(patches)
def test_every_patch_fills_the_range_or_is_zero(image):
    for raw, scaled in zip(image, scale_patch(image), strict=True):
        assert scaled.dtype == np.float32
        if raw.min() == raw.max():
            assert not scaled.any()
        else:
            assert (scaled.min(), scaled.max()) == (-1, 1)


@given(patches)
def test_many_at_once_equal_one_by_one(image):
    np.testing.assert_array_equal(scale_patch(image), np.stack([scale_patch(patch) for patch in image]))


@given(patches)
def test_unscaling_inverts(image):
    low, high = image.min(axis=(1, 2)), image.max(axis=(1, 2))
    bound = (1e-6 * (high - low)).max()
    np.testing.assert_allclose(unscale_patch(scale_patch(image), low, high), image, atol=bound, rtol=1e-6)


def test_another_patch_in_the_batch_changes_nothing():
    rng = np.random.default_rng(1)
    mine, bright = rng.random((4, 4)), 1000 * rng.random((4, 4))
    np.testing.assert_array_equal(scale_patch(np.stack([mine, bright]))[0], scale_patch(mine))


@pytest.mark.parametrize("image", [np.full((2, 2), 7), np.zeros((2, 2)), np.full((2, 2), 255, np.uint8)])
def test_a_constant_patch_becomes_zeros(image):
    np.testing.assert_array_equal(scale_patch(image), np.zeros((2, 2)))


@pytest.mark.parametrize("largest", [np.finfo(np.float64).max, 1e-308])
def test_extreme_ranges_neither_overflow_nor_vanish(largest):
    scaled = scale_patch(np.array([[-largest, 0.0], [largest / 2, largest]]))
    np.testing.assert_allclose(scaled, [[-1, 0], [0.5, 1]])


def test_no_patch_stays_no_patch():
    assert scale_patch(np.zeros((0, 4, 4))).shape == (0, 4, 4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(bad):
    with pytest.raises(DataError, match="NaN or infinity"):
        scale_patch(np.array([[0.0, bad]]))
    with pytest.raises(DataError, match="finite"):
        unscale_patch(np.zeros((1, 2, 2)), 0, bad)


def test_a_range_upside_down_is_refused():
    with pytest.raises(DataError, match="in order"):
        unscale_patch(np.zeros((2, 2)), 1, 0)
