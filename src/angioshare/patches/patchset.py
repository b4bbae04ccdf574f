"""PatchSet: pairs of an image patch and its label, in memory or mapped from disk.

What is learned from. A set that holds real patches names the subject of each; a synthetic one names none.
"""

import mmap
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from angioshare.errors import DataError
from angioshare.types import ByteArray, FloatArray, IntArray, Provenance


@dataclass(frozen=True, kw_only=True)
class PatchSet:
    """Pairs of image and label.

    Attributes:
        image: Image patches, shape (n, h, w), in [-1, 1]. May be a memory map; float16 or float32.
        label: Vessel labels, shape (n, h, w), uint8 in {0, 1}.
        subject: Index into `subjects` of each pair, shape (n,); empty if synthetic.
        subjects: BIDS ids of the subjects; empty if synthetic.
        provenance: What the pairs reveal: real ones everything (`"unprotected"`).
    """

    image: FloatArray
    label: ByteArray
    subject: IntArray = field(default_factory=lambda: np.zeros(0, np.int64))
    subjects: tuple[str, ...] = ()
    provenance: Provenance = "unprotected"

    def __post_init__(self) -> None:
        if self.image.shape != self.label.shape or self.image.ndim != 3:
            raise DataError(
                f"image {self.image.shape} and label {self.label.shape} must both be (n, h, w); cut them together"
            )
        if self.subjects and len(self.subject) != len(self.image):
            raise DataError(f"{len(self.subject)} subject indices for {len(self.image)} pairs; give one for each")

    def __len__(self) -> int:
        return len(self.image)

    def pairs(self, indices: IntArray) -> FloatArray:
        """Read pairs as two-channel arrays, channel 0 the image and channel 1 the label.

        Args:
            indices: Which pairs, shape (m,). May be empty or repeat.

        Returns:
            Shape (m, 2, h, w), float32.

        Example:
            >>> PatchSet(image=np.zeros((3, 4, 4)), label=np.ones((3, 4, 4), np.uint8)).pairs(np.array([2])).shape
            (1, 2, 4, 4)
        """
        out = np.empty((len(indices), 2, *self.image.shape[1:]), np.float32)
        out[:, 0] = self.image[indices]
        out[:, 1] = self.label[indices]
        for array in (self.image, self.label):
            _release(array)
        return out


def _release(array: npt.NDArray[np.generic]) -> None:
    """Give mapped pages back, so that a set larger than memory can be read at random; the system still caches them."""
    base: object = array
    while isinstance(base, np.ndarray):
        if base.flags.writeable:  # a writable map may hold changes that exist nowhere else
            return
        base = base.base
    if isinstance(base, mmap.mmap):
        base.madvise(mmap.MADV_DONTNEED)
