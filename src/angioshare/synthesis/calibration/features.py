"""What one patch says about its site: how vessels, tissue and noise look in it, and how readers drew.

A patch is taken as a segmenter sees it, scaled by itself, and measured in units of its own tissue: contrast is (pixel -
tissue median) / tissue spread, so that it needs no absolute intensity. Long tails are compressed: sign(x) log(1 + |x|).
Every feature is bounded by public numbers; features of single patches are not protected, see `calibrated`.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from angioshare.types import BoolArray, FloatArray

_PLANE = np.stack([np.zeros((3, 3), bool), np.ones((3, 3), bool), np.zeros((3, 3), bool)])
"""Neighbours of a pixel within its own patch."""

_FAR_APART = (1e3, 1.0, 1.0)
"""Distance between patches of a stack: no patch sees the next one."""

_SMALL, _LARGE = 12, 40
"""Pixels up to which a piece of label is small, and above which it is large."""

_LEAST_TISSUE = 50
"""Pixels of tissue without which a patch says nothing."""

_NEXT = 1.2
"""Pixels of the rim are nearer than this to the other side."""

_NEARBY = 5
"""Edge in pixels of the square in which the brightest labelled pixel stands for the vessel's own signal."""

_LEAST_SIGNAL = 2.0
"""A vessel counts as having at least this contrast, so that noise is not divided by nothing."""

_BRIGHT = (4.0, 8.0)
"""Contrast above which noise hardly reaches, and that of a plain vessel."""

_AT_ONCE = 256

GROUPS: dict[str, tuple[str, ...]] = {
    "amount": ("labelled", "share", "outside"),
    "shape": ("area", "small", "large", "width"),
    "contrast": ("inside", "inside.small", "core", "peak", "inside.spread", "dim.1", "dim.2"),
    "rim": ("ring.1", "ring.2"),
    "edge": ("edge",),
    "clutter": ("taken.4", "taken.8", "bright.share"),
    "tissue": ("level", "spread", "dark", "bright"),
    "grain": ("lag.1", "lag.4"),
}
"""Features by what they speak of: how much is labelled, how it is drawn, its signal, its rim, its end, what
else is bright, and the rest."""

NAMES: tuple[str, ...] = tuple(name for group in GROUPS.values() for name in group)
"""Features in order."""


def features(image: npt.NDArray[np.floating], label: npt.NDArray[np.uint8]) -> FloatArray:
    """Measure patches.

    Args:
        image: Shape (n, h, w), each scaled to [-1, 1].
        label: Shape (n, h, w), in {0, 1}.

    Returns:
        Shape (n, len(NAMES)), float64; NaN in all of a patch that holds too little tissue. What speaks of the label is
        0 in a patch without any.

    Example:
        >>> pixels = np.random.default_rng(0).uniform(-1, 1, (2, 16, 16))
        >>> found = features(pixels, (pixels > 0.95).astype(np.uint8))
        >>> found.shape == (2, len(NAMES)), bool(np.isfinite(found).all())
        (True, True)
    """
    found = np.full((len(image), len(NAMES)), np.nan)
    for first in range(0, len(image), _AT_ONCE):
        rows = slice(first, first + _AT_ONCE)
        found[rows] = _some(np.asarray(image[rows], np.float32), label[rows] > 0)
    return found


def _some(pixels: FloatArray, labelled: BoolArray) -> FloatArray:
    """Features of as many patches as are held in memory at once."""
    found = np.full((len(pixels), len(NAMES)), np.nan)
    outside = pixels <= pixels.min(axis=(1, 2), keepdims=True) + 1e-3
    away = _distance(~labelled) if labelled.any() else np.full(labelled.shape, np.inf)
    depth = _distance(labelled)
    piece, count = ndimage.label(labelled, structure=_PLANE)
    area = np.bincount(piece.ravel(), minlength=count + 1)
    for index in range(len(pixels)):
        tissue = ~outside[index] & (away[index] > 3)
        if tissue.sum() < _LEAST_TISSUE:
            continue
        values = _tissue(pixels[index], tissue, outside[index])
        contrast = np.clip((pixels[index] - values.pop("median")) / values.pop("unit"), -5, 40)
        values |= _grain(contrast, tissue) | _clutter(contrast, tissue, labelled[index])
        values |= _label(contrast, labelled[index], depth[index], area[piece[index]])
        values |= _rim(contrast, away[index], outside[index], labelled[index])
        values["edge"] = _edge(contrast, depth[index], away[index], outside[index], labelled[index])
        found[index] = [values[name] for name in NAMES]
    return found


def _distance(mask: BoolArray) -> FloatArray:
    return np.asarray(ndimage.distance_transform_edt(mask, sampling=_FAR_APART))


def compressed(x: float) -> float:
    """Sign(x) log(1 + |x|).

    Example:
        >>> round(compressed(-1.0), 3)
        -0.693
    """
    return float(np.sign(x) * np.log1p(abs(x)))


def _log_share(share: float) -> float:
    """0 for a share of nothing, 4 for one of everything."""
    return float(np.log10(share + 1e-4) + 4)


def _tissue(pixels: FloatArray, tissue: BoolArray, outside: BoolArray) -> dict[str, float]:
    """Level, spread and tails of the tissue; `median` and `unit` are the zero and the unit of contrast."""
    lowest, low, median, high, highest = np.percentile(pixels[tissue], (0.5, 25, 50, 75, 99.9)).tolist()
    unit = max((high - low) / 1.35, 0.005)
    return {
        "median": median,
        "unit": unit,
        "outside": float(outside.mean()),
        "level": (median + 1) / 2,
        "spread": float(np.log10(unit / 2) + 1),
        "dark": compressed((lowest - median) / unit),
        "bright": compressed((highest - median) / unit),
    }


def _grain(contrast: FloatArray, tissue: BoolArray) -> dict[str, float]:
    """How far apart pixels are alike: median difference over a distance along the last axis."""
    found = {}
    for lag in (1, 4):
        both = tissue[:, lag:] & tissue[:, :-lag]
        step = np.abs(contrast[:, lag:] - contrast[:, :-lag])[both]
        found[f"lag.{lag}"] = float(np.log(np.median(step) + 1e-2)) if len(step) else 0.0
    return found


def _clutter(contrast: FloatArray, tissue: BoolArray, label: BoolArray) -> dict[str, float]:
    """What is bright and no artery: the share of bright pixels that is labelled, and how many lie far from any label.

    It decides what a segmenter makes of a bright spot. One pixel of each kind is added, so that few say little.
    """
    found = {"bright.share": _log_share(float(np.mean(contrast[tissue] > _BRIGHT[-1])))}
    for least in _BRIGHT:
        bright = contrast > least
        found[f"taken.{least:g}"] = float((np.sum(bright & label) + 1) / (np.sum(bright) + 2))
    return found


def _label(contrast: FloatArray, label: BoolArray, depth: FloatArray, area: npt.NDArray[np.int64]) -> dict[str, float]:
    """How much is labelled, in which pieces, and how bright they are.

    Args:
        contrast: Shape (h, w).
        label: The label.
        depth: Distance of labelled pixels to what is not labelled.
        area: Pixels of the piece that a labelled pixel belongs to.
    """
    if not label.any():
        return dict.fromkeys((*GROUPS["amount"][:2], *GROUPS["shape"], *GROUPS["contrast"]), 0.0)
    value, size, deep = contrast[label], area[label], depth[label]
    small, core = size <= _SMALL, deep > 1.5
    return {
        "labelled": 1.0,
        "share": _log_share(label.mean()) - 1,
        "area": float(np.average(np.log(size), weights=1 / size)) / 3,
        "small": float(small.mean()),
        "large": float(np.mean(size > _LARGE)),
        "width": float(deep.mean() - 1),
        "inside": compressed(value.mean()),
        "inside.small": compressed(value[small].mean() if small.any() else value.mean()),
        "core": compressed(value[core].mean() if core.any() else value.mean()),
        "peak": compressed(value.max()),
        "inside.spread": float(np.log1p(value.std())),
        "dim.1": float(np.mean(value < 1)),
        "dim.2": float(np.mean(value < 2)),
    }


def _rim(contrast: FloatArray, away: FloatArray, outside: BoolArray, label: BoolArray) -> dict[str, float]:
    """Mean contrast one and two pixels outside the label: what readers left out, and blur."""
    found = {}
    for name, low, high in (("ring.1", 0.5, 1.2), ("ring.2", 1.2, 2.3)):
        ring = (away > low) & (away <= high) & ~outside
        found[name] = compressed(contrast[ring].mean()) if label.any() and ring.any() else 0.0
    return found


def _edge(contrast: FloatArray, depth: FloatArray, away: FloatArray, outside: BoolArray, label: BoolArray) -> float:
    """Share of a vessel's own signal at which readers stop: mean of the last pixels they drew and the first they left.

    A half where they draw what a scan shows (diameters are measured there, Hoogeveen et al. 1998), less where they
    draw a margin, next to nothing where they draw what cannot be seen.
    """
    if not label.any():
        return 0.0
    signal = ndimage.maximum_filter(np.where(label, contrast, -np.inf), _NEARBY)
    share = np.clip(contrast / np.maximum(signal, _LEAST_SIGNAL), -0.5, 1)
    drawn, left = label & (depth < _NEXT), ~label & (away < _NEXT) & ~outside
    return float(np.mean([share[rim].mean() for rim in (drawn, left) if rim.any()]))
