"""The picture of `utility.py`: Dice of every private method against its epsilon, beside what it has to beat."""

import math
from collections.abc import Sequence
from itertools import cycle
from statistics import fmean

from matplotlib.figure import Figure

from angioshare.privacy.unit import PrivacyUnit
from angioshare.report.scoreplot import KIND_COLOURS, UNTAUGHT_COLOUR
from angioshare.report.study.charts import Axis, Chart, Group, Line, Panel, Series, extent
from angioshare.report.study.draw import chart_figure
from angioshare.report.study.places import TURN
from utility_table import RIVALS, Row, Table

RIVAL_COLOURS = {**KIND_COLOURS, "untaught-reader": UNTAUGHT_COLOUR, "public-cohort": KIND_COLOURS["public"]}
UNITS: dict[PrivacyUnit, str] = {"patch": "one patch protected", "subject": "a whole subject protected"}


def picture(table: Table) -> Figure | None:
    """Draw the table; None if it has no private row.

    Args:
        table: Rows of which those with a target epsilon are drawn as points, one a seed, and rivals as lines.

    Returns:
        Sites below each other, units beside each other; all panels of a site share the axis of the Dice, which need
        not begin at 0.
    """
    private = [row for row in table.rows if row.target is not None]
    units = [unit for unit in UNITS if any(row.unit == unit for row in private)]
    if not units:
        return None
    turn = cycle(TURN)
    colours = {method: next(turn) for method in dict.fromkeys(row.synthesizer for row in private)}
    rows = tuple(tuple(_panel(table, site, unit, private, colours) for unit in units) for site in table.sites)
    return chart_figure(Chart(rows=rows, words="", row_inches=3.4))


def _panel(table: Table, site: str, unit: PrivacyUnit, private: Sequence[Row], colours: dict[str, str]) -> Panel:
    """Methods of one unit at one site."""
    here = [row for row in private if row.unit == unit]
    series = tuple(
        _series([row for row in here if row.synthesizer == method], site, colours[method])
        for method in dict.fromkeys(row.synthesizer for row in here)
    )
    lines = [
        Line(title=row.title, colour=RIVAL_COLOURS[row.synthesizer], y=fmean(means), dashed=row.synthesizer != "real")
        for row in table.rows
        if row.synthesizer in RIVALS and (means := [value for _, value in _seed_means(row, site)])
    ]
    places = {target: math.log10(target) for target in sorted({row.target for row in here if row.target is not None})}
    low, high = _ends([*_heights(private, site), *(line.y for line in lines)])
    return Panel(
        title=f"{site}: {UNITS[unit]}",
        x=Axis(
            title=f"epsilon for {UNITS[unit].removesuffix(' protected')} (logarithmic)",
            limits=(min(places.values()) - 0.25, max(places.values()) + 0.25),
            ticks=tuple((place, f"{target:g}") for target, place in places.items()),
        ),
        y=Axis(title="Dice (not from 0)" if low > 0 else "Dice", limits=(low, high)),
        series=series,
        lines=tuple(lines),
        width=0.12,
    )


def _series(rows: Sequence[Row], site: str, colour: str) -> Series:
    """A method's points for one unit: one a seed, with mean and SD over seeds."""
    title = rows[0].title.rpartition(", epsilon")[0]
    return Series(title=title, colour=colour, groups=tuple(_group(row, site) for row in rows), look="mean")


def _group(row: Row, site: str) -> Group:
    """Mean Dice over subjects of each seed, at the epsilon that was asked for."""
    means = _seed_means(row, site)
    return Group(
        x=math.log10(row.target or 1.0),
        names=tuple(f"seed {seed}" for seed, _ in means),
        values=tuple(value for _, value in means),
    )


def _seed_means(row: Row, site: str) -> list[tuple[int, float]]:
    """Mean Dice over subjects of each seed where it is defined."""
    found: dict[int, list[float]] = {}
    for (seed, _), value in row.scores["dice"].get(site, {}).items():
        if value is not None:
            found.setdefault(seed, []).append(value)
    return [(seed, fmean(values)) for seed, values in sorted(found.items())]


def _heights(rows: Sequence[Row], site: str) -> list[float]:
    """Everything that is drawn of these rows, ends of whiskers included."""
    return extent([_series([row], site, "") for row in rows])


def _ends(numbers: Sequence[float]) -> tuple[float, float]:
    """Ends of an axis that holds these numbers, with a little room."""
    low, high = min(numbers), max(numbers)
    room = 0.08 * max(high - low, 0.02)
    return low - room, high + room
