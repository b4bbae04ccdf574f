"""How one person and one examination stray from their site: parameters drawn around parameters."""

import numpy as np

from angioshare.simulator.parameters import SimulatorParameters, describe, flatten, unflatten

# Dotted names that vary together -> the field of `variation` that gives the SD of their log.
_SHARED: dict[str, tuple[str, ...]] = {
    "radius": ("tree.radius_scale",),
    "flow": ("contrast.speed_cm_s",),
    "ventricles": ("anatomy.ventricle_scale",),
    "reader": ("reader.thickness",),
}
_SEPARATE: dict[str, tuple[str, ...]] = {
    "brightness": (
        "bright.sinus_level", "bright.vein_level", "bright.choroid_level", "bright.fat_level", "bright.fat_share",
        "bright.meninges_level", "bright.skull_base",
    ),
    "acquisition": (
        "acquisition.noise", "acquisition.bias", "acquisition.ghost", "acquisition.slab_edge_loss", "contrast.texture",
        "acquisition.white_level",
    ),
    "reader": ("reader.smallest_radius_mm",),
    "radius": ("tree.tortuosity_mm", "tree.density"),
}  # fmt: skip


def draw_person(parameters: SimulatorParameters, rng: np.random.Generator) -> SimulatorParameters:
    """Draw the parameters of one person's examination.

    Args:
        parameters: The site's parameters.
        rng: Stream of the variation.

    Returns:
        Parameters near the site's, kept within their ranges.
    """
    spread, values, known = parameters.variation, flatten(parameters), describe()
    changed = {}
    for groups in (_SHARED, _SEPARATE):
        for kind, names in groups.items():
            for name in names:
                drawn = values[name] * np.exp(getattr(spread, kind) * rng.standard_normal())
                changed[name] = float(np.clip(drawn, known[name].low, known[name].high))
    return unflatten(changed, parameters)
