"""Smooth random fields: a lattice of random numbers under a cubic B-spline, cheap at points and on grids.

Gyri, shading, texture and the winding of arteries all come from such fields.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from angioshare.types import FloatArray


@dataclass(frozen=True, kw_only=True)
class SmoothField:
    """A random function of space with mean 0, SD about 1 and a correlation length of about `step_mm`.

    Attributes:
        lattice: Coefficients on a regular lattice.
        origin_mm: Place of the first coefficient.
        step_mm: Distance between coefficients.
    """

    lattice: FloatArray
    origin_mm: FloatArray
    step_mm: float

    def at(self, points: FloatArray) -> FloatArray:
        """Return the field at points (..., 3) in mm; outside the lattice the nearest value holds.

        Example:
            >>> field = smooth_field(np.random.default_rng(0), 5.0, np.zeros(3), np.ones(3) * 20)
            >>> field.at(np.array([[1.0, 2.0, 3.0]])).shape
            (1,)
        """
        where = np.moveaxis((points - self.origin_mm) / self.step_mm, -1, 0)
        return np.asarray(ndimage.map_coordinates(self.lattice, where, order=3, prefilter=False, mode="nearest"))

    def on_axes(self, x: FloatArray, y: FloatArray, z: FloatArray) -> FloatArray:
        """Return the field (len x, len y, len z) on a grid of axes in mm: the same as `at`, but separable and fast."""
        weights = [
            _spline_weights((axis - self.origin_mm[d]) / self.step_mm, self.lattice.shape[d])
            for d, axis in enumerate((x, y, z))
        ]
        slim = np.tensordot(self.lattice, weights[2], axes=(2, 1))
        slim = np.tensordot(weights[1], slim, axes=(1, 1))
        return np.asarray(np.tensordot(weights[0], slim, axes=(1, 1)))


def smooth_field(
    rng: np.random.Generator, length_mm: float, low_mm: FloatArray, high_mm: FloatArray, *, band: bool = False
) -> SmoothField:
    """Draw a smooth random field over a box.

    Args:
        rng: Where the lattice comes from.
        length_mm: Correlation length, > 0; with `band` about half a wave.
        low_mm: Lower corner (3,) of the box.
        high_mm: Upper corner (3,).
        band: Take out what varies more slowly than the correlation length, so that the zero set is evenly spaced.

    Returns:
        The field, scaled to an SD of about 1.
    """
    origin = low_mm - 2 * length_mm
    shape = tuple(np.ceil((high_mm - low_mm) / length_mm).astype(int) + 5)
    lattice = rng.standard_normal(shape, dtype=np.float32)
    if band:
        lattice = lattice - ndimage.gaussian_filter(lattice, 1.2)
    # A cubic B-spline of unit white noise has a variance of 0.479 along each axis, averaged over places.
    lattice = lattice / (np.sqrt(0.479) ** 3 * max(float(lattice.std()), 1e-6))
    return SmoothField(lattice=lattice.astype(np.float32), origin_mm=origin, step_mm=length_mm)


def upsample(coarse: FloatArray, shape: tuple[int, int, int], factor: tuple[int, int, int]) -> FloatArray:
    """Stretch a grid to `shape` by straight lines: coarse index c stands at fine index c * factor.

    Example:
        >>> upsample(np.array([[[0.0]], [[2.0]]]), (3, 1, 1), (2, 1, 1)).ravel().tolist()
        [0.0, 1.0, 2.0]
    """
    out = coarse
    for axis in range(3):
        where = np.arange(shape[axis], dtype=np.float32) / factor[axis]
        if factor[axis] == 1:
            continue
        below = np.minimum(where.astype(int), coarse.shape[axis] - 1)
        above = np.minimum(below + 1, coarse.shape[axis] - 1)
        share = (where - below).astype(out.dtype)
        share = share.reshape([-1 if d == axis else 1 for d in range(3)])
        low = np.take(out, below, axis=axis)
        out = low + share * (np.take(out, above, axis=axis) - low)
    return out


def _spline_weights(where: FloatArray, size: int) -> FloatArray:
    """Cubic B-spline weights (len(where), size) with the nearest coefficient repeated beyond the ends."""
    base = np.floor(where).astype(int)
    t = where - base
    parts = ((1 - t) ** 3 / 6, (3 * t**3 - 6 * t**2 + 4) / 6, (-3 * t**3 + 3 * t**2 + 3 * t + 1) / 6, t**3 / 6)
    weights = np.zeros((len(where), size), dtype=np.float32)
    rows = np.arange(len(where))
    for offset, part in enumerate(parts):
        np.add.at(weights, (rows, np.clip(base - 1 + offset, 0, size - 1)), part.astype(np.float32))
    return weights
