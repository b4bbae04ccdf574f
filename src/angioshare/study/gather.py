"""All results of a study in one place: records that know their point, and what each point spent by the ledger.

`study_results` is all that figures and a report page of the study need.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev

from angioshare.errors import LedgerError, SettingsError
from angioshare.privacy.chain import spent
from angioshare.privacy.events import Spend
from angioshare.privacy.ledger import read_lines
from angioshare.privacy.unit import PrivacyStatement, delta_words, rounded_up, statement_from_json
from angioshare.records import Record, write_records
from angioshare.rundir import read_json
from angioshare.stages.folder import open_run
from angioshare.stages.run import Run
from angioshare.stages.spending import cohort_statement, find_ledger
from angioshare.study.folder import point_folder


@dataclass(frozen=True, kw_only=True)
class PointResult:
    """One point as it was found.

    Attributes:
        name: Its name.
        run: Its run folder.
        statement: What its synthetic pairs reveal; None before it is trained.
        noise_multiplier: Of its charged steps, or None where none was charged.
        steps_charged: Steps that the ledger holds for it, lost ones of killed attempts included.
        records: Its finished numbers.
    """

    name: str
    run: Run
    statement: PrivacyStatement | None
    noise_multiplier: float | None
    steps_charged: int
    records: tuple[Record, ...]


@dataclass(frozen=True, kw_only=True)
class StudyResults:
    """A study as it was found, finished or not.

    Attributes:
        points: In the order of the plan.
        statement: Everything that was ever spent on the cohort; None if nothing was charged.
    """

    points: tuple[PointResult, ...]
    statement: PrivacyStatement | None

    def records(self) -> list[Record]:
        """The records of all points, each with its point, noise multiplier and epsilon for both units."""
        return [record for point in self.points for record in point.records]


def study_results(root: Path, *, state: Path) -> StudyResults:
    """Read a study's folder.

    Args:
        root: The study's folder.
        state: The user's state folder.

    Raises:
        SettingsError: It is none.
    """
    if not (root / "study.json").exists():
        raise SettingsError(f"{root} is no study (study.json is missing); make one with `angioshare study PLAN OUT`")
    names = read_json(root / "study.json")["points"]
    runs = {name: open_run(point_folder(root, name), state=state) for name in names}
    spends = _spends(next(iter(runs.values())))
    points = tuple(_point(name, run, spends) for name, run in runs.items())
    charged = [point.run for point in points if point.steps_charged]
    return StudyResults(points=points, statement=cohort_statement(charged[0]) if charged else None)


def write_results(root: Path, results: StudyResults) -> None:
    """Write `results.json`: every record of every point, atomically and for the owner's eyes alone."""
    write_records(root / "results.json", results.records())


def _spends(run: Run) -> list[Spend]:
    try:
        return spent(read_lines(find_ledger(run.root, run.state)))
    except (SettingsError, LedgerError):
        return []


def _point(name: str, run: Run, spends: list[Spend]) -> PointResult:
    source = run.config.sources[0]
    mine = [spend for spend in spends if spend.run == f"{run.id}/{source.name}"]
    path = run.source(source.name) / "statement.json"
    statement = statement_from_json(read_json(path), path) if path.exists() else None
    noise = mine[0].event.noise_multiplier if mine else None
    patch, subject = (_epsilon(statement, unit) for unit in ("patch", "subject"))
    return PointResult(
        name=name,
        run=run,
        statement=statement,
        noise_multiplier=noise,
        steps_charged=sum(spend.steps for spend in mine),
        records=tuple(
            replace(record, point=name, noise_multiplier=noise, epsilon_patch=patch, epsilon_subject=subject)
            for record in run.records()
        ),
    )


def _epsilon(statement: PrivacyStatement | None, unit: str) -> float | None:
    """What a statement says for a unit, or None where there is no guarantee."""
    epsilon = getattr(statement, unit).epsilon if statement else math.inf
    return epsilon if math.isfinite(epsilon) else None


COLUMNS = ("setting", "seeds", "noise multiplier", "epsilon per patch", "epsilon per subject", "delta")
"""First columns of the table; one for each site and score follows."""


def summary(results: StudyResults) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Header and rows of a table, one row a setting: mean and deviation over seeds of the mean over subjects.

    Seeds are those with scores, of those planned; scores that are undefined are left out of means and counted.
    """
    scored = [record for record in results.records() if record.metric in ("dice", "bahd_voxel")]
    wanted = sorted({(record.metric, record.site) for record in scored}, key=lambda pair: (pair[0] != "dice", pair[1]))
    header = (*COLUMNS, *(f"{'Dice' if metric == 'dice' else 'bAHD (voxels)'}, {site}" for metric, site in wanted))
    settings: dict[str, list[PointResult]] = {}
    for point in results.points:
        settings.setdefault(point.name.rpartition("-seed")[0], []).append(point)
    return header, [_line(points, wanted) for points in settings.values()]


def _line(points: list[PointResult], wanted: list[tuple[str, str]]) -> tuple[str, ...]:
    first = points[0]
    scored = sum(any(record.metric == "dice" for record in point.records) for point in points)
    seeds = str(scored) if scored == len(points) else f"{scored} of {len(points)}"
    cells = [first.run.config.sources[0].shown, seeds, _number(first.noise_multiplier)]
    # Killed attempts may have made seeds differ; the largest speaks for all.
    for unit in ("patch", "subject"):
        found = [getattr(point.statement, unit) for point in points if point.statement]
        cells.append(rounded_up(max(each.epsilon for each in found)) if found else "-")
    cells.append(delta_words(first.statement, 4) if first.statement and first.noise_multiplier else "-")
    return (*cells, *(_over_seeds(points, metric, site) for metric, site in wanted))


def _over_seeds(points: list[PointResult], metric: str, site: str) -> str:
    """Mean and deviation over seeds, and how many scores these leave out, because they are undefined."""
    scores = [[r.value for r in point.records if (r.metric, r.site) == (metric, site)] for point in points]
    means = [fmean(known) for values in scores if (known := [value for value in values if value is not None])]
    undefined = sum(values.count(None) for values in scores)
    spread = f" ± {stdev(means):.3f}" if len(means) > 1 else ""
    shown = f"{fmean(means):.3f}{spread}" if means else "-"
    return f"{shown} ({undefined} undefined)" if undefined else shown


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
