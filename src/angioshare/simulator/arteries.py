"""The arterial tree of one person: trunks bent, territories filled, radii set.

References:
    Murray CD (1926). The physiological principle of minimum work. PNAS 12:207-214.
    Wright SN et al. (2013). Digital reconstruction and morphometric analysis of human brain arterial vasculature from
    magnetic resonance angiography. NeuroImage 82:170-181.
"""

import numpy as np

from angioshare.simulator.arbor import grow, ways_to
from angioshare.simulator.fields import smooth_field
from angioshare.simulator.head import HIGH_MM, LOW_MM, Head
from angioshare.simulator.parameters import SimulatorParameters
from angioshare.simulator.tree import TreeBuilder, VesselTree, murray_radii, pass_down, smooth
from angioshare.simulator.trunks import Trunk, draw_trunks
from angioshare.types import FloatArray

# Middles of the territories of the right side (van der Zwan et al. 1992, simplified).
_MIDDLES = {
    "MCA": (
        (50, 0, 20),
        (60, -25, 25),
        (56, -12, -8),
        (46, 28, 18),
        (54, -48, 36),
        (36, 12, -18),
        (55, -40, 5),
        (45, -5, 50),
    ),
    "ACA": ((3, 50, 20), (3, 25, 52), (3, -20, 65), (16, 48, 40), (18, 20, 62), (3, -48, 60), (8, 40, -2), (3, 58, 5)),
    "PCA": ((8, -80, 10), (22, -62, -4), (30, -45, -12), (28, -25, -20), (15, -95, 12), (42, -62, -8), (5, -72, 30)),
}
# Factors on the number of ends, so that ACA, PCA and MCA have lengths about as 1 : 2 : 4 (Wright et al. 2013).
_FULLNESS = {"ACA": 0.75, "PCA": 1.2, "MCA": 1.9}
_HIND_MIDDLES = {
    "SCA": ((14, -55, -8), (30, -62, -10), (8, -75, -12)),
    "AICA": ((35, -45, -28), (42, -58, -30)),
    "PICA": ((14, -72, -44), (8, -85, -35), (28, -72, -42)),
}


def grow_arteries(
    parameters: SimulatorParameters, head: Head, places: FloatArray, rng: np.random.Generator
) -> VesselTree:
    """Grow the arteries of one person.

    Args:
        parameters: The person's own parameters.
        head: The person's brain.
        places: Where pial vessels may run (n, 3), see `place_candidates`.
        rng: Stream of the arteries.

    Returns:
        Trunks and branches with radii; narrowings included.

    Guarantees:
        Within a territory r^x of a point equals the sum over its children, x being Murray's exponent, where no branch
        would be thinner than the least radius.
    """
    trunks = draw_trunks(parameters, rng)
    builder = TreeBuilder()
    _add_trunks(builder, trunks, parameters, rng)
    n_trunk = len(builder.parent)
    _add_branches(builder, trunks, parameters, head, places, rng)
    parent, points = np.array(builder.parent), np.array(builder.points)
    free = np.arange(len(parent)) >= n_trunk
    points = smooth(points, parent, free, rounds=5)
    points = points + _winding(points, parent, free, parameters, rng)
    radius = _radii(builder, trunks, parent, parameters, rng)
    radius = np.where(free, np.maximum(radius, parameters.tree.least_radius_mm), radius)
    return VesselTree(
        points_mm=points, parent=parent, radius_mm=radius, name=np.array(builder.name), names=tuple(builder.names)
    )


def place_candidates(head: Head, rng: np.random.Generator, count: int = 60_000) -> FloatArray:
    """Return places (n, 3) in mm where pial vessels run: on the surface, in sulci, in the midline and Sylvian clefts.

    Args:
        head: The brain.
        rng: Stream.
        count: How many random places of the whole box are tried.
    """
    spread = rng.uniform(LOW_MM + 8, HIGH_MM - 8, (count, 3))
    cleft = rng.uniform(LOW_MM + 8, HIGH_MM - 8, (count // 12, 3))
    cleft[:, 0] = rng.choice([-2.2, 2.2], len(cleft))
    points = np.concatenate((spread, cleft))
    depth = head.depth(points)
    keep = (depth > 0.3) & (depth < 24) | (np.abs(points[:, 0]) < 3) & (depth > 0.3)
    points, depth = points[keep], depth[keep]
    in_cleft = head.medial(points) < 3.0
    fluid = head.fluid(points, depth, head.sulcus_distance(points))
    keep = ((fluid < 0.4) & (depth < 18)) | in_cleft | (head.sylvian(points) < 1.8)
    points = points[keep & (np.abs(points[:, 0]) > 1.2)]
    cell = np.unique(np.floor(points / 3.2).astype(int), axis=0, return_index=True)[1]
    return points[np.sort(cell)]


def _add_trunks(
    builder: TreeBuilder, trunks: list[Trunk], parameters: SimulatorParameters, rng: np.random.Generator
) -> None:
    bend = [smooth_field(rng, 22.0, LOW_MM, HIGH_MM) for _ in range(3)]
    for trunk in trunks:
        shift = np.column_stack([field.at(trunk.course_mm) for field in bend])
        # Arteries beside the midline keep their side of it.
        shift[:, 0] *= np.clip(np.abs(trunk.course_mm[:, 0]) / 12, 0.15, 1)
        builder.add_trunk(trunk, trunk.course_mm + parameters.anatomy.control_jitter_mm * shift)


def _add_branches(
    builder: TreeBuilder,
    trunks: list[Trunk],
    parameters: SimulatorParameters,
    head: Head,
    places: FloatArray,
    rng: np.random.Generator,
) -> None:
    tree = parameters.tree
    owner = _territories(places, head)
    for territory in sorted({trunk.territory for trunk in trunks if trunk.territory}):
        bearing = [trunk for trunk in trunks if trunk.territory == territory]
        radius = bearing[0].radius_mm
        ends = (radius / (tree.terminal_radius_mm * tree.radius_scale)) ** tree.murray_exponent
        name = territory.split("-")[0]
        fullness = tree.hind_density if name in _HIND_MIDDLES else _FULLNESS[name]
        wanted = max(int(tree.density * fullness * ends), 4) if fullness else 0
        mine = rng.permutation(np.flatnonzero(owner == territory))
        roots = [i for trunk in bearing if trunk.bears for i in builder.members[trunk.name][2:]]
        if min(wanted, len(mine)) < 3 or not roots:
            continue
        order, parents = grow(np.array([builder.points[i] for i in roots]), places[mine], head, tree.path_balance, rng)
        kept = ways_to(order, parents, len(roots), np.arange(min(wanted, len(mine))))
        builder.add_arbor(territory, roots, places[mine], order[kept], parents[kept])


def _territories(places: FloatArray, head: Head) -> np.ndarray:
    """Name the territory (n,) of each place by the nearest middle."""
    side = np.abs(places) * np.array([1, 0, 0]) + places * np.array([0, 1, 1])
    hind = head.cerebellum_depth(places) > -1.5
    owner = np.empty(len(places), dtype=object)
    for mask, middles in ((~hind, _MIDDLES), (hind, _HIND_MIDDLES)):
        names = [name for name, spots in middles.items() for _ in spots]
        spots = np.array([spot for group in middles.values() for spot in group], dtype=np.float64)
        nearest = np.argmin(np.linalg.norm(side[mask][:, None] - spots[None], axis=2), axis=1)
        owner[mask] = np.array(names, dtype=object)[nearest]
    # In the cleft above the corpus callosum all but the hindmost part belongs to the anterior artery.
    cleft = (head.medial(places) < 4) & (places[:, 1] > -50)
    owner[cleft] = "ACA"
    names_with_side = [f"{name}-{'right' if x > 0 else 'left'}" for name, x in zip(owner, places[:, 0], strict=True)]
    return np.array(names_with_side, dtype=object)


def _winding(
    points: FloatArray, parent: np.ndarray, free: np.ndarray, parameters: SimulatorParameters, rng: np.random.Generator
) -> FloatArray:
    """Displacement (n, 3) that makes vessels wind, growing from a share on trunks to full on branches."""
    tree = parameters.tree
    fields = [smooth_field(rng, tree.winding_length_mm, LOW_MM, HIGH_MM, band=True) for _ in range(3)]
    shift = np.column_stack([one.at(points) for one in fields])
    ramp = 1 - pass_down(parent, np.where(free, 0.75, 1.0))
    amount = tree.tortuosity_mm * (tree.trunk_winding + (1 - tree.trunk_winding) * ramp)
    return np.asarray(amount[:, None] * shift)


def _radii(
    builder: TreeBuilder,
    trunks: list[Trunk],
    parent: np.ndarray,
    parameters: SimulatorParameters,
    rng: np.random.Generator,
) -> FloatArray:
    roots: dict[int, float] = {}
    for territory in {trunk.territory for trunk in trunks if trunk.territory}:
        first = next(trunk for trunk in trunks if trunk.territory == territory)
        roots[builder.members[first.name][0]] = first.radius_mm
    leaf_weight = np.exp(0.5 * rng.standard_normal(len(parent)))
    radius = murray_radii(parent, roots, parameters.tree.murray_exponent, leaf_weight)
    for trunk in trunks:
        if trunk.territory is None:
            mine = builder.members[trunk.name]
            radius[mine] = np.linspace(trunk.radius_mm, trunk.tip_mm, len(mine))
    return radius
