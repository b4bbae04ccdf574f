"""Results as records: every number carries where it came from and what it reveals (no torch).

`results.json` is a list of these; every number of a report is read from it.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from angioshare.errors import DataError
from angioshare.rundir import write_text
from angioshare.types import Provenance


@dataclass(frozen=True, kw_only=True)
class Record:
    """One measured number.

    Attributes:
        stage: Pipeline stage that measured it, for example `"evaluate"`.
        metric: What was measured, for example `"dice"`, `"bahd"`, `"wall_time"`.
        value: The number; `None` where it is undefined (the metric's page says when).
        unit: Its unit: `""`, `"voxel"`, `"mm"`, `"s"`, ...
        subject: BIDS id of the subject, or `""` for a number over many.
        site: Name of the site, or `""`.
        trained_on: Name of the source that the segmenter was trained on, for example `"real"`.
        synthesizer: Registry name of the synthesizer, or `""`.
        seed: Seed of the run that gave it.
        provenance: What the number reveals.
        point: Name of the point of a study that gave it, or `""`.
        noise_multiplier: Of that point's private steps; `None` where none was charged.
        epsilon_patch: What the point's statement says for one patch; `None` where there is no guarantee, or no study.
        epsilon_subject: The same for one subject.
    """

    stage: str
    metric: str
    value: float | None
    unit: str = ""
    subject: str = ""
    site: str = ""
    trained_on: str = ""
    synthesizer: str = ""
    seed: int = 0
    provenance: Provenance = "unprotected"
    point: str = ""
    noise_multiplier: float | None = None
    epsilon_patch: float | None = None
    epsilon_subject: float | None = None


def write_records(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSON, atomically and for the owner's eyes alone; NaN and infinity become null."""
    rows = [asdict(record) for record in records]
    for row in rows:
        if row["value"] is not None and not math.isfinite(row["value"]):
            row["value"] = None
    write_text(path, json.dumps(rows, indent=1) + "\n", private=True)


def read_records(path: Path) -> list[Record]:
    """Read `results.json`; a missing file is an empty list.

    Raises:
        DataError: The file is no list of records.
    """
    if not path.exists():
        return []
    try:
        return [Record(**row) for row in json.loads(path.read_text())]
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} holds no list of records ({error}); delete it and run the stage again") from error
