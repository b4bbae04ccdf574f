"""A trained segmenter on whole volumes, axial slice by axial slice.

A segmenter learnt from patches that were each scaled to [-1, 1] by themselves. Two ways to give it the like from a
volume:

- `"window"`: half-overlapping windows of the patch size, each scaled by itself, probabilities averaged. Exactly what
  training showed; every pixel is computed four times.
- `"slice"`: the whole slice at once, scaled by itself. A window without a bright vessel is darker in it than it was in
  training, so less noise is taken for vessel. On 5 simulated subjects of the training site and 4 of another one, mean
  Dice was 0.00 to 0.04 higher than by windows for each U-Net that was tried, in 0.35 of the time. Scaling each pixel by
  the mean range of the windows around it (what windows show on average) never did better, and up to 0.03 worse.
"""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from angioshare.patches.scale import scale_patch
from angioshare.protocols import TrainedSegmenter
from angioshare.segmentation.settings import InferenceMode
from angioshare.segmentation.turns import Averaged
from angioshare.types import BoolArray, ByteArray, FloatArray

Pixels: TypeAlias = npt.NDArray[np.float32]

THRESHOLD = 0.5
"""A pixel is vessel above this probability, as published."""

SLICES_AT_ONCE = 8
"""Slices in memory at once beside the volume itself."""


def segment_volume(
    segmenter: TrainedSegmenter,
    angio: FloatArray,
    brain: BoolArray | None = None,
    *,
    size: int = 96,
    mode: InferenceMode = "slice",
    turns: int = 1,
) -> ByteArray:
    """Find the vessels of a volume: probability above 0.5.

    Args:
        segmenter: Trained on patches scaled to [-1, 1].
        angio: Scan, shape (i, j, k), finite.
        brain: Brain mask, shape (i, j, k), or None; nothing is found outside it.
        size: Edge in pixels of the patches that the segmenter was trained on.
        mode: `"slice"` or `"window"`, see the module.
        turns: In how many turns each slice is read, 1 to 8; the mean counts, see `turns`. Time grows with them.

    Returns:
        Shape (i, j, k), uint8 in {0, 1}.

    Example:
        >>> class Bright:
        ...     def probability(self, image): return (image > 0.5).astype(np.float32)
        >>> angio = np.zeros((6, 6, 1)); angio[2, 3] = 9.0
        >>> np.argwhere(segment_volume(Bright(), angio, size=4))
        array([[2, 3, 0]])
    """
    return (probability_volume(segmenter, angio, brain, size=size, mode=mode, turns=turns) > THRESHOLD).astype(np.uint8)


def probability_volume(
    segmenter: TrainedSegmenter,
    angio: FloatArray,
    brain: BoolArray | None = None,
    *,
    size: int = 96,
    mode: InferenceMode = "slice",
    turns: int = 1,
) -> Pixels:
    """Vessel probability of every voxel.

    Args:
        segmenter: Trained on patches scaled to [-1, 1].
        angio: Scan, shape (i, j, k), finite.
        brain: Brain mask, shape (i, j, k), or None; the probability is 0 outside it.
        size: Edge in pixels of the patches that the segmenter was trained on.
        mode: `"slice"` or `"window"`, see the module.
        turns: In how many turns each slice is read, 1 to 8; the mean counts, see `turns`. Time grows with them.

    Returns:
        Shape (i, j, k), float32 in [0, 1].

    Edge cases: a constant slice or window holds nothing to find: probability 0; a slice smaller than `size` is padded
    with its darkest value; an empty brain mask -> zeros.

    Example:
        >>> class Half:
        ...     def probability(self, image): return np.full(image.shape, 0.5, np.float32)
        >>> probability_volume(Half(), np.eye(5)[:, :, None], size=4, mode="window").max()
        np.float32(0.5)
    """
    out = np.zeros(angio.shape, np.float32)
    segmenter = Averaged(segmenter, turns) if turns > 1 else segmenter
    box = _box(angio.shape, brain)
    inner, result = np.moveaxis(angio[box], 2, 0), np.moveaxis(out[box], 2, 0)
    for first in range(0, len(inner), SLICES_AT_ONCE):
        slices = np.asarray(inner[first : first + SLICES_AT_ONCE], np.float32)
        if slices.size:
            found = _by_slices(segmenter, slices) if mode == "slice" else _by_windows(segmenter, slices, size)
            result[first : first + SLICES_AT_ONCE] = found
    if brain is not None:
        out[~brain] = 0
    return out


def _box(shape: tuple[int, ...], brain: BoolArray | None) -> tuple[slice, ...]:
    """The smallest box that holds the brain; the whole volume where there is no mask."""
    if brain is None:
        return tuple(slice(0, length) for length in shape)
    box = []
    for axis in range(3):
        filled = np.flatnonzero(brain.any(axis=tuple(other for other in range(3) if other != axis)))
        box.append(slice(filled[0], filled[-1] + 1) if len(filled) else slice(0, 0))
    return tuple(box)


def _by_slices(segmenter: TrainedSegmenter, slices: Pixels) -> FloatArray:
    """Probability of whole slices, shape (n, h, w)."""
    probability = np.zeros_like(slices)
    filled = np.ptp(slices, axis=(1, 2)) > 0
    probability[filled] = segmenter.probability(scale_patch(slices[filled]))
    return probability


def _by_windows(segmenter: TrainedSegmenter, slices: Pixels, size: int) -> FloatArray:
    """Mean probability over half-overlapping windows, shape (n, h, w)."""
    _, height, width = slices.shape
    missing = ((0, max(size - height, 0)), (0, max(size - width, 0)))
    padded = np.stack([np.pad(one, missing, constant_values=one.min()) for one in slices])
    total, hits = np.zeros_like(padded), np.zeros(padded.shape[1:], np.float32)
    for rows, columns in _windows(padded.shape[1], padded.shape[2], size):
        part = padded[:, rows, columns]
        filled = np.ptp(part, axis=(1, 2)) > 0
        total[filled, rows, columns] += segmenter.probability(scale_patch(part[filled]))
        hits[rows, columns] += 1
    return (total / hits)[:, :height, :width]


def _windows(height: int, width: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Windows half a window apart, the last ones flush with the edge."""
    for top in _starts(height, size):
        for left in _starts(width, size):
            yield slice(top, top + size), slice(left, left + size)


def _starts(length: int, size: int) -> list[int]:
    last = length - size
    return sorted({*range(0, last, max(size // 2, 1)), last})
