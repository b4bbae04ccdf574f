"""The signal of one head before the scanner blurs it: tissue, arteries, veins, plexus, fat and meninges."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from angioshare.simulator.fields import smooth_field
from angioshare.simulator.flow import blood_signal, steady_signal
from angioshare.simulator.grid import Grid
from angioshare.simulator.parameters import SimulatorParameters
from angioshare.simulator.raster import Beads, draw
from angioshare.simulator.tissue import Tissue
from angioshare.simulator.tree import VesselTree
from angioshare.types import FloatArray

_FLUID_T2STAR_MS = 500.0
_BONE = 0.2
_VEIN_SCATTER = 0.5


@dataclass(frozen=True, kw_only=True)
class Levels:
    """Signals of still matter, as multiples of white matter's.

    Attributes:
        white_signal: White matter in the units of `steady_signal`, the measure of the rest.
        grey: Grey matter.
        fluid: Spinal fluid.
        fat: Fat.
        fresh: Blood that has just come into the slab.
    """

    white_signal: float
    grey: float
    fluid: float
    fat: float
    fresh: float

    def towards_fresh(self, level: float) -> float:
        """Return the signal at a level between grey matter (0) and fresh blood (1)."""
        return self.grey + level * (self.fresh - self.grey)


def tissue_levels(parameters: SimulatorParameters) -> Levels:
    """Return the signals of still matter against white matter.

    Example:
        >>> from angioshare.simulator.parameters import SimulatorParameters
        >>> levels = tissue_levels(SimulatorParameters())
        >>> levels.fluid < levels.grey < 1 < levels.fresh
        True
    """
    contrast = parameters.contrast
    kept = 1 - contrast.magnetisation_transfer
    t2star = contrast.t2star_tissue_ms
    white = kept * steady_signal(contrast, contrast.t1_white_ms, contrast.density_white, t2star)
    return Levels(
        white_signal=white,
        grey=kept * steady_signal(contrast, contrast.t1_grey_ms, contrast.density_grey, t2star) / white,
        fluid=steady_signal(contrast, contrast.t1_fluid_ms, 1.0, _FLUID_T2STAR_MS) / white,
        fat=steady_signal(contrast, contrast.t1_fat_ms, 1.0, t2star) / white,
        fresh=float(blood_signal(contrast, np.array(0.0))) / white,
    )


def paint_tissue(
    parameters: SimulatorParameters, tissue: Tissue, grid: Grid, levels: Levels, rng: np.random.Generator
) -> FloatArray:
    """Return the signal (i, j, k) of the head without vessels, against white matter.

    Args:
        parameters: The person's own parameters.
        tissue: Shares of the tissues.
        grid: The grid.
        levels: Signals of the tissues.
        rng: Stream of texture, plexus and what brain extraction left.
    """
    brain = 1 + tissue.grey * np.float32(levels.grey - 1)
    axes = grid.axes()
    low, high = np.array([a[0] for a in axes]), np.array([a[-1] for a in axes])
    fine, broad = (smooth_field(rng, length, low, high).on_axes(*axes) for length in (3.0, 9.0))
    brain *= 1 + np.float32(parameters.contrast.texture) * (np.float32(0.7) * fine + np.float32(0.7) * broad)
    brain += tissue.fluid * (np.float32(levels.fluid) - brain)
    _paint_plexus(brain, parameters, tissue, fine, levels)
    _paint_rim(brain, parameters, tissue, fine, broad, levels)
    return brain


def _paint_plexus(
    image: FloatArray, parameters: SimulatorParameters, tissue: Tissue, fine: FloatArray, levels: Levels
) -> None:
    """Lumps inside the wider parts of the lateral ventricles."""
    inside = tissue.ventricle_mm < -1.0
    share = _soft_step((fine[inside] - 0.8) * 2)
    image[inside] += share * (levels.towards_fresh(parameters.bright.choroid_level) - image[inside])


def _paint_rim(
    image: FloatArray,
    parameters: SimulatorParameters,
    tissue: Tissue,
    fine: FloatArray,
    broad: FloatArray,
    levels: Levels,
) -> None:
    """Meninges, bone, marrow and fat outside the brain's hull."""
    bright = parameters.bright
    rim = tissue.depth_mm < 0.5
    lumpy = 0.75 * broad[rim] + 0.65 * fine[rim]
    out = np.clip(-tissue.depth_mm[rim] / 3, 0, 1)
    # From fluid at the hull to dura, and further out to bone and muscle, all in lumps.
    dura = levels.towards_fresh(bright.meninges_level) * (0.85 + 0.2 * fine[rim])
    signal = levels.fluid + _soft_step(lumpy + 2.0 * out - 1.2) * (dura - levels.fluid)
    bone = _soft_step(2.2 * out - 1.4 - lumpy)
    signal = signal + bone * (_BONE - signal)
    fat = _soft_step((lumpy - norm.ppf(1 - max(bright.fat_share, 1e-9))) * 2) * np.clip(0.3 + out, 0, 1)
    signal = signal + fat * (levels.towards_fresh(bright.fat_level) - signal)
    image[rim] = np.maximum(signal, 0.05)


def _soft_step(value: FloatArray) -> FloatArray:
    """Rise from 0 to 1 about 0, over a width of 1."""
    return np.asarray(np.clip(0.5 + value, 0, 1))


def paint_vessels(
    image: FloatArray, beads: Beads, radius_mm: FloatArray, signal: FloatArray, grid: Grid, profile: float
) -> FloatArray:
    """Paint vessels over an image in place, with partial volume and a dimmer wall.

    Args:
        image: Signal (i, j, k), changed in place.
        beads: Beads of the vessels.
        radius_mm: Radius (n,) at the beads in scanner mm.
        signal: Signal (n,) at the beads.
        grid: The grid.
        profile: Loss of signal from axis to wall.

    Returns:
        What the vessels added (i, j, k), the source of pulsation ghosts.
    """
    share, origin = draw(beads, radius_mm, grid)
    voxel = np.flatnonzero(origin.ravel() >= 0)
    bead = origin.ravel()[voxel]
    place = np.column_stack(np.unravel_index(voxel, grid.shape)) * np.array(grid.spacing_mm) + grid.origin_mm
    away = np.linalg.norm(place - beads.points_mm[bead], axis=1) / np.maximum(radius_mm[bead], 1e-3)
    value = signal[bead] * (1 - profile * np.clip(away, 0, 1) ** 2)
    flat = image.reshape(-1)
    added = np.zeros_like(flat)
    added[voxel] = share.ravel()[voxel] * (value - flat[voxel])
    flat += added
    return added.reshape(grid.shape)


def vein_signal(
    parameters: SimulatorParameters, veins: VesselTree, levels: Levels, rng: np.random.Generator
) -> FloatArray:
    """Return the signal (n,) of blood at each point of the veins; every vein has its own."""
    bright = parameters.bright
    small = veins.of("cortical", "internal-cerebral", "basal", "sylvian")
    level = np.where(small, bright.vein_level, bright.sinus_level)
    children = np.bincount(veins.parent[veins.parent >= 0], minlength=len(veins.parent))
    forks = children[np.maximum(veins.parent, 0)] > 1
    begins = (veins.parent < 0) | (forks & veins.of("cortical"))
    own = np.where(begins, np.exp(_VEIN_SCATTER * rng.standard_normal(len(begins))), 0.0)
    # A sinus is one whole; a cortical vein keeps its brightness from fork to fork.
    above = veins.parent.tolist()
    factors = own.tolist()
    for i, start in enumerate(begins.tolist()):
        if not start:
            factors[i] = factors[above[i]]
    return np.asarray(levels.grey + level * np.minimum(np.array(factors), 3.0) * (levels.fresh - levels.grey))
