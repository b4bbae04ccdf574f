"""Simulated cohorts on disk, in the BIDS layout that `bids` reads; a kill leaves no cohort that looks whole.

A marker stands in the folder until all is written; `open_cohort` refuses a folder that bears it, and the next writer
starts over.
"""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from angioshare import __version__
from angioshare.cohort.bids import LABELS
from angioshare.cohort.names import printable, refuse_duplicates, site_name, subject_id
from angioshare.cohort.nifti import write_volume
from angioshare.cohort.volume import Volume
from angioshare.errors import DataError, SettingsError
from angioshare.rundir import write_text
from angioshare.types import ByteArray, FloatArray, Spacing

UNFINISHED = ".unfinished"
_README = """Simulated angiograms with vessel labels and brain masks, made by AngioShare from public knowledge alone.
No person was scanned. Scans: sub-*/anat. Labels and brain masks: derivatives/labels.
"""


@dataclass(frozen=True, eq=False, kw_only=True)
class WrittenSubject:
    """What is written of one subject.

    Attributes:
        id: BIDS id, with or without `sub-`.
        angio: Scan, shape (i, j, k), RAS+.
        label: Vessels, shape (i, j, k), uint8 in {0, 1}.
        brain: Brain mask, shape (i, j, k), uint8 in {0, 1}, or None.
        spacing_mm: Voxel size along i, j, k in mm.
        affine: Voxel indices to scanner coordinates in mm, shape (4, 4).
    """

    id: str
    angio: npt.NDArray[np.generic]
    label: ByteArray
    brain: ByteArray | None
    spacing_mm: Spacing
    affine: FloatArray


def write_bids_cohort(root: Path, site: str, subjects: Iterable[WrittenSubject]) -> None:
    """Write a simulated cohort, subject by subject.

    Args:
        root: An empty or new folder, or one that an earlier, interrupted call left.
        site: Name of the site.
        subjects: What to write; each is taken only when the one before is on disk.

    Raises:
        SettingsError: `root` holds something else.
        DataError: The folder cannot be written, the disk is full, or an id is no BIDS id or stands twice.

    Edge cases: whatever an interrupted call left is removed first, for it may stem from other settings.
    """
    site = site_name(site, "the site's name")
    _begin(root)
    ids: list[str] = []
    for subject in subjects:
        name = subject_id(subject.id, "the simulated cohort")
        refuse_duplicates([*ids, name], "the simulated cohort")
        _write_subject(root, name, subject)
        ids.append(name)
    rows = "".join(f"{name}\t{site or 'n/a'}\n" for name in ids)
    write_text(root / "participants.tsv", "participant_id\tsite\n" + rows)
    try:
        (root / UNFINISHED).unlink()
    except OSError as error:
        raise DataError(f"cannot finish {printable(root)}: {error.strerror}; see who may write there") from error


def _begin(root: Path) -> None:
    """Mark the folder as unfinished, clear what an interrupted call left, and describe the data set."""
    try:
        there = sorted(path.name for path in root.iterdir()) if root.exists() else []
        if there and UNFINISHED not in there:
            raise SettingsError(
                f"{printable(root)} is not empty (it holds {printable(there[0])}); choose another folder"
            )
        write_text(root / UNFINISHED, "")
        for folder in [*root.glob("sub-*"), root / LABELS]:
            if folder.is_dir() and not folder.is_symlink():
                shutil.rmtree(folder)
    except OSError as error:
        raise DataError(f"cannot write {printable(root)}: {error.strerror}; choose a folder of your own") from error
    maker = [{"Name": "AngioShare", "Version": __version__}]
    _describe(root, {"Name": "Simulated angiograms", "DatasetType": "raw", "GeneratedBy": maker})
    _describe(
        root / LABELS,
        {
            "Name": "Vessel labels and brain masks of simulated angiograms",
            "DatasetType": "derivative",
            "GeneratedBy": maker,
            "SourceDatasets": [{"URL": "../../"}],
        },
    )
    write_text(root / "README", _README)


def _describe(folder: Path, what: dict[str, object]) -> None:
    """Write `dataset_description.json`."""
    write_text(folder / "dataset_description.json", json.dumps({"BIDSVersion": "1.10.0", **what}, indent=1) + "\n")


def _write_subject(root: Path, name: str, subject: WrittenSubject) -> None:
    """Write the two or three files of one subject."""
    masks = root / LABELS / name / "anat"
    files = {
        root / name / "anat" / f"{name}_angio.nii.gz": subject.angio,
        masks / f"{name}_label-vessel_mask.nii.gz": subject.label,
    }
    if subject.brain is not None:
        files[masks / f"{name}_desc-brain_mask.nii.gz"] = subject.brain
    for path, voxels in files.items():
        write_volume(path, Volume(voxels, subject.spacing_mm, subject.affine))
