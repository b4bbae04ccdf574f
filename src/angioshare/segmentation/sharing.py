"""Patches as files that several processes map, in place of copies that each would hold."""

import mmap
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from angioshare.patches.patchset import PatchSet
from angioshare.rundir import atomic_path
from angioshare.types import Provenance


@dataclass(frozen=True, kw_only=True)
class MappedPatches:
    """Where images and labels of a patch set stand as `.npy` files; small enough to send to a process.

    Attributes:
        image: File of the images.
        label: File of the labels.
        provenance: What the pairs reveal.
        count: How many pairs.
    """

    image: Path
    label: Path
    provenance: Provenance
    count: int

    def open(self) -> PatchSet:
        """Map the files; subjects are not told, training needs none."""
        image, label = (np.load(path, mmap_mode="r", allow_pickle=False) for path in (self.image, self.label))
        return PatchSet(image=image, label=label, provenance=self.provenance)


@contextmanager
def mapped(patches: PatchSet, scratch: Path) -> Iterator[MappedPatches]:
    """Give files of a patch set while the block runs: its own if it is mapped from disk, else copies in `scratch`.

    Args:
        patches: In memory or mapped from disk.
        scratch: Folder for copies, for the owner's eyes alone; removed at the end, and at the start if a killed
            process left it.

    Raises:
        DataError: Copies cannot be written.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        yield MappedPatches(
            image=_file_of(patches.image) or _copy(patches.image, scratch / "image.npy"),
            label=_file_of(patches.label) or _copy(patches.label, scratch / "label.npy"),
            provenance=patches.provenance,
            count=len(patches),
        )
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _file_of(array: npt.NDArray[np.generic]) -> Path | None:
    """The `.npy` file that an array is a map of, whole; a view of a map has another base than the map itself."""
    base: object = array.base
    if not isinstance(array, np.memmap) or not isinstance(base, mmap.mmap):
        return None
    path = Path(str(array.filename))
    return path if path.suffix == ".npy" and path.is_file() else None


def _copy(array: npt.NDArray[np.generic], path: Path) -> Path:
    with atomic_path(path, private=True) as temporary, temporary.open("wb") as handle:
        np.lib.format.write_array(handle, np.ascontiguousarray(array), allow_pickle=False)
    return path
