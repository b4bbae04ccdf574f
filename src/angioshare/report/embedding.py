"""Figures of an embedding: patches of several sources as points, and as the patches themselves at their places.

Both show real patches or what only real patches could have placed: they are for the internal page.
"""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from angioshare.metrics.transport import METRICS
from angioshare.report.content import Embedding
from angioshare.report.figures import STYLE, png, svg
from angioshare.report.pictures import Picture, hung
from angioshare.report.scoreplot import source_colours
from angioshare.types import FloatArray, IntArray

MARKERS = ("o", "^", "s", "D", "v", "P")
"""For groups in turn, so that they differ without colour as well."""

_ACROSS = 28
_WIDTH_INCHES = 11.0
_MARGIN = 0.02
_LEGEND_COLUMNS = 2


def embedding_figure(embeddings: Sequence[Embedding], *, colours: Mapping[str, str] | None = None) -> Figure:
    """Draw patches as points, a panel for each distance.

    Args:
        embeddings: At least one, all of the same groups.
        colours: Colour of each group by its name, for example that of other figures of the page; a group that has none
            takes that of `source_colours`.

    Returns:
        A figure with a legend.
    """
    known = _colours(embeddings[0], colours)
    placed = [_places(embedding.points) for embedding in embeddings]
    reach = max(_reach(places) for places in placed) + _MARGIN
    with mpl.rc_context(STYLE):
        figure = _figure(2 * reach / len(embeddings), embeddings[0])
        panels = figure.subplots(1, len(embeddings), squeeze=False)[0]
        for axes, embedding, places in zip(panels, embeddings, placed, strict=True):
            for index, info in enumerate(embedding.groups):
                own = places[embedding.group == index]
                marker = MARKERS[index % len(MARKERS)]
                axes.scatter(*own.T, s=12, marker=marker, color=known[info.name], alpha=0.65, linewidths=0)
            _frame(axes, METRICS[embedding.metric].title, 0.5 + _MARGIN, reach)
        _legend(figure, embeddings[0], known, MARKERS, filled=True)
    return figure


def thumbnail_figure(embedding: Embedding, *, colours: Mapping[str, str] | None = None) -> Figure:
    """Draw the patches at their places, each in a frame of its group's colour.

    Where two would cover each other, one is left out: each group in turn places its next patch that fits.

    Args:
        embedding: What to draw.
        colours: See `embedding_figure`.

    Returns:
        A figure with a legend.
    """
    known = _colours(embedding, colours)
    places, size = _places(embedding.points), 1 / _ACROSS
    half, reach = 0.46 * size, _reach(places) + size
    with mpl.rc_context(STYLE):
        figure = _figure(2 * reach, embedding)
        figure.suppressComposite = True  # a PDF keeps each patch as it is, and is written sooner
        axes = figure.subplots()
        for row in apart(places, embedding.group, size):
            x, y = places[row]
            box = (x - half, x + half, y - half, y + half)
            axes.imshow(hung(embedding.thumbnails[row]), extent=box, cmap="gray", vmin=0, vmax=255)
            colour = known[embedding.groups[embedding.group[row]].name]
            axes.add_patch(Rectangle((box[0], box[2]), 2 * half, 2 * half, fill=False, edgecolor=colour, lw=1.5))
        _frame(axes, METRICS[embedding.metric].title, 0.5 + size, reach)
        _legend(figure, embedding, known, "s", filled=False)
    return figure


def apart(places: FloatArray, group: IntArray, size: float) -> list[int]:
    """Choose points whose squares of side `size` do not overlap, the groups taking turns.

    Example:
        >>> apart(np.array([[0.0, 0.0], [0.05, 0.0], [0.5, 0.5]]), np.array([0, 0, 1]), 0.1)
        [0, 2]
    """
    turn = np.zeros(len(group), np.int64)
    for index in np.unique(group):
        turn[group == index] = np.arange((group == index).sum())
    kept: list[int] = []
    for row in np.lexsort((group, turn)):
        if not (np.abs(places[kept] - places[row]).max(axis=1) < size).any():
            kept.append(int(row))
    return kept


def embedding_caption(embedding: Embedding) -> str:
    """Say what was placed, what each source was made from, and how a t-SNE is read.

    Example:
        >>> from angioshare.report.content import SourceInfo
        >>> real = SourceInfo(name="real", title="Real patches", kind="real")
        >>> nothing = {"points": np.zeros((9, 2)), "thumbnails": np.zeros((9, 4, 4), np.uint8)}
        >>> group = np.zeros(9, np.int64)
        >>> embedding_caption(Embedding(metric="sliced", perplexity=30.0, group=group, groups=(real,), **nothing))[:49]
        't-SNE (perplexity 30) of image patches, placed to'
    """
    counts = np.bincount(embedding.group, minlength=len(embedding.groups))
    listed = "; ".join(
        f"{count} of “{info.title}”" + (f" (made from {info.trained_on})" if info.trained_on else "")
        for count, info in zip(counts, embedding.groups, strict=True)
    )
    return (
        f"t-SNE (perplexity {embedding.perplexity:.3g}) of image patches, placed together, without their labels: "
        f"{listed}. Patches that are near by the distance above a panel are near in it; how far apart two clouds lie "
        "and how wide they are means nothing."
    )


def metric_words(embedding: Embedding) -> str:
    """The distance and what it sees, in two sentences."""
    metric = METRICS[embedding.metric]
    return f"{metric.title}. {metric.explanation}"


def embedding_picture(embeddings: Sequence[Embedding], *, colours: Mapping[str, str] | None = None) -> Picture:
    """Encode `embedding_figure` for a page."""
    words = f"{embedding_caption(embeddings[0])} A point is a patch. {' '.join(map(metric_words, embeddings))}"
    figure = embedding_figure(embeddings, colours=colours)
    with mpl.rc_context(STYLE):
        data = svg(figure)
    return Picture(mime="image/svg+xml", data=data, alt=words)


def thumbnail_picture(embedding: Embedding, *, colours: Mapping[str, str] | None = None) -> Picture:
    """Encode `thumbnail_figure` for a page."""
    words = f"{embedding_caption(embedding)} Patches are shown at their places. {metric_words(embedding)}"
    figure = thumbnail_figure(embedding, colours=colours)
    with mpl.rc_context(STYLE):
        data = png(figure)
    return Picture(mime="image/png", data=data, alt=words)


def _places(points: FloatArray) -> npt.NDArray[np.float64]:
    """Points moved to the middle and scaled, both axes alike, so that the longer side reaches from -0.5 to 0.5."""
    low, high = points.min(axis=0), points.max(axis=0)
    found: npt.NDArray[np.float64] = np.asarray(points - (low + high) / 2, np.float64)
    found /= float((high - low).max()) or 1.0
    return found


def _reach(places: npt.NDArray[np.float64]) -> float:
    """How far they reach up and down, but never so little that a figure becomes a line."""
    return max(float(np.abs(places[:, 1]).max()), 0.1)


def _colours(embedding: Embedding, colours: Mapping[str, str] | None) -> dict[str, str]:
    return source_colours(embedding.groups) | dict(colours or {})


def _figure(proportion: float, embedding: Embedding) -> Figure:
    """A figure of the usual width, its panels `proportion` as high as it is wide, with room for title and legend."""
    words = 0.35 + 0.2 * -(-len(embedding.groups) // _LEGEND_COLUMNS)
    return Figure(figsize=(_WIDTH_INCHES, _WIDTH_INCHES * proportion + words), layout="constrained")


def _frame(axes: Axes, title: str, reach_x: float, reach_y: float) -> None:
    """A box with a title and no scale, for there is none."""
    axes.set(xlim=(-reach_x, reach_x), ylim=(-reach_y, reach_y), aspect="equal", xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#c9ced6")
    axes.set_title(title)


def _legend(
    figure: Figure, embedding: Embedding, colours: Mapping[str, str], markers: Sequence[str], *, filled: bool
) -> None:
    """Name the groups below, with how many patches each has."""
    counts = np.bincount(embedding.group, minlength=len(embedding.groups))
    handles = [
        Line2D(
            [], [], ls="", marker=markers[index % len(markers)], color=colours[info.name],
            fillstyle="full" if filled else "none", label=f"{info.title} ({count})",
        )
        for index, (info, count) in enumerate(zip(embedding.groups, counts, strict=True))
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=_LEGEND_COLUMNS, frameon=False)
