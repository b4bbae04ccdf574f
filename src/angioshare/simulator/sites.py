"""Ready-made sites: parameter sets that differ as hospitals do.

The demo sites shrink the head so that a small grid holds it, and widen its vessels so that they stay visible.
"""

from angioshare.simulator.parameters import SimulatorParameters
from angioshare.simulator.parameters_anatomy import AnatomyParameters, TreeParameters
from angioshare.simulator.parameters_image import (
    AcquisitionParameters,
    BrightParameters,
    ContrastParameters,
    ReaderParameters,
)

SITE_1 = SimulatorParameters()

SITE_2 = SimulatorParameters(
    contrast=ContrastParameters(tr_ms=25.0, te_ms=4.2, flip_deg=20.0, flip_ramp=0.3, magnetisation_transfer=0.0),
    bright=BrightParameters(sinus_level=0.3, vein_level=0.25, fat_share=0.07, skull_base=0.45),
    acquisition=AcquisitionParameters(
        matrix_i=184,
        matrix_j=224,
        matrix_k=72,
        voxel_i_mm=0.8,
        voxel_j_mm=0.8,
        voxel_k_mm=1.2,
        slab_count=4,
        slab_edge_loss=0.18,
        bias=0.18,
        noise=0.14,
        blur_mm=0.3,
        white_level=46.0,
        slab_bottom_mm=-40.0,
    ),
    reader=ReaderParameters(thickness=1.35, smallest_radius_mm=0.35, hand_mm=0.16, speck_voxels=20),
)

_DEMO_ANATOMY = AnatomyParameters(head_scale=0.5)
_DEMO_TREE = TreeParameters(radius_scale=1.5, density=0.15)

DEMO_1 = SimulatorParameters(
    anatomy=_DEMO_ANATOMY,
    tree=_DEMO_TREE,
    acquisition=AcquisitionParameters(
        matrix_i=96, matrix_j=112, matrix_k=40, voxel_i_mm=0.8, voxel_j_mm=0.8, voxel_k_mm=1.1, slab_edge_mm=2.0
    ),
    reader=ReaderParameters(smallest_contrast=0.45, least_width_voxel=1.3),
)

DEMO_2 = SimulatorParameters(
    anatomy=_DEMO_ANATOMY,
    tree=_DEMO_TREE,
    contrast=SITE_2.contrast,
    bright=SITE_2.bright,
    acquisition=AcquisitionParameters(
        matrix_i=92,
        matrix_j=108,
        matrix_k=44,
        voxel_i_mm=0.84,
        voxel_j_mm=0.84,
        voxel_k_mm=1.0,
        slab_count=4,
        slab_edge_mm=2.0,
        slab_edge_loss=0.18,
        bias=0.18,
        noise=0.14,
        blur_mm=0.3,
        white_level=50.0,
    ),
    reader=ReaderParameters(
        thickness=1.35, smallest_radius_mm=0.35, hand_mm=0.16, smallest_contrast=0.45, least_width_voxel=1.5
    ),
)

DEMO_3 = SimulatorParameters(
    anatomy=_DEMO_ANATOMY,
    tree=TreeParameters(radius_scale=1.4, density=0.2),
    contrast=ContrastParameters(tr_ms=22.0, te_ms=3.9, flip_deg=18.0),
    acquisition=AcquisitionParameters(
        matrix_i=96,
        matrix_j=112,
        matrix_k=40,
        voxel_i_mm=0.8,
        voxel_j_mm=0.8,
        voxel_k_mm=1.1,
        slab_edge_mm=2.0,
        bias=0.14,
        noise=0.08,
        blur_mm=0.35,
        white_level=60.0,
    ),
    reader=ReaderParameters(thickness=1.2, smallest_radius_mm=0.3),
)

SITES: dict[str, SimulatorParameters] = {
    "site-1": SITE_1,
    "site-2": SITE_2,
    "demo-1": DEMO_1,
    "demo-2": DEMO_2,
    "demo-3": DEMO_3,
}
"""Name -> parameters, for the command line and for tests."""
