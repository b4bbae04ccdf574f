"""Figures 3 and 5: Dice over seeds, and Dice and bAHD of the best run of each setting, at one site."""

from collections.abc import Iterable, Mapping, Sequence

from angioshare.report.glossary import METRICS
from angioshare.report.study import published
from angioshare.report.study.charts import Chart, Group, Line, Look, Panel, Series, extent, value_axis
from angioshare.report.study.content import SeedScore, Setting, StudyContent, in_order
from angioshare.report.study.places import PUBLISHED_COLOUR, colours, family_title, side_by_side

TITLES = {metric.key: metric.title for metric in METRICS}


def figure_3(content: StudyContent) -> Chart:
    """Dice over seeds, then Dice and bAHD of the best run, at the cohort's own site."""
    site = content.sites[0]
    return _chart(
        content,
        [
            _over_seeds(content, "dice", site, f"A. Dice over seeds, {site}"),
            _of_best_run(content, "dice", site, f"B. Dice of the best run, {site}"),
            _of_best_run(content, "bahd_voxel", site, f"C. bAHD of the best run, {site}"),
        ],
    )


def figure_5(content: StudyContent) -> Chart:
    """Dice and bAHD of the best run at every second site."""
    panels = []
    for site in content.sites[1:]:
        panels.append(_of_best_run(content, "dice", site, f"A. Dice of the best run, {site}"))
        panels.append(_of_best_run(content, "bahd_voxel", site, f"B. bAHD of the best run, {site}"))
    return _chart(content, panels)


def seeds_group(x: float, spread: Iterable[SeedScore]) -> Group:
    """One number a seed: the mean over subjects, None where it is undefined on all.

    Guarantees:
        Every evaluated point of a setting has exactly one number.
    """
    listed = list(spread)
    return Group(x=x, names=tuple(f"seed {one.seed}" for one in listed), values=tuple(one.mean for one in listed))


def series_of(
    content: StudyContent, settings: Sequence[Setting], groups: Mapping[str, Group], look: Look
) -> tuple[Series, ...]:
    """Groups of settings by name, gathered under the title of each family."""
    shade = colours(content)
    found: dict[str, list[Setting]] = {}
    for setting in settings:
        if setting.name in groups:
            found.setdefault(family_title(setting), []).append(setting)
    return tuple(
        Series(title=title, colour=shade[same[0].name], groups=tuple(groups[one.name] for one in same), look=look)
        for title, same in found.items()
    )


def published_dice(content: StudyContent, site: str) -> tuple[Line, ...]:
    """The paper's Dice at the site of the same position, as lines."""
    position = list(content.sites).index(site)
    named = {
        "non-private": "published, without privacy",
        "private": f"published, best private (its epsilon {published.BEST_EPSILON:g} for one patch)",
    }
    known = {role: published.dice(role, position) for role in named}
    return tuple(
        Line(title=named[role], colour=PUBLISHED_COLOUR, y=dice, dashed=role == "private")
        for role, dice in known.items()
        if dice is not None
    )


def _over_seeds(content: StudyContent, metric: str, site: str, title: str) -> Panel:
    """A box over seeds for each setting."""
    settings = [one for one in in_order(content.settings) if content.spread(one, metric, site)]
    _, places = side_by_side(settings)
    groups = {one.name: seeds_group(places[one.name], content.spread(one, metric, site)) for one in settings}
    return _panel(content, settings, groups, metric, site, title)


def _of_best_run(content: StudyContent, metric: str, site: str, title: str) -> Panel:
    """Mean and SD over subjects for the best run of each setting: best on validation subjects."""
    runs = {}
    for setting in in_order(content.settings):
        best = content.best_point(setting)
        runs[setting.name] = next((one for one in content.spread(setting, metric, site) if one.point == best), None)
    settings = [setting for setting in in_order(content.settings) if runs[setting.name] is not None]
    _, places = side_by_side(settings)
    groups = {
        name: Group(x=places[name], names=run.subjects, values=run.values)
        for name, run in runs.items()
        if run is not None
    }
    return _panel(content, settings, groups, metric, site, title, look="mean")


def _panel(
    content: StudyContent,
    settings: Sequence[Setting],
    groups: Mapping[str, Group],
    metric: str,
    site: str,
    title: str,
    look: Look = "box",
) -> Panel:
    """A panel with one place a setting."""
    lines = published_dice(content, site) if metric == "dice" else ()
    series = series_of(content, settings, groups, look)
    values = [*extent(series), *(line.y for line in lines)]
    missing = any(group.undefined for group in groups.values())
    axis, undefined_at = value_axis(TITLES[metric], values, share=metric == "dice", missing=missing)
    x, _ = side_by_side(settings)
    return Panel(title=title, x=x, y=axis, series=series, lines=lines, undefined_at=undefined_at)


def _chart(content: StudyContent, panels: Sequence[Panel]) -> Chart:
    parts = [f"{panel.title}: {middles(panel)}" for panel in panels]
    return Chart(rows=tuple((panel,) for panel in panels), words="; ".join(parts) + ".", row_inches=2.6)


def middles(panel: Panel) -> str:
    """The means of a panel in words, for those who do not see it."""
    labels = {place: label.split("\n")[0] for place, label in panel.x.ticks}
    means = [
        (group.x, f"{labels.get(group.x, series.title)} {_shown(group)}")
        for series in panel.series
        for group in series.groups
        if series.look != "mark"
    ]
    return ", ".join(words for _, words in sorted(means))


def _shown(group: Group) -> str:
    mean = group.summary.mean
    return "undefined" if mean is None else f"{mean:.3g}"
