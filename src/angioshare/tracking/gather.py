"""From a run or study folder to the two sides, from records, statements, ledger and curves as they stand.

The folder may be that of a run at work: only whole files are read, and nothing in it is changed. What may be seen is
what may stand on the shareable page, by the same filter and the same check after it (see `report.sharing`).
"""

import re
import tomllib
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from angioshare.config import SourceSettings
from angioshare.errors import DataError, PrivacyError, SettingsError
from angioshare.privacy.events import Spend
from angioshare.privacy.unit import PrivacyStatement
from angioshare.records import Record
from angioshare.report.content import ReportContent, SourceInfo
from angioshare.report.sharing import shareable, unprotected_items
from angioshare.report.tables import summarise
from angioshare.rundir import read_json, read_rows
from angioshare.stages.folder import open_run
from angioshare.stages.run import Run
from angioshare.study.folder import point_folder
from angioshare.tracking.spent import epsilon_series, spends_of, statement_so_far, whole_cohort
from angioshare.tracking.track import Series, Sides, Track, series

_WORD = re.compile(r"[A-Za-z0-9._+-]{1,40}")
_POINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def sides_of(place: Path, *, state: Path) -> Sides:
    """Read a run folder or a study's folder.

    Args:
        place: The folder, finished or not.
        state: The user's state folder.

    Raises:
        SettingsError: It is neither.
        DataError: A file in it is damaged.
        PrivacyError: A title tells of a path of a machine, or of a subject.
    """
    runs: dict[tuple[str, ...], Run]
    if (place / "study.json").exists():
        title, names = _study(place)
        runs = {(name,): open_run(point_folder(place, name), state=state) for name in names}
    elif (place / "run.json").exists():
        runs = {(): open_run(place, state=state)}
        title = runs[()].config.title
    else:
        raise SettingsError(f"{place} is no run folder (run.json is missing) and no study (study.json is missing)")
    found = [_sides_of_run(run, path, title) for path, run in runs.items()]
    cohort = _whole_cohort(list(runs.values()))
    return Sides(
        title=title,
        shareable=(*cohort, *(track for one in found for track in one.shareable)),
        internal=(*cohort, *(track for one in found for track in one.internal)),
    )


def _study(place: Path) -> tuple[str, list[str]]:
    """A study's title, and the names of its points."""
    try:
        title = tomllib.loads((place / "study.toml").read_text(encoding="utf-8"))["title"]
        names = list(read_json(place / "study.json")["points"])
        if not isinstance(title, str) or not all(map(_POINT.fullmatch, names)):
            raise ValueError(f"title {title!r}, points {names}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{place}: study.json or study.toml is damaged ({error}); bring it back") from error
    return title, names


def _whole_cohort(runs: Sequence[Run]) -> list[Track]:
    """What everything on the cohort spent together, beside all runs."""
    statement = next((found for run in runs if (found := whole_cohort(run)) is not None), None)
    if statement is None:
        return []
    return [
        Track(
            path=("whole cohort",),
            series=tuple(epsilon_series(statement)),
            about={"statement": statement.sentence()},
        )
    ]


def _sides_of_run(run: Run, path: tuple[str, ...], title: str) -> Sides:
    spends = {source.name: spends_of(run, source) for source in run.config.sources if source.privacy}
    statements = {
        source.name: statement
        for source in run.config.sources
        if (statement := statement_so_far(run, source, spends.get(source.name, []))) is not None
    }
    content = ReportContent(
        title=title,
        sources=[SourceInfo(name=one.name, title=one.shown, kind="synthesizer") for one in run.config.sources],
        statements=statements,
        records=run.records(),
    )
    seen = shareable(content)
    if left := unprotected_items(seen):
        raise PrivacyError(f"{run.root} cannot be shown to a tracking tool: {'; '.join(left)}; give it another title")
    told = [_of_source(source, path, statements.get(source.name), spends) for source in run.config.sources]
    curves = {source.name: _curves(run.source(source.name)) for source in run.config.sources}
    whole = Track(path=path)
    return Sides(
        title=title,
        shareable=_filled([whole, *told], seen.records, {}),
        internal=_filled([whole, *told], content.records, curves),
    )


def _of_source(
    source: SourceSettings,
    path: tuple[str, ...],
    statement: PrivacyStatement | None,
    spends: dict[str, list[Spend]],
) -> Track:
    """Epsilon and words: the same on both sides."""
    about = {"synthesizer": source.synthesizer, "seed": str(source.seed)}
    if source.privacy:
        about |= _plain("privacy", source.privacy.model_dump(mode="json"))
    about |= _plain("settings", source.settings)
    if statement is None:
        return Track(path=(*path, source.name), about=about)
    return Track(
        path=(*path, source.name),
        series=tuple(epsilon_series(statement, spends.get(source.name, ()))),
        about={"statement": statement.sentence(), **about},
    )


def _plain(group: str, settings: dict[str, object]) -> dict[str, str]:
    """Settings that are numbers or single words: a word holds no path and no sentence."""
    return {
        f"{group}.{key}": str(value)
        for key, value in settings.items()
        if isinstance(value, int | float | str) and _WORD.fullmatch(str(value))
    }


def _filled(tracks: Sequence[Track], records: Sequence[Record], curves: dict[str, list[Series]]) -> tuple[Track, ...]:
    """Give each track the numbers that speak of its source, the first one those that speak of none."""
    whole, *rest = tracks
    owned = [(whole, "", whole.series), *((track, track.path[-1], track.series) for track in rest)]
    filled = [
        Track(
            path=track.path,
            about=track.about,
            series=(*held, *_scores(r for r in records if r.trained_on == name), *curves.get(name, ())),
        )
        for track, name, held in owned
    ]
    return tuple(track for track in filled if track.series or track.about)


def _scores(records: Iterable[Record]) -> list[Series]:
    """Records as series: the mean over subjects, or one number after the other (a grid of U-Nets) by its place."""
    found: list[Series] = []

    def key(record: Record) -> tuple[str, str, str]:
        return record.stage, record.metric, record.site

    kept = [record for record in records if not (record.stage == "train" and record.metric.startswith("epsilon"))]
    for (stage, metric, site), group in groupby(sorted(kept, key=key), key=key):
        same = list(group)
        name = "/".join(part.replace("/", " ") for part in (stage, metric, site) if part)
        if any(record.subject for record in same):
            summary = summarise([record.value for record in same])
            found += series(f"{name}/mean over subjects", [0], [summary.mean])
            found += series(f"{name}/undefined for subjects", [0], [float(summary.undefined) or None])
        else:
            found += series(name, range(len(same)), [record.value for record in same])
    return found


def _curves(folder: Path) -> list[Series]:
    """Numbers over the iterations of a training, and of the one on simulated patches before it; unprotected."""
    found = []
    for name, path in (("training", folder), ("training on simulated patches", folder / "simulated")):
        file = path / "curve.json"
        rows = read_rows(file, "iteration") if file.exists() else []
        for key in rows[0] if rows else ():
            if key != "iteration":
                found += series(f"{name}/{key}", [row["iteration"] for row in rows], [row[key] for row in rows])
    return found
