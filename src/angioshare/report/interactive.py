"""Scores per subject to hover over: the same plots as `figures.score_figure`, as plain data for plotly.js.

The page holds plotly.js once and one small script. The script names the buttons that a plot has: plotly's own list
holds one that sends the plot to a cloud service, which a content policy cannot stop.
"""

import math

from plotly.offline import get_plotlyjs

from angioshare.report.scoreplot import Group, ScorePlot
from angioshare.types import Json

_GRID, _INK = "#e3e6ea", "#333a44"


def plotly_script() -> str:
    """Return plotly.js, whole, to be put into a page once."""
    return str(get_plotlyjs())


def score_spec(plot: ScorePlot) -> Json:
    """Describe a score plot for plotly.

    Args:
        plot: What to draw.

    Returns:
        JSON values `data` and `layout`, free of NaN and infinity.
    """
    count = len(plot.sites)
    layout: Json = {
        "height": 110 + 44 * len(plot.panels[0]),
        "margin": {"l": 10, "r": 16, "t": 34, "b": 50},
        "showlegend": False,
        "font": {"size": 13, "color": _INK},
        "paper_bgcolor": "#ffffff",
        "plot_bgcolor": "#ffffff",
        "yaxis": _rows([plain(group.title) for group in plot.panels[0]]),
        "annotations": [],
    }
    data: list[Json] = []
    for number, (site, groups) in enumerate(zip(plot.sites, plot.panels, strict=True)):
        name = "x" if number == 0 else f"x{number + 1}"
        domain = [number / count + (0.02 if number else 0), (number + 1) / count - (0.02 if number + 1 < count else 0)]
        layout["xaxis" + name[1:]] = _axis(plot, domain)
        layout["annotations"].append(
            {"text": f"<b>{plain(site)}</b>", "x": domain[0], "y": 1, "xref": "paper", "yref": "paper"}
            | {"xanchor": "left", "yanchor": "bottom", "showarrow": False}
        )
        for group in groups:
            data += _traces(plot, group, name)
    return {"data": data, "layout": layout}


def _rows(titles: list[str]) -> Json:
    """Axis of sources, the first on top; named ones even where a title looks like a number."""
    order = {"type": "category", "categoryorder": "array", "categoryarray": titles, "range": [len(titles) - 0.5, -0.5]}
    return order | {"automargin": True, "showgrid": False, "ticks": "", "fixedrange": True}


def _axis(plot: ScorePlot, domain: list[float]) -> Json:
    """Axis of scores of one panel; the ends of a logarithmic one are powers of ten for plotly."""
    axis: Json = {
        "domain": domain,
        "title": {"text": plot.axis_title, "font": {"size": 13}},
        "gridcolor": _GRID,
        "zeroline": False,
    }
    if not plot.logarithmic:
        return axis | {"range": list(plot.limits)}
    return axis | {"type": "log", "dtick": 1, "range": [_exponent(end) for end in plot.limits]}


def _exponent(value: float) -> float:
    """Power of ten of a positive number."""
    return math.log10(value)


def _traces(plot: ScorePlot, group: Group, axis: str) -> list[Json]:
    """Box and points of one source at one site, and crosses for undefined scores."""
    title = plain(group.title)
    shared: Json = {"xaxis": axis, "yaxis": "y", "orientation": "h", "name": title}
    box = shared | {
        "type": "box",
        "x": [value for _, value in group.defined],
        "y": [title] * len(group.defined),
        "text": [plain(subject) for subject, _ in group.defined],
        "boxpoints": "all",
        "pointpos": 0,
        "jitter": 0.5,
        "marker": {"color": group.colour, "size": 6, "opacity": 0.75},
        "line": {"color": group.colour, "width": 1.5},
        "fillcolor": group.colour + "22",
        "hovertemplate": "%{text}: %{x:.3f}<extra>" + title + "</extra>",
        "hoveron": "points",
    }
    cross = shared | {
        "type": "scatter",
        "mode": "markers",
        "x": [plot.undefined_at] * len(group.undefined),
        "y": [title] * len(group.undefined),
        "text": [plain(subject) for subject in group.undefined],
        "marker": {"color": group.colour, "symbol": "x-thin-open", "size": 10, "line": {"width": 2}},
        "hovertemplate": "%{text}: undefined (empty prediction)<extra>" + title + "</extra>",
    }
    cross.pop("orientation")
    return [box] + ([cross] if group.undefined else [])


def plain(text: str) -> str:
    """Take the marks out of a text that plotly would read as its own small HTML or as a template."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("%{", "% {")
