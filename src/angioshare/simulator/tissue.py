"""Brain tissue on the scanner's grid: shares of grey matter, white matter and fluid, and the brain mask."""

from dataclasses import dataclass

import numpy as np

from angioshare.simulator.fields import smooth_field, upsample
from angioshare.simulator.grid import Grid
from angioshare.simulator.head import HIGH_MM, LOW_MM, Head, zero_distance
from angioshare.simulator.parameters import SimulatorParameters
from angioshare.types import BoolArray, FloatArray


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """What fills the voxels before there are vessels; all arrays (i, j, k).

    Attributes:
        depth_mm: Depth below the hull of the brain, negative outside.
        fluid: Share of spinal fluid in [0, 1].
        grey: Share of grey matter in [0, 1]; the rest is white.
        ventricle_mm: Signed distance to the ventricles, negative inside.
        mask: The brain mask as brain extraction would give it.
    """

    depth_mm: FloatArray
    fluid: FloatArray
    grey: FloatArray
    ventricle_mm: FloatArray
    mask: BoolArray


def fill_tissue(parameters: SimulatorParameters, head: Head, grid: Grid, rng: np.random.Generator) -> Tissue:
    """Lay one brain on a grid.

    Distances are found on every second voxel in plane and stretched by straight lines; shares follow on the full
    grid, so that edges stay sharp.

    Args:
        parameters: The person's own parameters.
        head: The person's brain.
        grid: The scanner's grid.
        rng: Stream of the mask's error.

    Returns:
        Shares and mask.
    """
    factor = (2, 2, 1)
    points, shape = _coarse_points(grid, factor)
    depth = head.depth(points)
    fluid, ventricle, deep = (np.full(len(points), 9.0) for _ in range(3))
    near = depth > -4
    sulcus = _sulcus_distance(head, points, near, shape, np.array(grid.spacing_mm) * factor / grid.scale)
    fluid[near] = head.fluid(points[near], depth[near], sulcus[near])
    inner = depth > 8
    ventricle[inner] = head.ventricles(points[inner])
    deep[inner] = head.deep_grey(points[inner])
    error = smooth_field(rng, 12.0, LOW_MM, HIGH_MM)
    rim = np.abs(depth) < 12
    margin = np.full(len(points), parameters.acquisition.mask_margin_mm)
    margin[rim] += parameters.acquisition.mask_roughness_mm * error.at(points[rim])
    outer = np.maximum(depth + margin, _skull_base(points, parameters.bright.skull_base))
    maps = [
        upsample(one.astype(np.float32).reshape(shape), grid.shape, factor) * np.float32(grid.scale)
        for one in (depth, np.minimum(fluid, ventricle), deep, ventricle, outer)
    ]
    depth_mm, fluid_mm, deep_mm, ventricle_mm, outer_mm = maps
    soft = np.float32(0.5 * grid.spacing_mm[0] + 0.3)
    cortex = fluid_mm - np.float32(parameters.anatomy.cortex_thickness_mm * grid.scale)
    # Ventricles have no cortex: their border counts as far away.
    cortex = np.where(ventricle_mm < 6, np.float32(9), cortex)
    return Tissue(
        depth_mm=depth_mm,
        fluid=_share(fluid_mm, soft),
        grey=_share(np.minimum(cortex, deep_mm), soft),
        ventricle_mm=ventricle_mm,
        mask=outer_mm > 0,
    )


def _share(distance: FloatArray, soft: np.float32) -> FloatArray:
    """Share of a voxel on the inner side of a border at a signed distance."""
    return np.asarray(np.clip(0.5 - distance / (2 * soft), 0, 1))


def _sulcus_distance(
    head: Head, points: FloatArray, near: BoolArray, shape: tuple[int, int, int], step_mm: FloatArray
) -> FloatArray:
    """Distance (n,) to the sulci, with the slope taken between grid points: one evaluation instead of four."""
    value = np.ones(len(points))
    value[near] = head.fold(points[near])
    slopes = np.gradient(value.reshape(shape), *step_mm)
    return zero_distance(value, np.sum(np.square(slopes), axis=0).ravel())


def _skull_base(points: FloatArray, amount: float) -> FloatArray:
    """Signed depth (n,) in the piece about the siphon that extraction keeps; its size grows with `amount`."""
    size = np.array([14.0, 12.0, 10.0]) * (0.4 + 2.0 * amount)
    reach = np.linalg.norm((points - np.array([0, 3, -12])) / size, axis=1)
    return np.asarray((1 - reach) * size.min())


def _coarse_points(grid: Grid, factor: tuple[int, int, int]) -> tuple[FloatArray, tuple[int, int, int]]:
    axes = []
    for axis, step, spacing in zip(grid.axes(), factor, grid.spacing_mm, strict=True):
        count = -(-(len(axis) - 1) // step) + 1
        axes.append(axis[0] + spacing * step * np.arange(count))
    mesh = np.meshgrid(*axes, indexing="ij")
    points = np.column_stack([one.ravel() for one in mesh])
    return grid.to_standard(points), (len(axes[0]), len(axes[1]), len(axes[2]))
