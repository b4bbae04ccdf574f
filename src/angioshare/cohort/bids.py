"""BIDS folders: `sub-*/anat/*_angio.nii.gz`, masks in `derivatives/labels`, and `participants.tsv`.

Sessions and further entities (acq, run, ...) are fine as long as each subject has one scan, one label and at most one
brain mask; which of several is meant is the user's to say, in a table.
"""

from pathlib import Path

from angioshare.cohort.names import inside, listed, printable, refuse_duplicates, site_name, subject_id
from angioshare.cohort.subject import Subject
from angioshare.cohort.tabular import read_table
from angioshare.errors import DataError

LABELS = Path("derivatives", "labels")
_CHOOSE = "keep one, or name the files in a table (participant_id, angio, label)"


def bids_subjects(root: Path) -> list[Subject]:
    """Find the subjects of a BIDS folder.

    Args:
        root: The folder that holds `sub-*`.

    Returns:
        Subjects in order of ids.

    Raises:
        DataError: A scan or label is missing or ambiguous, a name is no BIDS name, a link leads out of `root`, or
            `participants.tsv` does not agree with the folders.
    """
    ids = [
        subject_id(folder.name, root) for folder in root.iterdir() if folder.name.startswith("sub-") and folder.is_dir()
    ]
    sites = _sites(root, set(ids))
    return [_subject(root, name, sites.get(name, "")) for name in sorted(ids)]


def _subject(root: Path, name: str, site: str) -> Subject:
    """Find the files of one subject."""
    scans = _files(root / name, name)
    masks = _files(root / LABELS / name, name)
    angio = [path for path, parts in scans if parts[-1] == "angio"]
    label = [path for path, parts in masks if parts[-1] == "mask" and "label-vessel" in parts]
    brain = [path for path, parts in masks if parts[-1] == "mask" and "desc-brain" in parts]
    for found, folder, pattern in (
        (angio, root / name / "anat", f"{name}_angio.nii.gz"),
        (label, root / LABELS / name / "anat", f"{name}_label-vessel_mask.nii.gz"),
    ):
        if not found:
            raise DataError(f"{printable(folder / pattern)} is missing; restore it or drop {name}")
    for found in (angio, label, brain):
        if len(found) > 1:
            raise DataError(f"{name} has {len(found)} of a kind: {listed(path.name for path in found)}; {_CHOOSE}")
    return Subject(
        id=name,
        site=site,
        angio_path=inside(root, angio[0]),
        label_path=inside(root, label[0]),
        brain_path=inside(root, brain[0]) if brain else None,
    )


def _files(folder: Path, name: str) -> list[tuple[Path, list[str]]]:
    """List the NIfTI files of a subject, each with the parts of its name."""
    found = []
    for path in sorted([*folder.glob("anat/*"), *folder.glob("ses-*/anat/*")]):
        stem = path.name.removesuffix(".gz")
        if stem.endswith(".nii") and stem.startswith(f"{name}_"):
            found.append((path, stem.removesuffix(".nii").split("_")))
    return found


def _sites(root: Path, ids: set[str]) -> dict[str, str]:
    """Read the sites, and see that the table and the folders name the same subjects."""
    table = root / "participants.tsv"
    if not table.exists():
        return {}
    rows = read_table(inside(root, table), ("participant_id",))
    named = [subject_id(row["participant_id"], table) for row in rows]
    refuse_duplicates(named, table)
    for extra, what in ((set(named) - ids, "has no folder"), (ids - set(named), "is not listed")):
        if extra:
            raise DataError(f"{printable(table)} and the folders disagree: {listed(sorted(extra))} {what}; mend either")
    return {name: site_name(row.get("site", ""), table) for name, row in zip(named, rows, strict=True)}
