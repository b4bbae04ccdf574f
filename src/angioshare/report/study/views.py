"""Error maps reduced to what a figure draws: two slices and three projections of one subject, a few hundred kilobytes.

The slices depend on image and label alone, so that the same ones are drawn for every setting.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from angioshare.report.content import ErrorMap
from angioshare.report.figures import error_counts
from angioshare.report.pictures import class_projection, error_classes
from angioshare.types import BoolArray, ByteArray, FloatArray, Spacing


@dataclass(frozen=True, kw_only=True, eq=False)
class Slice:
    """One axial slice.

    Attributes:
        number: Its index in the volume.
        image: Shape (i, j), any intensity unit.
        classes: Shape (i, j), as `pictures.error_classes` gives.
    """

    number: int
    image: FloatArray
    classes: ByteArray


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorView:
    """What is drawn of one error map: always unprotected, for it shows that subject.

    Attributes:
        source: Name of the point that the segmenter was trained on.
        site: Name of the test site.
        subject: BIDS id of the subject.
        spacing_mm: Voxel size along i, j, k.
        large: The slice that holds the largest cross-section of a vessel.
        small: The slice with most cross-sections that are no larger than the median of the volume.
        tree: Classes projected along k, j and i (axial, coronal, sagittal), see `pictures.class_projection`.
        counts: Voxels of each class in the whole volume.
    """

    source: str
    site: str
    subject: str
    spacing_mm: Spacing
    large: Slice
    small: Slice
    tree: tuple[ByteArray, ByteArray, ByteArray]
    counts: dict[str, int]


def error_view(error_map: ErrorMap) -> ErrorView:
    """Reduce an error map to its view.

    Args:
        error_map: Image, label and prediction on one grid, shape (i, j, k).

    Returns:
        The view, cut in the plane to the box that holds brain or label.
    """
    box = _box(np.asarray(error_map.image), error_map.label > 0)
    image = np.nan_to_num(np.asarray(error_map.image[box], np.float32))
    classes = error_classes(error_map.label[box], error_map.prediction[box])
    large, small = _slices(error_map.label[box] > 0)
    return ErrorView(
        source=error_map.source,
        site=error_map.site,
        subject=error_map.subject,
        spacing_mm=error_map.spacing_mm,
        large=_slice(image, classes, large, box[2].start),
        small=_slice(image, classes, small, box[2].start),
        tree=(class_projection(classes, 2), class_projection(classes, 1), class_projection(classes, 0)),
        counts=error_counts(error_map),
    )


def _slice(image: FloatArray, classes: ByteArray, k: int, first: int) -> Slice:
    return Slice(number=first + k, image=image[:, :, k].copy(), classes=classes[:, :, k].copy())


def _box(image: FloatArray, label: BoolArray) -> tuple[slice, slice, slice]:
    """The box that holds anything, one voxel of margin around it; the whole where there is nothing."""
    solid = (image != image.min()) | label
    found = ndimage.find_objects(solid.astype(np.uint8))
    if not found:
        return slice(0, image.shape[0]), slice(0, image.shape[1]), slice(0, image.shape[2])
    i, j, k = (slice(max(edge.start - 1, 0), edge.stop + 1) for edge in found[0])
    return i, j, k


def _slices(label: BoolArray) -> tuple[int, int]:
    """Indices of the slices that show large vessels and small ones; two different ones wherever there are two."""
    eight = np.ones((3, 3), int)
    sizes = []
    for k in range(label.shape[2]):
        numbered, _ = ndimage.label(label[:, :, k], eight)
        sizes.append(np.bincount(numbered.ravel())[1:])
    large = int(np.argmax([found.max(initial=0) for found in sizes]))
    every = np.concatenate(sizes)
    median = np.median(every) if len(every) else 0
    counts = np.array([np.count_nonzero(found <= median) for found in sizes])
    if len(counts) > 1:
        counts[large] = -1
    return large, int(np.argmax(counts))
