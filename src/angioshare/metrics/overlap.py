"""How far two masks cover each other: Dice, centre-line Dice, volumes (no torch).

Pure functions of two binary masks on one grid. A voxel other than zero is vessel. What an empty mask gives stands in
`docs/concepts/metrics.md` and under each function.
"""

import numpy as np
import numpy.typing as npt

from angioshare.errors import DataError
from angioshare.metrics.thinning import centre_lines
from angioshare.types import BoolArray, Spacing

Mask = npt.NDArray[np.generic]
"""A mask of any dtype; a voxel other than zero is vessel."""


def mask_pair(reference: Mask, prediction: Mask) -> tuple[BoolArray, BoolArray]:
    """See both masks as booleans, after checking that they lie on one grid.

    Raises:
        DataError: The masks differ in shape.

    Example:
        >>> mask_pair(np.array([0, 1]), np.array([255, 0]))
        (array([False,  True]), array([ True, False]))
    """
    if reference.shape != prediction.shape:
        raise DataError(
            f"reference has shape {reference.shape} and prediction {prediction.shape}; both must lie on one grid, "
            "so resample one onto the other before comparing"
        )
    return _as_bool(reference), _as_bool(prediction)


def _as_bool(mask: Mask) -> BoolArray:
    """Look at booleans and bytes without a copy where their values allow it."""
    return np.asarray(mask if mask.dtype == np.bool_ else mask != 0, np.bool_)


def crop_to_union(reference: BoolArray, prediction: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Cut both masks to the smallest box that holds every vessel voxel of either.

    Vessels fill a small part of a volume; what lies outside the box cannot change any metric.

    Args:
        reference: Mask of any shape.
        prediction: Mask of the same shape.

    Returns:
        Views of both; without any vessel voxel, of size zero.

    Example:
        >>> one, other = np.zeros((2, 9, 9), bool)
        >>> one[2, 3] = other[4, 3] = True
        >>> crop_to_union(one, other)[0].shape
        (3, 1)
    """
    box = []
    for axis in range(reference.ndim):
        rest = tuple(other for other in range(reference.ndim) if other != axis)
        filled = np.flatnonzero(reference.any(axis=rest) | prediction.any(axis=rest))
        box.append(slice(filled[0], filled[-1] + 1) if len(filled) else slice(0, 0))
    return reference[tuple(box)], prediction[tuple(box)]


def dice(reference: Mask, prediction: Mask) -> float:
    """Dice coefficient: twice the common volume over the sum of both.

    Args:
        reference: Annotated mask, any shape.
        prediction: Mask to be judged, same shape.

    Returns:
        A number in [0, 1]; 1 is perfect.

    Raises:
        DataError: The masks differ in shape.

    Units: none.

    Edge cases: both empty -> 1 (they agree); one empty -> 0.

    References:
        Dice (1945), Ecology 26:297-302.

    Example:
        >>> dice(np.array([1, 1, 0, 0]), np.array([0, 1, 0, 0]))
        0.6666666666666666
    """
    G, S = mask_pair(reference, prediction)
    both = int(np.count_nonzero(G)) + int(np.count_nonzero(S))
    return 2 * int(np.count_nonzero(G & S)) / both if both else 1.0


def cldice(reference: Mask, prediction: Mask) -> float:
    """Centre-line Dice: do the centre lines of each mask lie within the other?

    Dice is ruled by thick vessels; this counts a thin branch as much as a thick one of the same length.

    Args:
        reference: Annotated mask, shape (i, j, k).
        prediction: Mask to be judged, same shape.

    Returns:
        Harmonic mean of topology precision and topology sensitivity, in [0, 1]; 1 is perfect.

    Raises:
        DataError: The masks differ in shape or are not 3-D.

    Units: none.

    Edge cases: both empty -> 1; one empty -> 0; no centre line within the other mask -> 0.

    References:
        Shit et al. (2021), clDice, CVPR, arXiv:2003.07311. Centre lines: see `thinning`.

    Example:
        >>> tube = np.zeros((5, 5, 12), bool); tube[1:4, 1:4] = True
        >>> thin = np.zeros_like(tube); thin[2, 2] = True
        >>> cldice(tube, thin) > dice(tube, thin)
        True
    """
    if np.ndim(reference) != 3:
        raise DataError(f"a mask of shape {np.shape(reference)} has no centre line here; give two 3-D masks")
    G, S = crop_to_union(*mask_pair(reference, prediction))
    if not G.any() or not S.any():
        return 1.0 if not G.any() and not S.any() else 0.0
    centre_g, centre_s = centre_lines(G), centre_lines(S)
    precision = np.count_nonzero(centre_s & G) / np.count_nonzero(centre_s)
    sensitivity = np.count_nonzero(centre_g & S) / np.count_nonzero(centre_g)
    total = precision + sensitivity
    return float(2 * precision * sensitivity / total) if total else 0.0


def volumes(reference: Mask, prediction: Mask, spacing_mm: Spacing) -> dict[str, float]:
    """Vessel volume of each mask.

    Args:
        reference: Annotated mask, shape (i, j, k).
        prediction: Mask to be judged, same shape.
        spacing_mm: Voxel size along i, j, k in mm.

    Returns:
        `reference_ml` and `prediction_ml`.

    Raises:
        DataError: The masks differ in shape.

    Units: ml (1 ml = 1,000 mm^3).

    Example:
        >>> cube = np.ones((10, 10, 10), bool)
        >>> volumes(cube, ~cube, (1.0, 1.0, 2.0))
        {'reference_ml': 2.0, 'prediction_ml': 0.0}
    """
    G, S = mask_pair(reference, prediction)
    voxel_ml = float(np.prod(spacing_mm)) / 1000
    return {
        "reference_ml": int(np.count_nonzero(G)) * voxel_ml,
        "prediction_ml": int(np.count_nonzero(S)) * voxel_ml,
    }
