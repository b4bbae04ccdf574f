"""Every figure of a study with its caption, in the paper's order; what cannot be drawn yet says why."""

from dataclasses import dataclass

from matplotlib.figure import Figure

from angioshare.metrics.transport import METRICS
from angioshare.report.embedding import embedding_caption, embedding_figure, metric_words, thumbnail_figure
from angioshare.report.study import captions
from angioshare.report.study.charts import Chart
from angioshare.report.study.content import StudyContent
from angioshare.report.study.draw import chart_figure
from angioshare.report.study.fidelity import figure_6, figure_8, networks
from angioshare.report.study.hover import chart_spec
from angioshare.report.study.pictures import figure_2, figure_4, figure_7, figure_s2, sampled, strictest, viewed
from angioshare.report.study.places import colours
from angioshare.report.study.scores import figure_3, figure_5
from angioshare.report.study.tradeoff import figure_tradeoff
from angioshare.types import Json


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyFigure:
    """One figure, or why there is none.

    Attributes:
        key: Name of its files, for example `"figure-3"`.
        title: What stands above it.
        caption: What was trained on what, and how to read it; where there is no figure, why.
        figure: The figure to print; None where it cannot be drawn.
        words: What it shows, for those who do not see it.
        spec: The same to hover over, for plotly.js; None for pictures.
        dark: Whether it is made of pictures on black.
    """

    key: str
    title: str
    caption: str
    figure: Figure | None = None
    words: str = ""
    spec: Json | None = None
    dark: bool = False


def study_figures(content: StudyContent) -> list[StudyFigure]:
    """Draw Figures 2 to 9, S1 and S2.

    Args:
        content: Settings, records, samples, views and embeddings.

    Returns:
        The figures in order; those that lack what they show hold a reason instead.
    """
    made = [_figure_2, _figure_3, _figure_4, _figure_5, _figure_6, _figure_7, _figure_8, _figure_9, _figures_s1]
    return [one for make in (*made, _figures_s2) for one in make(content)]


def tradeoff_figure(content: StudyContent) -> StudyFigure:
    """Draw the figure that the study is made for: Dice against noise and epsilon."""
    key, title = "tradeoff", "Trade-off: Dice against noise and epsilon"
    scored = any(content.spread(one, "dice", site) for one in content.with_role("private") for site in content.sites)
    if not scored:
        return StudyFigure(key=key, title=title, caption="No private setting was evaluated yet.")
    return _chart(key, title, figure_tradeoff(content), captions.caption_tradeoff(content))


def _chart(key: str, title: str, chart: Chart, caption: str) -> StudyFigure:
    return StudyFigure(
        key=key, title=title, caption=caption, figure=chart_figure(chart), words=chart.words, spec=chart_spec(chart)
    )


def _absent(key: str, title: str, reason: str) -> list[StudyFigure]:
    return [StudyFigure(key=key, title=title, caption=reason)]


def _figure_2(content: StudyContent) -> list[StudyFigure]:
    key, title = "figure-2", "Figure 2. Pairs of every setting"
    shown = sampled(content)
    if not shown:
        return _absent(key, title, "No pairs were drawn yet.")
    words = f"Image patches and their vessel labels of {', '.join(setting.title for setting, _ in shown)}."
    caption = captions.caption_2(content, [setting for setting, _ in shown])
    return [StudyFigure(key=key, title=title, caption=caption, figure=figure_2(content), words=words, dark=True)]


def _scored(content: StudyContent, *positions: int) -> bool:
    sites = [content.sites[position] for position in positions if position < len(content.sites)]
    return bool(captions.measured(content, sites))


def _figure_3(content: StudyContent) -> list[StudyFigure]:
    key, title = "figure-3", "Figure 3. Scores at the cohort's own site"
    if not _scored(content, 0):
        return _absent(key, title, "No segmenter was evaluated yet.")
    return [_chart(key, title, figure_3(content), captions.caption_3(content))]


def _figure_4(content: StudyContent) -> list[StudyFigure]:
    key, title = "figure-4", "Figure 4. Where segmenters err"
    shown = viewed(content, content.sites[0]) if content.sites else []
    if not shown:
        return _absent(key, title, "No error map was kept yet (see evaluation.mapped_subjects).")
    words = _errors([(setting.title, view.counts) for setting, view in shown])
    caption = captions.caption_4(content, shown[0][1])
    return [StudyFigure(key=key, title=title, caption=caption, figure=figure_4(content), words=words, dark=True)]


def _figure_5(content: StudyContent) -> list[StudyFigure]:
    key, title = "figure-5", "Figure 5. Scores at the second site"
    if not _scored(content, *range(1, len(content.sites))):
        return _absent(key, title, "No second site was given, or it was not evaluated yet.")
    return [_chart(key, title, figure_5(content), captions.caption_5(content))]


def _figure_6(content: StudyContent) -> list[StudyFigure]:
    found = networks(content)
    title = "Figure 6. Distance of synthetic to real patches"
    if not found:
        return _absent("figure-6", title, "No distance was measured yet (see evaluation.fidelity_patches).")
    return [
        _chart("figure-6", title, figure_6(content, network), captions.caption_6(content, network))
        for network in found[:1]  # a plan has one feature network
    ]


def _figure_7(content: StudyContent) -> list[StudyFigure]:
    key, title = "figure-7", "Figure 7. Error maps of the best private point"
    best = content.best_setting("private")
    shown = viewed(content, content.sites[0]) if content.sites else []
    view = next((view for setting, view in shown if setting is best), None)
    if best is None or view is None:
        return _absent(key, title, "No error map of a private point was kept yet.")
    caption = captions.caption_7(best, view, content.seeds[view.source])
    words = _errors([(best.title, view.counts)])
    return [StudyFigure(key=key, title=title, caption=caption, figure=figure_7(view), words=words, dark=True)]


def _figure_8(content: StudyContent) -> list[StudyFigure]:
    key, title = "figure-8", "Figure 8. How alike the patches of one point are"
    if not any(content.numbers(setting, "ssim_mean") for setting in content.settings):
        return _absent(key, title, "No SSIM was measured yet (see evaluation.similarity_patches).")
    return [_chart(key, title, figure_8(content), captions.caption_8(content))]


def _group_colours(content: StudyContent) -> dict[str, str]:
    """Colour of each point, as its setting has it."""
    shade = colours(content)
    return {point: shade[setting.name] for setting in content.settings for point in setting.points}


def _figure_9(content: StudyContent) -> list[StudyFigure]:
    key, title = "figure-9", "Figure 9. Real and synthetic patches side by side (t-SNE)"
    embeddings = content.report.embeddings
    if not embeddings:
        return _absent(key, title, "No embedding was made yet.")
    caption = f"{embedding_caption(embeddings[0])} {' '.join(map(metric_words, embeddings))}"
    figure = embedding_figure(embeddings, colours=_group_colours(content))
    return [StudyFigure(key=key, title=title, caption=caption, figure=figure, words=f"{caption} A point is a patch.")]


def _figures_s1(content: StudyContent) -> list[StudyFigure]:
    title = "Figure S1. The same, with the patches themselves"
    if not content.report.embeddings:
        return _absent("figure-s1", title, "No embedding was made yet.")
    shade = _group_colours(content)
    return [
        StudyFigure(
            key=f"figure-s1-{one.metric}",
            title=f"{title} ({METRICS[one.metric].title})",
            caption=f"{embedding_caption(one)} {metric_words(one)} Where two would cover each other, one is left out.",
            figure=thumbnail_figure(one, colours=shade),
            words=embedding_caption(one),
            dark=False,
        )
        for one in content.report.embeddings
    ]


def _figures_s2(content: StudyContent) -> list[StudyFigure]:
    title = "Figure S2. Where the strictest settings err at the second site"
    made = []
    for position, site in enumerate(content.sites[1:], 2):
        if shown := strictest(content, site):
            settings = [setting for setting, _ in shown]
            key = "figure-s2" if position == 2 else f"figure-s2-site{position}"
            made.append(
                StudyFigure(
                    key=key, title=title, caption=captions.caption_s2(settings, shown[0][1]), dark=True,
                    figure=figure_s2(content, site), words=_errors([(s.title, view.counts) for s, view in shown]),
                )
            )  # fmt: skip
    return made or _absent("figure-s2", title, "No error map of a private setting at a second site was kept yet.")


def _errors(listed: list[tuple[str, dict[str, int]]]) -> str:
    """Counts of voxels, for those who do not see the pictures."""
    parts = [f"{title}: {', '.join(f'{count} {name}' for name, count in counts.items())}" for title, counts in listed]
    return f"Error maps of one subject; voxels in the whole volume, {'; '.join(parts)}."
