"""Subjects: where the files of one person stand, and what they hold once they are judged fit for use."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from angioshare.cohort.names import printable
from angioshare.cohort.nifti import read_volume
from angioshare.cohort.volume import Volume, inside, refuse_other_grid
from angioshare.errors import DataError
from angioshare.types import BoolArray, ByteArray, FloatArray, Spacing


@dataclass(frozen=True, eq=False, kw_only=True)
class LoadedSubject:
    """One subject's scan, label and brain mask on one grid, RAS+.

    Attributes:
        angio: Scan, shape (i, j, k), float32, finite, >= 0; zero outside the brain where there is a mask. Where the
            file holds values below 0, the least of them (in the brain) is 0 here, as what lies outside.
        label: Vessels, shape (i, j, k), uint8 in {0, 1}, at least one voxel; zero outside the brain.
        brain: Brain mask, shape (i, j, k), or None where the cohort holds none.
        spacing_mm: Voxel size along i, j, k in mm.
        affine: Voxel indices to scanner coordinates in mm, shape (4, 4).
    """

    angio: npt.NDArray[np.float32]
    label: ByteArray
    brain: BoolArray | None
    spacing_mm: Spacing
    affine: FloatArray


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One person of a cohort, as files.

    Attributes:
        id: BIDS id with its prefix, for example `"sub-A001"`.
        site: Name of the site, or `""`.
        angio_path: The scan.
        label_path: The vessel label.
        brain_path: The brain mask, or None.
    """

    id: str
    site: str
    angio_path: Path
    label_path: Path
    brain_path: Path | None = None

    def load_angio(self) -> Volume:
        """Read the scan as it is, before any mask: float32, RAS+.

        Raises:
            DataError: See `nifti.read_volume`.
        """
        scan = read_volume(self.angio_path)
        return Volume(scan.voxels.astype(np.float32, copy=False), scan.spacing_mm, scan.affine)

    def load(self) -> LoadedSubject:
        """Read scan, label and brain mask, and apply the mask.

        Returns:
            Arrays on one grid.

        Raises:
            DataError: A file cannot be read; grids differ (see `volume.GRID_TOLERANCE`); a mask holds more than
                {0, 1} or {0, 255}; the scan is constant, or the label empty, within the brain.
        """
        scan = self.load_angio()
        angio, label = scan.voxels.astype(np.float32, copy=False), self._mask(self.label_path, scan)
        brain = None if self.brain_path is None else self._mask(self.brain_path, scan)
        if brain is not None:
            angio, label = np.where(brain, angio, np.float32(0)), label & brain
        where = "" if brain is None else " within the brain mask"
        if not label.any():
            raise DataError(f"{printable(self.label_path)} marks no vessel voxel{where}; mend it or drop {self.id}")
        inner = angio if brain is None else angio[brain]
        if inner.min() == inner.max():
            raise DataError(
                f"{printable(self.angio_path)} is {inner.max():g} everywhere{where}; mend it or drop {self.id}"
            )
        if (low := inner.min()) < 0:
            angio = angio - low if brain is None else np.where(brain, angio - low, np.float32(0))
        return LoadedSubject(
            angio=angio, label=label.astype(np.uint8), brain=brain, spacing_mm=scan.spacing_mm, affine=scan.affine
        )

    def _mask(self, path: Path, scan: Volume) -> BoolArray:
        """Read a mask and see that it is one, and on the scan's grid."""
        mask = read_volume(path)
        refuse_other_grid(mask, scan, path, self.angio_path)
        marked = inside(mask, path)
        if not marked.any():
            raise DataError(f"{printable(path)} is empty: no voxel is set; mend it or drop {self.id}")
        return marked
