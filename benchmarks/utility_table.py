"""The table of `utility.py`: the records of every finished run, put together over seeds, and what they say."""

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from angioshare.metrics.fidelity import metric_title
from angioshare.privacy.unit import PrivacyUnit, rounded_up
from angioshare.study.gather import PointResult, StudyResults
from evidence import Difference, Scores, Spread, markdown, paired, spread

SCORES = {"dice": "Dice", "cldice": "clDice", "bahd_voxel": "bAHD (voxels)"}
RIVALS = ("real", "simulator", "public-cohort", "untaught-reader", "shuffled")
"""Synthesizers that everything is measured against."""

FREE = {
    "simulator": "the simulator alone",
    "public-cohort": "the public cohort alone",
    "untaught-reader": "the untaught reader",
}
"""Those of them that read nothing of the cohort: what a private method has to beat."""

HOW_TO_READ = (
    "Scores: mean over seeds ± standard deviation over test subjects [lowest, highest seed]. Differences: mean [95 % "
    "interval], paired, seeds and subjects drawn again; not corrected for their number. Whatever was measured on real "
    "subjects is unprotected."
)
_EPSILON = re.compile(r", (epsilon [0-9.e+-]+|no privacy)$")
_FRECHET = re.compile(r"fid_test|fd_(?!infinity_).+_test")


@dataclass(frozen=True, kw_only=True)
class Row:
    """A setting over its seeds.

    Attributes:
        name: Name of its source.
        title: What tables call it.
        synthesizer: Registry name.
        unit: Privacy unit; None without privacy.
        target: Epsilon asked for that unit; None without privacy.
        epsilon: By the ledger, for a patch and a subject, the largest of the seeds; infinite without a guarantee.
        delta: Of that epsilon; None without privacy.
        scores: Score -> site -> values by seed and subject.
        frechet: Frechet distance to test patches by seed, under the name that holds its network.
        minutes: Wall time of training (public preparation included), mean over seeds; then of everything.
        memory_mb: Largest `peak_memory` of the records, in MB; None where none is recorded.
    """

    name: str
    title: str
    synthesizer: str
    unit: PrivacyUnit | None
    target: float | None
    epsilon: tuple[float, float]
    delta: float | None
    scores: dict[str, dict[str, Scores]]
    frechet: dict[str, list[float]]
    minutes: tuple[float, float]
    memory_mb: float | None

    @property
    def seeds(self) -> int:
        """How many seeds were scored."""
        return len({seed for scores in self.scores.get("dice", {}).values() for seed, _ in scores})

    def spread(self, score: str, site: str) -> Spread:
        """A score at a site."""
        return spread(self.scores.get(score, {}).get(site, {}))


@dataclass(frozen=True, kw_only=True)
class Table:
    """All rows, and what is not in them.

    Attributes:
        rows: Rivals first, then method by method, unit by unit, from small to large epsilon.
        sites: The cohort's own site first.
        statement: What everything on the cohort spent together, in a sentence.
        refused: Setting -> why it cannot be had.
        missing: Points that are not finished.
    """

    rows: list[Row]
    sites: list[str]
    statement: str
    refused: dict[str, str]
    missing: list[str]

    def row(self, name: str) -> Row | None:
        """The row of a source, if any of its runs is finished."""
        return next((row for row in self.rows if row.name == name), None)

    def against(self, row: Row, rival: str, site: str) -> Difference | None:
        """Dice minus that of a rival, paired over seeds and subjects."""
        other = self.row(rival)
        if other is None or other is row:
            return None
        return paired(row.scores["dice"].get(site, {}), other.scores["dice"].get(site, {}))


def collated(results: StudyResults, refused: dict[str, str]) -> Table:
    """Put the records of all finished points together."""
    settings: dict[str, list[PointResult]] = {}
    missing = []
    for point in results.points:
        if point.run.missing("evaluate"):
            missing.append(point.name)
        else:
            settings.setdefault(point.name.rpartition("-seed")[0], []).append(point)
    rows = sorted((_row(name, points) for name, points in settings.items()), key=_order)
    sites = list(dict.fromkeys(site for row in rows for site in row.scores["dice"]))
    told = results.statement.sentence() if results.statement else "nothing was charged"
    return Table(rows=rows, sites=sites, statement=told, refused=refused, missing=missing)


def _order(row: Row) -> tuple[int, str, str, float]:
    rank = RIVALS.index(row.synthesizer) if row.synthesizer in RIVALS else len(RIVALS)
    return rank, row.synthesizer, row.unit or "", row.target or 0.0


def _row(name: str, points: Sequence[PointResult]) -> Row:
    source = points[0].run.config.sources[0]
    statements = [point.statement for point in points if point.statement is not None]
    scores: dict[str, dict[str, dict[tuple[int, str], float | None]]] = {score: {} for score in SCORES}
    frechet: dict[str, list[float]] = {}
    for point in points:
        for record in point.records:
            if record.metric in SCORES and record.stage == "evaluate":
                scores[record.metric].setdefault(record.site, {})[record.seed, record.subject] = record.value
            elif _FRECHET.fullmatch(record.metric) and record.value is not None:
                frechet.setdefault(record.metric, []).append(record.value)
    memory = [record.value for point in points for record in point.records if record.metric == "peak_memory"]
    return Row(
        name=name,
        title=source.shown,
        synthesizer=source.synthesizer,
        unit=source.privacy.unit if source.privacy else None,
        target=source.privacy.epsilon if source.privacy else None,
        epsilon=(max(one.patch.epsilon for one in statements), max(one.subject.epsilon for one in statements)),
        delta=statements[0].patch.delta if source.privacy else None,
        scores={score: dict(sites) for score, sites in scores.items()},
        frechet=frechet,
        minutes=(_minutes(points, ("train",)), _minutes(points, ())),
        memory_mb=max((value for value in memory if value is not None), default=None),
    )


def _minutes(points: Sequence[PointResult], stages: tuple[str, ...]) -> float:
    """Wall time of some stages, or of all, as a mean over points."""
    seconds = [
        sum(r.value or 0.0 for r in point.records if r.metric == "wall_time" and (not stages or r.stage in stages))
        for point in points
    ]
    return fmean(seconds) / 60


def page(table: Table) -> str:
    """Tables and sentences in Markdown; no path, no name of a subject."""
    parts = [_dice_table(table), _other_table(table), "\n".join(f"- {line}" for line in verdicts(table))]
    parts += [HOW_TO_READ, f"All rows and seeds together: {table.statement}"]
    refused = dict.fromkeys(f"- {_EPSILON.sub('', title)} cannot be had: {why}" for title, why in table.refused.items())
    parts += ["\n".join(refused)]
    parts += [f"Not finished: {', '.join(table.missing)}."] if table.missing else []
    return "\n\n".join(part for part in parts if part)


def _dice_table(table: Table) -> str:
    header = ["setting", "seeds", "epsilon, patch", "epsilon, subject", "delta"]
    for site in table.sites:
        header += [f"Dice, {site}", f"of real training, {site}", f"minus simulator alone, {site}"]
    rows = []
    for row in table.rows:
        cells = [row.title, str(row.seeds), *map(rounded_up, row.epsilon)]
        cells.append("-" if row.delta is None else f"{row.delta:.3g}")
        for site in table.sites:
            cells += [str(row.spread("dice", site)), share_of_real(table, row, site)]
            cells.append(str(table.against(row, "simulator", site) or "-"))
        rows.append(cells)
    return markdown(header, rows)


def share_of_real(table: Table, row: Row, site: str) -> str:
    """Mean Dice as a share of that of real training, over the seeds and subjects that both were scored on."""
    real = table.row("real")
    if real is None:
        return "-"
    mine, ceiling = (one.scores["dice"].get(site, {}) for one in (row, real))
    common = [key for key, value in mine.items() if value is not None and ceiling.get(key) is not None]
    part, whole = (spread({key: scores[key] for key in common}).mean for scores in (mine, ceiling))
    return f"{part / whole:.2f}" if part is not None and whole else "-"


def _other_table(table: Table) -> str:
    others = [score for score in SCORES if score != "dice"]
    distances = list(dict.fromkeys(metric for row in table.rows for metric in row.frechet))
    remembers = any(row.memory_mb is not None for row in table.rows)
    header = ["setting", *(f"{SCORES[score]}, {site}" for score in others for site in table.sites)]
    header += [*map(metric_title, distances), "minutes of training", "minutes in all"] + ["MB"] * remembers
    rows = []
    for row in table.rows:
        cells = [row.title, *(str(row.spread(score, site)) for score in others for site in table.sites)]
        cells += [_range(row.frechet.get(metric, [])) for metric in distances]
        cells += [f"{value:.1f}" for value in row.minutes]
        cells += ["-" if row.memory_mb is None else f"{row.memory_mb:.0f}"] * remembers
        rows.append(cells)
    return markdown(header, rows)


def _range(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{fmean(values):.3g}" + (f" [{min(values):.3g}, {max(values):.3g}]" if len(values) > 1 else "")


def verdicts(table: Table) -> list[str]:
    """A sentence for each method, unit, site and free rival: where it beats that one, and where it does not."""
    groups: dict[str, list[Row]] = {}
    for row in table.rows:
        if row.synthesizer not in RIVALS or row.synthesizer in ("untaught-reader", "public-cohort"):
            groups.setdefault(_EPSILON.sub("", row.title), []).append(row)
    free = [rival for rival in FREE if rival == "simulator" or table.row(rival)]
    return [
        _verdict(table, title, rows, site, rival)
        for title, rows in groups.items()
        for site in table.sites
        for rival in free
        if rows != [table.row(rival)]
    ]


def _verdict(table: Table, title: str, rows: Sequence[Row], site: str, rival: str) -> str:
    beats: list[str] = []
    fails: list[str] = []
    for row in rows:
        found = table.against(row, rival, site)
        if found is None:
            fails.append(f"{_place(row)} (not measured)")
            continue
        few = "; one seed, so nothing is known of others" if found.seeds == 1 else ""
        (beats if found.word == "higher" else fails).append(f"{_place(row)} ({found}{few})")
    parts = [f"beats {FREE[rival]} {', '.join(beats)}"] if beats else []
    parts += [f"does not beat {FREE[rival]} {', '.join(fails)}"] if fails else []
    return f"**{title}**, {site}: {'; '.join(parts)}."


def _place(row: Row) -> str:
    if row.synthesizer in FREE:
        return "at epsilon 0"
    return "without privacy" if row.target is None else f"at epsilon {row.target:g}"


def _site_json(table: Table, row: Row, site: str) -> dict[str, Any]:
    found = table.against(row, "simulator", site)
    scores = {score: asdict(row.spread(score, site)) for score in SCORES}
    return {**scores, "minus_simulator": asdict(found) if found else None}


def to_json(table: Table) -> dict[str, Any]:
    """As plain JSON values; an infinite epsilon is null."""
    rows = []
    for row in table.rows:
        sites = {site: _site_json(table, row, site) for site in table.sites}
        epsilon = [value if math.isfinite(value) else None for value in row.epsilon]
        rows.append(
            {"setting": row.name, "title": row.title, "unit": row.unit, "target_epsilon": row.target}
            | {"epsilon": dict(zip(("patch", "subject"), epsilon, strict=True)), "delta": row.delta, "sites": sites}
            | {"frechet": row.frechet, "minutes": dict(zip(("training", "all"), row.minutes, strict=True))}
            | {"memory_mb": row.memory_mb}
        )
    told = {"statement": table.statement, "refused": table.refused, "missing": table.missing}
    return {"claim": "beats the simulator alone", "rows": rows, "verdicts": verdicts(table), **told}
