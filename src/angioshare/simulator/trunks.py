"""The named arteries: where they run, what they spring from, and how people vary.

Courses are read off anatomical descriptions (Rhoton 2002, "The supratentorial arteries"; Rhoton 2000, "The cerebellar
arteries") in the standard space of `head`. Right-sided courses are given; the left side is mirrored and then bent
on its own.
"""

from dataclasses import dataclass, replace

import numpy as np

from angioshare.simulator.parameters import SimulatorParameters
from angioshare.types import FloatArray

_COURSES: dict[str, tuple[tuple[float, float, float], ...]] = {
    "ICA": (
        (28, -22, -75),
        (28, -22, -48),
        (26, -18, -35),
        (19, -9, -30),
        (13, -5, -25),
        (12, -2, -16),
        (13, 5, -13),
        (12, 12, -11),
        (11, 14, -7),
        (10, 11, -3),
        (11, 6, -2),
        (13, 1, 0),
    ),
    "M1": ((13, 1, 0), (20, 3, 2), (28, 5, 1), (35, 5, -1)),
    "M2-superior": ((35, 5, -1), (38, 8, 4), (39, 9, 10), (41, 8, 16), (48, 10, 15), (58, 10, 14)),
    "M2-anterior": ((38, 8, 4), (39, 14, 7), (40, 19, 10), (47, 22, 10), (54, 25, 12)),
    "M2-central": ((39, 9, 10), (39, 1, 15), (42, -4, 20), (51, -5, 17), (62, -6, 18)),
    "M2-inferior": ((35, 5, -1), (38, 0, -1), (39, -8, 5), (40, -18, 11), (46, -28, 18), (56, -36, 22), (62, -44, 24)),
    "M2-temporal": ((39, -6, 4), (42, -13, 3), (50, -18, 2), (61, -22, 0), (65, -30, -3)),
    "M2-parietal": ((40, -18, 11), (42, -24, 20), (50, -26, 22), (60, -28, 28)),
    "anterior-temporal": ((28, 5, 1), (33, 11, -6), (41, 15, -12), (50, 8, -16)),
    "A1": ((13, 1, 0), (9, 6, 2), (4, 10, 4), (1.8, 12, 5)),
    "A2": (
        (1.8, 12, 5),
        (1.6, 20, 5),
        (1.8, 29, 10),
        (1.8, 34, 19),
        (2, 33, 31),
        (2, 25, 39),
        (2, 10, 44),
        (2, -10, 45),
        (2, -28, 43),
        (2, -40, 40),
    ),
    "callosomarginal": (
        (1.8, 34, 22),
        (2.5, 42, 30),
        (2.5, 43, 42),
        (2.5, 34, 53),
        (2.5, 18, 59),
        (2.5, 0, 62),
        (2.5, -15, 66),
    ),
    "frontopolar": ((1.8, 28, 9), (2.5, 40, 9), (3, 54, 14), (4, 62, 22)),
    "orbitofrontal": ((1.6, 20, 5), (3, 30, -1), (5, 42, -3)),
    "P1": ((0, -13, -6), (6, -14, -3), (11, -17, -2)),
    "PComm": ((11, 4, -2), (11, -4, -4), (11, -11, -3), (11, -17, -2)),
    "P2": (
        (11, -17, -2),
        (17, -23, -1),
        (20, -31, 1),
        (17, -40, 4),
        (12, -49, 8),
        (11, -58, 9),
        (10, -68, 9),
        (8, -82, 10),
    ),
    "parieto-occipital": ((12, -50, 8), (12, -60, 16), (10, -70, 24), (8, -78, 34)),
    "posterior-temporal": ((20, -30, 1), (26, -34, -6), (34, -44, -11), (40, -56, -11)),
    "anterior-choroidal": ((12, 3, -1), (16, -6, -2), (20, -17, 0), (25, -28, 6), (26, -36, 12)),
    "SCA": ((0, -13, -8), (7, -16, -8), (15, -24, -6), (18, -35, -5), (13, -45, -4), (12, -55, -6), (14, -68, -8)),
    "AICA": ((0, -14, -25), (10, -20, -26), (20, -30, -26), (30, -40, -28), (40, -52, -30)),
    "PICA": ((7, -30, -53), (14, -35, -48), (13, -44, -44), (7, -52, -42), (9, -62, -46), (14, -74, -46)),
    "ophthalmic": ((11, 13, -5), (13, 19, -5), (17, 27, -7), (20, 38, -8)),
    "vertebral": ((14, -38, -75), (11, -35, -60), (6, -28, -50), (0, -22, -43)),
    "basilar": ((0, -22, -43), (0, -17, -35), (0, -14, -25), (0, -12, -14), (0, -13, -6)),
    "AComm": ((1.8, 12, 5), (0, 13, 5.2), (-1.8, 12, 5)),
}

_TERRITORY = {
    "MCA": (
        "M1",
        "M2-superior",
        "M2-anterior",
        "M2-central",
        "M2-inferior",
        "M2-temporal",
        "M2-parietal",
        "anterior-temporal",
    ),
    "ACA": ("A2", "callosomarginal", "frontopolar", "orbitofrontal"),
    "PCA": ("P2", "parieto-occipital", "posterior-temporal"),
    "SCA": ("SCA",),
    "AICA": ("AICA",),
    "PICA": ("PICA",),
}
_NO_BRANCHES = ("M1",)
_PARENT = {
    "M1": "ICA", "M2-superior": "M1", "M2-anterior": "M2-superior", "M2-central": "M2-superior", "M2-inferior": "M1",
    "M2-temporal": "M2-inferior", "M2-parietal": "M2-inferior", "anterior-temporal": "M1", "callosomarginal": "A2",
    "frontopolar": "A2", "orbitofrontal": "A2", "parieto-occipital": "P2", "posterior-temporal": "P2",
    "anterior-choroidal": "ICA", "ophthalmic": "ICA", "PComm": "ICA", "A1": "ICA",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """One named artery of one side.

    Attributes:
        name: Name with its side, for example `"M1-right"`.
        parent: Name of the artery it springs from; None where blood enters the head.
        course_mm: Control points (n, 3), from the heart outwards.
        radius_mm: Radius at the start.
        tip_mm: Radius at the end; used where no territory sets it.
        territory: Name of the territory with its side; None where radii are given.
        bears: Whether distal branches spring from it.
    """

    name: str
    parent: str | None
    course_mm: FloatArray
    radius_mm: float
    tip_mm: float
    territory: str | None = None
    bears: bool = False


def draw_trunks(parameters: SimulatorParameters, rng: np.random.Generator) -> list[Trunk]:
    """Draw the named arteries of one person, parents before children.

    Args:
        parameters: The person's own parameters.
        rng: Stream of the arteries.

    Returns:
        The arteries that this person has, radii drawn, courses unbent.
    """
    tree = parameters.tree
    basilar = _course("basilar", 1)
    trunks = []
    for side, name in ((1, "right"), (-1, "left")):
        radius = _scatter(tree.vertebral_radius_mm, parameters, rng)
        if rng.random() < parameters.variants.hypoplastic_vertebral:
            radius *= 0.5
        trunks.append(
            Trunk(
                name=f"vertebral-{name}",
                parent=None,
                course_mm=_course("vertebral", side),
                radius_mm=radius,
                tip_mm=radius,
            )
        )
    thick = _scatter(tree.basilar_radius_mm, parameters, rng)
    trunks.append(
        Trunk(name="basilar", parent="vertebral-right", course_mm=basilar, radius_mm=thick, tip_mm=0.85 * thick)
    )
    for side, name in ((1, "right"), (-1, "left")):
        trunks += _hind_side(side, name, parameters, rng)
    absent = [rng.random() < parameters.variants.absent_a1 for _ in range(2)]
    if all(absent):
        absent[1] = False
    for side, name in ((1, "right"), (-1, "left")):
        trunks += _carotid_side(side, name, parameters, rng)
        trunks += _posterior_side(side, name, parameters, rng)
    return trunks + _anterior(absent, parameters, rng)


def _hind_side(side: int, name: str, parameters: SimulatorParameters, rng: np.random.Generator) -> list[Trunk]:
    tree = parameters.tree
    wanted = [("SCA", "basilar", tree.sca_radius_mm), ("PICA", f"vertebral-{name}", tree.pica_radius_mm)]
    if rng.random() >= parameters.variants.absent_aica:
        wanted.append(("AICA", "basilar", tree.aica_radius_mm))
    return [_trunk(key, side, name, _scatter(radius, parameters, rng), parent=parent) for key, parent, radius in wanted]


def _carotid_side(side: int, name: str, parameters: SimulatorParameters, rng: np.random.Generator) -> list[Trunk]:
    tree = parameters.tree
    carotid = _trunk("ICA", side, name, _scatter(tree.ica_radius_mm, parameters, rng), parent=None)
    carotid = replace(carotid, tip_mm=0.82 * carotid.radius_mm)
    middle = _scatter(tree.mca_radius_mm, parameters, rng)
    trunks = [carotid, *(_trunk(key, side, name, middle) for key in _TERRITORY["MCA"])]
    for key, radius in (("anterior-choroidal", tree.choroidal_radius_mm), ("ophthalmic", tree.ophthalmic_radius_mm)):
        drawn = _scatter(radius, parameters, rng)
        trunks.append(replace(_trunk(key, side, name, drawn), tip_mm=0.6 * drawn))
    return trunks


def _posterior_side(side: int, name: str, parameters: SimulatorParameters, rng: np.random.Generator) -> list[Trunk]:
    tree, variants = parameters.tree, parameters.variants
    radius = _scatter(tree.pca_radius_mm, parameters, rng)
    bridge = _scatter(tree.pcomm_radius_mm, parameters, rng)
    fetal = rng.random() < variants.fetal_pca
    trunks = [_trunk("P1", side, name, 0.35 * radius if fetal else radius, parent="basilar")]
    if fetal:
        trunks.append(_trunk("PComm", side, name, radius))
    elif rng.random() >= variants.absent_pcomm:
        trunks.append(_trunk("PComm", side, name, bridge))
    feeder = f"PComm-{name}" if fetal else f"P1-{name}"
    trunks.append(_trunk("P2", side, name, radius, parent=feeder))
    return trunks + [_trunk(key, side, name, radius) for key in _TERRITORY["PCA"][1:]]


def _anterior(absent: list[bool], parameters: SimulatorParameters, rng: np.random.Generator) -> list[Trunk]:
    tree, variants = parameters.tree, parameters.variants
    sides = ((1, "right"), (-1, "left"))
    radii = [_scatter(tree.aca_radius_mm, parameters, rng) for _ in sides]
    trunks = []
    for (side, name), radius, gone, other_gone in zip(sides, radii, absent, absent[::-1], strict=True):
        thin = rng.random() < variants.hypoplastic_a1
        if not gone:
            trunks.append(_trunk("A1", side, name, radius * (1.26 if other_gone else 0.5 if thin else 1.0)))
    bridged = any(absent) or rng.random() >= variants.absent_acomm
    first = 1 if absent[0] else 0
    if bridged:
        bridge = radii[first] * 0.9 if any(absent) else _scatter(tree.acomm_radius_mm, parameters, rng)
        side, name = sides[first]
        course = _course("AComm", side)
        trunks.append(Trunk(name="AComm", parent=f"A1-{name}", course_mm=course, radius_mm=bridge, tip_mm=bridge))
    for (side, name), radius, gone in zip(sides, radii, absent, strict=True):
        trunks.append(_trunk("A2", side, name, radius * 0.95, parent="AComm" if gone else f"A1-{name}"))
        trunks += [_trunk(key, side, name, radius) for key in _TERRITORY["ACA"][1:]]
    return trunks


def _trunk(key: str, side: int, name: str, radius: float, parent: str | None = "") -> Trunk:
    territory = next((f"{t}-{name}" for t, keys in _TERRITORY.items() if key in keys), None)
    return Trunk(
        name=f"{key}-{name}",
        parent=f"{_PARENT[key]}-{name}" if parent == "" else parent,
        course_mm=_course(key, side),
        radius_mm=radius,
        tip_mm=radius,
        territory=territory,
        bears=territory is not None and key not in _NO_BRANCHES,
    )


def _course(key: str, side: int) -> FloatArray:
    return np.asarray(np.array(_COURSES[key], dtype=np.float64) * np.array([side, 1, 1]))


def _scatter(radius: float, parameters: SimulatorParameters, rng: np.random.Generator) -> float:
    return float(radius * parameters.tree.radius_scale * np.exp(parameters.tree.side_sd * rng.standard_normal()))
