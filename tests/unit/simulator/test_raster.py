import numpy as np
import pytest

from angioshare.simulator.grid import Grid
from angioshare.simulator.raster import disc_share, draw, string_beads
from angioshare.simulator.tree import VesselTree


def grid_of(shape=(40, 40, 30), spacing=(0.7, 0.7, 1.2)):
    return Grid(shape=shape, spacing_mm=spacing, origin_mm=np.zeros(3), pose=np.eye(3), shift_mm=np.zeros(3), scale=1.0)


def straight(start, stop, radius):
    points = np.linspace(start, stop, 20)
    return VesselTree(
        points_mm=points,
        parent=np.arange(-1, 19),
        radius_mm=np.full(20, radius),
        name=np.zeros(20, dtype=int),
        names=("tube",),
    )


@pytest.mark.parametrize("radius", [0.25, 0.5, 1.0, 2.5])
@pytest.mark.parametrize("stop", [(14.0, 14.0, 28.0), (24.0, 14.0, 18.0), (22.0, 20.0, 26.0)])
def test_a_tube_fills_the_volume_of_a_cylinder(radius, stop):
    grid, start = grid_of(), np.array([14.0, 14.0, 18.0]) - (np.array(stop) - np.array([14.0, 14.0, 18.0]))
    tree = straight(start, stop, radius)
    beads = string_beads(tree, grid)
    share, _ = draw(beads, beads.of(tree, tree.radius_mm), grid)
    length = np.linalg.norm(np.array(stop) - start)
    volume = share.sum() * np.prod(grid.spacing_mm)
    caps = 4 / 3 * np.pi * radius**3 + 0.6 * np.pi * radius**2
    assert 0.88 * np.pi * radius**2 * length < volume < 1.12 * np.pi * radius**2 * length + caps


@pytest.mark.parametrize("radius", [0.3, 1.0, 3.0, 8.0])
@pytest.mark.parametrize("distance", [0.0, 0.7, 2.5, 8.0])
def test_the_share_of_a_blurred_disc_equals_counting_random_points(radius, distance):
    points = np.random.default_rng(0).standard_normal((200_000, 2)) + np.array([distance, 0])
    counted = np.mean(np.linalg.norm(points, axis=1) < radius)
    assert float(disc_share(np.array([distance]), np.array([radius]))[0]) == pytest.approx(counted, abs=0.02)


def test_moving_a_vessel_by_one_voxel_moves_its_picture_by_one_voxel():
    grid = grid_of()
    here, there = straight((10, 10, 6), (16, 18, 28), 0.8), straight((10.7, 10, 6), (16.7, 18, 28), 0.8)
    shares = []
    for tree in (here, there):
        beads = string_beads(tree, grid)
        shares.append(draw(beads, beads.of(tree, tree.radius_mm), grid)[0])
    assert np.roll(shares[0], 1, axis=0) == pytest.approx(shares[1], abs=1e-3)


def test_beads_that_are_not_chosen_leave_no_trace():
    grid, tree = grid_of(), straight((10, 10, 6), (16, 18, 28), 0.8)
    beads = string_beads(tree, grid)
    share, origin = draw(beads, np.ones(len(beads.node)), grid, np.zeros(len(beads.node), dtype=bool))
    assert share.max() == 0
    assert origin.max() == -1


def test_vessels_outside_the_grid_are_no_error():
    grid, tree = grid_of(), straight((-30, 10, 6), (70, 12, 9), 1.0)
    beads = string_beads(tree, grid)
    share, _ = draw(beads, np.ones(len(beads.node)), grid)
    assert share[0].max() > 0.5
    assert share[-1].max() > 0.5
