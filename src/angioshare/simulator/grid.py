"""The scanner's grid: where its voxels lie in one person's head."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial.transform import Rotation

from angioshare.simulator.parameters import SimulatorParameters
from angioshare.types import FloatArray, Spacing


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Voxels of one examination.

    Attributes:
        shape: Voxels along i, j, k.
        spacing_mm: Voxel size.
        origin_mm: Scanner coordinates (3,) of the first voxel's centre.
        pose: Matrix (3, 3) from standard space to the scanner: size of the head and its rotation.
        shift_mm: Where the standard space's origin lies in the scanner.
        scale: Mean factor of the pose, for radii and other lengths.
    """

    shape: tuple[int, int, int]
    spacing_mm: Spacing
    origin_mm: FloatArray
    pose: FloatArray
    shift_mm: FloatArray
    scale: float

    def to_scanner(self, points: FloatArray) -> FloatArray:
        """Move points (n, 3) from standard space to scanner coordinates in mm."""
        return np.asarray(points @ self.pose.T + self.shift_mm)

    def to_standard(self, points: FloatArray) -> FloatArray:
        """Move points (n, 3) from scanner coordinates to standard space in mm."""
        return np.asarray((points - self.shift_mm) @ np.linalg.inv(self.pose).T)

    def axes(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the scanner coordinates of the voxels along each axis in mm."""
        i, j, k = (self.origin_mm[d] + self.spacing_mm[d] * np.arange(self.shape[d]) for d in range(3))
        return i, j, k

    def slices(self, first: int, count: int) -> "Grid":
        """Return the grid of some neighbouring slices (along k).

        Args:
            first: The lowest slice, >= 0.
            count: How many, >= 1.
        """
        shape = (self.shape[0], self.shape[1], count)
        return replace(self, shape=shape, origin_mm=self.origin_mm + np.array([0, 0, first * self.spacing_mm[2]]))

    def affine(self) -> FloatArray:
        """Return the affine (4, 4) from voxel indices to scanner coordinates."""
        affine = np.diag([*self.spacing_mm, 1.0])
        affine[:3, 3] = self.origin_mm
        return affine


def draw_grid(parameters: SimulatorParameters, rng: np.random.Generator) -> Grid:
    """Place one person's head in the scanner.

    Args:
        parameters: The person's own parameters.
        rng: Stream of the head's size and position.

    Returns:
        The grid, centred on the head from left to right and back to front.
    """
    acquisition, variation = parameters.acquisition, parameters.variation
    scale = parameters.anatomy.head_scale
    size = scale * np.exp(variation.size * rng.standard_normal(3))
    turn = Rotation.from_euler("xyz", variation.rotation_deg * rng.standard_normal(3), degrees=True).as_matrix()
    shape = (acquisition.matrix_i, acquisition.matrix_j, acquisition.matrix_k)
    spacing = (acquisition.voxel_i_mm, acquisition.voxel_j_mm, acquisition.voxel_k_mm)
    extent = np.array(shape) * np.array(spacing)
    origin = np.array([-extent[0] / 2, -extent[1] / 2, scale * acquisition.slab_bottom_mm]) + np.array(spacing) / 2
    # The middle of the head lies 20 mm behind the carotid ends.
    shift = np.array([0.0, 20.0 * scale, 0.0]) + scale * variation.position_mm * rng.standard_normal(3)
    return Grid(
        shape=shape, spacing_mm=spacing, origin_mm=origin, pose=turn * size, shift_mm=shift, scale=float(size.mean())
    )
