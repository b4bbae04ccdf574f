"""Volumes and their grids: voxels, voxel size and where they lie in the scanner."""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
import numpy.typing as npt

from angioshare.cohort.names import listed, printable
from angioshare.errors import DataError
from angioshare.types import BoolArray, FloatArray, Spacing

GRID_TOLERANCE = 0.1
"""Two grids are one if no corner voxel of the first lies farther from its twin than this share of a voxel's side."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A scan or mask on its grid.

    Attributes:
        voxels: Values, shape (i, j, k), any real type; axes run towards right, anterior, superior when read by
            `nifti.read_volume`.
        spacing_mm: Voxel size along i, j, k in mm.
        affine: Voxel indices to scanner coordinates in mm, shape (4, 4).
    """

    voxels: npt.NDArray[np.generic]
    spacing_mm: Spacing
    affine: FloatArray

    def __post_init__(self) -> None:
        if self.voxels.ndim != 3 or self.affine.shape != (4, 4):
            raise DataError(
                f"voxels {self.voxels.shape} and affine {self.affine.shape} must be (i, j, k) and (4, 4); give one scan"
            )


def oriented(voxels: npt.NDArray[np.generic], affine: FloatArray) -> Volume:
    """Turn axes so that they run towards right, anterior and superior (RAS+), without interpolation.

    Args:
        voxels: Values, shape (i, j, k), in any order and direction of axes.
        affine: Its affine, shape (4, 4), finite and of full rank.

    Returns:
        The same values on the same points in space; spacing is the length of the affine's columns.

    Example:
        >>> left = np.diag([-1.0, 1.0, 1.0, 1.0])
        >>> oriented(np.arange(3).reshape(3, 1, 1), left).voxels.ravel()
        array([2, 1, 0])
    """
    turn = nib.orientations.io_orientation(affine)
    turned = nib.orientations.apply_orientation(voxels, turn)
    new = affine @ nib.orientations.inv_ornt_aff(turn, voxels.shape)
    side = nib.affines.voxel_sizes(new)
    i, j, k = (round(float(length), 6) for length in side)  # the format stores 0.7 as 0.699999988
    return Volume(turned, (i, j, k), new)


def refuse_other_grid(volume: Volume, reference: Volume, name: object, reference_name: object) -> None:
    """Refuse a mask that is not on the grid of its scan.

    Raises:
        DataError: Shapes differ, or a corner is off by more than `GRID_TOLERANCE` of the smallest voxel side.
    """
    cure = "resample it onto that grid with nearest neighbours"
    if volume.voxels.shape != reference.voxels.shape:
        raise DataError(
            f"{printable(name)} has {_by(volume.voxels.shape)} voxels, {printable(reference_name)} has "
            f"{_by(reference.voxels.shape)} (both RAS+); {cure}"
        )
    last = np.array(reference.voxels.shape) - 1
    corners = np.array([[*(last * at), 1.0] for at in np.ndindex(2, 2, 2)])
    off_mm = np.linalg.norm((corners @ (volume.affine - reference.affine).T)[:, :3], axis=1).max()
    bound_mm = GRID_TOLERANCE * min(reference.spacing_mm)
    if not off_mm <= bound_mm:
        raise DataError(
            f"{printable(name)} lies {off_mm:.3g} mm off the grid of {printable(reference_name)}, more than "
            f"{bound_mm:.3g} mm; {cure}"
        )


def inside(mask: Volume, name: object) -> BoolArray:
    """The voxels that a mask marks.

    Returns:
        Shape (i, j, k); nowhere True where the mask is empty.

    Raises:
        DataError: It holds more than {0, 1} or {0, 255}: several structures, or probabilities.
    """
    marked: BoolArray = mask.voxels != 0
    top = mask.voxels.max()
    if marked.any() and (top not in (1, 255) or (marked & (mask.voxels != top)).any()):
        values = listed(f"{value:g}" for value in np.unique(mask.voxels))
        raise DataError(
            f"{printable(name)} holds the values {values}, not 0 and 1 (or 0 and 255); decide which of them are "
            "inside and write those as 1"
        )
    return marked


def _by(shape: tuple[int, ...]) -> str:
    """Write a shape as people say it."""
    return " x ".join(str(side) for side in shape)
