"""Intensity scaling: each patch by its own darkest and brightest pixel, never by a number taken from several subjects.

A range or mean over subjects would be a release that no ledger knows of; a patch's own range belongs to its own record
alone.
"""

import numpy as np
import numpy.typing as npt

from angioshare.errors import DataError
from angioshare.types import FloatArray


def scale_patch(image: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """Scale patches so that the darkest pixel of each becomes -1 and the brightest 1.

    Args:
        image: One patch (h, w), or any number of them (..., h, w); any real type, finite.

    Returns:
        The same shape, float32 in [-1, 1].

    Raises:
        DataError: A pixel is not finite.

    Edge cases: a constant patch becomes zeros; no patch at all stays none.

    Example:
        >>> scale_patch(np.array([[2, 4], [6, 10]]))
        array([[-1. , -0.5],
               [ 0. ,  1. ]], dtype=float32)
    """
    if image.size == 0:
        return np.zeros(image.shape, np.float32)
    wide = image.astype(np.float64)
    if not np.isfinite(wide).all():
        raise DataError("a patch holds NaN or infinity and has no range; replace those pixels before scaling")
    low = wide.min(axis=(-2, -1), keepdims=True)
    half = wide.max(axis=(-2, -1), keepdims=True) / 2 - low / 2  # halves: the full range may overflow
    wide -= low + half  # a constant patch is zero from here on
    np.divide(wide, half, out=wide, where=half > 0)
    return wide.clip(-1, 1, out=wide).astype(np.float32)


def unscale_patch(scaled: FloatArray, low: float | FloatArray, high: float | FloatArray) -> FloatArray:
    """Undo `scale_patch`, given the darkest and the brightest value.

    Args:
        scaled: Patches (..., h, w) in [-1, 1].
        low: Value of -1: one for all, or one for each patch, shape (...).
        high: Value of 1, likewise; >= `low`.

    Returns:
        The same shape, float64.

    Raises:
        DataError: `high` lies below `low`, or one of them is not finite.

    Edge cases: `low` equal to `high` gives back a constant patch.

    Example:
        >>> unscale_patch(scale_patch(np.array([[2.0, 4.0], [6.0, 10.0]])), 2, 10)
        array([[ 2.,  4.],
               [ 6., 10.]])
    """
    bottom, top = (np.asarray(bound, np.float64)[..., None, None] for bound in (low, high))
    if not (np.isfinite(bottom).all() and np.isfinite(top).all() and (bottom <= top).all()):
        raise DataError(f"range low={low}, high={high} must be finite and in order; give the patch's own range")
    return bottom + (np.asarray(scaled, np.float64) + 1) * (top / 2 - bottom / 2)
