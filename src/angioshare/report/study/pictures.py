"""Figures 2, 4, 7 and S2: samples of every setting, and where segmenters were right and wrong."""

from collections import Counter
from collections.abc import Sequence
from textwrap import wrap
from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure

from angioshare.report.content import Samples
from angioshare.report.pictures import CLASS_COLOURS, hung, overlay
from angioshare.report.study.content import Setting, StudyContent, in_order
from angioshare.report.study.mosaic import Tile, mosaic
from angioshare.report.study.views import ErrorView, Slice
from angioshare.types import BoolArray, ByteArray, FloatArray

Shown = TypeVar("Shown")

COLUMNS = 7
"""Settings side by side; more go below."""

LINE = 22
"""Letters that fit above one picture of a full row."""

SHOWN_PAIRS = 2
STRICTEST = 3
"""Settings of Figure S2: those with most noise, whose distances are told by few voxels or by stray ones."""


def sampled(content: StudyContent) -> list[tuple[Setting, Samples]]:
    """Settings with pairs to be looked at, of the first seed that has any."""
    found = []
    held = {samples.source: samples for samples in content.report.samples}
    for setting in in_order(content.settings):
        samples = next((held[point] for point in setting.points if point in held), None)
        if samples is not None and len(samples.image):
            found.append((setting, samples))
    return found


def figure_2(content: StudyContent) -> Figure:
    """Some pairs of every setting: image above, label below."""
    rows = []
    for band in _bands(sampled(content)):
        for number in range(SHOWN_PAIRS):
            shown = [(setting, one) for setting, one in band if number < len(one.image)]
            head = number == 0
            rows.append([_patch(_grey(one.image[number]), heading(setting) if head else "") for setting, one in shown])
            rows.append([_patch(_mask(one.label[number] > 0), "") for _, one in shown])
    return mosaic([row for row in rows if row], largest_inches=1.5)


def viewed(content: StudyContent, site: str) -> list[tuple[Setting, ErrorView]]:
    """Settings with an error map at a site, all of the subject that most of them have."""
    here = [view for view in content.views if view.site == site]
    if not here:
        return []
    subject = Counter(view.subject for view in here).most_common(1)[0][0]
    found = []
    for setting in in_order(content.settings):
        view = next((one for one in here if one.source in setting.points and one.subject == subject), None)
        if view is not None:
            found.append((setting, view))
    return found


def figure_4(content: StudyContent) -> Figure:
    """A slice with errors and the vessel tree of one subject, for every setting."""
    rows = []
    for band in _bands(viewed(content, content.sites[0])):
        rows.append([_slice_tile(view, view.large, _scored(content, setting, view)) for setting, view in band])
        rows.append([_tree_tile(view, 0, "") for _, view in band])
    return mosaic(rows, largest_inches=2.2)


def figure_7(view: ErrorView) -> Figure:
    """Large vessels, small vessels and the whole tree of one subject.

    Args:
        view: The error map of the best private point.
    """
    slices = []
    for letter, name, one in (("A", "large vessels", view.large), ("B", "small vessels", view.small)):
        slices.append(_slice_tile(view, one, f"{letter}. Slice {one.number}, {name}", plain=True))
        slices.append(_slice_tile(view, one, "with errors"))
    trees = [
        _tree_tile(view, axis, words)
        for axis, words in enumerate(("C. Whole vessel tree, axial", "coronal", "sagittal"))
    ]
    return mosaic([slices, trees])


def strictest(content: StudyContent, site: str) -> list[tuple[Setting, ErrorView]]:
    """The settings of Figure S2 at a site."""
    return [(setting, view) for setting, view in viewed(content, site) if setting.role == "private"][:STRICTEST]


def figure_s2(content: StudyContent, site: str) -> Figure:
    """A slice with errors and the vessel tree at a second site, for the settings with most noise."""
    shown = strictest(content, site)
    slices = [_slice_tile(view, view.large, _scored(content, setting, view, distance=True)) for setting, view in shown]
    return mosaic([slices, [_tree_tile(view, 0, "") for _, view in shown]])


def heading(setting: Setting) -> str:
    """What stands above a picture of a setting: its family and noise with both bounds, or its title; narrow lines."""
    if setting.role != "private" or setting.noise_multiplier is None:
        return "\n".join(wrap(setting.title, LINE)[:3])
    bounds = [f"epsilon {setting.epsilon_shown(unit)} ({unit})" for unit in ("patch", "subject")]
    noise = f"noise\N{NO-BREAK SPACE}{setting.noise_shown}"
    return "\n".join([*wrap(f"{setting.family}, {noise}", LINE), *bounds])


def _bands(listed: Sequence[Shown]) -> list[Sequence[Shown]]:
    """Rows of at most `COLUMNS`, as even as can be."""
    count = -(-len(listed) // COLUMNS)
    each = -(-len(listed) // max(count, 1))
    return [listed[first : first + each] for first in range(0, len(listed), max(each, 1))]


def _scored(content: StudyContent, setting: Setting, view: ErrorView, *, distance: bool = False) -> str:
    """Heading with the subject's own scores."""
    dice, bahd = (content.score(view.source, metric, view.site, view.subject) for metric in ("dice", "bahd_voxel"))
    lines = [heading(setting)] + ([f"Dice {dice:.3f}"] if dice is not None else [])
    if distance:
        lines[-1] += f", bAHD {bahd:.2f}" if bahd is not None else ", bAHD undefined"
        found, missed = view.counts["false positive"], view.counts["false negative"]
        lines.append(f"{found:,} false positive, {missed:,} false negative")
    return "\n".join(lines)


def _patch(pixels: ByteArray, words: str) -> Tile:
    return Tile(pixels=pixels, size=(1.0, pixels.shape[0] / pixels.shape[1]), words=words)


def _grey(image: FloatArray) -> ByteArray:
    """A patch in [-1, 1] as grey."""
    grey = np.round(np.clip((np.nan_to_num(np.asarray(image, np.float32), nan=-1.0) + 1) / 2, 0, 1) * 255)
    return np.repeat(hung(grey.astype(np.uint8))[:, :, None], 3, axis=2)


def _mask(label: BoolArray) -> ByteArray:
    return np.repeat(np.where(hung(label), np.uint8(235), np.uint8(28))[:, :, None], 3, axis=2)


def _slice_tile(view: ErrorView, one: Slice, words: str, *, plain: bool = False) -> Tile:
    """An axial slice in mm, with or without its errors."""
    classes = np.zeros_like(one.classes) if plain else one.classes
    return Tile(pixels=hung(overlay(one.image, classes)), size=_mm(view, one.classes, 0, 1), words=words, sides="RL")


def _tree_tile(view: ErrorView, axis: int, words: str) -> Tile:
    """A projection in mm: 0 axial, 1 coronal, 2 sagittal."""
    across, up = ((0, 1), (0, 2), (1, 2))[axis]
    tree = view.tree[axis]
    return Tile(
        pixels=hung(CLASS_COLOURS[tree]),
        size=_mm(view, tree, across, up),
        words=words,
        sides="AP" if axis == 2 else "RL",
    )


def _mm(view: ErrorView, plane: ByteArray, across: int, up: int) -> tuple[float, float]:
    """Width and height of a plane."""
    return plane.shape[0] * view.spacing_mm[across], plane.shape[1] * view.spacing_mm[up]
