"""From drawn units to rows of a patch set: one row a patch, or several rows of one subject."""

import numpy as np

from angioshare.patches.patchset import PatchSet
from angioshare.privacy.unit import PrivacyUnit
from angioshare.types import IntArray


class UnitRows:
    """Knows which rows belong to which unit.

    Example:
        >>> real = PatchSet(image=np.zeros((4, 2, 2)), label=np.zeros((4, 2, 2), np.uint8),
        ...                 subject=np.array([0, 0, 1, 1]), subjects=("a", "b"))
        >>> rows, groups = UnitRows(real, "subject", 2, np.random.default_rng(0)).of(np.array([1]))
        >>> sorted(rows.tolist()), groups.tolist()
        ([2, 3], [0, 0])
    """

    def __init__(self, patches: PatchSet, unit: PrivacyUnit, patches_per_unit: int, rng: np.random.Generator) -> None:
        """Prepare to read `patches_per_unit` random rows of a drawn subject, without repeats (all, if fewer)."""
        self._unit, self._count, self._rng = unit, patches_per_unit, rng
        self._members = (
            [np.flatnonzero(patches.subject == index) for index in range(len(patches.subjects))]
            if unit == "subject"
            else []
        )

    def of(self, units: IntArray) -> tuple[IntArray, IntArray | None]:
        """Rows of the drawn units, and for each row the position of its unit (None if every row is a unit)."""
        if self._unit == "patch":
            return units, None
        chosen = [self._rng.permutation(self._members[unit])[: self._count] for unit in units]
        rows = np.concatenate([np.zeros(0, np.int64), *chosen])
        return rows, np.repeat(np.arange(len(units)), [len(part) for part in chosen])
