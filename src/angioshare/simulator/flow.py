"""Time-of-flight signal: what still tissue gives, and what blood gives that has been in the slab for a while.

References:
    Haacke EM et al. (1999). Magnetic Resonance Imaging: Physical Principles and Sequence Design, chapter 24.
    Parker DL et al. (1991). MR angiography by multiple thin slab 3D acquisition. Magn Reson Med 17:434-451.
"""

import numpy as np

from angioshare.simulator.grid import Grid
from angioshare.simulator.parameters import SimulatorParameters
from angioshare.simulator.parameters_image import ContrastParameters
from angioshare.simulator.tree import VesselTree, pass_down
from angioshare.types import BoolArray, FloatArray, IntArray

_M1_RADIUS_MM = 1.35


def steady_signal(contrast: ContrastParameters, t1_ms: float, density: float, t2star_ms: float) -> float:
    """Return the spoiled gradient-echo signal of tissue that stays in the slab (Ernst's formula).

    Example:
        >>> from angioshare.simulator.parameters_image import ContrastParameters
        >>> c = ContrastParameters()
        >>> steady_signal(c, 950.0, 0.71, 50.0) > steady_signal(c, 4000.0, 1.0, 500.0)
        True
    """
    flip = np.deg2rad(contrast.flip_deg)
    e1 = np.exp(-contrast.tr_ms / t1_ms)
    return float(density * np.sin(flip) * (1 - e1) / (1 - np.cos(flip) * e1) * np.exp(-contrast.te_ms / t2star_ms))


def blood_signal(contrast: ContrastParameters, time_ms: FloatArray, slab_share: FloatArray | float = 0.5) -> FloatArray:
    """Return the signal of blood after a time in the slab: fresh at first, saturated in the end.

    Args:
        contrast: The sequence.
        time_ms: Time (n,) since the blood came into the slab, >= 0.
        slab_share: How far up the slab the blood is, in [0, 1]; the flip angle rises with it.

    Returns:
        Signal (n,) in the same units as `steady_signal`.
    """
    ramp = 1 + contrast.flip_ramp * (np.asarray(slab_share) - 0.5)
    flip = np.deg2rad(contrast.flip_deg) * ramp
    e1 = np.exp(-contrast.tr_ms / contrast.t1_blood_ms)
    settled = (1 - e1) / (1 - np.cos(flip) * e1)
    # Blood on its way has met the lower flip angles of the slab's inlet: their mean decides its saturation.
    mean_flip = np.deg2rad(contrast.flip_deg) * (1 - contrast.flip_ramp * (0.5 - np.asarray(slab_share) / 2))
    pulses = time_ms / contrast.tr_ms
    magnetisation = settled + (1 - settled) * (np.cos(mean_flip) * e1) ** pulses
    return np.asarray(contrast.density_blood * np.sin(flip) * magnetisation * np.exp(-contrast.te_ms / 50.0))


def tree_signal(
    parameters: SimulatorParameters, tree: VesselTree, slowing: FloatArray, grid: Grid, rng: np.random.Generator
) -> FloatArray:
    """Return the signal of blood (n,) at each point of the arteries.

    Blood starts fresh where it enters the grid and again where it crosses from one slab into the next, because the
    slabs are measured one after another.

    Args:
        parameters: The person's own parameters.
        tree: The arteries.
        slowing: Factor (n,) on the speed behind a narrowing, 1 where there is none.
        grid: The scanner's grid.
        rng: Stream of slow branches.
    """
    contrast, radius_mm = parameters.contrast, tree.radius_mm
    places = grid.to_scanner(tree.points_mm)
    slab, share = slab_of(parameters, grid, places[:, 2])
    speed = contrast.speed_cm_s * (np.maximum(radius_mm, 0.05) / _M1_RADIUS_MM) ** contrast.speed_exponent
    speed = speed * slowing * pass_down(tree.parent, _slow_points(parameters, tree, radius_mm, rng))
    above = np.maximum(tree.parent, 0)
    # 1 mm at 1 cm/s takes 100 ms.
    step_ms = 100.0 * np.linalg.norm(places - places[above], axis=1) / speed
    fresh = (tree.parent < 0) | (slab != slab[above]) | (slab < 0)
    # Pulses begin below the part of a slab that is kept, so blood has met some when it comes into view.
    lead_ms = 100.0 * parameters.acquisition.slab_overlap_mm / speed
    time_ms = _since_entry(tree.parent, step_ms, fresh, lead_ms)
    signal = blood_signal(contrast, time_ms, share)
    return np.asarray(signal * (1 - _bend_loss(contrast, tree, radius_mm)))


def slab_of(parameters: SimulatorParameters, grid: Grid, z_mm: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return the slab (n,) that holds each height, and how far up in it (n,) the height lies.

    Heights below the grid are in slab -1.
    """
    extent = grid.shape[2] * grid.spacing_mm[2]
    where = (z_mm - grid.origin_mm[2] + grid.spacing_mm[2] / 2) / extent * parameters.acquisition.slab_count
    slab = np.clip(np.floor(where), -1, parameters.acquisition.slab_count - 1)
    return slab, np.clip(where - slab, 0, 1)


def _slow_points(
    parameters: SimulatorParameters, tree: VesselTree, radius_mm: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Factor (n,) on the speed of a point and all below it."""
    contrast = parameters.contrast
    children = np.bincount(tree.parent[tree.parent >= 0], minlength=len(tree.parent))
    starts = (tree.parent >= 0) & (children[np.maximum(tree.parent, 0)] > 1) & (radius_mm < 0.45 * _M1_RADIUS_MM)
    # Branches lie within branches, so a single chance would leave most ends slow.
    chance = contrast.slow_share * 0.3
    hit = starts & (rng.random(len(tree.parent)) < chance)
    return np.where(hit, contrast.slow_factor, 1.0)


def _since_entry(parent: IntArray, step_ms: FloatArray, fresh: BoolArray, lead_ms: FloatArray) -> FloatArray:
    time, lead = step_ms.tolist(), lead_ms.tolist()
    for i, (above, start) in enumerate(zip(parent.tolist(), fresh.tolist(), strict=True)):
        time[i] = lead[i] if start else time[i] + time[above]
    return np.array(time)


def _bend_loss(contrast: ContrastParameters, tree: VesselTree, radius_mm: FloatArray) -> FloatArray:
    """Loss (n,) by dephasing: strong where a wide artery turns within a few of its radii."""
    above = np.maximum(tree.parent, 0)
    for _ in range(2):
        above = np.maximum(tree.parent[above], 0)
    far = np.maximum(tree.parent[above], 0)
    far = np.maximum(tree.parent[far], 0)
    first, second = tree.points_mm - tree.points_mm[above], tree.points_mm[above] - tree.points_mm[far]
    size = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    turn = 1 - np.einsum("nd,nd->n", first, second) / np.maximum(size, 1e-6)
    wide = np.clip(radius_mm / _M1_RADIUS_MM - 0.6, 0, 1)
    return np.asarray(np.where(size > 0, contrast.dephasing * np.clip(turn, 0, 1) * wide, 0.0))
