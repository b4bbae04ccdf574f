"""What one subject's patches say about its site: how vessels, tissue and noise look, and how readers drew.

Everything is taken from patches as a segmenter sees them, scaled each by itself, and measured in units of the patch's
own tissue: contrast is (pixel - tissue median) / tissue spread, so that it needs no absolute intensity. Statistics of
one subject alone are not protected; see `calibrated` for what is released.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from angioshare.types import BoolArray, FloatArray, IntArray

_PLANE = np.stack([np.zeros((3, 3), bool), np.ones((3, 3), bool), np.zeros((3, 3), bool)])
"""Neighbours of a pixel within its own patch."""

_FAR_APART = (1e3, 1.0, 1.0)
"""Distance between patches of a stack: no patch sees the next one."""

_AREAS = (0, 12, 40, 1 << 30)
"""Pixels that part small, middling and large pieces of label."""

_LAGS = (1, 2, 4, 8)
_QUANTILES = (0.5, 5, 95, 99.5, 99.9)

NAMES: tuple[str, ...] = (
    "share.vessel", "share.random", "outside",
    "level.vessel", "level.random", "spread.vessel", "spread.random", "spread.levels", "spread.known_zero",
    *(f"inside.{size}" for size in ("small", "middling", "large")),
    *(f"peak.{size}" for size in ("small", "middling", "large")),
    *(f"pixels.{size}" for size in ("small", "middling", "large")),
    *(f"ring{ring}.{size}" for ring in (1, 2, 3) for size in ("small", "middling", "large")),
    "edge", "core", "width", "area.mean", "area.sd", "dim.1", "dim.2",
    *(f"tissue.{q:g}" for q in _QUANTILES), "bright.4", "bright.8",
    *(f"lag.{lag}" for lag in _LAGS),
)  # fmt: skip
"""What each number is; see the functions below."""


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """Patches of one subject, taken apart; arrays (n, h, w) unless said otherwise.

    Attributes:
        contrast: (pixel - tissue median) / tissue spread, clipped to [-10, 50].
        label: The label.
        tissue: What is neither near the label nor outside the brain.
        outside: Pixels at the patch's floor.
        level: Tissue median (n,) within the patch's range, 0 to 1.
        spread: Tissue spread (n,) as a share of the patch's range.
        central: Whether the middle pixel (n,) is label: a patch centred on a vessel.
    """

    contrast: FloatArray
    label: BoolArray
    tissue: BoolArray
    outside: BoolArray
    level: FloatArray
    spread: FloatArray
    central: BoolArray


def statistics(image: npt.NDArray[np.floating], label: npt.NDArray[np.uint8]) -> FloatArray:
    """Measure one subject's patches.

    Args:
        image: Shape (n, h, w), each scaled to [-1, 1].
        label: Shape (n, h, w), in {0, 1}.

    Returns:
        Shape (len(NAMES),); NaN where there is nothing to measure, for example without any label.

    Example:
        >>> statistics(np.zeros((2, 16, 16)), np.zeros((2, 16, 16), np.uint8)).shape == (len(NAMES),)
        True
    """
    if not len(image):
        return np.full(len(NAMES), np.nan)
    with np.errstate(all="ignore"):
        seen = _look(np.asarray(image, np.float32), label > 0)
        return np.array([*_patchwise(seen), *_pieces(seen), *_tissue(seen)])


def _look(image: FloatArray, label: BoolArray) -> _Seen:
    outside = image <= image.min(axis=(1, 2), keepdims=True) + 1e-3
    near = ndimage.distance_transform_edt(~label, sampling=_FAR_APART) <= 3 if label.any() else np.zeros_like(label)
    tissue = ~outside & ~near
    spread, level = np.full(len(image), np.nan), np.full(len(image), np.nan)
    for index in range(len(image)):
        pixels = image[index][tissue[index]]
        if len(pixels) > 20:
            low, middle, high = np.percentile(pixels, (25, 50, 75))
            level[index], spread[index] = middle, (high - low) / 1.35
    spread = np.maximum(spread, 0.005)
    contrast = np.clip((image - level[:, None, None]) / spread[:, None, None], -10, 50)
    height, width = label.shape[1:]
    return _Seen(
        contrast=contrast,
        label=label,
        tissue=tissue & np.isfinite(contrast),
        outside=outside,
        level=(level + 1) / 2,
        spread=spread / 2,
        central=label[:, height // 2, width // 2],
    )


def _patchwise(seen: _Seen) -> list[float]:
    """Shares of label and outside, level and spread of the tissue, for patches on vessels and others."""
    share = seen.label.mean(axis=(1, 2))
    outside = seen.outside.mean(axis=(1, 2))
    # Where a patch reaches beyond the brain its floor is zero signal, and the spread is known against the tissue.
    anchored = outside > 0.05
    relative = seen.spread[anchored] / seen.level[anchored]
    groups = (seen.central, ~seen.central)
    return [
        *(float(np.log10(_mean(share[group]) + 1e-4)) for group in groups),
        _mean(outside),
        *(_mean(seen.level[group]) for group in groups),
        *(float(np.log10(_mean(seen.spread[group]))) for group in groups),
        _sd(np.log(seen.spread)),
        float(np.log10(_mean(relative))),
    ]


def _pieces(seen: _Seen) -> list[float]:
    """How bright pieces of label are by their size, how bright their surroundings, and their shapes."""
    piece, count = ndimage.label(seen.label, structure=_PLANE)
    if not count:
        return [float("nan")] * 25
    area = np.bincount(piece.ravel(), minlength=count + 1)[1:]
    size = np.digitize(area, _AREAS[1:-1])
    inner = ndimage.distance_transform_edt(seen.label, sampling=_FAR_APART)
    place = tuple(np.nonzero(seen.label))
    owner, value, depth = piece[place] - 1, seen.contrast[place], inner[place]
    peak = np.full(count, -np.inf)
    np.maximum.at(peak, owner, value)
    mine = size[owner]
    return [
        *(_mean(value[mine == kind]) for kind in range(3)),
        *(_mean(peak[size == kind]) for kind in range(3)),
        *(float(np.mean(mine == kind)) for kind in range(3)),
        *_rings(seen, piece, size),
        _mean(value[depth < 1.1]),
        _mean(value[depth > 1.9]),
        _mean(depth),
        float(np.log(area).mean()),
        float(np.log(area).std()),
        float(np.mean(value < 1)),
        float(np.mean(value < 2)),
    ]


def _rings(seen: _Seen, piece: IntArray, size: IntArray) -> list[float]:
    """Mean contrast at one, two and three pixels outside the label: what readers left out, and blur."""
    away, nearest = ndimage.distance_transform_edt(~seen.label, sampling=_FAR_APART, return_indices=True)
    found = []
    for low, high in ((0.5, 1.2), (1.2, 2.3), (2.3, 3.3)):
        ring = np.nonzero((away > low) & (away <= high) & ~seen.outside)
        kind = size[piece[tuple(axis[ring] for axis in nearest)] - 1]
        value = seen.contrast[ring]
        found += [_mean(value[kind == one]) for one in range(3)]
    return found


def _tissue(seen: _Seen) -> list[float]:
    """Tails of the tissue, what is bright in it, and how noise hangs together over a distance."""
    value = seen.contrast[seen.tissue]
    if not len(value):
        return [float("nan")] * (len(_QUANTILES) + 2 + len(_LAGS))
    lags = []
    for lag in _LAGS:
        both = seen.tissue[:, lag:] & seen.tissue[:, :-lag]
        step = np.abs(seen.contrast[:, lag:] - seen.contrast[:, :-lag])[both]
        lags.append(float(np.log(np.median(step) + 1e-3)) if len(step) else float("nan"))
    return [
        *np.percentile(value, _QUANTILES).tolist(),
        *(float(np.log10(np.mean(value > bound) + 1e-5)) for bound in (4, 8)),
        *lags,
    ]


def _mean(values: FloatArray) -> float:
    """Mean of the finite values, NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def _sd(values: FloatArray) -> float:
    """Standard deviation of the finite values, NaN if there are none."""
    finite = values[np.isfinite(values)]
    return float(finite.std()) if len(finite) else float("nan")
