"""Pictures side by side on black, all at one scale, with words above each."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.figure import Figure

from angioshare.report.figures import STYLE
from angioshare.report.study.draw import WIDTH_INCHES
from angioshare.types import ByteArray

_LINE_INCHES = 0.14
_GAP = 0.03


@dataclass(frozen=True, kw_only=True, eq=False)
class Tile:
    """One picture.

    Attributes:
        pixels: Rows and columns of colour, shape (rows, columns, 3).
        size: Width and height in a unit that all tiles of a mosaic share, for example mm.
        words: What stands above it; lines are kept.
        sides: Letters of its left and right side, or `""`.
    """

    pixels: ByteArray
    size: tuple[float, float]
    words: str = ""
    sides: str = ""


def mosaic(rows: Sequence[Sequence[Tile]], *, largest_inches: float = 2.6) -> Figure:
    """Lay tiles out in rows.

    Args:
        rows: Tiles from left to right, rows from top to bottom; at least one tile.
        largest_inches: The widest tile is at most so wide.

    Returns:
        A figure as wide as the tiles need, at most as wide as other figures.
    """
    widest = max(tile.size[0] for row in rows for tile in row)
    gap = _GAP * widest
    across = max(sum(tile.size[0] + gap for tile in row) - gap for row in rows)
    scale = min(WIDTH_INCHES / across, largest_inches / widest)
    heads = [max((len(tile.words.splitlines()) for tile in row), default=0) * _LINE_INCHES + 0.06 for row in rows]
    heights = [max(tile.size[1] for tile in row) * scale for row in rows]
    width, height = across * scale, sum(heads) + sum(heights)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height), facecolor="black", dpi=150)
        top = height
        for row, head, high in zip(rows, heads, heights, strict=True):
            left = 0.0
            for tile in row:
                wide, tall = tile.size[0] * scale, tile.size[1] * scale
                box = (left / width, (top - head - tall) / height, wide / width, tall / height)
                _place(figure, tile, box)
                left += wide + gap * scale
            top -= head + high
        return figure


def _place(figure: Figure, tile: Tile, box: tuple[float, float, float, float]) -> None:
    """Show a tile with its words."""
    axes = figure.add_axes(box)
    axes.imshow(tile.pixels, interpolation="nearest", aspect="auto")
    axes.set_axis_off()
    axes.set_title(tile.words, color="white", fontsize=7.5, loc="left", pad=3, fontweight="normal")
    for letter, x, side in zip(tile.sides, (0.02, 0.98), ("left", "right"), strict=False):
        axes.text(x, 0.98, letter, transform=axes.transAxes, color="#c9ced6", fontsize=7, ha=side, va="top")
