"""Pictures of patches and of errors as arrays of colour, before anything is drawn around them.

Patches and axial slices are shown as radiologists hang them: the subject's right on the left, anterior on top.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from angioshare.report.content import ErrorMap, Samples
from angioshare.types import BoolArray, ByteArray, FloatArray

Scalar = TypeVar("Scalar", bound=np.generic)

TRUE_POSITIVE, FALSE_POSITIVE, FALSE_NEGATIVE = 1, 2, 3
CLASS_COLOURS = np.array([[0, 0, 0], [214, 40, 40], [64, 214, 88], [255, 236, 84]], np.uint8)
"""Nothing, true positive red, false positive green, false negative yellow: red is the darkest and yellow the brightest,
so that the three differ in grey as well."""

CONTOUR = np.array([0, 225, 255], np.uint8)
_GUTTER = 6
_PATCH_PIXELS = 192


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An encoded picture with the words that stand for it.

    Attributes:
        mime: Its type, for example `"image/jpeg"`.
        data: The file.
        alt: What it shows, for those who do not see it.
    """

    mime: str
    data: bytes
    alt: str


def hung(plane: npt.NDArray[Scalar]) -> npt.NDArray[Scalar]:
    """Turn a plane of a RAS+ volume into rows and columns as radiologists hang it.

    Axial (i, j): anterior on top, right on the left. Coronal (i, k): superior on top, right on the left. Sagittal
    (j, k): superior on top, anterior on the left. A third axis of colours stays where it is.

    Example:
        >>> hung(np.array([[1, 2], [3, 4]]))
        array([[4, 2],
               [3, 1]])
    """
    return np.swapaxes(plane, 0, 1)[::-1, ::-1]


def outline(label: BoolArray) -> BoolArray:
    """Pixels just outside a label (4-neighbours): the vessel itself stays visible.

    Example:
        >>> outline(np.eye(3, dtype=bool)[1:2] > 0).astype(int)
        array([[1, 0, 1]])
    """
    padded = np.pad(label, 1)
    near = padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]
    return near & ~label


def sample_sheet(samples: Samples, *, columns: int = 8) -> Picture:
    """Lay out pairs of a source: image, image with the label's outline, and label, one above the other.

    Args:
        samples: Pairs; the first `columns` are shown, so nothing is picked here.
        columns: Pairs side by side, >= 1.

    Returns:
        A JPEG without colour subsampling, on black.
    """
    tiles = [_pair_tiles(samples.image[n], samples.label[n] > 0) for n in range(min(columns, len(samples.image)))]
    gap = np.zeros((_GUTTER, 1, 3), np.uint8)
    stacks = []
    for image, marked, label in tiles:
        wide = np.repeat(gap, image.shape[1], axis=1)
        stacks += [np.concatenate([image, wide, marked, wide, label]), np.zeros((3 * len(image) + 12, _GUTTER, 3))]
    sheet = np.concatenate(stacks[:-1] or [np.zeros((8, 8, 3))], axis=1).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(sheet).save(buffer, "JPEG", quality=88, subsampling=0)
    vessel = float(np.mean(samples.label > 0)) if samples.label.size else 0.0
    alt = (
        f"{len(tiles)} pairs of {samples.title}: top row image patches, middle row the same with the outline of the "
        f"vessel label, bottom row the labels alone; {vessel:.1%} of the pixels are labelled as vessel."
    )
    return Picture(mime="image/jpeg", data=buffer.getvalue(), alt=alt)


def _pair_tiles(image: FloatArray, label: BoolArray) -> tuple[ByteArray, ByteArray, ByteArray]:
    """Image, image with outline, and label of one pair, enlarged, shape (rows, columns, 3) each."""
    factor = max(1, round(_PATCH_PIXELS / max(image.shape)))
    finite = np.nan_to_num(np.asarray(image, np.float32), nan=-1.0)
    grey = Image.fromarray(np.ascontiguousarray(hung(np.round(np.clip((finite + 1) / 2, 0, 1) * 255).astype(np.uint8))))
    large = grey.resize((grey.width * factor, grey.height * factor), Image.Resampling.BICUBIC)
    shown = np.repeat(np.asarray(large)[:, :, None], 3, axis=2)
    mask = np.kron(hung(label), np.ones((factor, factor), bool)).astype(bool)
    marked = shown.copy()
    marked[outline(mask)] = CONTOUR
    return shown, marked, np.where(mask[:, :, None], np.uint8(235), np.uint8(28)) * np.ones(3, np.uint8)


def error_classes(label: ByteArray | BoolArray, prediction: ByteArray | BoolArray) -> ByteArray:
    """Class of each voxel: 0 neither, 1 true positive, 2 false positive, 3 false negative.

    Example:
        >>> error_classes(np.array([0, 1, 0, 1]), np.array([0, 1, 1, 0]))
        array([0, 1, 2, 3], dtype=uint8)
    """
    truth, found = label > 0, prediction > 0
    classes = np.zeros(truth.shape, np.uint8)
    classes[truth & found] = TRUE_POSITIVE
    classes[~truth & found] = FALSE_POSITIVE
    classes[truth & ~found] = FALSE_NEGATIVE
    return classes


def class_projection(classes: ByteArray, axis: int) -> ByteArray:
    """Look through a volume of classes along one axis: the commonest class on each ray, errors first where equal.

    Args:
        classes: Shape (i, j, k), as `error_classes` gives.
        axis: Axis to look along: 0 sagittal, 1 coronal, 2 axial.

    Returns:
        The volume without that axis.

    Example:
        >>> class_projection(np.array([[[1, 1, 2, 0]], [[1, 3, 0, 0]]], np.uint8), axis=2)
        array([[1],
               [3]], dtype=uint8)
    """
    order: Sequence[int] = (FALSE_NEGATIVE, FALSE_POSITIVE, TRUE_POSITIVE)
    counts = np.stack([(classes == value).sum(axis) for value in order])
    return np.where(counts.max(0) > 0, np.array(order, np.uint8)[counts.argmax(0)], np.uint8(0))


def cropped(error_map: ErrorMap) -> tuple[FloatArray, ByteArray]:
    """Cut image and classes to the box that holds anything, one voxel of margin around it."""
    image = np.nan_to_num(np.asarray(error_map.image, np.float32))
    classes = error_classes(error_map.label, error_map.prediction)
    solid = (image != image.min()) | (classes > 0)
    if not solid.any():
        return image, classes
    box = []
    for axis in range(3):
        others = tuple(other for other in range(3) if other != axis)
        where = np.flatnonzero(solid.any(others))
        box.append(slice(max(where[0] - 1, 0), where[-1] + 2))
    return image[tuple(box)], classes[tuple(box)]


def fullest_slice(classes: ByteArray) -> int:
    """Index of the axial slice with most annotated voxels (most predicted ones if the label is empty)."""
    annotated = ((classes == TRUE_POSITIVE) | (classes == FALSE_NEGATIVE)).sum((0, 1))
    return int(np.argmax(annotated if annotated.any() else (classes > 0).sum((0, 1))))


def overlay(image: FloatArray, classes: ByteArray) -> ByteArray:
    """Lay class colours over a grey slice whose white is its 99.7th percentile, shape (i, j) in, (i, j, 3) out."""
    low, high = float(image.min()), float(np.percentile(image, 99.7))
    grey = np.clip((image - low) / max(high - low, 1e-9), 0, 1) * 255
    colours = np.repeat(grey[:, :, None], 3, axis=2)
    hit = classes > 0
    colours[hit] = 0.15 * colours[hit] + 0.85 * CLASS_COLOURS[classes[hit]]
    return np.round(colours).astype(np.uint8)
