"""The report of a study as HTML: one file for the house, one that may leave it. Both work offline and load nothing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from angioshare.errors import PrivacyError
from angioshare.report import tables
from angioshare.report.figures import encoded, png
from angioshare.report.glossary import METRICS, TERMS
from angioshare.report.html import asset, content_policy, templates
from angioshare.report.interactive import plotly_script
from angioshare.report.limits import limits
from angioshare.report.pictures import Picture
from angioshare.report.study.content import Setting, StudyContent, in_order
from angioshare.report.study.figures import StudyFigure, study_figures, tradeoff_figure
from angioshare.report.study.sharing import by_setting, unprotected_in_study
from angioshare.report.study.threshold import DEFINITION, Threshold, Verdict, thresholds
from angioshare.report.study.words import study_words, threshold_words
from angioshare.report.tables import Summary, summarise
from angioshare.types import Json


@dataclass(frozen=True, kw_only=True, eq=False)
class SettingRow:
    """One row of Table 2.

    Attributes:
        setting: Which.
        scored: How many of its points have a Dice at any site.
        cells: For each site, mean and SD over seeds of the mean over subjects, by metric; None where unmeasured. `n`
            and `undefined` count scores there, one for each seed and subject.
        verdicts: For each site, whether it is usable (see `threshold`); None where that is not asked.
    """

    setting: Setting
    scored: int
    cells: tuple[dict[str, Summary | None], ...]
    verdicts: tuple[Verdict | None, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyPage:
    """A page and what was drawn for it.

    Attributes:
        html: The file as text.
        figures: Its figures, those that lack what they show included; the last is the trade-off.
    """

    html: str
    figures: tuple[StudyFigure, ...]


def internal_study_page(content: StudyContent) -> StudyPage:
    """Write the page for the house: everything, unprotected numbers and pictures included, under a banner.

    Args:
        content: What was found.

    Returns:
        A page that its owner alone may read.
    """
    return _render(content, internal=True)


def shareable_study_page(content: StudyContent) -> StudyPage:
    """Write the page that may leave the house, and draw its figures from what may leave.

    Args:
        content: What to show, usually from `sharing.shareable_study`.

    Returns:
        A page without any script.

    Raises:
        PrivacyError: Something in `content` is unprotected.
    """
    if found := unprotected_in_study(content):
        raise PrivacyError(
            f"a shareable page was handed {len(found)} unprotected things ({'; '.join(found)}) and may hold none; "
            "pass the content through shareable_study first, or write the internal page"
        )
    return _render(content, internal=False)


def _render(content: StudyContent, *, internal: bool) -> StudyPage:
    """Draw the figures and fill the template."""
    figures, tradeoff = study_figures(content), tradeoff_figure(content)
    html = _filled(content, figures, tradeoff, internal=internal)
    return StudyPage(html=html, figures=(*figures, tradeoff))


def _filled(content: StudyContent, figures: Sequence[StudyFigure], tradeoff: StudyFigure, *, internal: bool) -> str:
    style = asset("page.css") + (asset("internal.css") if internal else "")
    shown = [one for one in figures if one.figure is not None or internal]
    live = internal and any(one.spec for one in (*figures, tradeoff))
    scripts = [plotly_script(), asset("hover.js.j2")] if live else []
    found = thresholds(content)
    return templates().get_template("study.html.j2").render(
        content=content.report,
        internal=internal,
        policy=content_policy(style, scripts),
        style=Markup(style),  # our own file, as the scripts are
        scripts=[Markup(script) for script in scripts],
        standing=standing_words(content),
        missing=content.missing,
        settings=[setting for setting in in_order(content.settings) if setting.statement is not None],
        limits=limits(by_setting(content)),
        measured=bool(content.sites),
        main_rows=tables.score_rows(content.report, tables.main_sources(content.report)),
        setting_rows=setting_rows(content, found),
        published_note=tables.PUBLISHED_NOTE,
        citation=tables.CITATION,
        figures=[_shown(one, internal) for one in shown],
        tradeoff=_shown(tradeoff, internal) if tradeoff.figure is not None or internal else None,
        in_short=[f"{one.family} at {one.site}: {threshold_words(one)}" for one in found],
        definition=DEFINITION,
        words=study_words(content) if internal else [],
        metrics=METRICS,
        terms=TERMS,
    )  # fmt: skip


def _shown(one: StudyFigure, internal: bool) -> Json:
    """A figure as the template takes it: a picture that stands still, and what plotly draws in its place."""
    picture = None
    if one.figure is not None:
        kind, data = ("image/png", png(one.figure)) if one.dark else ("image/svg+xml", encoded(one.figure, "svg"))
        picture = Picture(mime=kind, data=data, alt=one.words)
    return {"figure": one, "picture": picture, "spec": one.spec if internal else None}


def setting_rows(content: StudyContent, found: Sequence[Threshold]) -> list[SettingRow]:
    """Rows of Table 2, a row for each trained setting.

    Args:
        content: What was found.
        found: Of `thresholds`.
    """
    verdicts = {(v.setting.name, one.site): v for one in found if one.bar is not None for v in one.verdicts}
    return [
        SettingRow(
            setting=setting,
            scored=len(content.scored(setting, content.sites)),
            cells=tuple(
                {metric.key: _over_seeds(content, setting, metric.key, site) for metric in METRICS}
                for site in content.sites
            ),
            verdicts=tuple(verdicts.get((setting.name, site)) for site in content.sites),
        )
        for setting in in_order(content.settings)
        if any(point in content.seeds for point in setting.points)
    ]


def _over_seeds(content: StudyContent, setting: Setting, metric: str, site: str) -> Summary | None:
    """Mean and SD over seeds of the mean over subjects; scores that these means leave out are counted."""
    spread = content.spread(setting, metric, site)
    values = [value for one in spread for value in one.values]
    means = summarise(one.mean for one in spread)
    return replace(means, n=len(values), undefined=values.count(None)) if spread else None


def standing_words(content: StudyContent) -> str:
    """How large the study is and how much of it is done.

    Example:
        >>> from angioshare.report.content import ReportContent
        >>> standing_words(StudyContent(report=ReportContent(title="", sources=[]), settings=[]))
        '0 points (a setting with one seed each) of 0 settings; all are finished.'
    """
    points = sum(len(setting.points) for setting in content.settings)
    unfinished = len(content.missing)
    done = "all are finished" if not unfinished else f"{points - unfinished} of them finished"
    return f"{points} points (a setting with one seed each) of {len(content.settings)} settings; {done}."
