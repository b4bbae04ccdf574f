"""The report of a study: gathered from its folder, finished or not, and written as pages and figures.

::

    OUT/
      report/                      the house's side (mode 0700)
        index.html                 everything, unprotected numbers and pictures included
        figures/*.png  *.pdf       its figures
        embedding.npz              real and synthetic patches placed side by side
      public/
        report.html                what may leave
        figures/*.png  *.pdf       its figures
"""

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from angioshare.config import SourceSettings
from angioshare.privacy.unit import PrivacyStatement
from angioshare.records import Record
from angioshare.report.content import Embedding, ErrorMap, ReportContent, Samples, SourceInfo
from angioshare.report.figures import encoded
from angioshare.report.study.content import Role, Setting, StudyContent
from angioshare.report.study.figures import StudyFigure
from angioshare.report.study.page import StudyPage, internal_study_page, shareable_study_page
from angioshare.report.study.sharing import shareable_study
from angioshare.report.study.views import ErrorView, error_view
from angioshare.rundir import atomic_path, read_json, write_text
from angioshare.stages.embed import PatchGroup, embed, training_group
from angioshare.stages.maps import read_maps
from angioshare.stages.report import shown_samples, source_info
from angioshare.stages.sample import pairs_of
from angioshare.stages.train import check_statement
from angioshare.study.folder import LEARN, MEASURE
from angioshare.study.gather import PointResult, StudyResults, study_results


@dataclass(frozen=True, kw_only=True)
class Written:
    """Where a report stands.

    Attributes:
        internal: The page that holds unprotected numbers and pictures.
        shareable: The page that may leave the house.
    """

    internal: Path
    shareable: Path


STAGES = LEARN + MEASURE
"""Stages of a point; its own report is written when somebody asks for it."""

BEST: tuple[Role, ...] = ("non-private", "private")

_NOISE_KEYS = ("noise_multiplier", "epsilon", "budget")
_NOISE_WORDS = re.compile(r", (noise multiplier|epsilon) [0-9.e+-]+")


def report_paths(root: Path) -> Written:
    """Where the report of a study stands, or will."""
    return Written(internal=root / "report" / "index.html", shareable=root / "public" / "report.html")


def write_report(root: Path, *, state: Path) -> Written:
    """Write both pages and all figures of a study, from what is finished.

    Args:
        root: The study's folder.
        state: The user's state folder.

    Returns:
        Where the pages stand.

    Raises:
        SettingsError: It is no study.
        DataError: A file cannot be read or written.
    """
    content = gather_study(root, state=state)
    found = report_paths(root)
    found.internal.parent.mkdir(parents=True, exist_ok=True)
    found.internal.parent.chmod(0o700)
    _write(found.internal, internal_study_page(content), private=True)
    _write(found.shareable, shareable_study_page(shareable_study(content)), private=False)
    return found


def _write(path: Path, page: StudyPage, *, private: bool) -> None:
    """Write a page and its figures; figures of an earlier time that it lacks are removed."""
    folder = path.parent / "figures"
    kept = set()
    for figure in page.figures:
        if figure.figure is not None:
            kept |= {_write_figure(folder, figure, kind, private=private) for kind in ("png", "pdf")}
    for old in folder.glob("*.p[nd][gf]"):
        if old not in kept:
            old.unlink()
    write_text(path, page.html, private=private)


def _write_figure(folder: Path, figure: StudyFigure, kind: str, *, private: bool) -> Path:
    assert figure.figure is not None
    path = folder / f"{figure.key}.{kind}"
    with atomic_path(path, private=private) as temporary:
        temporary.write_bytes(encoded(figure.figure, kind))
    return path


def gather_study(root: Path, *, state: Path) -> StudyContent:
    """Read everything that the report of a study shows.

    Args:
        root: The study's folder.
        state: The user's state folder.

    Raises:
        SettingsError: It is no study.
        DataError: A file cannot be read.
        LedgerError: The statement of a point is not what the ledger says.
    """
    results = study_results(root, state=state)
    text = (root / "study.toml").read_text(encoding="utf-8")
    trained = [point for point in results.points if point.statement is not None]
    for point in trained:
        check_statement(point.run, _source(point))
    records = [record for point in results.points for record in _records(point)]
    settings = _settings(results)
    content = StudyContent(
        report=ReportContent(
            title=str(tomllib.loads(text)["title"]),
            sources=[_info(point) for point in trained],
            sites=_sites(records),
            statements={point.name: point.statement for point in trained if point.statement is not None},
            cohort_statement=results.statement,
            records=records,
            samples=_samples(settings, {point.name: point for point in trained}),
            settings_toml=text,
            environment=read_json(root / "environment.json"),
        ),
        settings=settings,
        missing=_missing(root, results),
    )
    points = {point.name: point for point in results.points}
    best = [points[name] for setting in settings if (name := content.best_point(setting)) is not None]
    views = tuple(view for point in best for view in _views(point))
    embeddings = _embeddings(content, points, root / "report" / "embedding.npz")
    return replace(content, report=replace(content.report, embeddings=embeddings), views=views)


def _records(point: PointResult) -> Iterable[Record]:
    """Records of a point; what speaks of its source speaks of the point."""
    source = _source(point).name
    for record in point.records:
        yield replace(record, trained_on=point.name) if record.trained_on == source else record


def _source(point: PointResult) -> SourceSettings:
    return point.run.config.sources[0]


def _info(point: PointResult) -> SourceInfo:
    info = source_info(_source(point), public=point.run.public_cohort is not None)
    return replace(info, name=point.name, title=f"{info.title}, seed {info.seed}")


def _sites(records: Iterable[Record]) -> list[str]:
    """Test sites, the cohort's own first, as `evaluate` goes through them."""
    return list(dict.fromkeys(record.site for record in records if record.stage == "evaluate" and record.site))


def _settings(results: StudyResults) -> list[Setting]:
    """Points that differ in their seed alone, together."""
    groups: dict[str, list[PointResult]] = {}
    for point in results.points:
        groups.setdefault(point.name.rpartition("-seed")[0], []).append(point)
    families = _families([_source(points[0]) for points in groups.values()])
    return [_setting(name, points, family) for (name, points), family in zip(groups.items(), families, strict=True)]


def _setting(name: str, points: Sequence[PointResult], family: str) -> Setting:
    source = _source(points[0])
    info = source_info(source, public=points[0].run.public_cohort is not None)
    given = source.privacy.noise_multiplier if source.privacy is not None else None
    charged = next((point.noise_multiplier for point in points if point.noise_multiplier is not None), given)
    return Setting(
        name=name,
        title=info.title,
        kind=info.kind,
        synthesizer=source.synthesizer,
        family=family,
        private=source.privacy is not None,
        trained_on=info.trained_on,
        points=tuple(point.name for point in points),
        noise_multiplier=charged,
        statement=_weakest([point.statement for point in points if point.statement is not None]),
    )


def _weakest(statements: Sequence[PrivacyStatement]) -> PrivacyStatement | None:
    """The statement that speaks for all: killed attempts may have made seeds differ."""
    return max(statements, key=lambda one: (not one.private, one.patch.epsilon, one.subject.epsilon), default=None)


def _families(sources: Sequence[SourceSettings]) -> list[str]:
    """What settings have in common that differ in noise alone: their title without it, numbered where two are alike."""
    names: dict[str, str] = {}
    keys = []
    for source in sources:
        privacy = source.privacy and source.privacy.model_copy(update=dict.fromkeys(_NOISE_KEYS))
        key = source.model_copy(update={"title": "", "seed": 0, "privacy": privacy}).model_dump_json()
        title = _NOISE_WORDS.sub("", source.shown)
        alike = sum(_NOISE_WORDS.sub("", name) == title for other, name in names.items() if other != key)
        names.setdefault(key, f"{title} ({alike + 1})" if alike else title)
        keys.append(key)
    return [names[key] for key in keys]


def _samples(settings: Sequence[Setting], trained: Mapping[str, PointResult]) -> list[Samples]:
    """Pairs of the first seed of each setting that has any; chosen by nothing that was measured."""
    found = []
    for setting in settings:
        drawn = [
            trained[name] for name in setting.points if name in trained and not trained[name].run.missing("sample")
        ]
        for point in drawn[:1]:
            samples = shown_samples(point.run, _source(point))
            found.append(replace(samples, source=point.name))
    return found


def _views(point: PointResult) -> Iterable[ErrorView]:
    """The first error map of each site."""
    seen = set()
    for one in read_maps(point.run):
        if one.site not in seen:
            seen.add(one.site)
            yield error_view(
                ErrorMap(
                    source=point.name, site=one.site, subject=one.subject, image=one.image, label=one.label,
                    prediction=one.prediction, spacing_mm=one.spacing_mm,
                )
            )  # fmt: skip


def _embeddings(content: StudyContent, points: Mapping[str, PointResult], file: Path) -> tuple[Embedding, ...]:
    """Real patches beside the best point without privacy and the best private one, as in the paper's Figure 9."""
    best = [content.best_setting(role) for role in BEST]
    names = [name for setting in best if setting is not None and (name := content.best_point(setting)) is not None]
    count = next(iter(points.values())).run.config.evaluation.embedded_patches
    if not names or not count:
        return ()
    made = [
        PatchGroup(info=content.report.source(name), patches=pairs_of(points[name].run, _source(points[name])))
        for name in names
    ]
    return embed([training_group(points[names[0]].run), *made], file, count=count)


def _missing(root: Path, results: StudyResults) -> dict[str, list[str]]:
    """Stages that each unfinished point lacks; patches are cut by the first point of a seed for all others."""
    held = read_json(root / "study.json")["points"]
    found = {}
    for point in results.points:
        own = STAGES if held[point.name]["keeper"] == point.name else STAGES[1:]
        if left := [stage for stage in own if point.run.missing(stage)]:
            found[point.name] = left
    return found
