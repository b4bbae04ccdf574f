"""Sites that nobody has seen yet: a wide public prior over parameters, each subject from a site of its own.

A network that learns from one narrow site looks for that site's brightness. Drawn from the whole range that is
published for scanners, people and readers, subjects teach it what all sites share; and what a cohort's statistics say
can be sought within that range.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from angioshare.errors import SettingsError
from angioshare.simulator.parameters import SimulatorParameters, describe, unflatten
from angioshare.simulator.sites import SITES
from angioshare.types import FloatArray


@dataclass(frozen=True)
class Span:
    """Where a parameter may lie.

    Attributes:
        low: Lowest value.
        high: Highest value.
        even: Whether ratios (`"log"`) or differences (`"linear"`) are equally likely.
    """

    low: float
    high: float
    even: str = "linear"

    def at(self, share: float) -> float:
        """Return the value at a share in [0, 1] of the way up.

        Example:
            >>> Span(1.0, 4.0, "log").at(0.5), Span(1.0, 4.0).at(0.5)
            (2.0, 2.5)
        """
        if self.even == "log":
            return float(self.low * (self.high / self.low) ** share)
        return self.low + share * (self.high - self.low)


_WIDE = {
    "anatomy.sulcus_width_mm": Span(0.3, 2.2),
    "anatomy.ventricle_scale": Span(0.6, 1.8, "log"),
    "tree.density": Span(0.3, 3.0, "log"),
    "tree.hind_density": Span(0.0, 1.0),
    "tree.tortuosity_mm": Span(0.8, 4.0, "log"),
    "tree.winding_length_mm": Span(4.0, 10.0),
    "tree.trunk_winding": Span(0.25, 1.0),
    "tree.terminal_radius_mm": Span(0.22, 0.5, "log"),
    "tree.least_radius_mm": Span(0.1, 0.5),
    "tree.radius_scale": Span(0.85, 1.25, "log"),
    "tree.murray_exponent": Span(2.5, 3.4),
    "contrast.tr_ms": Span(18.0, 40.0),
    "contrast.te_ms": Span(2.5, 6.0),
    "contrast.flip_deg": Span(10.0, 28.0),
    "contrast.flip_ramp": Span(0.0, 0.5),
    "contrast.magnetisation_transfer": Span(0.0, 0.3),
    "contrast.t1_blood_ms": Span(1450.0, 1900.0),
    "contrast.t1_white_ms": Span(750.0, 1100.0),
    "contrast.t1_grey_ms": Span(1150.0, 1700.0),
    "contrast.density_white": Span(0.65, 0.8),
    "contrast.density_blood": Span(0.7, 1.0),
    "contrast.speed_cm_s": Span(20.0, 90.0, "log"),
    "contrast.speed_exponent": Span(0.3, 1.2),
    "contrast.slow_share": Span(0.0, 0.15),
    "contrast.profile": Span(0.0, 0.5),
    "contrast.texture": Span(0.015, 0.15, "log"),
    "bright.sinus_level": Span(0.01, 0.5, "log"),
    "bright.vein_level": Span(0.01, 0.4, "log"),
    "bright.vein_density": Span(0.0, 1.5),
    "bright.choroid_level": Span(0.01, 0.4, "log"),
    "bright.fat_level": Span(0.1, 0.9),
    "bright.fat_share": Span(0.001, 0.06, "log"),
    "bright.meninges_level": Span(0.01, 0.3, "log"),
    "bright.skull_base": Span(0.0, 0.6),
    "acquisition.voxel_i_mm": Span(0.5, 0.9),
    "acquisition.voxel_k_mm": Span(0.7, 1.6),
    "acquisition.slab_bottom_mm": Span(-45.0, -20.0),
    "acquisition.slab_count": Span(1.0, 5.0),
    "acquisition.slab_overlap_mm": Span(0.0, 15.0),
    "acquisition.slab_edge_loss": Span(0.0, 0.25),
    "acquisition.blur_mm": Span(0.0, 0.7),
    "acquisition.bias": Span(0.03, 0.3),
    "acquisition.noise": Span(0.03, 0.2, "log"),
    "acquisition.grain_voxel": Span(0.0, 1.0),
    "acquisition.noise_centre": Span(0.0, 0.8),
    "acquisition.ghost": Span(0.0, 0.06),
    "acquisition.white_level": Span(35.0, 90.0, "log"),
    "acquisition.mask_margin_mm": Span(-1.5, 3.0),
    "acquisition.mask_roughness_mm": Span(0.0, 2.5),
    "reader.thickness": Span(0.8, 1.4, "log"),
    "reader.smallest_radius_mm": Span(0.1, 0.35),
    "reader.smallest_cnr": Span(0.0, 2.0),
    "reader.smallest_contrast": Span(0.0, 0.15),
    "reader.coverage": Span(0.3, 0.6),
    "reader.continuity": Span(0.0, 1.0),
    "reader.least_width_voxel": Span(0.8, 2.3),
    "reader.hand_mm": Span(0.0, 0.25),
    "reader.speck_voxels": Span(1.0, 30.0),
    "reader.missed_share": Span(0.0, 0.12),
}

_FOLLOWING = ("acquisition.voxel_j_mm", "acquisition.matrix_i", "acquisition.matrix_j", "acquisition.matrix_k")
"""What a site's other numbers give."""

Known = Mapping[str, float | tuple[float, float]]
"""What is public about a site, by dotted name of a parameter: a value, or its lowest and highest."""

_FIELD_MM = (150.0, 180.0, 90.0)
"""What the grid covers, whatever the size of its voxels."""


@dataclass(frozen=True, kw_only=True)
class Prior:
    """A range of sites.

    Attributes:
        spans: Where each parameter lies, by dotted name; parameters that are not named stay as in `base`.
        field_mm: What the grid covers along i, j, k; voxels are as wide along j as along i.
        base: Gives what is not drawn.
    """

    spans: Mapping[str, Span]
    field_mm: tuple[float, float, float] = _FIELD_MM
    base: SimulatorParameters = field(default_factory=SimulatorParameters)

    def __len__(self) -> int:
        """Numbers that are drawn."""
        return len(self.spans)

    def site(self, shares: FloatArray) -> SimulatorParameters:
        """Return the site at a place in the range.

        Args:
            shares: For each span the share (n,) of the way up, clipped to [0, 1].

        Raises:
            SettingsError: There are more or fewer shares than spans.

        Example:
            >>> round(WIDE.site(np.full(len(WIDE), 0.5)).acquisition.voxel_j_mm, 3)
            0.7
        """
        if shares.shape != (len(self.spans),):
            raise SettingsError(f"{shares.shape} shares for {len(self.spans)} parameters; give one for each")
        clipped = np.clip(shares, 0, 1).tolist()
        values = {name: span.at(share) for (name, span), share in zip(self.spans.items(), clipped, strict=True)}
        voxel = (*2 * (values["acquisition.voxel_i_mm"],), values["acquisition.voxel_k_mm"])
        values["acquisition.voxel_j_mm"] = voxel[1]
        for axis, extent, step in zip("ijk", self.field_mm, voxel, strict=True):
            values[f"acquisition.matrix_{axis}"] = round(extent / step)
        return unflatten(values, self.base)

    def narrowed(self, known: Known) -> "Prior":
        """Return the range that is left where some parameters are known, such as those that a protocol prints.

        Args:
            known: Values or narrower ranges, by dotted name; the parameter need not be among `spans`.

        Raises:
            SettingsError: There is no such parameter, it follows from others, or the range does not lie within the
                parameter's bounds.

        Example:
            >>> left = WIDE.narrowed({"acquisition.voxel_i_mm": 0.7, "contrast.tr_ms": (22.0, 24.0)})
            >>> left.draw(np.random.default_rng(0)).acquisition.voxel_j_mm, left.spans["contrast.tr_ms"].high
            (0.7, 24.0)
        """
        bounds, spans = describe(), dict(self.spans)
        for name, value in known.items():
            low, high = value if isinstance(value, tuple) else (value, value)
            if name not in bounds or name in _FOLLOWING:
                what = "follows from other parameters" if name in bounds else "does not exist"
                raise SettingsError(f"known: parameter {name!r} {what}; leave it out")
            if not bounds[name].low <= low <= high <= bounds[name].high:
                raise SettingsError(
                    f"known: {name} from {low:g} to {high:g} must lie in [{bounds[name].low:g}, {bounds[name].high:g}] "
                    f"{bounds[name].unit}, the lower value first"
                )
            even = spans[name].even if name in spans and low > 0 else "linear"
            spans[name] = Span(low, high, even)
        return replace(self, spans=MappingProxyType(spans))

    def draw(self, rng: np.random.Generator) -> SimulatorParameters:
        """Draw a site."""
        return self.site(rng.random(len(self.spans)))


WIDE = Prior(spans=MappingProxyType(_WIDE))
"""Adults at 1.5 to 3 T, as sequences, people and readers differ in print."""

_SMALL_HEAD = {
    "tree.radius_scale": Span(1.3, 1.7, "log"),
    "tree.density": Span(0.5, 1.0, "log"),
    "acquisition.voxel_i_mm": Span(0.75, 0.9),
    "acquisition.voxel_k_mm": Span(1.0, 1.3),
}

DEMO_WIDE = Prior(
    spans=MappingProxyType({**_WIDE, **_SMALL_HEAD}),
    field_mm=(77.0, 90.0, 44.0),
    base=SITES["demo-1"],
)
"""The same range on the small heads of the demo sites."""

PRIORS: dict[str, Prior] = {"wide": WIDE, "demo-wide": DEMO_WIDE}
"""Name -> prior; each subject of such a site is drawn from a site of its own."""


def prior_of(name: str, known: Known | None = None) -> Prior:
    """Return a prior by its name, narrowed by what is public about the site.

    Raises:
        SettingsError: There is no such prior, or what is known does not fit it.

    Example:
        >>> len(prior_of("wide", {"contrast.te_ms": 3.8})) == len(WIDE)
        True
    """
    if name not in PRIORS:
        raise SettingsError(f"prior={name!r} does not exist; choose one of {', '.join(sorted(PRIORS))}")
    return PRIORS[name].narrowed(known or {})
