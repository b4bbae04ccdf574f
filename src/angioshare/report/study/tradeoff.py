"""The trade-off figure: Dice at every site against noise and against epsilon for both units, all seeds."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import fmean

from angioshare.report.study import published
from angioshare.report.study.charts import Band, Chart, Group, Line, Panel, Series, extent, value_axis
from angioshare.report.study.content import Setting, StudyContent, in_order
from angioshare.report.study.places import PUBLISHED_COLOUR, Scale, along, colours, place
from angioshare.report.study.scores import seeds_group, series_of
from angioshare.report.study.threshold import Threshold, thresholds

SCALES: tuple[Scale, ...] = ("noise", "patch", "subject")
_BAR_COLOUR = "#EDABA6"


def figure_tradeoff(content: StudyContent) -> Chart:
    """Dice of every private point against noise and both epsilons, with the rivals as lines.

    Args:
        content: Settings and records.

    Guarantees:
        Every evaluated point of a private setting has exactly one number in each panel of a site, unless the setting
        has no finite place on that axis.
    """
    found = thresholds(content)
    rows = tuple(_row(content, site, [one for one in found if one.site == site]) for site in content.sites)
    return Chart(rows=rows, words=_words(content), row_inches=3.6)


def unplaced(content: StudyContent, scale: Scale) -> list[Setting]:
    """Private settings with scores that have no place on an axis, because their number is infinite or unknown."""
    settings = [one for one in content.with_role("private") if _measured(content, one)]
    _, places = along(settings, scale)
    return [setting for setting in settings if setting.name not in places]


def _measured(content: StudyContent, setting: Setting) -> bool:
    return any(content.spread(setting, "dice", site) for site in content.sites)


def _row(content: StudyContent, site: str, found: Sequence[Threshold]) -> tuple[Panel, ...]:
    """The panels of one site."""
    settings = [one for one in content.with_role("private") if content.spread(one, "dice", site)]
    lines = (*_bars(found), *_rivals(content, site), *_published_line(content, site))
    return tuple(_panel(content, site, settings, scale, lines, found) for scale in SCALES)


def _panel(
    content: StudyContent,
    site: str,
    settings: Sequence[Setting],
    scale: Scale,
    lines: Sequence[Line],
    found: Sequence[Threshold],
) -> Panel:
    """Boxes at the places of the settings."""
    mark = _published_mark(content, site, scale)
    axis, places = along(settings, scale, beside=[number for number, _ in mark])
    width = 0.75 * min([0.06 * (axis.limits[1] - axis.limits[0]) / 0.75, *_gaps(places.values())])
    groups = {
        one.name: seeds_group(places[one.name], content.spread(one, "dice", site))
        for one in settings
        if one.name in places
    }
    series = [*series_of(content, settings, groups, "box"), *(_mark_series(place(x, scale), y) for x, y in mark)]
    y, undefined_at = value_axis("Dice", [*extent(series), *(line.y for line in lines)], share=True, missing=False)
    return Panel(
        title=f"Dice, {site}",
        x=axis,
        y=y,
        series=tuple(series),
        lines=tuple(lines),
        bands=_bands(content, found, places, axis.limits),
        undefined_at=undefined_at,
        width=width,
    )


def _gaps(places: Iterable[float]) -> list[float]:
    """Distances of neighbours that differ."""
    ordered = sorted(places)
    return [high - low for low, high in pairwise(ordered) if high - low > 1e-6]


def _rivals(content: StudyContent, site: str) -> list[Line]:
    """Mean over seeds of whatever has no noise."""
    shade = colours(content)
    return [
        Line(
            title=f"{setting.title} (mean over seeds)",
            colour=shade[setting.name],
            y=fmean(means),
            dashed=setting.role in ("simulator", "public", "shuffled"),
        )
        for setting in content.with_role("non-private", "real", "simulator", "public", "shuffled")
        if (means := content.seed_means(setting, "dice", site))
    ]


def _bars(found: Sequence[Threshold]) -> list[Line]:
    """The bar of each family, wide and pale, since a rival's line may lie on it; families usually share one."""
    bars = dict.fromkeys(one.bar.dice for one in found if one.bar is not None)
    return [Line(title="bar: usable above", colour=_BAR_COLOUR, y=dice, width=4.5) for dice in bars]


def _published_line(content: StudyContent, site: str) -> list[Line]:
    dice = published.dice("non-private", list(content.sites).index(site))
    return [] if dice is None else [Line(title="published, without privacy", colour=PUBLISHED_COLOUR, y=dice)]


def _published_mark(content: StudyContent, site: str, scale: Scale) -> list[tuple[float, float]]:
    """Number on the axis and Dice of the best published private model; it states no epsilon for a subject."""
    dice = published.dice("private", list(content.sites).index(site))
    if dice is None or scale == "subject":
        return []
    return [(published.BEST_NOISE if scale == "noise" else published.BEST_EPSILON, dice)]


def _mark_series(x: float, dice: float) -> Series:
    where = f"noise {published.BEST_NOISE:g}, its epsilon {published.BEST_EPSILON:g} for one patch"
    title = f"published, best private ({where})"
    return Series(
        title=title, colour=PUBLISHED_COLOUR, look="mark", marker="D",
        groups=(Group(x=x, names=("published",), values=(dice,)),),
    )  # fmt: skip


def _bands(
    content: StudyContent, found: Sequence[Threshold], places: dict[str, float], limits: tuple[float, float]
) -> tuple[Band, ...]:
    """From the left end to half way between the first unusable setting and the last usable one."""
    shade = colours(content)
    bands = []
    for one in found:
        if one.bar is None or one.first_unusable is None or one.first_unusable.name not in places:
            continue
        edge = limits[1]
        if one.last_usable is not None and one.last_usable.name in places:
            edge = (places[one.first_unusable.name] + places[one.last_usable.name]) / 2
        colour = shade[one.first_unusable.name]
        bands.append(
            Band(title=f"{one.family}: beyond the threshold, unusable", colour=colour, low=limits[0], high=edge)
        )
    return tuple(bands)


def _words(content: StudyContent) -> str:
    """Means over seeds, for those who do not see the figure."""
    parts = []
    for site in content.sites:
        means = [
            f"{_label(setting)} {fmean(found):.3f}"
            for setting in in_order(content.settings)
            if (found := content.seed_means(setting, "dice", site))
        ]
        parts.append(f"{site}: {', '.join(means)}")
    return f"Dice, mean over subjects and seeds, at {'; at '.join(parts)}."


def _label(setting: Setting) -> str:
    if setting.role != "private" or setting.noise_multiplier is None:
        return setting.title
    epsilon = setting.epsilon("patch")
    shown = "no bound" if math.isinf(epsilon) else f"epsilon {setting.epsilon_shown('patch')} for one patch"
    return f"{setting.family} at noise {setting.noise_shown} ({shown})"
