"""Parameters of the picture: signal, what is bright and no artery, the scanner, and the readers who draw the label."""

from angioshare.settings import Settings
from angioshare.simulator.quantity import quantity


class ContrastParameters(Settings):
    """Sequence, relaxation and blood flow: what sets the time-of-flight signal."""

    tr_ms: float = quantity(22.0, 15.0, 45.0, unit="ms", source="Bernstein et al. 2001", says="Repetition time.")
    te_ms: float = quantity(3.6, 2.0, 8.0, unit="ms", source="Bernstein et al. 2001", says="Echo time.")
    flip_deg: float = quantity(
        18.0, 8.0, 40.0, unit="deg", source="Bernstein et al. 2001", says="Mean flip angle in a slab."
    )
    flip_ramp: float = quantity(
        0.2,
        0.0,
        0.6,
        unit="1",
        source="Atkinson et al. 1994",
        says="Rise of the flip angle from slab inlet to outlet (TONE).",
    )
    magnetisation_transfer: float = quantity(
        0.15,
        0.0,
        0.5,
        unit="1",
        source="Edelman et al. 1992",
        says="Share of grey and white signal taken by transfer pulses.",
    )
    t1_blood_ms: float = quantity(
        1650.0, 1300.0, 2000.0, unit="ms", source="Lu et al. 2004", says="T1 of arterial blood."
    )
    t1_grey_ms: float = quantity(
        1400.0, 1000.0, 1900.0, unit="ms", source="Stanisz et al. 2005", says="T1 of grey matter."
    )
    t1_white_ms: float = quantity(
        950.0, 600.0, 1200.0, unit="ms", source="Stanisz et al. 2005", says="T1 of white matter."
    )
    t1_fluid_ms: float = quantity(
        4000.0, 2500.0, 4600.0, unit="ms", source="Rooney et al. 2007", says="T1 of spinal fluid."
    )
    t1_fat_ms: float = quantity(380.0, 250.0, 500.0, unit="ms", source="Gold et al. 2004", says="T1 of fat.")
    t2star_tissue_ms: float = quantity(
        50.0, 20.0, 80.0, unit="ms", source="Peters et al. 2007", says="T2* of brain tissue and fat."
    )
    density_grey: float = quantity(0.82, 0.6, 1.0, unit="1", source="Tofts 2003", says="Proton density of grey matter.")
    density_white: float = quantity(
        0.71, 0.5, 1.0, unit="1", source="Tofts 2003", says="Proton density of white matter."
    )
    density_blood: float = quantity(0.85, 0.6, 1.0, unit="1", source="Lu et al. 2004", says="Proton density of blood.")
    speed_cm_s: float = quantity(
        40.0,
        15.0,
        90.0,
        unit="cm/s",
        source="Aaslid et al. 1982",
        says="Mean speed of blood in an artery as wide as M1.",
    )
    speed_exponent: float = quantity(
        0.8, 0.0, 1.5, unit="1", source="Kobari et al. 1984", says="Speed grows with the radius to this power."
    )
    profile: float = quantity(
        0.25, 0.0, 0.8, unit="1", source="Ku 1997", says="Loss of signal from the axis to the wall of a vessel."
    )
    dephasing: float = quantity(
        0.25,
        0.0,
        0.9,
        unit="1",
        source="Urchuk and Plewes 1992",
        says="Loss of signal where a wide artery bends sharply.",
    )
    slow_share: float = quantity(
        0.08, 0.0, 0.6, unit="1", source="Wilcock et al. 1995", says="Share of distal branches with slow flow."
    )
    slow_factor: float = quantity(
        0.35, 0.05, 1.0, unit="1", source="Wilcock et al. 1995", says="Speed in a slow branch against the usual."
    )
    texture: float = quantity(
        0.05, 0.0, 0.25, unit="1", source="Cocosco et al. 1997", says="Relative SD of the signal within one tissue."
    )


class BrightParameters(Settings):
    """What is bright and no artery; levels run from 0 (as grey matter) to 1 (as fresh blood)."""

    sinus_level: float = quantity(
        0.18, 0.0, 1.0, unit="1", source="Ayanzen et al. 2000", says="Brightness of the dural sinuses."
    )
    vein_level: float = quantity(
        0.15, 0.0, 1.0, unit="1", source="Ayanzen et al. 2000", says="Brightness of cortical and deep veins."
    )
    vein_density: float = quantity(
        1.0, 0.0, 3.0, unit="1", source="Duvernoy et al. 1981", says="Number of cortical veins against a typical one."
    )
    choroid_level: float = quantity(
        0.18, 0.0, 1.0, unit="1", source="Rhoton 2002", says="Brightness of the choroid plexus."
    )
    fat_level: float = quantity(
        0.4, 0.0, 1.2, unit="1", source="Bernstein et al. 2001", says="Brightness of fat that brain extraction left."
    )
    fat_share: float = quantity(
        0.015, 0.0, 0.5, unit="1", source="Smith 2002", says="Share of the rim where extraction left fat or marrow."
    )
    meninges_level: float = quantity(
        0.05, 0.0, 1.0, unit="1", source="Smith 2002", says="Brightness of meninges that brain extraction left."
    )
    skull_base: float = quantity(
        0.35,
        0.0,
        1.0,
        unit="1",
        source="Smith 2002",
        says="How much of the tissue about the siphon the brain mask keeps.",
    )


class AcquisitionParameters(Settings):
    """Grid, slabs, sharpness, coil and noise."""

    matrix_i: int = quantity(200, 16, 512, unit="voxel", source="Livne et al. 2019", says="Voxels from left to right.")
    matrix_j: int = quantity(240, 16, 512, unit="voxel", source="Livne et al. 2019", says="Voxels from back to front.")
    matrix_k: int = quantity(64, 4, 256, unit="voxel", source="Livne et al. 2019", says="Voxels from foot to head.")
    voxel_i_mm: float = quantity(
        0.75, 0.2, 2.0, unit="mm", source="Livne et al. 2019", says="Voxel size, left to right."
    )
    voxel_j_mm: float = quantity(
        0.75, 0.2, 2.0, unit="mm", source="Livne et al. 2019", says="Voxel size, back to front."
    )
    voxel_k_mm: float = quantity(1.4, 0.3, 3.0, unit="mm", source="Livne et al. 2019", says="Voxel size, foot to head.")
    slab_bottom_mm: float = quantity(
        -34.0, -60.0, 10.0, unit="mm", source="Livne et al. 2019", says="Lowest slice, against the carotid terminus."
    )
    slab_count: int = quantity(3, 1, 8, unit="1", source="Parker et al. 1991", says="Number of overlapping thin slabs.")
    slab_overlap_mm: float = quantity(
        8.0, 0.0, 25.0, unit="mm", source="Parker et al. 1991", says="How far below a slab's kept part pulses begin."
    )
    slab_edge_loss: float = quantity(
        0.12, 0.0, 0.6, unit="1", source="Blatter et al. 1993", says="Share of signal lost at the border between slabs."
    )
    slab_edge_mm: float = quantity(
        3.0, 0.5, 12.0, unit="mm", source="Blatter et al. 1993", says="Width of that border."
    )
    blur_mm: float = quantity(
        0.2, 0.0, 1.5, unit="mm", source="Du et al. 1994", says="SD of the blur beyond the voxel's own, in plane."
    )
    bias: float = quantity(
        0.12, 0.0, 0.6, unit="1", source="Sled et al. 1998", says="SD of the log of the coil's smooth shading."
    )
    bias_length_mm: float = quantity(
        60.0, 25.0, 200.0, unit="mm", source="Sled et al. 1998", says="Length over which the shading changes."
    )
    noise: float = quantity(
        0.09,
        0.0,
        0.5,
        unit="1",
        source="Gudbjartsson and Patz 1995",
        says="SD of the noise against white matter's signal.",
    )
    grain_voxel: float = quantity(
        0.45,
        0.0,
        1.5,
        unit="voxel",
        source="Bernstein et al. 2001",
        says="SD over which zero filling or denoising smears noise.",
    )
    noise_centre: float = quantity(
        0.3,
        0.0,
        1.5,
        unit="1",
        source="Pruessmann et al. 1999",
        says="Rise of the noise from rim to centre (g-factor).",
    )
    ghost: float = quantity(
        0.025,
        0.0,
        0.2,
        unit="1",
        source="Wood and Henkelman 1985",
        says="Strength of pulsation ghosts of the arteries.",
    )
    white_level: float = quantity(
        52.0, 20.0, 120.0, unit="1", source="Livne et al. 2019", says="Stored value of white matter (0 to 255)."
    )
    mask_margin_mm: float = quantity(
        1.5, -2.0, 6.0, unit="mm", source="Smith 2002", says="How far outside the brain the mask lies."
    )
    mask_roughness_mm: float = quantity(
        1.2, 0.0, 5.0, unit="mm", source="Smith 2002", says="SD of the mask's error along its rim."
    )


class ReaderParameters(Settings):
    """How the readers of a site draw vessels."""

    thickness: float = quantity(
        1.25, 0.5, 2.5, unit="1", source="Livne et al. 2019", says="Factor between true radius and drawn radius."
    )
    smallest_radius_mm: float = quantity(
        0.26, 0.0, 1.0, unit="mm", source="Livne et al. 2019", says="Thinner arteries are not drawn."
    )
    smallest_cnr: float = quantity(
        0.0,
        0.0,
        8.0,
        unit="1",
        source="Rose 1948",
        says="Arteries are drawn that stand out this much against the noise, in its SDs.",
    )
    smallest_contrast: float = quantity(
        0.35,
        0.0,
        2.0,
        unit="1",
        source="Rose 1948",
        says="Arteries are drawn that stand out this much; 1 = tissue's signal.",
    )
    coverage: float = quantity(
        0.4,
        0.1,
        0.9,
        unit="1",
        source="Livne et al. 2019",
        says="Share of a voxel that must be vessel to be drawn.",
    )
    least_width_voxel: float = quantity(
        1.5, 0.0, 3.0, unit="voxel", source="Livne et al. 2019", says="What is drawn is drawn at least this wide."
    )
    continuity: float = quantity(
        0.8,
        0.0,
        1.0,
        unit="1",
        source="Hilbert et al. 2020",
        says="How much less a voxel needs that holds a vessel's middle; 1 draws every vessel without gaps.",
    )
    hand_mm: float = quantity(
        0.12, 0.0, 0.6, unit="mm", source="Hilbert et al. 2020", says="SD of the drawn radius along a vessel."
    )
    speck_voxels: int = quantity(
        12, 0, 200, unit="voxel", source="Livne et al. 2019", says="Smaller connected pieces are erased."
    )
    missed_share: float = quantity(
        0.04, 0.0, 0.5, unit="1", source="Hilbert et al. 2020", says="Share of thin branches that readers overlook."
    )


class VariationParameters(Settings):
    """How far single people and examinations stray from their site's values (SD of the log, unless said otherwise)."""

    size: float = quantity(0.035, 0.0, 0.15, unit="1", source="Ruigrok et al. 2014", says="Each axis of the head.")
    rotation_deg: float = quantity(
        4.0, 0.0, 20.0, unit="deg", source="Jenkinson et al. 2002", says="SD of each angle of the head."
    )
    position_mm: float = quantity(
        3.0, 0.0, 15.0, unit="mm", source="Jenkinson et al. 2002", says="SD of the head's position."
    )
    radius: float = quantity(
        0.08, 0.0, 0.3, unit="1", source="Müller et al. 1991", says="All radii of one person together."
    )
    flow: float = quantity(0.2, 0.0, 0.6, unit="1", source="Aaslid et al. 1982", says="Speed of the blood.")
    ventricles: float = quantity(0.2, 0.0, 0.6, unit="1", source="Scahill et al. 2003", says="Width of the ventricles.")
    brightness: float = quantity(
        0.3, 0.0, 1.0, unit="1", source="Ayanzen et al. 2000", says="What is bright and no artery."
    )
    acquisition: float = quantity(
        0.15, 0.0, 0.6, unit="1", source="Sled et al. 1998", says="Noise, shading and ghosts."
    )
    reader: float = quantity(0.05, 0.0, 0.3, unit="1", source="Hilbert et al. 2020", says="Drawn thickness.")
