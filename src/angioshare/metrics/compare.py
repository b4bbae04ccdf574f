"""All metrics of one pair of masks at once, under the names that `angioshare compare --json` prints (no torch)."""

import math

from angioshare.metrics.overlap import Mask, cldice, dice, volumes
from angioshare.metrics.surface import mask_distances, surface_distances
from angioshare.types import Spacing

UNITS = {
    "dice": "",
    "cldice": "",
    "bahd_voxel": "voxel",
    "bahd_mm": "mm",
    "ahd_voxel": "voxel",
    "hd95_mm": "mm",
    "assd_mm": "mm",
    "reference_ml": "ml",
    "prediction_ml": "ml",
}
"""Unit of each number that `compare` returns, in the order in which it returns them."""


def compare(reference: Mask, prediction: Mask, spacing_mm: Spacing) -> dict[str, float | None]:
    """Measure a predicted mask against an annotated one.

    Args:
        reference: Annotated mask, shape (i, j, k); not zero is vessel.
        prediction: Mask to be judged, same shape.
        spacing_mm: Voxel size along i, j, k in mm, each > 0.

    Returns:
        One number for each key of `UNITS`; None where a distance does not exist.

    Raises:
        DataError: The masks differ in shape or are not 3-D, or the spacing is not positive.

    Units: as `UNITS` says.

    Edge cases: both empty -> Dice and clDice 1, distances 0; one empty -> Dice and clDice 0, distances None.

    Example:
        >>> import numpy as np
        >>> G = np.zeros((4, 4, 4), bool); G[1] = True
        >>> compare(G, G, (0.5, 0.5, 0.7))["dice"], compare(G, ~G & False, (0.5, 0.5, 0.7))["bahd_mm"]
        (1.0, None)
    """
    in_voxels = mask_distances(reference, prediction)
    in_mm = mask_distances(reference, prediction, spacing_mm)
    surfaces = surface_distances(reference, prediction, spacing_mm)
    values = {
        "dice": dice(reference, prediction),
        "cldice": cldice(reference, prediction),
        "bahd_voxel": in_voxels.balanced_average(),
        "bahd_mm": in_mm.balanced_average(),
        "ahd_voxel": in_voxels.average(),
        "hd95_mm": surfaces.percentile_95(),
        "assd_mm": surfaces.pooled_average(),
        **volumes(reference, prediction, spacing_mm),
    }
    return {name: None if math.isnan(value) else value for name, value in values.items()}
