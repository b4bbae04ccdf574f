"""Veins and dural sinuses: bright in some examinations, never arteries.

Courses follow Rhoton (2002, "The cerebral veins") in the standard space of `head`; cortical veins grow to the superior
sagittal sinus as arteries grow from their trunks.
"""

import numpy as np

from angioshare.simulator.arbor import grow
from angioshare.simulator.fields import SmoothField, smooth_field
from angioshare.simulator.head import HIGH_MM, LOW_MM, Head
from angioshare.simulator.parameters import SimulatorParameters
from angioshare.simulator.tree import TreeBuilder, VesselTree, down_sum, sample_course, smooth
from angioshare.types import FloatArray

_SIDES = (1, -1)
_SINUSES: dict[str, tuple[tuple[tuple[float, float, float], ...], float]] = {
    "straight": (((0, -46, 26), (0, -62, 19), (0, -82, 9), (0, -103, 0)), 1.7),
    "transverse": (((0, -104, 0), (18, -100, -6), (40, -80, -9), (52, -56, -11), (50, -46, -22), (42, -42, -36)), 3.2),
    "internal-cerebral": (((3, 6, 21), (2.5, -10, 26), (2, -28, 27), (0, -42, 22)), 0.8),
    "basal": (((12, -4, -4), (19, -20, 0), (17, -34, 8), (0, -43, 20)), 0.8),
    "galen": (((0, -42, 22), (0, -45, 24), (0, -46, 26)), 1.6),
    "sylvian": (((58, -18, 14), (54, 2, 8), (46, 14, 0), (32, 14, -10)), 1.0),
}
_CORTICAL_PLACES = 260
_CORTICAL_RADIUS_MM = 0.32
_WIDEST_CORTICAL_MM = 1.4


def grow_veins(parameters: SimulatorParameters, head: Head, places: FloatArray, rng: np.random.Generator) -> VesselTree:
    """Grow sinuses, deep veins and cortical veins of one person.

    Args:
        parameters: The person's own parameters.
        head: The person's brain.
        places: Where pial vessels may run (n, 3).
        rng: Stream of the veins.

    Returns:
        The veins; `names` starts with the sinuses, cortical veins are named `"cortical"`.
    """
    builder = TreeBuilder()
    sagittal = builder.add("sagittal", _sagittal(), -1)
    radius: list[FloatArray] = [np.linspace(1.4, 3.4, len(sagittal))]
    bend = [smooth_field(rng, 20.0, LOW_MM, HIGH_MM) for _ in range(3)]
    uneven = {1: float(rng.uniform(0.5, 1.1)), -1: float(rng.uniform(0.5, 1.1))}
    for name, (course, thick) in _SINUSES.items():
        for side in _SIDES if course[1][0] else (1,):
            points = _bent(np.array(course) * np.array([side, 1, 1]), bend, parameters.anatomy.control_jitter_mm)
            added = builder.add(name, points, -1)
            radius.append(np.full(len(added), thick * (uneven[side] if name == "transverse" else 1.0)))
    n_trunk = len(builder.parent)
    wanted = int(_CORTICAL_PLACES * parameters.bright.vein_density)
    places = rng.permutation(places[head.depth(places) < 5])[:wanted]
    if len(places) > 3:
        roots = sagittal[::3]
        order, parents = grow(np.array([builder.points[i] for i in roots]), places, head, 0.6, rng)
        builder.add_arbor("cortical", roots, places, order, parents)
    parent = np.array(builder.parent)
    points = smooth(np.array(builder.points), parent, np.arange(len(parent)) >= n_trunk, rounds=6)
    children = np.bincount(parent[parent >= 0], minlength=len(parent))
    fed = down_sum(parent, (children == 0).astype(float))
    cortical = np.minimum(_CORTICAL_RADIUS_MM * np.cbrt(fed), _WIDEST_CORTICAL_MM)
    cortical[:n_trunk] = np.concatenate(radius)
    return VesselTree(
        points_mm=points, parent=parent, radius_mm=cortical, name=np.array(builder.name), names=tuple(builder.names)
    )


def _sagittal() -> FloatArray:
    angle = np.linspace(np.deg2rad(-12), np.deg2rad(205), 220)
    return np.column_stack((np.zeros(220), -20 + 87 * np.cos(angle), 30 + 62 * np.sin(angle)))


def _bent(course: FloatArray, bend: list[SmoothField], jitter_mm: float) -> FloatArray:
    shift = np.column_stack([field.at(course) for field in bend])
    return sample_course(course + jitter_mm * shift)
