"""How distal vessels grow: a tree through scattered places that is short in total and short to each end.

The rule is the Prim-Dijkstra trade-off (Alpert et al. 1995), which Cuntz et al. (2010) found in neurons and which gives
vessels their look: with balance 0 the shortest tree, with 1 the shortest ways. A tree that is grown through all places
and cut back to the ways to a few of them runs long, winding courses, as cortical arteries do.
"""

import heapq

import numpy as np
from scipy.spatial import cKDTree

from angioshare.simulator.head import Head
from angioshare.types import BoolArray, FloatArray, IntArray

_NEIGHBOURS = 9
_LONGEST_MM = 16.0
_TISSUE_TOLL = 0.35


def grow(
    roots: FloatArray, places: FloatArray, head: Head, balance: float, rng: np.random.Generator
) -> tuple[IntArray, IntArray]:
    """Connect places to the nearest root, one after another.

    Args:
        roots: Points (r, 3) in mm from which branches may spring.
        places: Points (n, 3) in mm to be reached.
        head: The brain; ways through tissue cost more than ways through fluid.
        balance: Trade-off in [0, 1].
        rng: Scatter of the costs.

    Returns:
        Order (m,) in which places were reached, parents first, and for each the parent: an index below r is a root,
        r + p is place p. Places that no short step reaches are left out.
    """
    points = np.concatenate((roots, places))
    first, second, toll = _edges(points, len(roots), head, rng)
    start = np.searchsorted(first, np.arange(len(points) + 1))
    target, cost = second.tolist(), toll.tolist()
    parent = [-1] * len(points)
    way = [0.0] * len(points)
    done = [False] * len(points)
    heap = [(0.0, r, -1, 0.0) for r in range(len(roots))]
    order = []
    while heap:
        _, node, origin, length = heapq.heappop(heap)
        if done[node]:
            continue
        done[node], parent[node], way[node] = True, origin, length
        if origin >= 0:
            order.append(node)
        for edge in range(start[node], start[node + 1]):
            there = target[edge]
            if not done[there]:
                step = cost[edge]
                heapq.heappush(heap, (step + balance * length, there, node, length + step))
    reached = np.array(order, dtype=np.int64)
    return reached - len(roots), np.array(parent, dtype=np.int64)[reached]


def ways_to(order: IntArray, parents: IntArray, n_roots: int, ends: IntArray) -> BoolArray:
    """Return which of the reached places (m,) lie on the way from a root to one of the ends.

    Args:
        order: Places in the order they were reached, as `grow` returns them.
        parents: Their parents, as `grow` returns them.
        n_roots: How many roots there were.
        ends: Places to be kept with their ways; those that were not reached count for nothing.

    Example:
        >>> ways_to(np.array([0, 1, 2]), np.array([0, 1, 1]), 1, np.array([2])).tolist()
        [True, False, True]
    """
    wanted = np.zeros(max(int(order.max(initial=-1)), int(ends.max(initial=-1))) + 1, bool)
    wanted[ends] = True
    for place, parent in zip(order[::-1].tolist(), parents[::-1].tolist(), strict=True):
        if wanted[place] and parent >= n_roots:
            wanted[parent - n_roots] = True
    return np.asarray(wanted[order])


def _edges(
    points: FloatArray, n_roots: int, head: Head, rng: np.random.Generator
) -> tuple[IntArray, IntArray, FloatArray]:
    """Directed edges between near points, sorted by their start: from, to, cost."""
    count = min(_NEIGHBOURS, len(points) - 1)
    found = cKDTree(points).query(points, k=count + 1)
    length, near = np.asarray(found[0]), np.asarray(found[1])
    first = np.repeat(np.arange(len(points)), count)
    second, length = near[:, 1:].ravel(), length[:, 1:].ravel()
    # The reverse edges let a root reach places whose nearest neighbours are all places.
    first, second = np.concatenate((first, second)), np.concatenate((second, first))
    length = np.concatenate((length, length))
    keep = (length < _LONGEST_MM) & (second >= n_roots)
    first, second, length = first[keep], second[keep], length[keep]
    middle = (points[first] + points[second]) / 2
    tissue = np.clip(head.fluid(middle, head.depth(middle), head.sulcus_distance(middle)), 0, 6)
    cost = length * (1 + _TISSUE_TOLL * tissue) * np.exp(0.25 * rng.standard_normal(len(length)))
    order = np.argsort(first, kind="stable")
    return first[order], second[order], cost[order]
