"""Tables of names and paths (`participants.tsv`, a user's own table), read within bounds."""

import csv
from pathlib import Path

from angioshare.cohort.names import listed, printable
from angioshare.errors import DataError

MAX_TABLE_BYTES = 2**24


def read_table(path: Path, required: tuple[str, ...]) -> list[dict[str, str]]:
    """Read a table with one header line.

    Args:
        path: `.csv` (commas, quotes allowed) or anything else as `.tsv` (tabs, no quotes).
        required: Columns that must be there; others may be.

    Returns:
        One dictionary a row, values stripped.

    Raises:
        DataError: The file is missing, too large, not text, ragged, empty, or lacks a column or names it twice.
    """
    name = printable(path)
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise DataError(f"{name} has {path.stat().st_size} bytes, more than {MAX_TABLE_BYTES}; it is no such table")
        with path.open(encoding="utf-8-sig", newline="") as file:
            if path.suffix == ".csv":
                lines = list(csv.reader(file, strict=True))
            else:
                lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"cannot read {name} as a table in UTF-8 ({printable(error)}); export it again") from error
    rows = [[cell.strip() for cell in line] for line in lines if any(cell.strip() for cell in line)]
    if len(rows) < 2:
        raise DataError(f"{name} holds no row below its header line; list one subject a row")
    columns = rows[0]
    missing = [column for column in required if column not in columns]
    if missing or len(set(columns)) != len(columns):
        raise DataError(f"{name} must have the columns {listed(required)}, each once; it has {listed(columns)}")
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(columns):
            raise DataError(f"{name}, row {number}: {len(row)} cells for {len(columns)} columns; fill blanks with n/a")
    return [dict(zip(columns, row, strict=True)) for row in rows[1:]]
