"""One narrowed artery in some people: thin at one place, slow and dim behind it."""

from dataclasses import replace

import numpy as np

from angioshare.simulator.parameters import SimulatorParameters
from angioshare.simulator.tree import VesselTree, pass_down
from angioshare.types import FloatArray

_SITES = ("ICA", "M1", "M1", "A1", "P2", "basilar")
_HALF_LENGTH_MM = 3.0


def narrow(
    parameters: SimulatorParameters, tree: VesselTree, rng: np.random.Generator
) -> tuple[VesselTree, FloatArray]:
    """Narrow one large artery with the probability that the parameters give.

    Args:
        parameters: The person's own parameters.
        tree: The arteries.
        rng: Stream of the narrowing.

    Returns:
        The tree, narrowed or as it was, and the factor (n,) on the speed of blood, below 1 behind a narrowing.
    """
    slowing = np.ones(len(tree.parent))
    site = _SITES[rng.integers(len(_SITES))]
    name = site if site == "basilar" else f"{site}-{('right', 'left')[rng.integers(2)]}"
    if rng.random() >= parameters.variants.stenosis or name not in tree.names:
        return tree, slowing
    artery = np.flatnonzero(tree.of(name))
    middle = artery[int(len(artery) * rng.uniform(0.4, 0.8))]
    degree = parameters.variants.stenosis_degree
    away = np.linalg.norm(tree.points_mm - tree.points_mm[middle], axis=1)
    loss = np.where(tree.of(name), degree * np.exp(-0.5 * (away / _HALF_LENGTH_MM) ** 2), 0.0)
    own = np.ones(len(tree.parent))
    # Flow falls little up to half the diameter and steeply beyond it.
    own[middle] = max(1 - degree**2, 0.1)
    return replace(tree, radius_mm=tree.radius_mm * (1 - loss)), pass_down(tree.parent, own)
