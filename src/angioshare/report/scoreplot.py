"""What a plot of scores per subject shows, as data: drawn twice, once to hover over and once to print.

One panel for each site, one row for each source, one point for each subject, a box of quartiles behind the points.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from angioshare.report.content import ReportContent, SourceInfo, SourceKind
from angioshare.report.glossary import METRICS, Metric
from angioshare.report.tables import scores

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#8C6D00")
"""For synthesizers in turn; after Okabe and Ito, told apart by colour-blind readers as well."""

KIND_COLOURS = {"real": "#222222", "simulator": "#E69F00", "public": "#005C3F", "shuffled": "#7F7F7F"}
"""By kind of source; the second that reads nothing of the cohort has a shade of its own."""

UNTAUGHT_COLOUR = "#9C5700"

_LOG_ABOVE = 20.0


@dataclass(frozen=True, kw_only=True)
class Group:
    """The scores of one source at one site; an undefined score is None."""

    title: str
    colour: str
    subjects: tuple[str, ...]
    values: tuple[float | None, ...]

    @property
    def defined(self) -> list[tuple[str, float]]:
        """Subjects with a score."""
        return [(s, v) for s, v in zip(self.subjects, self.values, strict=True) if v is not None]

    @property
    def undefined(self) -> list[str]:
        """Subjects without."""
        return [s for s, v in zip(self.subjects, self.values, strict=True) if v is None]


@dataclass(frozen=True, kw_only=True)
class ScorePlot:
    """One metric over all sites and sources.

    Attributes:
        metric: Which.
        sites: Names of the panels.
        panels: For each site, the groups from top to bottom; every panel has the same ones.
        logarithmic: Whether the axis of scores is logarithmic.
        limits: Where that axis ends, room for undefined scores included.
        undefined_at: Where undefined scores are marked, or None if there is none.
    """

    metric: Metric
    sites: tuple[str, ...]
    panels: tuple[tuple[Group, ...], ...]
    logarithmic: bool
    limits: tuple[float, float]
    undefined_at: float | None

    @property
    def axis_title(self) -> str:
        """Title of the axis of scores."""
        return self.metric.title + (", log scale" if self.logarithmic else "")

    def words(self) -> str:
        """Say what the plot shows, for those who do not see it."""
        rows = [
            f"{site}: " + ", ".join(f"{g.title} {_middle([v for _, v in g.defined])}" for g in groups)
            for site, groups in zip(self.sites, self.panels, strict=True)
        ]
        return f"{self.metric.title} of each subject by training source; medians are, at " + "; at ".join(rows) + "."


def score_plots(content: ReportContent) -> list[ScorePlot]:
    """Gather the plots of all metrics that were measured."""
    colours, titles = source_colours(content.sources), _unique_titles(content)
    plots = []
    for metric in METRICS:
        measured = [
            source
            for source in content.sources
            if any(scores(content.records, metric.key, source.name, site) for site in content.sites)
        ]
        if not measured:
            continue
        panels = []
        for site in content.sites:
            rows = [(source, scores(content.records, metric.key, source.name, site)) for source in measured]
            panels.append(
                tuple(
                    Group(
                        title=titles[source.name],
                        colour=colours[source.name],
                        subjects=tuple(record.subject for record in found),
                        values=tuple(_finite(record.value) for record in found),
                    )
                    for source, found in rows
                )
            )
        plots.append(_with_axis(metric, tuple(content.sites), panels))
    return plots


def _with_axis(metric: Metric, sites: tuple[str, ...], panels: Sequence[tuple[Group, ...]]) -> ScorePlot:
    """Choose scale and ends of the axis: [0, 1] for an overlap, from 0 or logarithmic for a distance."""
    groups = [group for panel in panels for group in panel]
    values = [value for group in groups for _, value in group.defined]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    missing = any(group.undefined for group in groups)
    logarithmic = metric.unit != "" and low > 0 and high / low > _LOG_ABOVE
    if metric.unit == "":
        limits = (-0.02, 1.02)
    elif logarithmic:
        limits = (low / 1.3, high * 1.3)
    else:
        limits = (0.0, 1.05 * high if high > 0 else 1.0)
    at = None
    if missing and logarithmic:
        at, limits = limits[1] * 1.8, (limits[0], limits[1] * 2.8)
    elif missing:
        at, limits = limits[1] * 1.05, (limits[0], limits[1] * 1.12)
    return ScorePlot(
        metric=metric, sites=sites, panels=tuple(panels), logarithmic=logarithmic, limits=limits, undefined_at=at
    )


def source_colours(sources: Sequence[SourceInfo]) -> dict[str, str]:
    """Colour of each source by its name: fixed for the rivals, in turn for synthesizers.

    Example:
        >>> source_colours([SourceInfo(name="a", title="A", kind="synthesizer")])
        {'a': '#0072B2'}
    """
    synthesizers = [source.name for source in sources if source.kind == "synthesizer"]
    return {
        source.name: fixed_colour(source.kind, source.synthesizer)
        or COLOURS[synthesizers.index(source.name) % len(COLOURS)]
        for source in sources
    }


def fixed_colour(kind: SourceKind, synthesizer: str) -> str | None:
    """Colour of what is no synthesizer to be judged; None for one.

    Example:
        >>> fixed_colour("real", "real"), fixed_colour("simulator", "untaught-reader"), fixed_colour("synthesizer", "")
        ('#222222', '#9C5700', None)
    """
    return UNTAUGHT_COLOUR if synthesizer == "untaught-reader" else KIND_COLOURS.get(kind)


def _unique_titles(content: ReportContent) -> dict[str, str]:
    """Title of each source; a title that several have is followed by the name, so that rows stay apart."""
    shown = Counter(source.title for source in content.sources)
    return {
        source.name: source.title if shown[source.title] == 1 else f"{source.title} ({source.name})"
        for source in content.sources
    }


def _finite(value: float | None) -> float | None:
    """A number, or None for what is undefined."""
    return value if value is not None and math.isfinite(value) else None


def _middle(values: Sequence[float]) -> str:
    """Median in words."""
    if not values:
        return "undefined"
    ordered, half = sorted(values), len(values) // 2
    return f"{ordered[half] if len(values) % 2 else (ordered[half - 1] + ordered[half]) / 2:.2f}"
