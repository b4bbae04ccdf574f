"""The report as HTML: one file for the house, one that may leave it. Both work offline and load nothing.

The internal page holds plotly.js and one small script, both named by their hash in the content policy; the shareable
page holds no script at all. Every text is escaped (see `html`).
"""

from markupsafe import Markup

from angioshare.errors import PrivacyError
from angioshare.report import tables
from angioshare.report.content import ReportContent
from angioshare.report.embedding import embedding_caption, embedding_picture, metric_words, thumbnail_picture
from angioshare.report.figures import curve_figure, error_counts, error_map_figure, score_figure
from angioshare.report.glossary import METRICS, TERMS
from angioshare.report.html import asset, content_policy, templates
from angioshare.report.interactive import plotly_script, score_spec
from angioshare.report.limits import limits
from angioshare.report.pictures import sample_sheet
from angioshare.report.scoreplot import score_plots, source_colours
from angioshare.report.sharing import unprotected_items
from angioshare.types import Json


def internal_page(content: ReportContent) -> str:
    """Write the page for the house: everything, unprotected numbers and pictures included, under a banner.

    Args:
        content: What to show.

    Returns:
        One HTML file as text; write it where only its owner can read it.

    Example:
        >>> "INTERNAL" in internal_page(ReportContent(title="A report", sources=[]))
        True
    """
    return _render(content, internal=True)


def shareable_page(content: ReportContent) -> str:
    """Write the page that may leave the house.

    Args:
        content: What to show, usually from `sharing.shareable`.

    Returns:
        One HTML file as text, without any script.

    Raises:
        PrivacyError: Something in `content` is unprotected.

    Example:
        >>> "INTERNAL" in shareable_page(ReportContent(title="A report", sources=[]))
        False
    """
    if found := unprotected_items(content):
        raise PrivacyError(
            f"a shareable page was handed {len(found)} unprotected things ({'; '.join(found)}) and may hold none; "
            "pass the content through report.sharing.shareable first, or write the internal page"
        )
    return _render(content, internal=False)


def _render(content: ReportContent, *, internal: bool) -> str:
    """Fill the template."""
    style = asset("page.css") + (asset("internal.css") if internal else "")
    plots = [
        {"picture": score_figure(plot), "spec": score_spec(plot), "title": plot.metric.title}
        for plot in score_plots(content)
    ]
    colours = source_colours(content.sources)
    scripts = [plotly_script(), asset("hover.js.j2")] if internal and plots else []
    return templates().get_template("page.html.j2").render(
        content=content,
        internal=internal,
        policy=content_policy(style, scripts),
        style=Markup(style),  # our own file, as the scripts are
        scripts=[Markup(script) for script in scripts],
        guarantees=_guarantees(content, internal=internal),
        limits=limits(content),
        metrics=METRICS,
        terms=TERMS,
        measured=bool(plots),
        main_rows=tables.score_rows(content, tables.main_sources(content)),
        all_rows=tables.score_rows(content, content.sources),
        published=tables.PUBLISHED,
        published_note=tables.PUBLISHED_NOTE,
        citation=tables.CITATION,
        samples=[(samples, sample_sheet(samples)) for samples in content.samples],
        plots=plots,
        embedding_caption=embedding_caption(content.embeddings[0]) if content.embeddings else "",
        embedding_picture=embedding_picture(content.embeddings, colours=colours) if content.embeddings else None,
        embeddings=[(metric_words(one), thumbnail_picture(one, colours=colours)) for one in content.embeddings],
        error_maps=[(item, error_map_figure(item), error_counts(item)) for item in content.error_maps],
        curves=curve_figure(content.curves, _titles(content)) if content.curves else None,
        stage_times=tables.stage_times(content) if internal else [],
    )  # fmt: skip


def _guarantees(content: ReportContent, *, internal: bool) -> list[Json]:
    """What stands on top: the statement of each source that may be handed out, then that of the whole cohort.

    A public cohort's own pairs are not handed out, so their statement is for the house.
    """
    kinds = ("synthesizer", "simulator", "public") if internal else ("synthesizer", "simulator")
    listed = [
        {"title": source.title, "statement": content.statements[source.name], "whole": False}
        for source in content.sources
        if source.kind in kinds and source.name in content.statements
    ]
    if content.cohort_statement is not None:
        listed.append(
            {"title": "All runs on this cohort together", "statement": content.cohort_statement, "whole": True}
        )
    return listed


def _titles(content: ReportContent) -> dict[str, str]:
    """Title of each source by its name."""
    return {source.name: source.title for source in content.sources}
