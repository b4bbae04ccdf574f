import numpy as np
import pytest

from angioshare.simulator.arbor import grow, ways_to

# Radii in mm: mean diameters of the sources named in `parameters_anatomy`, halved, with two standard deviations.
PUBLISHED = {
    "M1": (1.0, 1.8),
    "A1": (0.45, 1.6),
    "P1": (0.3, 1.5),
    "basilar": (1.2, 2.1),
    "vertebral": (0.6, 1.9),
    "ICA": (1.4, 2.7),
    "PComm": (0.35, 1.5),
    "AComm": (0.4, 1.1),
    "SCA": (0.1, 1.0),
    "ophthalmic": (0.2, 0.7),
}


def lengths(tree):
    above = np.maximum(tree.parent, 0)
    return np.linalg.norm(tree.points_mm - tree.points_mm[above], axis=1) * (tree.parent >= 0)


def named(tree, key):
    return tree.of(*(name for name in tree.names if name == key or name.rsplit("-", 1)[0] == key))


@pytest.mark.parametrize("key", PUBLISHED)
def test_named_arteries_have_published_radii(people, key):
    low, high = PUBLISHED[key]
    radii = np.concatenate([person.tree.radius_mm[named(person.tree, key)] for person in people])
    assert len(radii)
    assert low <= np.median(radii) <= high
    assert np.mean((radii > 0.9 * low) & (radii < 1.1 * high)) > 0.9


def test_parents_come_first_and_no_piece_is_a_jump(people):
    for person in people:
        assert np.all(person.tree.parent < np.arange(len(person.tree.parent)))
        assert lengths(person.tree).max() < 8
        assert np.percentile(lengths(person.tree), 99) < 3.5


def test_blood_enters_by_two_carotids_and_two_vertebrals_and_reaches_everything(people):
    for person in people:
        entries = np.flatnonzero(person.tree.parent < 0)
        names = {person.tree.names[i] for i in person.tree.name[entries]}
        assert names == {"ICA-right", "ICA-left", "vertebral-right", "vertebral-left"}
        assert np.all(person.tree.radius_mm > 0)


def test_murray_holds_within_territories(people):
    tree = people[0].tree
    cubes = tree.radius_mm**3
    fed = np.bincount(tree.parent[tree.parent >= 0], cubes[tree.parent >= 0], len(cubes))
    inner = tree.of(*(f"{t}-{s}" for t in ("MCA", "ACA", "PCA") for s in ("left", "right"))) & (fed > 0)
    assert inner.sum() > 1000
    assert fed[inner] == pytest.approx(cubes[inner])


def test_branches_of_a_territory_hang_on_its_trunk(people):
    tree = people[0].tree
    first = {"MCA": "M1", "ACA": "A2", "PCA": "P2"}
    for territory, trunk in first.items():
        for side in ("left", "right"):
            root = np.flatnonzero(tree.of(f"{trunk}-{side}"))[0]
            fed = np.zeros(len(tree.parent), dtype=bool)
            fed[root] = True
            for i in range(root + 1, len(fed)):
                fed[i] = tree.parent[i] >= 0 and fed[tree.parent[i]]
            assert fed[tree.of(f"{territory}-{side}")].all()


def test_branches_run_in_the_head_and_mostly_in_its_outer_shell(people):
    for person in people[:2]:
        tree = person.tree
        branches = tree.points_mm[tree.of(*(f"MCA-{side}" for side in ("left", "right")))]
        depth = person.head.depth(branches)
        assert np.mean(depth > -2) > 0.97
        assert np.mean(depth < 25) > 0.95


def test_the_lumen_fills_the_arterial_share_of_the_brain(people):
    """Of 100 ml of cortex 1.5 ml are arterial blood (Ito et al. 2005), arterioles included, which are not modelled."""
    for person in people:
        litres = np.sum(np.pi * person.tree.radius_mm**2 * lengths(person.tree)) / 1e6
        assert 0.003 < litres / 1.25 < 0.013


def test_all_arteries_have_metres_of_visible_length(people):
    """BraVa's reconstructions hold several metres an adult (Wright et al. 2013)."""
    for person in people:
        seen = person.tree.radius_mm > 0.3
        assert 3.5e3 < lengths(person.tree)[seen].sum() < 12e3


def test_anterior_posterior_and_middle_arteries_are_as_long_as_one_two_four(people):
    """Lengths in BraVa's reconstructions (Wright et al. 2013)."""
    sums = {name: sum(lengths(p.tree)[named(p.tree, name)].sum() for p in people) for name in ("ACA", "PCA", "MCA")}
    assert 1.4 < sums["PCA"] / sums["ACA"] < 2.8
    assert 3 < sums["MCA"] / sums["ACA"] < 5.3


def test_ways_to_ends_are_all_that_is_kept_of_a_grown_tree(people):
    head, places = people[0].head, people[0].places[::4]
    roots = np.array([[20.0, 0.0, -10.0], [-20.0, 0.0, -10.0]])
    order, parents = grow(roots, places, head, 0.35, np.random.default_rng(0))
    ends = np.random.default_rng(1).choice(len(places), 25, replace=False)
    above = dict(zip(order.tolist(), (parents - len(roots)).tolist(), strict=True))
    expected = set()
    for end in set(ends.tolist()) & set(above):
        while end >= 0:
            expected.add(end)
            end = above[end]
    kept = ways_to(order, parents, len(roots), ends)
    assert set(order[kept].tolist()) == expected
    assert 25 < len(expected) < len(order)


def test_people_and_sides_differ(people):
    widths = np.array([[p.tree.radius_mm[p.tree.of(f"M1-{s}")][0] for s in ("left", "right")] for p in people])
    assert np.unique(widths).size == widths.size
    assert 0.02 < np.std(np.log(widths[:, 0] / widths[:, 1])) < 0.3


def test_a_fetal_posterior_artery_springs_from_the_carotid(make_person):
    tree = make_person(1, variants__fetal_pca=1.0).tree
    for side in ("left", "right"):
        feeder = tree.parent[np.flatnonzero(tree.of(f"P2-{side}"))[0]]
        assert tree.names[tree.name[feeder]] == f"PComm-{side}"
        assert tree.radius_mm[tree.of(f"P1-{side}")].max() < 0.5 * tree.radius_mm[tree.of(f"PComm-{side}")].min()


def test_a_missing_a1_is_replaced_through_the_communicating_artery(make_person):
    tree = make_person(2, variants__absent_a1=1.0).tree
    present = [side for side in ("left", "right") if f"A1-{side}" in tree.names]
    assert len(present) == 1
    other = "left" if present == ["right"] else "right"
    feeder = tree.parent[np.flatnonzero(tree.of(f"A2-{other}"))[0]]
    assert tree.names[tree.name[feeder]] == "AComm"


def test_variants_occur_as_often_as_asked(make_person):
    none = make_person(3, variants__absent_pcomm=1.0, variants__fetal_pca=0.0, variants__absent_acomm=1.0).tree
    assert not any(name.startswith(("PComm", "AComm")) for name in none.names)
    every = make_person(3, variants__absent_pcomm=0.0, variants__absent_acomm=0.0, variants__absent_aica=0.0).tree
    assert {"PComm-left", "PComm-right", "AComm", "AICA-left", "AICA-right"} <= set(every.names)


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("tree__density", 0.1, 0.6), ("tree__terminal_radius_mm", 0.4, 0.25), ("tree__tortuosity_mm", 0, 2)],
)
def test_density_terminal_radius_and_tortuosity_lengthen_the_tree(make_person, name, low, high):
    short, long = (lengths(make_person(4, **{name: value}).tree).sum() for value in (low, high))
    assert long > 1.1 * short


def test_named_arteries_wind_by_their_share(make_person):
    """A share of 0 leaves the basilar artery as straight as no winding at all does; a share of 1 does not."""
    basilar = {}
    for share, winding in ((0.0, 4.0), (1.0, 4.0), (0.0, 0.0)):
        tree = make_person(4, tree__trunk_winding=share, tree__tortuosity_mm=winding).tree
        basilar[share, winding] = lengths(tree)[tree.of("basilar")].sum()
    assert basilar[0.0, 4.0] == pytest.approx(basilar[0.0, 0.0])
    assert basilar[1.0, 4.0] > 1.1 * basilar[0.0, 0.0]


def test_distal_arteries_narrow_down_to_the_least_radius_and_no_further(make_person):
    """Trunks keep their own radii; without a least radius the same tree has ends that are far thinner."""
    free, bound = (make_person(4, tree__least_radius_mm=least).tree for least in (0.0, 0.35))
    distal = free.of(*(f"{t}-{s}" for t in ("MCA", "ACA", "PCA", "SCA") for s in ("left", "right")))
    assert free.radius_mm[distal].min() < 0.2
    assert bound.radius_mm[distal].min() == 0.35
    wider = bound.radius_mm != free.radius_mm
    assert np.all(distal[wider] | free.of("AICA-left", "AICA-right", "PICA-left", "PICA-right")[wider])
    assert np.array_equal(bound.points_mm, free.points_mm)


def test_cerebellar_arteries_branch_as_much_as_asked(make_person):
    """Their trunks stay, and nobody else's branches become fewer."""

    def branches(share):
        tree = make_person(4, tree__hind_density=share).tree
        hind = [name for name in tree.names if name.split("-")[0] in ("SCA", "AICA", "PICA")]
        counts = {name: int(tree.of(name).sum()) for name in tree.names}
        return sum(counts[name] for name in hind), sum(counts.values()) - sum(counts[name] for name in hind)

    (none, rest), (some, same), (more, _) = (branches(share) for share in (0.0, 0.5, 1.5))
    assert 0 < none < some < more
    assert rest == pytest.approx(same, rel=0.02)
