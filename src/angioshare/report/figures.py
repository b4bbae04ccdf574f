"""Figures as in a paper, drawn by matplotlib without any global state: error maps, scores per subject, curves.

Plots keep a white ground in light and dark pages alike, so that they can be copied as they are.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from angioshare.report.content import Curve, ErrorMap
from angioshare.report.pictures import (
    CLASS_COLOURS,
    FALSE_NEGATIVE,
    FALSE_POSITIVE,
    TRUE_POSITIVE,
    Picture,
    class_projection,
    cropped,
    error_classes,
    fullest_slice,
    hung,
    overlay,
)
from angioshare.report.scoreplot import COLOURS, Group, ScorePlot
from angioshare.types import ByteArray, FloatArray

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "angioshare",
    "text.parse_math": False,  # a title with a dollar sign is a title
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8a919c",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
}
"""How every plot looks; for `matplotlib.rc_context`."""

_POINTS = 1500
_DPI = 200


def error_map_figure(error_map: ErrorMap, *, width_inches: float = 13.0) -> Picture:
    """Draw one subject: a slice, the slice with errors, the vessel tree along three axes.

    All panels share one scale in mm. A projection shows the commonest class on each ray.

    Args:
        error_map: What to draw.
        width_inches: Width of the figure; 100 pixels an inch.

    Returns:
        A PNG on black.
    """
    image, classes = cropped(error_map)
    k = fullest_slice(classes)
    plain = overlay(image[:, :, k], np.zeros_like(classes[:, :, k]))
    axial, coronal, sagittal = (CLASS_COLOURS[class_projection(classes, axis)] for axis in (2, 1, 0))
    i_mm, j_mm, k_mm = (n * mm for n, mm in zip(classes.shape, error_map.spacing_mm, strict=True))
    gap, head = 0.03 * i_mm, 0.10 * i_mm
    width, height = 3 * (i_mm + gap) + max(i_mm, j_mm), max(j_mm, 2 * k_mm + head) + head
    left, top = 3 * (i_mm + gap), height - head
    panels = [
        (plain, "Axial slice", "RL", (0.0, top - j_mm, i_mm, j_mm)),
        (overlay(image[:, :, k], classes[:, :, k]), "with errors", "RL", (i_mm + gap, top - j_mm, i_mm, j_mm)),
        (axial, "Vessel tree, axial", "RL", (2 * (i_mm + gap), top - j_mm, i_mm, j_mm)),
        (coronal, "coronal", "RL", (left, top - k_mm, i_mm, k_mm)),
        (sagittal, "sagittal", "AP", (left, top - 2 * k_mm - head, j_mm, k_mm)),
    ]
    figure = Figure(figsize=(width_inches, width_inches * height / width), facecolor="black", dpi=100)
    for colours, name, sides, (x, y, w, h) in panels:
        axes = figure.add_axes((x / width, y / height, w / width, h / height))
        _show(axes, hung(colours), name, sides)
    return Picture(mime="image/png", data=png(figure), alt=error_words(error_map))


def error_counts(error_map: ErrorMap) -> dict[str, int]:
    """Count true positives, false positives and false negatives of the whole volume."""
    classes = error_classes(error_map.label, error_map.prediction)
    names = {"true positive": TRUE_POSITIVE, "false positive": FALSE_POSITIVE, "false negative": FALSE_NEGATIVE}
    return {name: int((classes == value).sum()) for name, value in names.items()}


def error_words(error_map: ErrorMap) -> str:
    """Say what an error map shows, for those who do not see it."""
    counts = ", ".join(f"{count} {name}" for name, count in error_counts(error_map).items())
    return (
        f"Subject {error_map.subject} at {error_map.site}, segmenter trained on {error_map.source}: one axial slice "
        f"without and with errors, and the vessel tree projected along three axes; voxels: {counts}."
    )


def score_figure(plot: ScorePlot) -> Picture:
    """Draw the scores of one metric: a panel for each site, a row for each source, a point for each subject."""
    with mpl.rc_context(STYLE):
        rows = len(plot.panels[0])
        figure = Figure(figsize=(11.0, 0.75 + 0.46 * rows), layout="constrained")
        panels = figure.subplots(1, len(plot.sites), sharey=True, squeeze=False)[0]
        for axes, site, groups in zip(panels, plot.sites, plot.panels, strict=True):
            _score_panel(axes, plot, groups)
            axes.set_title(site)
        panels[0].set_yticks(range(rows), [group.title for group in plot.panels[0]])
        panels[0].set_ylim(rows - 0.45, -0.55)
        return Picture(mime="image/svg+xml", data=svg(figure), alt=plot.words())


def curve_figure(curves: Sequence[Curve], titles: Mapping[str, str]) -> Picture:
    """Draw training curves: a panel for each name, a line for each source, thinned to what the eye can tell apart.

    Args:
        curves: What to draw, at least one.
        titles: Title of each source by its name.
    """
    names = list(dict.fromkeys(curve.name for curve in curves))
    sources = list(dict.fromkeys(curve.source for curve in curves))
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.0, 2.6 * -(-len(names) // 2) + 0.3), layout="constrained")
        panels = figure.subplots(-(-len(names) // 2), min(2, len(names)), squeeze=False).ravel()
        for axes, name in zip(panels, names, strict=False):
            for curve in (curve for curve in curves if curve.name == name):
                stride = max(1, -(-len(curve.steps) // _POINTS))
                colour = COLOURS[sources.index(curve.source) % len(COLOURS)]
                label = titles.get(curve.source, curve.source)
                axes.plot(curve.steps[::stride], curve.values[::stride], color=colour, lw=1.2, label=label)
            axes.set_title(name)
            axes.set_xlabel("step")
            axes.grid(color="#e3e6ea", lw=0.6)
        for axes in panels[len(names) :]:
            axes.set_axis_off()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
        words = f"Training curves of {', '.join(titles.get(s, s) for s in sources)}: {', '.join(names)} over steps."
        return Picture(mime="image/svg+xml", data=svg(figure), alt=words)


def _score_panel(axes: Axes, plot: ScorePlot, groups: Sequence[Group]) -> None:
    """Draw the rows of one site."""
    axes.set_xscale("log" if plot.logarithmic else "linear")
    axes.set_xlim(*plot.limits)
    axes.xaxis.set_major_formatter("{x:g}")
    for row, group in enumerate(groups):
        values = [value for _, value in group.defined]
        if values:
            _box(axes, row, np.array(values), group.colour)
        if group.undefined and plot.undefined_at is not None:
            axes.plot(plot.undefined_at, row, marker="x", color=group.colour, ms=7, mew=1.8, clip_on=False)
            axes.annotate(
                f"{len(group.undefined)} undefined", (plot.undefined_at, row), (0, 7), fontsize=7, ha="center",
                textcoords="offset points", color="#333a44",
            )  # fmt: skip
    axes.grid(axis="x", color="#e3e6ea", lw=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(plot.axis_title)


def _box(axes: Axes, row: int, values: FloatArray, colour: str) -> None:
    """Draw quartiles behind points that are spread a little so that equal ones stay apart."""
    axes.boxplot(
        [values], positions=[row], widths=0.5, orientation="horizontal", manage_ticks=False, showfliers=False,
        patch_artist=True, boxprops={"facecolor": colour + "22", "edgecolor": colour},
        medianprops={"color": colour, "lw": 2}, whiskerprops={"color": colour}, capprops={"color": colour},
    )  # fmt: skip
    spread = (np.arange(len(values)) * 0.618 % 1 - 0.5) * 0.32
    axes.scatter(values, row + spread, s=13, color=colour, alpha=0.8, linewidths=0, zorder=3)


def _show(axes: Axes, colours: ByteArray, name: str, sides: str) -> None:
    """Show rows and columns of colour over the whole of `axes`, with a name above and the letters of its sides."""
    axes.imshow(colours, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    axes.set_title(name, color="white", fontsize=9, loc="left", pad=4)
    for letter, x, side in ((sides[0], 0.015, "left"), (sides[1], 0.985, "right")):
        axes.text(x, 0.97, letter, transform=axes.transAxes, color="#c9ced6", fontsize=8, ha=side, va="top")


def svg(figure: Figure) -> bytes:
    """Encode as SVG, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()


def png(figure: Figure) -> bytes:
    """Encode as PNG of 256 colours: a third of the size, and greys and three class colours need no more."""
    drawn, packed = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png")
    colours = Image.open(drawn).convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    colours.save(packed, "PNG", optimize=True)
    return packed.getvalue()


def encoded(figure: Figure, kind: str) -> bytes:
    """Encode a figure.

    Args:
        figure: What to encode.
        kind: `"png"` (200 pixels an inch), `"pdf"` or `"svg"`.

    Returns:
        The file; the same bytes for the same figure.
    """
    buffer = io.BytesIO()
    dates = {"png": None, "pdf": {"CreationDate": None}, "svg": {"Date": None}}
    with mpl.rc_context(STYLE):
        figure.savefig(buffer, format=kind, dpi=_DPI, metadata=dates[kind])
    return buffer.getvalue()
