"""One simulated subject, from a seed to image, label and mask.

The order is nature's: a person, a head, arteries; then blood, tissue and scanner; at last the readers. Each has its
own random stream, so that a change of, say, the noise leaves the anatomy as it was.
"""

from dataclasses import dataclass

import numpy as np

from angioshare.rng import stream
from angioshare.simulator.acquisition import acquire, slab_profile
from angioshare.simulator.arteries import grow_arteries, place_candidates
from angioshare.simulator.flow import tree_signal
from angioshare.simulator.grid import draw_grid
from angioshare.simulator.head import draw_head
from angioshare.simulator.parameters import SimulatorParameters
from angioshare.simulator.person import draw_person
from angioshare.simulator.raster import string_beads
from angioshare.simulator.reader import draw_label
from angioshare.simulator.scene import paint_tissue, paint_vessels, tissue_levels, vein_signal
from angioshare.simulator.stenosis import narrow
from angioshare.simulator.tissue import fill_tissue
from angioshare.simulator.veins import grow_veins
from angioshare.types import ByteArray, FloatArray, Spacing


@dataclass(frozen=True, kw_only=True)
class SimulatedSubject:
    """What a simulated examination leaves behind; volumes are (i, j, k), RAS+.

    Attributes:
        angio: The angiogram, 0 outside the brain mask and at least 1 inside.
        label: The vessel label as the site's readers drew it, 0 or 1.
        brain: The brain mask, 0 or 1.
        spacing_mm: Voxel size.
        affine: Voxel indices -> scanner coordinates in mm.
    """

    angio: ByteArray
    label: ByteArray
    brain: ByteArray
    spacing_mm: Spacing
    affine: FloatArray


def simulate_subject(parameters: SimulatorParameters, seed: int, extent: float = 1.0) -> SimulatedSubject:
    """Simulate one subject of a site.

    Args:
        parameters: The site.
        seed: Any integer; another seed is another subject.
        extent: Share in (0, 1] of the slices that is simulated: neighbours, two at least, at a random height. A
            quarter of a subject takes about a third of the time.

    Returns:
        The subject's volumes.

    Guarantees:
        The same parameters and seed give the same volumes. No private data is read: the result is public.

    Example:
        >>> from angioshare.simulator.sites import SITES
        >>> subject = simulate_subject(SITES["demo-1"], seed=1)
        >>> subject.angio.shape, bool((subject.label <= subject.brain).all())
        ((96, 112, 40), True)
    """
    own = draw_person(parameters, stream(seed, "simulator", "person"))
    head = draw_head(own, stream(seed, "simulator", "head"))
    whole = draw_grid(own, stream(seed, "simulator", "pose"))
    first, last = _some_slices(whole.shape[2], extent, stream(seed, "simulator", "slices"))
    grid = whole.slices(first, last - first)
    places = place_candidates(head, stream(seed, "simulator", "places"))
    tree = grow_arteries(own, head, places, stream(seed, "simulator", "arteries"))
    narrowed, slowing = narrow(own, tree, stream(seed, "simulator", "stenosis"))
    levels = tissue_levels(own)
    blood = tree_signal(own, tree, slowing, whole, stream(seed, "simulator", "flow")) / levels.white_signal

    tissue = fill_tissue(own, head, grid, stream(seed, "simulator", "mask"))
    image = paint_tissue(own, tissue, grid, levels, stream(seed, "simulator", "tissue"))
    veins = grow_veins(own, head, places, stream(seed, "simulator", "veins"))
    beads = string_beads(veins, grid)
    venous = vein_signal(own, veins, levels, stream(seed, "simulator", "vein-levels"))
    paint_vessels(image, beads, grid.scale * beads.of(veins, veins.radius_mm), beads.of(veins, venous), grid, 0.0)

    beads = string_beads(narrowed, whole)  # readers follow a vessel beyond these slices
    radius = grid.scale * beads.of(narrowed, narrowed.radius_mm)
    added = paint_vessels(image, beads, radius, beads.of(tree, blood), grid, own.contrast.profile)
    profile = slab_profile(own, whole)[first:last]
    angio = acquire(own, image, added, tissue.mask, grid, profile, stream(seed, "simulator", "acquisition"))
    seen, noise = blood / levels.grey, own.acquisition.noise / levels.grey
    label = draw_label(own, narrowed, beads, seen, noise, tissue.mask, grid, stream(seed, "simulator", "reader"))
    return SimulatedSubject(
        angio=angio,
        label=label,
        brain=tissue.mask.astype("uint8"),
        spacing_mm=grid.spacing_mm,
        affine=grid.affine(),
    )


def _some_slices(count: int, extent: float, rng: np.random.Generator) -> tuple[int, int]:
    """First slice, and the one after the last, of a share of `count` slices; every height is as likely."""
    wanted = min(max(round(extent * count), 2), count)
    first = int(rng.integers(count - wanted + 1))
    return first, first + wanted
