"""The eight turns of a square: mirrored, turned by quarters, both. A network sees each of them as another image.

Arteries run anywhere, so what a segmenter says of a slice and of the same slice turned should be the same. Where
it is not, the mean over turns is the better guess (Krizhevsky et al. 2012, section 4.1; nnU-Net mirrors as its default,
Isensee et al. 2021).
"""

import numpy as np
import torch
from torch import Tensor

from angioshare.protocols import TrainedSegmenter
from angioshare.types import FloatArray

TURNS = 8
"""How many there are. The first four keep the axes where they are (mirrors and the half turn)."""


def turned(maps: Tensor, turn: int) -> Tensor:
    """Turn maps.

    Args:
        maps: Shape (..., h, w).
        turn: From 0 (as it is) to 7: 1 mirrors rows, 2 columns, 4 swaps both axes before.

    Returns:
        Shape (..., h, w), or (..., w, h) where axes are swapped.

    Example:
        >>> turned(torch.tensor([[1, 2], [3, 4]]), 1), turned(torch.tensor([[1, 2], [3, 4]]), 5)
        (tensor([[3, 4],
                [1, 2]]), tensor([[2, 4],
                [1, 3]]))
    """
    maps = maps.transpose(-2, -1) if turn & 4 else maps
    return _mirrored(maps, turn)


def turned_back(maps: Tensor, turn: int) -> Tensor:
    """Undo `turned`.

    Example:
        >>> corner = torch.tensor([[1, 2], [3, 4]])
        >>> all(bool((turned_back(turned(corner, turn), turn) == corner).all()) for turn in range(TURNS))
        True
    """
    maps = _mirrored(maps, turn)
    return maps.transpose(-2, -1) if turn & 4 else maps


class Averaged:
    """A segmenter whose answer is the mean over turns of what it is shown; fulfils `protocols.TrainedSegmenter`.

    Example:
        >>> class Left:
        ...     def probability(self, image): return np.arange(2) * np.ones_like(image)
        >>> Averaged(Left(), 4).probability(np.zeros((1, 2, 2), np.float32))[0, 0]
        array([0.5, 0.5], dtype=float32)
    """

    def __init__(self, segmenter: TrainedSegmenter, turns: int) -> None:
        """Take a segmenter, and how many of the turns it is asked for, 1 to 8; the first is the image as it is."""
        self._segmenter, self._turns = segmenter, turns

    def probability(self, image: FloatArray) -> FloatArray:
        """See `TrainedSegmenter.probability`."""
        total = torch.zeros(image.shape)
        for turn in range(self._turns):
            shown = turned(torch.from_numpy(np.ascontiguousarray(image, np.float32)), turn)
            total += turned_back(torch.from_numpy(self._segmenter.probability(shown.contiguous().numpy())), turn)
        return (total / self._turns).numpy()


def _mirrored(maps: Tensor, turn: int) -> Tensor:
    axes = [axis for axis, bit in ((-2, 1), (-1, 2)) if turn & bit]
    return maps.flip(axes) if axes else maps
