"""Where patches are cut: axial, half of them centred on vessels, half anywhere in the brain, no place twice.

A patch has its centre at a voxel (i, j, k) and holds, of slice k, the pixels i - size // 2 ... i - size // 2 + size - 1
and j alike; its axes h, w are i, j. What lies outside the volume is padded with zeros, the value outside a brain mask,
so that a vessel near the border of the scan is as likely as any other. The number of patches per subject is public.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from angioshare.errors import DataError
from angioshare.patches.scale import scale_patch
from angioshare.rng import stream
from angioshare.settings import Settings
from angioshare.types import BoolArray, ByteArray, FloatArray, IntArray

_Kind = TypeVar("_Kind", bound=np.generic)


class PatchSettings(Settings):
    """How patches are cut."""

    size: int = Field(96, ge=8, le=512, description="Height and width of a patch in pixels.")
    vessel: int = Field(500, ge=0, le=100_000, description="Patches per subject that are centred on a vessel voxel.")
    random: int = Field(500, ge=0, le=100_000, description="Patches per subject centred anywhere in the brain.")
    allow_fewer: bool = Field(
        False, description="Take fewer where a subject has fewer places; its epsilon still assumes the numbers above."
    )

    @model_validator(mode="after")
    def _some(self) -> "PatchSettings":
        """See that anything is cut at all."""
        if self.vessel + self.random < 1:
            raise ValueError("vessel + random is 0 and must be 1 at least; raise one of them")
        return self

    @property
    def per_subject(self) -> int:
        """Patches that one subject gives at most: the public number that accounting uses."""
        return self.vessel + self.random


@dataclass(frozen=True, eq=False, kw_only=True)
class SubjectPatches:
    """The patches of one subject, vessel-centred ones first.

    Attributes:
        subject: BIDS id.
        image: Scaled to [-1, 1] each by itself, shape (n, h, w), float32.
        label: Shape (n, h, w), uint8 in {0, 1}.
        centre: Voxel i, j, k of each centre, shape (n, 3), int32.
        n_vessel: How many are vessel-centred.
    """

    subject: str
    image: npt.NDArray[np.float32]
    label: ByteArray
    centre: npt.NDArray[np.int32]
    n_vessel: int


def cut_patches(
    angio: FloatArray | IntArray,
    label: ByteArray,
    brain: BoolArray | None,
    settings: PatchSettings,
    *,
    subject: str,
    seed: int,
) -> SubjectPatches:
    """Cut the patches of one subject.

    Args:
        angio: Scan, shape (i, j, k), finite; zero outside the brain where there is a mask.
        label: Vessels, shape (i, j, k), uint8 in {0, 1}.
        brain: Brain mask, shape (i, j, k); None takes the voxels where the scan is above 0.
        settings: Size and numbers.
        subject: BIDS id; it chooses the random stream, so that a subject's patches do not depend on the others.
        seed: Public seed: places give nothing away that the patches do not.

    Returns:
        The patches; all places differ.

    Raises:
        DataError: There are fewer places than asked and `allow_fewer` is off, or there is no place at all.

    Example:
        >>> cube = np.ones((4, 4, 2), np.uint8)
        >>> few = PatchSettings(size=8, vessel=3, random=5)
        >>> cut_patches(cube, cube, None, few, subject="sub-1", seed=1).image.shape
        (8, 8, 8)
    """
    rng = stream(seed, "patches", subject)
    vessels = np.flatnonzero(label)
    n_vessel = _count(settings.vessel, len(vessels), settings.allow_fewer, subject, "vessel")
    first = vessels[rng.choice(len(vessels), n_vessel, replace=False)]
    region = np.flatnonzero(angio > 0 if brain is None else brain)
    drawn = region[rng.choice(len(region), min(len(region), settings.random + n_vessel), replace=False)]
    fresh = drawn[~np.isin(drawn, first)]  # a random order without the taken ones is a random order of the rest
    n_random = _count(settings.random, len(fresh), settings.allow_fewer, subject, "random")
    places = np.concatenate([first, fresh[:n_random]])
    if not len(places):
        raise DataError(f"{subject} has no place for a patch: no vessel and no brain voxel; mend its masks")
    centre = np.stack(np.unravel_index(places, label.shape), axis=1).astype(np.int32)
    image = _windows(angio, centre, settings.size).astype(np.float32, copy=False)
    for patch in image:  # one by one stays in the processor's cache: half the time of all at once
        patch[:] = scale_patch(patch)
    return SubjectPatches(
        subject=subject,
        image=image,
        label=_windows(label, centre, settings.size),
        centre=centre,
        n_vessel=n_vessel,
    )


def _count(asked: int, there: int, allow_fewer: bool, subject: str, kind: str) -> int:
    """How many patches of a kind to cut."""
    if asked > there and not allow_fewer:
        raise DataError(
            f"{subject} has {there} places for {asked} {kind} patches; lower patches.{kind} or set "
            "patches.allow_fewer=true"
        )
    return min(asked, there)


def _windows(volume: npt.NDArray[_Kind], centre: npt.NDArray[np.int32], size: int) -> npt.NDArray[_Kind]:
    """Cut squares around centres, shape (n, size, size); zeros outside the volume."""
    out = np.zeros((len(centre), size, size), volume.dtype)
    begin = centre[:, :2] - size // 2
    for window, (i, j), k in zip(out, begin, centre[:, 2], strict=True):
        part = volume[max(i, 0) : max(i + size, 0), max(j, 0) : max(j + size, 0), k]
        window[max(-i, 0) : max(-i, 0) + part.shape[0], max(-j, 0) : max(-j, 0) + part.shape[1]] = part
    return out
