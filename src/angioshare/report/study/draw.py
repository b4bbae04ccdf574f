"""Charts drawn by matplotlib without any global state."""

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator

from angioshare.report.figures import STYLE
from angioshare.report.study.charts import Chart, Group, Panel, Series, beside_each_other
from angioshare.types import FloatArray

WIDTH_INCHES = 11.0


def chart_figure(chart: Chart) -> Figure:
    """Draw a chart.

    Args:
        chart: What to draw.

    Returns:
        A figure that belongs to no window.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, chart.row_inches * len(chart.rows) + 0.7), layout="constrained")
        columns = max(len(row) for row in chart.rows)
        grid = figure.subplots(len(chart.rows), columns, squeeze=False)
        for places, row in zip(grid, chart.rows, strict=True):
            for axes, panel in zip(places, row, strict=False):
                _draw_panel(axes, panel)
            for axes in places[len(row) :]:
                axes.set_axis_off()
        _legend(figure, grid.ravel().tolist())
        return figure


def _draw_panel(axes: Axes, panel: Panel) -> None:
    """Draw one panel: bands behind lines behind groups."""
    axes.set_yscale("log" if panel.y.logarithmic else "linear")
    axes.set_xlim(*panel.x.limits)
    axes.set_ylim(*panel.y.limits)
    if panel.y.logarithmic:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    for band in panel.bands:
        axes.axvspan(band.low, band.high, color=band.colour, alpha=0.09, lw=0, label=band.title)
    for line in panel.lines:
        style = (0, (5, 3)) if line.dashed else "-"
        axes.axhline(line.y, color=line.colour, lw=line.width, ls=style, label=line.title)
    for series in panel.series:
        for group in series.groups:
            _draw_group(axes, panel, series, group)
    axes.set_title(panel.title)
    axes.set_ylabel(panel.y.title)
    axes.grid(axis="y", color="#e3e6ea", lw=0.6)
    axes.set_axisbelow(True)
    _ticks(axes, panel)


def _ticks(axes: Axes, panel: Panel) -> None:
    """Ticks of the x axis, and left of them what each line of their labels is."""
    axes.set_xlabel(panel.x.title)
    axes.set_xticks([place for place, _ in panel.x.ticks], [label for _, label in panel.x.ticks], fontsize=8)
    axes.tick_params(axis="x", length=3)
    if panel.x.heads:
        axes.annotate(
            "\n".join(panel.x.heads), (0, 0), (-8, -6), xycoords="axes fraction", textcoords="offset points",
            ha="right", va="top", fontsize=8, color="#566070",
        )  # fmt: skip


def _draw_group(axes: Axes, panel: Panel, series: Series, group: Group) -> None:
    values = np.array([value for _, value in group.defined])
    if len(values) and series.look == "mark":
        axes.scatter(
            np.full(len(values), group.x), values, marker=series.marker, s=46, facecolors="white",
            edgecolors=series.colour, linewidths=1.4, zorder=4, label=series.title,
        )  # fmt: skip
    elif len(values):
        if series.look == "box":
            _box(axes, group.x, values, series.colour, panel.width)
        else:
            _mean(axes, group, series.colour, panel.width)
        spread = 0.6 * panel.width * np.array(beside_each_other(len(values)))
        axes.scatter(
            group.x + spread, values, marker=series.marker, s=22, color=series.colour, alpha=0.75, linewidths=0,
            zorder=3, label=series.title,
        )  # fmt: skip
    if group.undefined and panel.undefined_at is not None:
        axes.plot(group.x, panel.undefined_at, marker="x", color=series.colour, ms=6, mew=1.6, clip_on=False)
        axes.annotate(
            f"{len(group.undefined)} undefined", (group.x, panel.undefined_at), (0, 6), fontsize=7, ha="center",
            textcoords="offset points", color="#333a44",
        )  # fmt: skip


def _box(axes: Axes, x: float, values: FloatArray, colour: str, width: float) -> None:
    """Quartiles and median; whiskers reach all points."""
    axes.boxplot(
        [values], positions=[x], widths=width, manage_ticks=False, showfliers=False, patch_artist=True, whis=(0, 100),
        boxprops={"facecolor": colour + "22", "edgecolor": colour}, medianprops={"color": colour, "lw": 2},
        whiskerprops={"color": colour}, capprops={"color": colour},
    )  # fmt: skip


def _mean(axes: Axes, group: Group, colour: str, width: float) -> None:
    """Mean as a bar, with SD as whiskers where there are two numbers or more."""
    found = group.summary
    assert found.mean is not None, "drawn only where something is defined"
    axes.plot([group.x - width / 2, group.x + width / 2], [found.mean] * 2, color=colour, lw=2, zorder=2)
    if found.sd is not None:
        axes.errorbar(group.x, found.mean, found.sd, color=colour, capsize=4, lw=1.2, zorder=2)


def _legend(figure: Figure, grid: list[Axes]) -> None:
    """One legend below, each title once."""
    entries: dict[str, Artist] = {}
    for axes in grid:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            entries.setdefault(label, handle)
    for label, handle in entries.items():
        if isinstance(handle, Patch):
            entries[label] = Patch(color=handle.get_facecolor(), label=label)
    if entries:
        inches = 0.55 + 0.072 * max(map(len, entries))
        columns = max(1, min(3, int(WIDTH_INCHES / inches)))
        figure.legend(entries.values(), entries, loc="outside lower center", ncols=columns, frameon=False, fontsize=8.5)
