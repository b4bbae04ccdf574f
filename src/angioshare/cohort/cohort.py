"""Cohorts: people with labelled angiograms, however their files are laid out.

`open_cohort` looks at names alone and is quick; scans are read when a subject is loaded.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from angioshare.cohort.bids import bids_subjects
from angioshare.cohort.names import printable
from angioshare.cohort.nnunet import nnunet_subjects
from angioshare.cohort.subject import LoadedSubject, Subject
from angioshare.cohort.table import table_subjects
from angioshare.cohort.volume import Volume
from angioshare.cohort.writer import UNFINISHED
from angioshare.errors import DataError
from angioshare.rundir import read_json

__all__ = ["Cohort", "LoadedSubject", "Subject", "Volume", "open_cohort"]


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Subjects that were scanned and labelled alike.

    Attributes:
        root: Its folder (that of the table for a cohort listed in a table).
        subjects: In order of ids, no id twice, at least one.
        layout: How it was laid out.
    """

    root: Path
    subjects: tuple[Subject, ...]
    layout: Literal["bids", "nnunet", "table"]

    @property
    def ids(self) -> tuple[str, ...]:
        """BIDS ids of the subjects, in order."""
        return tuple(subject.id for subject in self.subjects)

    @property
    def site(self) -> str:
        """The site that all subjects share, or the folder's name where they share none."""
        sites = {subject.site for subject in self.subjects}
        return sites.pop() if len(sites) == 1 and "" not in sites else printable(self.root.resolve().name)

    @property
    def simulated(self) -> bool:
        """Whether AngioShare simulated it, so that it holds nobody."""
        try:
            makers = read_json(self.root / "dataset_description.json").get("GeneratedBy")
        except DataError:
            return False
        return isinstance(makers, list) and [m.get("Name") for m in makers if isinstance(m, dict)] == ["AngioShare"]

    def subject(self, name: str) -> Subject:
        """Find a subject by id.

        Raises:
            DataError: There is none of that name.
        """
        for subject in self.subjects:
            if subject.id == name:
                return subject
        raise DataError(f"{printable(self.root)} has no subject {printable(name)}; its first is {self.ids[0]}")


def open_cohort(path: Path) -> Cohort:
    """Recognise a cohort and list its subjects.

    Args:
        path: A BIDS folder, a folder with nnU-Net's `imagesTr` and `labelsTr`, or a `.tsv` or `.csv` table.

    Returns:
        The cohort; no scan has been read yet.

    Raises:
        DataError: It is none of these, unfinished, not readable, or its names and files do not agree.
    """
    try:
        return _recognised(path)
    except OSError as error:
        raise DataError(
            f"cannot read {printable(path)}: {printable(error.strerror or error)}; ask its owner for access"
        ) from error


def _recognised(path: Path) -> Cohort:
    """See which layout it is, and read that."""
    if path.is_file() and path.suffix in (".tsv", ".csv"):
        return Cohort(root=path.parent, subjects=tuple(table_subjects(path)), layout="table")
    if not path.is_dir():
        raise DataError(f"{printable(path)} is no cohort: give a folder, or a table that ends in .tsv or .csv")
    if (path / UNFINISHED).exists():
        raise DataError(f"{printable(path)} is an unfinished simulation; run `angioshare simulate` on it again")
    bids = any(folder.is_dir() for folder in path.glob("sub-*"))
    nnunet = (path / "imagesTr").exists() or (path / "labelsTr").exists()
    if bids == nnunet:
        found = "holds both" if bids else "holds neither"
        raise DataError(
            f"{printable(path)} {found} BIDS folders (sub-*) and nnU-Net's imagesTr; give a folder with one of them, "
            "or a table of files"
        )
    if bids:
        return Cohort(root=path, subjects=tuple(bids_subjects(path)), layout="bids")
    subjects = tuple(nnunet_subjects(path))
    if not subjects:
        raise DataError(f"{printable(path / 'imagesTr')} holds no .nii or .nii.gz file; add the scans")
    return Cohort(root=path, subjects=subjects, layout="nnunet")
