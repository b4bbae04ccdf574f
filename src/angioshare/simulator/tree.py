"""Vessels as a rooted forest of points, and the laws that give each point its radius.

A tree is built in this order: named trunks are bent and sampled, distal branches grow from them, all wind, and radii
follow from Murray's law.
"""

from dataclasses import dataclass, field

import numpy as np
from scipy.interpolate import CubicSpline

from angioshare.simulator.trunks import Trunk
from angioshare.types import BoolArray, FloatArray, IntArray

STEP_MM = 1.2


@dataclass(frozen=True, kw_only=True)
class VesselTree:
    """Points of vessels, parents before children.

    Attributes:
        points_mm: Places (n, 3) in the standard space of `head`.
        parent: Index (n,) of the point towards the heart; -1 at an entry.
        radius_mm: Radius (n,).
        name: Index (n,) into `names`.
        names: Trunks and territories; a distal branch carries its territory's name.
    """

    points_mm: FloatArray
    parent: IntArray
    radius_mm: FloatArray
    name: IntArray
    names: tuple[str, ...]

    def of(self, *names: str) -> BoolArray:
        """Return which points (n,) carry one of the names."""
        return np.isin(self.name, [self.names.index(name) for name in names if name in self.names])


@dataclass
class TreeBuilder:
    """A forest under construction: lists of points that know their parents."""

    points: list[FloatArray] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    name: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    members: dict[str, list[int]] = field(default_factory=dict)

    def add(self, name: str, points: FloatArray, parent: int) -> list[int]:
        """Append a chain of points to a parent (-1 for an entry) under a name; return their indices."""
        if name not in self.members:
            self.members[name] = []
            self.names.append(name)
        code = self.names.index(name)
        indices = list(range(len(self.parent), len(self.parent) + len(points)))
        self.points += list(points)
        self.parent += [parent, *indices[:-1]][: len(points)]
        self.name += [code] * len(points)
        self.members[name] += indices
        return indices

    def add_trunk(self, trunk: Trunk, course: FloatArray) -> list[int]:
        """Append a trunk along a bent course, welded to the nearest point of its parent."""
        line = sample_course(course)
        if trunk.parent is None:
            return self.add(trunk.name, line, -1)
        candidates = self.members[trunk.parent]
        places = np.array([self.points[i] for i in candidates])
        weld = candidates[int(np.argmin(np.linalg.norm(places - line[0], axis=1)))]
        # A straight lead from the weld replaces the first part of the course, or a kink would show.
        line = line[1:] if len(line) > 1 else line
        return self.add(trunk.name, line, weld)

    def add_arbor(self, name: str, roots: list[int], places: FloatArray, order: IntArray, parents: IntArray) -> None:
        """Append what `arbor.grow` found, with points between so that branches can bend."""
        index_of: dict[int, int] = {}
        for place, origin in zip(order.tolist(), parents.tolist(), strict=True):
            start = roots[origin] if origin < len(roots) else index_of[origin - len(roots)]
            stop = places[place]
            pieces = max(int(np.ceil(np.linalg.norm(stop - self.points[start]) / (1.5 * STEP_MM))), 1)
            share = np.arange(1, pieces + 1)[:, None] / pieces
            index_of[place] = self.add(name, self.points[start] + share * (stop - self.points[start]), start)[-1]


def sample_course(course: FloatArray) -> FloatArray:
    """Sample a smooth curve through control points (n, 3) at about `STEP_MM`.

    Example:
        >>> len(sample_course(np.array([[0.0, 0, 0], [6, 0, 0], [12, 0, 0]])))
        11
    """
    chord = np.concatenate(([0.0], np.cumsum(np.sqrt(np.linalg.norm(np.diff(course, axis=0), axis=1)))))
    curve = CubicSpline(chord, course, bc_type="natural")
    dense = curve(np.linspace(0, chord[-1], 40 * len(course)))
    length = np.concatenate(([0.0], np.cumsum(np.linalg.norm(np.diff(dense, axis=0), axis=1))))
    wanted = np.linspace(0, length[-1], max(int(np.ceil(length[-1] / STEP_MM - 1e-9)), 1) + 1)
    return np.column_stack([np.interp(wanted, length, dense[:, d]) for d in range(3)])


def smooth(points: FloatArray, parent: IntArray, free: BoolArray, rounds: int) -> FloatArray:
    """Pull each free point half way to the middle of its parent and its children, some rounds long.

    Args:
        points: Places (n, 3).
        parent: Parents (n,).
        free: Which points may move.
        rounds: How often.

    Returns:
        New places (n, 3).
    """
    child = np.flatnonzero(parent >= 0)
    above = parent[child]
    children = np.bincount(above, minlength=len(points))
    movable = free & (parent >= 0) & (children > 0)
    out = points.copy()
    for _ in range(rounds):
        below = np.column_stack([np.bincount(above, out[child, d], len(points)) for d in range(3)])
        middle = (below[movable] / children[movable, None] + out[parent[movable]]) / 2
        out[movable] += 0.5 * (middle - out[movable])
    return out


def down_sum(parent: IntArray, weight: FloatArray) -> FloatArray:
    """Return for each point the summed weight (n,) of itself and all below it.

    Example:
        >>> down_sum(np.array([-1, 0, 0]), np.array([0.0, 1.0, 1.0])).tolist()
        [2.0, 1.0, 1.0]
    """
    total = weight.tolist()
    above = parent.tolist()
    for i in range(len(total) - 1, -1, -1):
        if above[i] >= 0:
            total[above[i]] += total[i]
    return np.array(total)


def pass_down(parent: IntArray, own: FloatArray) -> FloatArray:
    """Return for each point the product (n,) of its own factor and all factors above it.

    Example:
        >>> pass_down(np.array([-1, 0, 1]), np.array([1.0, 0.5, 0.5])).tolist()
        [1.0, 0.5, 0.25]
    """
    value = own.tolist()
    for i, above in enumerate(parent.tolist()):
        if above >= 0:
            value[i] *= value[above]
    return np.array(value)


def murray_radii(
    parent: IntArray, root_radius: dict[int, float], exponent: float, leaf_weight: FloatArray
) -> FloatArray:
    """Return radii (n,) below some roots by Murray's law: r^x is shared out among the ends that a point feeds.

    Args:
        parent: Parents (n,), parents before children.
        root_radius: Index of a territory's first point -> its radius in mm.
        exponent: Murray's exponent x.
        leaf_weight: Weight (n,) of a point if it is an end.

    Returns:
        Radius in mm, 0 for points under no root.
    """
    is_leaf = np.bincount(parent[parent >= 0], minlength=len(parent)) == 0
    fed = down_sum(parent, np.where(is_leaf, leaf_weight, 0.0))
    scale = np.zeros(len(parent)).tolist()
    for i, above in enumerate(parent.tolist()):
        if i in root_radius:
            scale[i] = root_radius[i] ** exponent / fed[i]
        elif above >= 0:
            scale[i] = scale[above]
    return np.asarray((np.array(scale) * fed) ** (1 / exponent))
