"""Charts to hover over: the same as `draw.chart_figure`, as plain data for plotly.js."""

import math

from angioshare.report.interactive import plain
from angioshare.report.study.charts import Axis, Chart, Group, Panel, Series, beside_each_other
from angioshare.types import Json

_GRID, _INK = "#e3e6ea", "#333a44"
_SYMBOLS = {"o": "circle", "^": "triangle-up", "D": "diamond"}
_GAP_X, _GAP_Y, _ROW_PIXELS = 0.07, 110, 290


def chart_spec(chart: Chart) -> Json:
    """Describe a chart for plotly.

    Args:
        chart: What to draw.

    Returns:
        JSON values `data` and `layout`, free of NaN and infinity.
    """
    height = len(chart.rows) * (_ROW_PIXELS + _GAP_Y) + 60
    layout: Json = {
        "height": height,
        "margin": {"l": 70, "r": 16, "t": 44, "b": 60},
        "font": {"size": 13, "color": _INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "boxmode": "overlay",
        "legend": {"orientation": "h", "y": -_GAP_Y / height, "yanchor": "top"},
        "annotations": [],
        "shapes": [],
    }
    data: list[Json] = []
    named: set[str] = set()
    number = 0
    for position, row in enumerate(chart.rows):
        domain_y = _part(len(chart.rows) - 1 - position, len(chart.rows), _GAP_Y / height)
        for column, panel in enumerate(row):
            number += 1
            domain_x = _part(column, max(len(each) for each in chart.rows), _GAP_X)
            data += _panel(panel, "" if number == 1 else str(number), domain_x, domain_y, layout, named)
    return {"data": data, "layout": layout}


def _part(position: int, count: int, gap: float) -> list[float]:
    """The share of the figure that one of `count` neighbours takes."""
    width = (1 - gap * (count - 1)) / count
    low = position * (width + gap)
    return [low, min(low + width, 1.0)]


def _panel(
    panel: Panel, number: str, domain_x: list[float], domain_y: list[float], layout: Json, named: set[str]
) -> list[Json]:
    """Axes and titles into the layout; gives the traces."""
    layout["xaxis" + number] = _x_axis(panel.x) | {"domain": domain_x, "anchor": "y" + number}
    layout["yaxis" + number] = _y_axis(panel.y) | {"domain": domain_y, "anchor": "x" + number}
    layout["annotations"].append(
        {"text": f"<b>{plain(panel.title)}</b>", "x": domain_x[0], "y": domain_y[1], "xref": "paper", "yref": "paper"}
        | {"xanchor": "left", "yanchor": "bottom", "showarrow": False}
    )
    for band in panel.bands:
        layout["shapes"].append(
            {"type": "rect", "xref": "x" + number, "yref": f"y{number} domain", "x0": band.low, "x1": band.high}
            | {"y0": 0, "y1": 1, "fillcolor": band.colour, "opacity": 0.09, "line": {"width": 0}, "layer": "below"}
        )
    shared = {"xaxis": "x" + number, "yaxis": "y" + number}
    found: list[Json] = []
    for line in panel.lines:
        look = {"color": line.colour, "width": line.width, "dash": "dash" if line.dashed else "solid"}
        found.append(
            shared
            | {"type": "scatter", "mode": "lines", "x": list(panel.x.limits), "y": [line.y, line.y], "line": look}
            | _name(line.title, named)
            | {"hovertemplate": f"{plain(line.title)}: {line.y:.3f}<extra></extra>"}
        )
    for series in panel.series:
        for group in series.groups:
            found += [shared | trace for trace in _traces(panel, series, group, named)]
    return found


def _x_axis(axis: Axis) -> Json:
    heads = " / ".join(axis.heads)
    title = plain(axis.title or (f"lines: {heads}" if heads else ""))
    return {
        "range": list(axis.limits),
        "title": {"text": title, "font": {"size": 12}},
        "tickvals": [place for place, _ in axis.ticks],
        "ticktext": [plain(label).replace("\n", "<br>") for _, label in axis.ticks],
        "tickangle": 0,
        "tickfont": {"size": 11},
        "zeroline": False,
        "showgrid": False,
    }


def _y_axis(axis: Axis) -> Json:
    limits = [math.log10(end) for end in axis.limits] if axis.logarithmic else list(axis.limits)
    return {
        "type": "log" if axis.logarithmic else "linear",
        "range": limits,
        "title": {"text": plain(axis.title), "font": {"size": 12}},
        "gridcolor": _GRID,
        "zeroline": False,
    } | ({"dtick": "D2"} if axis.logarithmic else {})


def _name(title: str, named: set[str]) -> Json:
    """Name of a trace; the legend shows each once, and hides all of a name together."""
    first = title not in named
    named.add(title)
    return {"name": plain(title), "legendgroup": title, "showlegend": first}


def _traces(panel: Panel, series: Series, group: Group, named: set[str]) -> list[Json]:
    """Points with their box or mean at one place, and a cross for undefined ones."""
    names = [plain(name) for name, _ in group.defined]
    values = [value for _, value in group.defined]
    hover = {"text": names, "hovertemplate": "%{text}: %{y:.3f}<extra>" + plain(series.title) + "</extra>"}
    found: list[Json] = []
    if values:
        found.append(_points(panel, series, group, values) | hover | _name(series.title, named))
    if values and series.look == "mean":
        summary = group.summary
        bar = {"color": series.colour, "thickness": 1.5, "width": 5, "type": "data", "array": [summary.sd or 0.0]}
        mean = {"symbol": "line-ew-open", "size": 18, "color": series.colour, "line": {"width": 2.5}}
        found.append(
            {"type": "scatter", "mode": "markers", "x": [group.x], "y": [summary.mean], "marker": mean, "error_y": bar}
            | {"hovertemplate": "mean %{y:.3f}<extra>" + plain(series.title) + "</extra>"}
            | _name(series.title, named)
        )
    if group.undefined and panel.undefined_at is not None:
        words = f"{len(group.undefined)} undefined: {', '.join(map(plain, group.undefined))}"
        cross = {"color": series.colour, "symbol": "x-thin-open", "size": 9, "line": {"width": 2}}
        found.append(
            {"type": "scatter", "mode": "markers", "x": [group.x], "y": [panel.undefined_at], "marker": cross}
            | {"hovertemplate": f"{words}<extra></extra>"}
            | _name(series.title, named)
        )
    return found


def _points(panel: Panel, series: Series, group: Group, values: list[float]) -> Json:
    """The numbers themselves."""
    marker: Json = {"color": series.colour, "size": 7, "opacity": 0.8, "symbol": _SYMBOLS[series.marker]}
    if series.look == "box":
        return {
            "type": "box",
            "x": [group.x] * len(values),
            "y": values,
            "width": panel.width,
            "boxpoints": "all",
            "pointpos": 0,
            "jitter": 0.5,
            "marker": marker,
            "line": {"color": series.colour, "width": 1.5},
            "fillcolor": series.colour + "22",
            "hoveron": "points",
        }
    if series.look == "mark":
        marker |= {"symbol": f"{marker['symbol']}-open", "size": 11, "line": {"width": 2}}
        places = [group.x] * len(values)
    else:
        places = [group.x + 0.6 * panel.width * shift for shift in beside_each_other(len(values))]
    return {"type": "scatter", "mode": "markers", "x": places, "y": values, "marker": marker}
