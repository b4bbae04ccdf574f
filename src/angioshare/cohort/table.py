"""A table of NIfTI paths, for cohorts that are not in BIDS.

Columns `participant_id`, `angio`, `label`, and if wanted `brain` and `site`; paths are relative to the table and stay
beneath its folder.
"""

from pathlib import Path, PurePosixPath, PureWindowsPath

from angioshare.cohort.names import inside, printable, refuse_duplicates, site_name, subject_id
from angioshare.cohort.subject import Subject
from angioshare.cohort.tabular import read_table
from angioshare.errors import DataError


def table_subjects(table: Path) -> list[Subject]:
    """Read the subjects of a `.tsv` or `.csv` table.

    Args:
        table: The table.

    Returns:
        Subjects in order of ids.

    Raises:
        DataError: The table is damaged, a subject stands twice, a path is absolute, holds `..`, is missing, or leads
            out of the table's folder.
    """
    rows = read_table(table, ("participant_id", "angio", "label"))
    subjects = [
        Subject(
            id=subject_id(row["participant_id"], table),
            site=site_name(row.get("site", ""), table),
            angio_path=_path(table, row["angio"]),
            label_path=_path(table, row["label"]),
            brain_path=None if row.get("brain", "") in ("", "n/a") else _path(table, row["brain"]),
        )
        for row in rows
    ]
    refuse_duplicates((subject.id for subject in subjects), table)
    return sorted(subjects, key=lambda subject: subject.id)


def _path(table: Path, text: str) -> Path:
    """Check a path before it is used."""
    name = PurePosixPath(text)
    if not text or "\0" in text or name.is_absolute() or PureWindowsPath(text).is_absolute() or ".." in name.parts:
        raise DataError(
            f"{printable(table)}: path {printable(text)!r} must be relative to the table and without '..'; "
            "put the table above the files"
        )
    return inside(table.parent, table.parent / name)
