"""Parameters of the head and of its arteries: sizes, radii, variants of the circle of Willis.

Lengths are millimetres of a standard adult head; `AnatomyParameters.head_scale` shrinks the whole.
"""

from angioshare.settings import Settings
from angioshare.simulator.quantity import quantity


class AnatomyParameters(Settings):
    """Shape of the brain and of its tissues."""

    head_scale: float = quantity(
        1.0, 0.4, 1.1, unit="1", source="Ruigrok et al. 2014", says="Size of the head against a standard adult head."
    )
    control_jitter_mm: float = quantity(
        1.8, 0.0, 4.0, unit="mm", source="Wright et al. 2013", says="SD of the course of a named artery between people."
    )
    fold_wavelength_mm: float = quantity(
        11.0, 6.0, 20.0, unit="mm", source="Zilles et al. 1988", says="Distance between neighbouring sulci."
    )
    sulcus_depth_mm: float = quantity(
        16.0, 5.0, 30.0, unit="mm", source="Im et al. 2008", says="How deep sulci reach below the surface of the brain."
    )
    sulcus_width_mm: float = quantity(
        1.2, 0.3, 4.0, unit="mm", source="Kochunov et al. 2005", says="Width of the fluid in a sulcus at the surface."
    )
    cortex_thickness_mm: float = quantity(
        2.6, 1.5, 4.5, unit="mm", source="Fischl and Dale 2000", says="Thickness of the cortical grey matter."
    )
    ventricle_scale: float = quantity(
        1.0, 0.5, 2.5, unit="1", source="Scahill et al. 2003", says="Width of the ventricles against a young adult's."
    )


class TreeParameters(Settings):
    """Radii, branching and winding of the arteries."""

    murray_exponent: float = quantity(
        3.0,
        2.0,
        3.5,
        unit="1",
        source="Murray 1926; Rossitti and Löfgren 1993",
        says="Parent r^x = sum of children's r^x.",
    )
    terminal_radius_mm: float = quantity(
        0.25, 0.12, 0.6, unit="mm", source="Wright et al. 2013", says="Radius at which an artery ends in the model."
    )
    radius_scale: float = quantity(
        1.0, 0.6, 2.5, unit="1", source="Müller et al. 1991", says="Factor on every radius of the arteries."
    )
    side_sd: float = quantity(
        0.08, 0.0, 0.3, unit="1", source="Krabbe-Hartkamp et al. 1998", says="Relative SD of a radius between sides."
    )
    ica_radius_mm: float = quantity(
        2.3,
        1.4,
        3.0,
        unit="mm",
        source="Baz et al. 2021",
        says="Radius of the internal carotid artery in the siphon.",
    )
    mca_radius_mm: float = quantity(
        1.35, 0.9, 2.0, unit="mm", source="Gibo et al. 1981; Müller et al. 1991", says="Radius of the M1 segment."
    )
    aca_radius_mm: float = quantity(
        1.1, 0.6, 1.7, unit="mm", source="Perlmutter and Rhoton 1976", says="Radius of the A1 segment."
    )
    pca_radius_mm: float = quantity(
        1.1, 0.6, 1.7, unit="mm", source="Zeal and Rhoton 1978", says="Radius of the P1 and P2 segments."
    )
    basilar_radius_mm: float = quantity(
        1.6, 1.0, 2.5, unit="mm", source="Smoker et al. 1986", says="Radius of the basilar artery."
    )
    vertebral_radius_mm: float = quantity(
        1.4, 0.6, 2.5, unit="mm", source="Jeng and Yip 2004", says="Radius of an intracranial vertebral artery."
    )
    sca_radius_mm: float = quantity(
        0.7, 0.3, 1.2, unit="mm", source="Hardy et al. 1980", says="Radius of the superior cerebellar artery."
    )
    aica_radius_mm: float = quantity(
        0.5, 0.2, 1.0, unit="mm", source="Martin et al. 1980", says="Radius of the anterior inferior cerebellar artery."
    )
    pica_radius_mm: float = quantity(
        0.65,
        0.3,
        1.2,
        unit="mm",
        source="Lister et al. 1982",
        says="Radius of the posterior inferior cerebellar artery.",
    )
    pcomm_radius_mm: float = quantity(
        0.55,
        0.2,
        1.2,
        unit="mm",
        source="Krabbe-Hartkamp et al. 1998",
        says="Radius of the posterior communicating artery.",
    )
    acomm_radius_mm: float = quantity(
        0.65,
        0.2,
        1.2,
        unit="mm",
        source="Krabbe-Hartkamp et al. 1998",
        says="Radius of the anterior communicating artery.",
    )
    ophthalmic_radius_mm: float = quantity(
        0.5, 0.2, 0.9, unit="mm", source="Hayreh 1963", says="Radius of the ophthalmic artery."
    )
    choroidal_radius_mm: float = quantity(
        0.4, 0.2, 0.8, unit="mm", source="Rhoton et al. 1979", says="Radius of the anterior choroidal artery."
    )
    tortuosity_mm: float = quantity(
        0.9,
        0.0,
        5.0,
        unit="mm",
        source="Bullitt et al. 2003",
        says="SD of the winding of distal arteries about their course.",
    )
    winding_length_mm: float = quantity(
        5.0,
        2.0,
        15.0,
        unit="mm",
        source="Bullitt et al. 2003",
        says="Length over which the winding changes its direction.",
    )
    trunk_winding: float = quantity(
        0.25,
        0.0,
        1.0,
        unit="1",
        source="Wright et al. 2013",
        says="Winding of named arteries against that of distal ones: what forks runs straighter than what ends.",
    )
    path_balance: float = quantity(
        0.35,
        0.0,
        1.0,
        unit="1",
        source="Alpert et al. 1995; Cuntz et al. 2010",
        says="Trade of total length (0) against the length of the way to each end (1) as the tree grows.",
    )
    density: float = quantity(
        0.3,
        0.05,
        4.0,
        unit="1",
        source="Wright et al. 2013",
        says="Number of distal ends against what Murray's law asks.",
    )
    hind_density: float = quantity(
        1.0,
        0.0,
        1.5,
        unit="1",
        source="Hardy et al. 1980; Lister et al. 1982",
        says="Number of ends of the cerebellar arteries against that of the others.",
    )
    least_radius_mm: float = quantity(
        0.0,
        0.0,
        0.8,
        unit="mm",
        source="Wright et al. 2013",
        says="Distal arteries narrow down to this and no further.",
    )


class VariantParameters(Settings):
    """How often people deviate from the textbook, each per side unless said otherwise."""

    fetal_pca: float = quantity(
        0.12,
        0.0,
        1.0,
        unit="1",
        source="van Raamt et al. 2006",
        says="Share of posterior cerebral arteries fed by the carotid.",
    )
    absent_a1: float = quantity(
        0.015, 0.0, 1.0, unit="1", source="Uchino et al. 2006", says="Share of sides without an A1 segment."
    )
    hypoplastic_a1: float = quantity(
        0.06, 0.0, 1.0, unit="1", source="Krabbe-Hartkamp et al. 1998", says="Share of sides with a thin A1 segment."
    )
    absent_pcomm: float = quantity(
        0.35,
        0.0,
        1.0,
        unit="1",
        source="Krabbe-Hartkamp et al. 1998",
        says="Share of sides without a visible posterior communicating artery.",
    )
    absent_acomm: float = quantity(
        0.1,
        0.0,
        1.0,
        unit="1",
        source="Krabbe-Hartkamp et al. 1998",
        says="Share of people without a visible anterior communicating artery.",
    )
    hypoplastic_vertebral: float = quantity(
        0.1, 0.0, 1.0, unit="1", source="Park et al. 2007", says="Share of sides with a thin vertebral artery."
    )
    absent_aica: float = quantity(
        0.2, 0.0, 1.0, unit="1", source="Martin et al. 1980", says="Share of sides whose AICA is not seen."
    )
    stenosis: float = quantity(
        0.1, 0.0, 1.0, unit="1", source="Suri and Johnston 2009", says="Share of people with one narrowed large artery."
    )
    stenosis_degree: float = quantity(
        0.6, 0.0, 0.95, unit="1", source="Samuels et al. 2000", says="Share of the diameter that a narrowing takes."
    )
