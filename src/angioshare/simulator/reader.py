"""How a site's readers draw the label: thickness, gaps, what they leave out, specks that they erase."""

import numpy as np
from scipy import ndimage

from angioshare.simulator.fields import smooth_field
from angioshare.simulator.grid import Grid
from angioshare.simulator.head import HIGH_MM, LOW_MM
from angioshare.simulator.parameters import SimulatorParameters
from angioshare.simulator.raster import Beads, disc_share, draw, voxel_blur
from angioshare.simulator.tree import VesselTree, down_sum, pass_down
from angioshare.types import BoolArray, ByteArray, FloatArray, IntArray


def draw_label(
    parameters: SimulatorParameters,
    tree: VesselTree,
    beads: Beads,
    relative_signal: FloatArray,
    relative_noise: float,
    mask: BoolArray,
    grid: Grid,
    rng: np.random.Generator,
) -> ByteArray:
    """Draw the vessel label as readers would.

    Args:
        parameters: The person's own parameters.
        tree: The arteries.
        beads: Their beads.
        relative_signal: Signal (n,) at each point of the tree against the tissue around it.
        relative_noise: SD of the noise against the same tissue.
        mask: The brain mask; nothing is drawn outside.
        grid: The grid.
        rng: Stream of the readers' errors.

    Returns:
        The label (i, j, k), 0 or 1.
    """
    reader = parameters.reader
    true_mm = beads.of(tree, tree.radius_mm)
    tremor = smooth_field(rng, 4.0, LOW_MM, HIGH_MM).at(tree.points_mm)
    drawn = reader.thickness * true_mm + reader.hand_mm * beads.of(tree, tremor)
    drawn = np.maximum(grid.scale * drawn, 0.5 * reader.least_width_voxel * grid.spacing_mm[0])
    peak = disc_share(np.zeros(len(true_mm)), grid.scale * true_mm / voxel_blur(beads, grid))
    contrast = peak * (beads.of(tree, relative_signal) - 1)
    least = max(reader.smallest_contrast, reader.smallest_cnr * relative_noise)
    visible = (true_mm >= reader.smallest_radius_mm) & (contrast >= least)
    # Who sees the far part of a vessel has followed it there.
    seen = np.bincount(beads.node[visible], minlength=len(tree.parent)) > 0
    followed = down_sum(tree.parent, seen.astype(np.float64)) > 0
    visible = followed[beads.node] & ~_missed(parameters, tree, rng)[beads.node]
    share, _ = draw(beads, drawn, grid, visible)
    label = share > reader.coverage
    middle = _under(beads, visible, grid)
    label[middle] |= share[middle] > reader.coverage * (1 - reader.continuity)
    return erase_specks(label & mask, reader.speck_voxels)


def _under(beads: Beads, visible: BoolArray, grid: Grid) -> tuple[IntArray, ...]:
    """Voxels that hold the middle of what is visible."""
    place = np.rint((beads.points_mm[visible] - grid.origin_mm) / np.array(grid.spacing_mm)).astype(np.int64)
    inside = np.all((place >= 0) & (place < np.array(grid.shape)), axis=1)
    return tuple(place[inside].T)


def erase_specks(label: BoolArray, smallest: int) -> ByteArray:
    """Erase connected pieces (26 neighbours) of fewer than `smallest` voxels.

    Example:
        >>> erase_specks(np.array([[[1, 1, 0, 1]]], dtype=bool), 2).ravel().tolist()
        [1, 1, 0, 0]
    """
    pieces, _ = ndimage.label(label, structure=np.ones((3, 3, 3)))
    size = np.bincount(pieces.ravel())
    size[0] = 0
    return np.asarray((size >= max(smallest, 1))[pieces] & label).astype(np.uint8)


def _missed(parameters: SimulatorParameters, tree: VesselTree, rng: np.random.Generator) -> BoolArray:
    """Which points (n,) lie on thin branches that the readers overlook, with all that hangs on them."""
    children = np.bincount(tree.parent[tree.parent >= 0], minlength=len(tree.parent))
    forks = (tree.parent >= 0) & (children[np.maximum(tree.parent, 0)] > 1)
    thin = forks & (tree.radius_mm < 1.8 * parameters.reader.smallest_radius_mm)
    missed = thin & (rng.random(len(thin)) < parameters.reader.missed_share)
    return np.asarray(pass_down(tree.parent, np.where(missed, 0.0, 1.0)) == 0)
