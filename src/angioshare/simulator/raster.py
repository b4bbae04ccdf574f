"""Vessels drawn on a grid with partial volume.

A vessel is a row of balls; a voxel takes the share of its volume that a straight tube at the nearest ball's distance
would fill. That share is a disc blurred by the voxel: the non-central chi-square distribution, read from a table.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.special import chndtr

from angioshare.simulator.grid import Grid
from angioshare.simulator.tree import VesselTree
from angioshare.types import BoolArray, FloatArray, IntArray

_RESPONSE = 0.45
_TABLE_STEP = 0.05
_TABLE_RADIUS = 5.0
_TABLE_REACH = 4.0


@dataclass(frozen=True, kw_only=True)
class Beads:
    """Points along vessels, close enough to look like tubes; scanner coordinates.

    Attributes:
        points_mm: Places (n, 3).
        tangent: Unit directions (n, 3).
        node: Index (n,) of the tree's point at the outer end of the piece.
        share: Where (n,) between that point's parent (0) and itself (1).
    """

    points_mm: FloatArray
    tangent: FloatArray
    node: IntArray
    share: FloatArray

    def of(self, tree: VesselTree, values: FloatArray) -> FloatArray:
        """Interpolate values (points of the tree,) at the beads."""
        below, above = values[self.node], values[tree.parent[self.node]]
        return np.asarray(above + self.share * (below - above))


def string_beads(tree: VesselTree, grid: Grid) -> Beads:
    """Lay beads along every piece of a tree, in scanner coordinates.

    Args:
        tree: The vessels.
        grid: The scanner's grid; the distance of beads is 0.4 of its smallest voxel side.

    Returns:
        Beads inside the grid or within 6 mm of it.
    """
    places = grid.to_scanner(tree.points_mm)
    low = grid.origin_mm - 6
    high = grid.origin_mm + np.array(grid.shape) * np.array(grid.spacing_mm) + 6
    inside = np.all((places > low) & (places < high), axis=1)
    node = np.flatnonzero((tree.parent >= 0) & inside)
    along = places[node] - places[tree.parent[node]]
    length = np.linalg.norm(along, axis=1)
    count = np.maximum(np.ceil(length / (0.4 * min(grid.spacing_mm))).astype(int), 1)
    owner = np.repeat(np.arange(len(node)), count)
    share = (np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count) + 1) / count[owner]
    points = places[tree.parent[node]][owner] + share[:, None] * along[owner]
    tangent = along / np.maximum(length, 1e-9)[:, None]
    return Beads(points_mm=points, tangent=tangent[owner], node=node[owner], share=share)


def draw(
    beads: Beads, radius_mm: FloatArray, grid: Grid, chosen: BoolArray | None = None
) -> tuple[FloatArray, IntArray]:
    """Draw beads on the grid.

    Args:
        beads: The beads.
        radius_mm: Radius (n,) at each bead in scanner mm.
        grid: The grid.
        chosen: Which beads (n,) to draw; all if None.

    Returns:
        Share (i, j, k) of each voxel that is vessel, in [0, 1], and the bead (i, j, k) that gave it, -1 where none.
    """
    share = np.zeros(grid.shape, dtype=np.float32)
    origin = np.full(grid.shape, -1, dtype=np.int32)
    spacing = np.array(grid.spacing_mm)
    blur = voxel_blur(beads, grid)
    where = (beads.points_mm - grid.origin_mm) / spacing
    half = np.ceil((radius_mm + 2.5 * blur)[:, None] / spacing).astype(int)
    middle = np.rint(where).astype(int)
    ok = np.all((middle + half >= 0) & (middle - half < np.array(grid.shape)), axis=1) & (radius_mm > 0)
    if chosen is not None:
        ok &= chosen
    voxels, values, owners = [], [], []
    code = half @ np.array([1, 1000, 1_000_000])
    for key in np.unique(code[ok]):
        mine = np.flatnonzero(ok & (code == key))
        found = _splat(where[mine], middle[mine], half[mine[0]], radius_mm[mine], blur[mine], grid)
        voxels.append(found[0])
        values.append(found[1])
        owners.append(mine[found[2]])
    if voxels:
        voxel, value, owner = np.concatenate(voxels), np.concatenate(values), np.concatenate(owners)
        order = np.argsort(value, kind="stable")
        # Of equal indices NumPy keeps the last: the largest share.
        share.ravel()[voxel[order]] = value[order]
        origin.ravel()[voxel[order]] = owner[order]
    return share, origin


def voxel_blur(beads: Beads, grid: Grid) -> FloatArray:
    """Return the SD in mm (n,) by which a voxel blurs a vessel across its course.

    A voxel of width h answers with a peak of about 1.2 h at half height (Du et al. 1994), so with an SD of about
    0.45 h. That is also wide enough for the shares of all voxels to add up to the vessel's volume wherever it lies.
    """
    squares = np.array(grid.spacing_mm) ** 2
    along = np.einsum("nd,d->n", beads.tangent**2, squares)
    # The two directions across share the variance that does not lie along the vessel.
    return np.asarray(_RESPONSE * np.sqrt((np.sum(squares) - along) / 2))


def _splat(
    where: FloatArray, middle: IntArray, half: IntArray, radius: FloatArray, blur: FloatArray, grid: Grid
) -> tuple[IntArray, FloatArray, IntArray]:
    """Voxels, shares and local bead numbers of beads with a common box of half widths `half`."""
    squares, valid, flat = [], [], []
    strides = (grid.shape[1] * grid.shape[2], grid.shape[2], 1)
    for d in range(3):
        steps = np.arange(-half[d], half[d] + 1)
        shape = (-1, *(len(steps) if axis == d else 1 for axis in range(3)))
        index = middle[:, d, None] + steps
        offset = ((index - where[:, d, None]) * grid.spacing_mm[d]).astype(np.float32)
        squares.append((offset**2).reshape(shape))
        valid.append(((index >= 0) & (index < grid.shape[d])).reshape(shape))
        flat.append((index * strides[d]).reshape(shape))
    square = squares[0] + squares[1] + squares[2]
    inside = valid[0] & valid[1] & valid[2]
    voxel = flat[0] + flat[1] + flat[2]
    reach = (radius + 3.5 * blur).astype(np.float32)[:, None, None, None]
    bead, i, j, k = np.nonzero(inside & (square < reach**2))
    distance = np.sqrt(square[bead, i, j, k])
    value = disc_share(distance / blur[bead], radius[bead] / blur[bead])
    seen = value > 0.004
    return voxel[bead, i, j, k][seen], value[seen].astype(np.float32), bead[seen]


def disc_share(distance: FloatArray, radius: FloatArray) -> FloatArray:
    """Return the share of a blurred disc at a distance from its middle, both in units of the blur's SD.

    Example:
        >>> disc_share(np.array([0.0]), np.array([1.0])).round(2).tolist()
        [0.39]
    """
    table = _table()
    # A wide disc looks the same at its rim whatever its radius, so beyond the table the rim is what counts.
    surplus = np.maximum(radius - _TABLE_RADIUS, 0)
    row = np.minimum(radius - surplus, _TABLE_RADIUS) / _TABLE_STEP
    column = np.clip(distance - surplus, 0, _TABLE_RADIUS + _TABLE_REACH - _TABLE_STEP) / _TABLE_STEP
    r0, c0 = np.minimum(row.astype(int), table.shape[0] - 2), column.astype(int)
    fr, fc = row - r0, column - c0
    top = table[r0, c0] * (1 - fc) + table[r0, c0 + 1] * fc
    bottom = table[r0 + 1, c0] * (1 - fc) + table[r0 + 1, c0 + 1] * fc
    return np.asarray(top * (1 - fr) + bottom * fr)


@lru_cache(maxsize=1)
def _table() -> FloatArray:
    radius = np.arange(0, _TABLE_RADIUS + 1.5 * _TABLE_STEP, _TABLE_STEP)[:, None]
    distance = np.arange(0, _TABLE_RADIUS + _TABLE_REACH + _TABLE_STEP, _TABLE_STEP)[None, :]
    table = chndtr(radius**2, 2.0, distance**2)
    return np.asarray(np.nan_to_num(table))
