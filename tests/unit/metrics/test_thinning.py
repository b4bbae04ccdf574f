from itertools import product

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from angioshare.metrics import thinning
from angioshare.metrics.thinning import centre_lines

TOUCHING = np.ones((3, 3, 3))
BY_FACES = ndimage.generate_binary_structure(3, 1)


def parts(mask: np.ndarray) -> int:
    return int(cc3d.connected_components(mask.astype(np.uint8), connectivity=26).max())


def cavities(mask: np.ndarray) -> int:
    return int(cc3d.connected_components(np.pad(~mask, 1, constant_values=True).astype(np.uint8), connectivity=6).max())


def euler(mask: np.ndarray) -> int:
    """Euler characteristic of the union of closed voxels, counted by its corners, edges, faces and cubes."""
    fine = np.zeros([2 * length + 1 for length in mask.shape], bool)
    for shift in product((0, 1, 2), repeat=3):
        fine[tuple(slice(s, s + 2 * length, 2) for s, length in zip(shift, mask.shape, strict=True))] |= mask
    dimension = sum(np.ix_(*[np.arange(length) % 2 for length in fine.shape]))
    return int(((-1.0) ** dimension)[fine].sum())


def neighbours(lines: np.ndarray) -> np.ndarray:
    return ndimage.convolve(lines.astype(int), TOUCHING, mode="constant") - 1


def ends(lines: np.ndarray) -> int:
    return int((lines & (neighbours(lines) == 1)).sum())


def straight_tube(direction: np.ndarray, radius: float, half_length: float = 14) -> np.ndarray:
    grid = np.stack(np.meshgrid(*[np.arange(40) - 19.7] * 3, indexing="ij"), axis=-1)
    along = grid @ (direction / np.linalg.norm(direction))
    across = np.sqrt(np.maximum((grid**2).sum(axis=-1) - along**2, 0))
    return (across <= radius) & (abs(along) <= half_length)


@st.composite
def lumps(draw):
    """Smooth random masks with branches, holes and cavities."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    noise = ndimage.gaussian_filter(rng.normal(size=(18, 16, 14)), draw(st.sampled_from([0.0, 0.8, 1.5])))
    return noise > np.quantile(noise, draw(st.floats(0.4, 0.95)))


@settings(max_examples=60, deadline=None)
@given(mask=lumps())
def test_thinning_keeps_parts_cavities_and_holes(mask):
    lines = centre_lines(mask)
    assert not (lines & ~mask).any()
    assert (parts(lines), cavities(lines), euler(lines)) == (parts(mask), cavities(mask), euler(mask))


@settings(max_examples=20, deadline=None)
@given(mask=lumps())
def test_lines_are_thin_already(mask):
    lines = centre_lines(mask)
    np.testing.assert_array_equal(centre_lines(lines), lines)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize(("width", "depth"), list(product((1, 2, 3, 4), repeat=2)))
def test_a_straight_vessel_of_any_width_becomes_one_line_of_its_length(axis, width, depth):
    shape = [width, depth]
    shape.insert(axis, 30)
    lines = centre_lines(np.ones(shape, bool))
    assert 30 - max(width, depth) <= lines.sum() <= 30
    assert ends(lines) == 2
    assert neighbours(lines)[lines].max() == 2


@pytest.mark.parametrize("radius", [1.0, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("direction", [(1, 0.3, 0.2), (1, 1, 1), (0.2, 1, -0.7), (0, 0.5, 1)])
def test_an_oblique_vessel_becomes_one_line_near_its_axis(direction, radius):
    tube = straight_tube(np.array(direction), radius)
    lines = centre_lines(tube)
    assert ends(lines) == 2
    assert 28 / np.sqrt(3) - 2 * radius <= lines.sum() <= 34
    assert not (lines & ~straight_tube(np.array(direction), 1.3)).any()


def test_a_fork_keeps_its_three_ends():
    fork = np.zeros((20, 30, 7), bool)
    fork[9:12, 2:16, 2:5] = True
    for step in range(12):
        fork[10 + step // 2 : 13 + step // 2, 15 + step : 17 + step, 2:5] = True
        fork[8 - step // 2 : 11 - step // 2, 15 + step : 17 + step, 2:5] = True
    assert ends(centre_lines(fork)) == 3


def test_a_ring_stays_a_ring():
    ring = np.zeros((14, 14, 4), bool)
    ring[2:12, 2:12], ring[5:9, 5:9] = True, False
    lines = centre_lines(ring)
    assert ends(lines) == 0
    assert euler(lines) == 0


def test_nothing_one_voxel_and_the_given_mask_are_left_alone():
    empty, one = np.zeros((2, 3, 3, 3), bool)
    one[1, 1, 1] = True
    assert not centre_lines(empty).any()
    np.testing.assert_array_equal(centre_lines(one), one)
    assert centre_lines(np.zeros((0, 0, 0), bool)).shape == (0, 0, 0)
    block = np.ones((4, 4, 9), bool)
    centre_lines(block)
    assert block.all()


def test_a_simple_voxel_is_one_whose_neighbours_hang_together():
    rng = np.random.default_rng(1)
    cubes = rng.random((600, 3, 3, 3)) < rng.random((600, 1, 1, 1))
    cubes[:, 1, 1, 1] = False
    near = ndimage.generate_binary_structure(3, 2)
    middle = ndimage.generate_binary_structure(3, 1)
    slow = []
    for cube in cubes:
        inside = ndimage.label(cube, TOUCHING)[1]
        ground = ~cube & near
        ground[1, 1, 1] = False
        labels = ndimage.label(ground, BY_FACES)[0]
        slow.append(inside == 1 and len(set(labels[middle & ground])) == 1)
    order = np.array([tuple(step + 1) for step in thinning._STEPS])
    fast = thinning._simple(cubes[:, order[:, 0], order[:, 1], order[:, 2]])
    np.testing.assert_array_equal(fast, slow)
    assert 0.1 < np.mean(slow) < 0.9


@settings(max_examples=20, deadline=None)
@given(mask=lumps())
def test_how_voxels_lie_in_memory_does_not_matter(mask):
    assert np.array_equal(centre_lines(np.asfortranarray(mask)), centre_lines(mask))
