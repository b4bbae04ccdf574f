"""All that compares the features of two sets of patches, and what the numbers are called in records (no torch).

A number's name holds its network: `fid_test` is the Frechet distance to test patches by the FID Inception and
`fd_scattering_test` the same by another network. No name but that of the FID Inception's says FID.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from angioshare.metrics.coverage import NEIGHBOURS, density_and_coverage
from angioshare.metrics.frechet import PARTS, frechet_distance, frechet_extrapolated
from angioshare.metrics.kernel import kernel_distance
from angioshare.types import FloatArray

Measure: TypeAlias = Literal["frechet", "extrapolated", "kernel", "density", "coverage"]

MEASURES: dict[Measure, tuple[str, str]] = {
    "frechet": ("fid", "fd"),
    "extrapolated": ("fid_infinity", "fd_infinity"),
    "kernel": ("kid", "kd"),
    "density": ("density", "density"),
    "coverage": ("coverage", "coverage"),
}
"""How each number is called by the FID Inception, and by another network (whose name follows)."""

_TITLES = {
    "fid": "FID", "fd": "FD", "fid_infinity": "FID, extrapolated", "fd_infinity": "FD, extrapolated", "kid": "KID",
    "kd": "KD", "density": "Density", "coverage": "Coverage",
}  # fmt: skip

_AGAINST = {
    "train": "against training patches",
    "test": "against test patches",
    "difference": "test minus training",
}


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How far one set of patches is from another, by their features.

    Attributes:
        frechet: Frechet distance of the sets as they are (see `frechet_distance`).
        extrapolated: The same for sets without end (see `frechet_extrapolated`); None below six patches a set.
        kernel: Kernel distance (see `kernel_distance`).
        density: See `density_and_coverage`; None with no more than five reference patches.
        coverage: Likewise.
    """

    frechet: float
    extrapolated: float | None
    kernel: float
    density: float | None
    coverage: float | None


def fidelity(judged: FloatArray, reference: FloatArray) -> Fidelity:
    """Compare the features of a set with those of a reference.

    Args:
        judged: Features in random order, shape (n, d), n >= 2.
        reference: Features in random order, shape (m, d), m >= 2; best as many as `judged`.

    Returns:
        Every number that sets of this size have.

    Raises:
        DataError: The shapes do not fit, a set has fewer than two patches, or a feature is not finite.

    Units: as in the functions that are called.

    Example:
        >>> import numpy as np
        >>> found = fidelity(np.zeros((9, 2)), np.ones((9, 2)))
        >>> found.frechet, found.coverage
        (2.0, 0.0)
    """
    cut = min(len(judged), len(reference)) >= 2 * max(PARTS)
    covered = density_and_coverage(judged, reference) if len(reference) > NEIGHBOURS else None
    return Fidelity(
        frechet=frechet_distance(judged, reference),
        extrapolated=frechet_extrapolated(judged, reference) if cut else None,
        kernel=kernel_distance(judged, reference),
        density=covered.density if covered else None,
        coverage=covered.coverage if covered else None,
    )


def metric_key(measure: Measure, network: str, against: str = "") -> str:
    """Name of a number in records.

    Args:
        measure: What was measured.
        network: Name of the feature network; `"inception"` is the FID Inception.
        against: `"train"`, `"test"`, `"difference"` or `""`.

    Example:
        >>> metric_key("frechet", "inception", "test"), metric_key("frechet", "scattering", "difference")
        ('fid_test', 'fd_scattering_difference')
    """
    ours, others = MEASURES[measure]
    parts = [ours] if network == "inception" else [others, network]
    return "_".join([*parts, against] if against else parts)


def metric_title(metric: str) -> str:
    """What a reader sees in place of a record's name: never "FID" for another network.

    Args:
        metric: A name that `metric_key` made.

    Raises:
        KeyError: It is none of ours.

    Example:
        >>> metric_title("fd_scattering_test"), metric_title("fid_infinity_train")
        ('FD-scattering against test patches', 'FID, extrapolated against training patches')
    """
    base, _, against = metric.rpartition("_")
    if against not in _AGAINST:
        base, against = metric, ""
    name = next(key for key in sorted(_TITLES, key=len, reverse=True) if base == key or base.startswith(f"{key}_"))
    network = base.removeprefix(name).lstrip("_")
    word, comma, rest = _TITLES[name].partition(",")
    title = f"{word}-{network}{comma}{rest}" if network else _TITLES[name]
    return (
        f"{title}, {_AGAINST[against]}" if against == "difference" else f"{title} {_AGAINST.get(against, '')}".strip()
    )
