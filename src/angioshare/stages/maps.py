"""Predictions on test subjects, kept on the private side for the report's error maps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np

from angioshare.cohort.cohort import Cohort, open_cohort
from angioshare.cohort.subject import LoadedSubject
from angioshare.errors import DataError
from angioshare.rundir import atomic_path
from angioshare.stages.arrays import read_arrays
from angioshare.stages.inputs import Noted, noted
from angioshare.stages.prepare import split_of
from angioshare.stages.run import Run
from angioshare.types import ByteArray, FloatArray, Spacing

_CURE = "bring it back, or delete it to report without it"


@dataclass(frozen=True, kw_only=True, eq=False)
class Map:
    """What one U-Net found in one subject."""

    source: str
    site: str
    subject: str
    image: FloatArray
    label: ByteArray
    prediction: ByteArray
    spacing_mm: Spacing


@dataclass(frozen=True)
class TestSite:
    """Subjects that results are measured on.

    Attributes:
        name: What tables call it.
        subjects: Held-out subjects of the cohort, or all of a second site.
    """

    name: str
    subjects: tuple[Noted, ...]


def test_sites(run: Run) -> list[TestSite]:
    """The cohort's own test subjects first, then every second site."""
    cohort, split = split_of(run)
    own = noted(run, 0, [cohort.subject(name) for name in split.test])
    sites = [TestSite(_name(cohort, "own site"), own)]
    for position, path in enumerate(run.second_sites, start=1):
        second = open_cohort(path)
        name = _free(_name(second, f"site {position + 1}"), [site.name for site in sites])
        sites.append(TestSite(name, noted(run, position, second.subjects)))
    return sites


def sites_of(run: Run) -> list[str]:
    """Names of the test sites in order."""
    return [site.name for site in test_sites(run)]


def _free(name: str, taken: Sequence[str]) -> str:
    """The name, or with the first number in brackets that no other site has.

    Example:
        >>> _free("A", ["A", "A (2)"])
        'A (3)'
    """
    numbered = (f"{name} ({number})" for number in count(2))
    return name if name not in taken else next(one for one in numbered if one not in taken)


def _name(cohort: Cohort, otherwise: str) -> str:
    return cohort.site or otherwise


def write_map(run: Run, source: str, site: str, subject: str, volume: LoadedSubject, prediction: ByteArray) -> None:
    """Keep a prediction with its scan and label."""
    path = run.private / "maps" / source / f"{sites_of(run).index(site)}-{subject}.npz"
    with atomic_path(path, private=True) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            image=volume.angio.astype(np.float32),
            label=volume.label,
            prediction=prediction,
            spacing_mm=np.array(volume.spacing_mm),
            site=np.array(site),
        )


def read_maps(run: Run) -> Iterator[Map]:
    """All kept predictions, source by source.

    Raises:
        DataError: A file of them is damaged.
    """
    for source in run.config.sources:
        for path in sorted((run.private / "maps" / source.name).glob("*.npz")):
            yield _read(path, source.name)


def _read(path: Path, source: str) -> Map:
    held = read_arrays(path, ["image", "label", "prediction", "spacing_mm", "site"], cure=_CURE)
    volumes, spacing = [held[name] for name in ("image", "label", "prediction")], held["spacing_mm"]
    if (
        any(one.ndim != 3 or one.dtype.kind not in "buif" or one.shape != volumes[0].shape for one in volumes)
        or (spacing.shape, spacing.dtype.kind) != ((3,), "f")
        or not (np.isfinite(spacing) & (spacing > 0)).all()
    ):
        raise DataError(f"{path} holds no map of one scan; {_CURE}")
    i, j, k = (float(edge) for edge in spacing)
    return Map(
        source=source,
        site=str(held["site"]),
        subject=path.stem.partition("-")[2],
        image=held["image"],
        label=held["label"],
        prediction=held["prediction"],
        spacing_mm=(i, j, k),
    )
