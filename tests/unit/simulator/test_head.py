import numpy as np
import pytest

from angioshare.rng import stream
from angioshare.simulator.grid import draw_grid
from angioshare.simulator.head import HIGH_MM, LOW_MM, draw_head
from angioshare.simulator.parameters import SimulatorParameters, unflatten
from angioshare.simulator.tissue import fill_tissue


def fill(**changes):
    small = {"acquisition.voxel_i_mm": 1.6, "acquisition.voxel_j_mm": 1.6, "acquisition.voxel_k_mm": 3.0}
    small |= {"acquisition.matrix_i": 96, "acquisition.matrix_j": 116, "acquisition.matrix_k": 50}
    small |= {"acquisition.slab_bottom_mm": -56.0, "variation.size": 0.0, "variation.position_mm": 0.0}
    parameters = unflatten(
        small | {name.replace("__", "."): value for name, value in changes.items()}, SimulatorParameters()
    )
    head, grid = draw_head(parameters, stream(1, "head")), draw_grid(parameters, stream(1, "pose"))
    return fill_tissue(parameters, head, grid, stream(1, "mask")), np.prod(grid.spacing_mm) / 1000


def test_a_whole_brain_has_the_volume_of_an_adults():
    """Intracranial volume 1.2 to 1.8 l (Ruigrok et al. 2014)."""
    tissue, millilitre = fill()
    assert 1100 < (tissue.depth_mm > 0).sum() * millilitre < 1750


def test_grey_white_and_fluid_have_plausible_shares():
    tissue, _ = fill()
    brain = tissue.depth_mm > 0
    fluid = tissue.fluid[brain].mean()
    grey = (tissue.grey * (1 - tissue.fluid))[brain].mean()
    assert 0.05 < fluid < 0.3
    assert 0.3 < grey < 0.7
    assert np.all((tissue.fluid >= 0) & (tissue.fluid <= 1) & (tissue.grey >= 0) & (tissue.grey <= 1))


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("anatomy__ventricle_scale", 0.7, 1.8),
        ("anatomy__sulcus_width_mm", 0.5, 3.0),
        ("anatomy__sulcus_depth_mm", 8, 25),
    ],
)
def test_wider_ventricles_and_sulci_hold_more_fluid(name, low, high):
    assert fill(**{name: high})[0].fluid.sum() > 1.05 * fill(**{name: low})[0].fluid.sum()


def test_a_wider_mask_and_a_smaller_head_change_the_mask():
    normal = fill()[0].mask.sum()
    assert fill(acquisition__mask_margin_mm=4.0)[0].mask.sum() > 1.03 * normal
    assert fill(anatomy__head_scale=0.8)[0].mask.sum() < 0.7 * normal


def test_the_distance_to_a_sulcus_is_a_distance():
    head = draw_head(SimulatorParameters(), stream(2, "head"))
    points = np.random.default_rng(0).uniform(LOW_MM + 30, HIGH_MM - 30, (4_000, 3))
    first = head.sulcus_distance(points)
    assert np.all(first >= 0)
    moved = head.sulcus_distance(points + np.array([0.2, 0.0, 0.0]))
    assert np.percentile(np.abs(moved - first), 75) < 0.25
