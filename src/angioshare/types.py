"""Names for the arrays and words that cross module borders (imports NumPy alone).

Axes: `n` patches or pairs, `h w` pixels of a patch, `i j k` voxels of a volume (RAS+). Images are scaled to
[-1, 1], labels are {0, 1}.
"""

from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

Provenance: TypeAlias = Literal["public", "dp", "unprotected"]
"""What a number or picture reveals: nothing private, something under a guarantee, or anything at all."""

REVEALING: tuple[Provenance, ...] = ("public", "dp", "unprotected")
"""From what reveals nothing of the cohort to what reveals most."""

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
ByteArray: TypeAlias = npt.NDArray[np.uint8]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
IntArray: TypeAlias = npt.NDArray[np.integer[Any]]

Spacing: TypeAlias = tuple[float, float, float]
"""Voxel size along i, j, k in mm."""

Json: TypeAlias = dict[str, Any]
