"""Readers draw vessels as vessels: without gaps, as far as anything of them is seen."""

import numpy as np
import pytest
from scipy import ndimage

from angioshare.simulator.grid import Grid
from angioshare.simulator.parameters import SimulatorParameters, unflatten
from angioshare.simulator.raster import string_beads
from angioshare.simulator.reader import draw_label
from angioshare.simulator.tree import VesselTree

SHAPE, SPACING = (40, 16, 12), (0.7, 0.7, 1.4)


def drawn(radius_mm, signal, height_mm, *, noise=0.0, **reader):
    """Label of a vessel along i, its signal given at 20 points, between two slices if height_mm is half a slice off."""
    grid = Grid(shape=SHAPE, spacing_mm=SPACING, origin_mm=np.zeros(3), pose=np.eye(3), shift_mm=np.zeros(3), scale=1.0)
    points = np.column_stack([np.linspace(4, 23, 20), np.full(20, 5.6), np.full(20, height_mm)])
    tree = VesselTree(
        points_mm=points,
        parent=np.arange(-1, 19),
        radius_mm=np.full(20, radius_mm),
        name=np.zeros(20, dtype=int),
        names=("tube",),
    )
    style = {"hand_mm": 0.0, "speck_voxels": 0, "missed_share": 0.0, "smallest_radius_mm": 0.0, **reader}
    parameters = unflatten({f"reader.{name}": value for name, value in style.items()}, SimulatorParameters())
    beads = string_beads(tree, grid)
    mask = np.ones(SHAPE, bool)
    return draw_label(parameters, tree, beads, np.asarray(signal), noise, mask, grid, np.random.default_rng(0))


def pieces(label):
    return ndimage.label(label, structure=np.ones((3, 3, 3)))[1]


@pytest.mark.parametrize("height", [5.6, 5.95, 6.3, 6.65])
def test_a_continuous_reader_draws_a_thin_vessel_wherever_it_lies_between_slices(height):
    style = {"thickness": 1.0, "least_width_voxel": 1.0, "smallest_contrast": 0.0, "coverage": 0.6}
    label = drawn(0.3, np.full(20, 2.5), height, continuity=1.0, **style)
    assert pieces(label) == 1
    assert np.flatnonzero(label.any(axis=(1, 2))).tolist() == list(range(6, 34))
    assert drawn(0.3, np.full(20, 2.5), height, continuity=0.0, **style).sum() < label.sum()


def test_continuity_adds_nothing_to_a_wide_vessel():
    less, more = (drawn(1.5, np.full(20, 2.5), 6.0, continuity=value) for value in (0.0, 1.0))
    assert less.sum() > 300
    assert np.array_equal(less, more)


def test_what_is_seen_again_further_on_is_followed_through_the_dim_part():
    signal = np.full(20, 3.0)
    signal[8:12] = 1.0
    whole = drawn(0.8, signal, 5.6, smallest_contrast=0.5)
    assert pieces(whole) == 1
    assert np.flatnonzero(whole.any(axis=(1, 2))).max() >= 32


def test_nothing_is_drawn_behind_the_last_visible_part():
    signal = np.full(20, 3.0)
    signal[10:] = 1.0
    half = drawn(0.8, signal, 5.6, smallest_contrast=0.5)
    assert pieces(half) == 1
    assert np.flatnonzero(half.any(axis=(1, 2))).max() <= 22


@pytest.mark.parametrize(("noise", "seen"), [(0.02, True), (0.2, False)])
def test_a_reader_draws_what_stands_out_against_the_noise(noise, seen):
    style = {"smallest_contrast": 0.0, "smallest_cnr": 4.0}
    assert drawn(0.4, np.full(20, 2.0), 5.6, noise=noise, **style).any() == seen
