"""How far two masks lie apart: balanced and average Hausdorff distance, HD95, ASSD (no torch).

Two kinds of distance. The Hausdorff averages (bAHD, AHD) run over *all* voxels of a mask, as published for vessels; the
surface distances (HD95, ASSD) over the voxels on its surface. Both are exact Euclidean distances between voxel centres.

The nearest voxel of a mask to a point outside it always lies on the mask's surface, and a voxel that both masks share
has distance 0. So a k-d tree of one surface, asked for the voxels that the other mask has alone, answers everything. A
pair of vessel trees on 312 x 384 x 127 voxels takes about 0.2 s on one core that way, 1.2 s by two distance transforms
of the joint box (library `edt`); where a mask is a blob rather than a tree (many voxels to ask for) the transform is
the faster and is taken. The two agree to 1e-6.
"""

import math
from dataclasses import dataclass

import edt
import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from angioshare.errors import DataError
from angioshare.metrics.overlap import Mask, crop_to_union, mask_pair
from angioshare.types import BoolArray, Spacing

VOXEL: Spacing = (1.0, 1.0, 1.0)
"""The spacing that counts in voxels."""

TRANSFORM_PAYS_ABOVE = 1 / 60
"""Share of the box's voxels to ask for above which a transform beats the tree (0.035 against 2 microseconds each)."""

Distances = npt.NDArray[np.float64]


@dataclass(frozen=True)
class MaskDistances:
    """Distances of every voxel of one mask (or its surface) to the other mask (or its surface).

    Attributes:
        from_reference: One number per voxel of the reference, shape (g,).
        from_prediction: One number per voxel of the prediction, shape (s,).
    """

    from_reference: Distances
    from_prediction: Distances

    def _settled(self) -> float | None:
        """0 where both are empty, NaN where one is; None: calculate."""
        empty = (len(self.from_reference) == 0) + (len(self.from_prediction) == 0)
        return (None, math.nan, 0.0)[empty]

    def balanced_average(self) -> float:
        """Both directions' sums over twice the size of the reference (bAHD)."""
        settled = self._settled()
        if settled is not None:
            return settled
        return float((self.from_reference.sum() + self.from_prediction.sum()) / (2 * len(self.from_reference)))

    def average(self) -> float:
        """Mean of the two directions' means (AHD)."""
        settled = self._settled()
        if settled is not None:
            return settled
        return float((self.from_reference.mean() + self.from_prediction.mean()) / 2)

    def pooled_average(self) -> float:
        """Mean over both directions' voxels together (ASSD, of surfaces)."""
        settled = self._settled()
        if settled is not None:
            return settled
        return float(np.concatenate([self.from_reference, self.from_prediction]).mean())

    def percentile_95(self) -> float:
        """The larger of the two directions' 95th percentiles (HD95, of surfaces)."""
        settled = self._settled()
        if settled is not None:
            return settled
        return float(max(np.percentile(self.from_reference, 95), np.percentile(self.from_prediction, 95)))


def mask_distances(reference: Mask, prediction: Mask, spacing: Spacing = VOXEL) -> MaskDistances:
    """Distance of every mask voxel to the nearest voxel of the other mask.

    Args:
        reference: Annotated mask, shape (i, j, k).
        prediction: Mask to be judged, same shape.
        spacing: Voxel size along i, j, k, each > 0; its unit is that of the result.

    Returns:
        Distances in no particular order. Where the other mask is empty they are infinite.

    Raises:
        DataError: The masks differ in shape or are not 3-D, or the spacing is not positive.

    Units: of `spacing`.

    Example:
        >>> one, other = np.zeros((2, 5, 5, 5), bool)
        >>> one[0, 0, 0] = other[3, 4, 0] = True
        >>> mask_distances(one, other).from_reference
        array([5.])
    """
    G, S = _checked(reference, prediction, spacing)
    return _between(G, S, (surface(G), surface(S)), spacing)


def surface_distances(reference: Mask, prediction: Mask, spacing_mm: Spacing) -> MaskDistances:
    """Distance of every surface voxel to the nearest surface voxel of the other mask.

    A surface voxel has a face neighbour outside its mask; beyond the grid is outside.

    Args:
        reference: Annotated mask, shape (i, j, k).
        prediction: Mask to be judged, same shape.
        spacing_mm: Voxel size along i, j, k in mm, each > 0.

    Returns:
        Distances in no particular order. Where the other mask is empty they are infinite.

    Raises:
        DataError: The masks differ in shape or are not 3-D, or the spacing is not positive.

    Units: mm.

    Example:
        >>> cube = np.ones((3, 3, 3), bool)
        >>> len(surface_distances(cube, cube, (1.0, 1.0, 1.0)).from_reference)
        26
    """
    G, S = (surface(mask) for mask in _checked(reference, prediction, spacing_mm))
    return _between(G, S, (G, S), spacing_mm)


def surface(mask: BoolArray) -> BoolArray:
    """Voxels of a mask with a face neighbour outside it; beyond the grid is outside.

    Looks at the neighbours of mask voxels only, which are few: ten times faster than an erosion of the whole grid.

    Example:
        >>> int(surface(np.ones((4, 4, 4), bool)).sum())
        56
    """
    padded = np.pad(np.ascontiguousarray(mask), 1)  # in C order, whatever that of a scan: `flat` is a view of it then
    flat = padded.reshape(-1)
    voxels = np.flatnonzero(flat)
    inner = np.ones(len(voxels), np.bool_)
    for step in padded.strides:
        inner &= flat[voxels - step] & flat[voxels + step]
    flat[voxels[inner]] = False
    return padded[1:-1, 1:-1, 1:-1]


def _checked(reference: Mask, prediction: Mask, spacing: Spacing) -> tuple[BoolArray, BoolArray]:
    """Both masks, cut to their joint box."""
    if reference.ndim != 3 or len(spacing) != 3 or not all(math.isfinite(size) and size > 0 for size in spacing):
        raise DataError(
            f"a mask of shape {reference.shape} with voxel size {tuple(spacing)} has no distances; "
            "give two 3-D masks and three sizes > 0"
        )
    return crop_to_union(*mask_pair(reference, prediction))


def _between(G: BoolArray, S: BoolArray, targets: tuple[BoolArray, BoolArray], spacing: Spacing) -> MaskDistances:
    """Distances between G and S; `targets` are the voxels of either that can be the nearest ones."""
    common = np.zeros(int(np.count_nonzero(G & S)))
    from_g, from_s = _nearest(G & ~S, targets[1], spacing), _nearest(S & ~G, targets[0], spacing)
    return MaskDistances(np.concatenate([common, from_g]), np.concatenate([common, from_s]))


def _nearest(asked: BoolArray, target: BoolArray, spacing: Spacing) -> Distances:
    """Distance of each voxel of `asked` (none of them in `target`) to the nearest voxel of `target`."""
    n_asked = int(np.count_nonzero(asked))
    if n_asked == 0:
        return np.zeros(0)
    if not target.any():
        return np.full(n_asked, np.inf)
    if n_asked > TRANSFORM_PAYS_ABOVE * asked.size:
        return np.asarray(edt.edt(~target, anisotropy=spacing, parallel=1)[asked], np.float64)
    tree = KDTree(_points(target, spacing), balanced_tree=False)
    return np.asarray(tree.query(_points(asked, spacing))[0], np.float64)


def _points(mask: BoolArray, spacing: Spacing) -> Distances:
    """Voxel centres of a mask, shape (n, 3)."""
    return np.asarray(np.transpose(np.nonzero(mask)) * np.asarray(spacing), np.float64)


def bahd_voxel(reference: Mask, prediction: Mask) -> float:
    """Balanced average Hausdorff distance in voxels, as published for vessels.

    ``(sum_{g in G} min_s d(g, s) + sum_{s in S} min_g d(s, g)) / (2 |G|)`` over all mask voxels. Dividing both sums by
    the size of the reference lets it rank segmentations rightly where the plain average does not.

    Args:
        reference: Annotated mask G, shape (i, j, k).
        prediction: Mask S to be judged, same shape.

    Returns:
        A number >= 0; 0 is perfect; not symmetric.

    Raises:
        DataError: The masks differ in shape or are not 3-D.

    Units: voxels (isotropic: the voxel's shape does not count; `bahd_mm` is the one to compare across scanners).

    Edge cases: both empty -> 0; one empty -> NaN (no distance exists).

    References:
        Aydin et al. (2021), European Radiology Experimental 5:4.

    Example:
        >>> G, S = np.zeros((2, 9, 1, 1), bool)
        >>> G[2:4] = S[3:6] = True                  # G = {2, 3}, S = {3, 4, 5}
        >>> bahd_voxel(G, S)                        # (1 + 0 + 0 + 1 + 2) / (2 * 2)
        1.0
    """
    return mask_distances(reference, prediction).balanced_average()


def bahd_mm(reference: Mask, prediction: Mask, spacing_mm: Spacing) -> float:
    """Balanced average Hausdorff distance in mm (see `bahd_voxel`).

    Example:
        >>> G, S = np.zeros((2, 9, 1, 1), bool)
        >>> G[2:4] = S[3:6] = True
        >>> bahd_mm(G, S, (0.5, 0.5, 0.7))
        0.5
    """
    return mask_distances(reference, prediction, spacing_mm).balanced_average()


def ahd_voxel(reference: Mask, prediction: Mask) -> float:
    """Average Hausdorff distance in voxels: the mean of both directions' means over all mask voxels.

    Edge cases as `bahd_voxel`; symmetric.

    Example:
        >>> G, S = np.zeros((2, 9, 1, 1), bool)
        >>> G[2:4] = S[3:6] = True
        >>> ahd_voxel(G, S)                         # (1/2 + 3/3) / 2
        0.75
    """
    return mask_distances(reference, prediction).average()


def hd95_mm(reference: Mask, prediction: Mask, spacing_mm: Spacing) -> float:
    """95th percentile Hausdorff distance of the surfaces, the larger of both directions, in mm.

    Edge cases as `bahd_voxel`; symmetric. Percentiles are interpolated linearly.

    Example:
        >>> G, S = np.zeros((2, 9, 1, 1), bool)
        >>> G[2] = S[5] = True
        >>> hd95_mm(G, S, (0.5, 0.5, 0.7))
        1.5
    """
    return surface_distances(reference, prediction, spacing_mm).percentile_95()


def assd_mm(reference: Mask, prediction: Mask, spacing_mm: Spacing) -> float:
    """Average symmetric surface distance: the mean over the surface voxels of both masks together, in mm.

    Edge cases as `bahd_voxel`; symmetric.

    Example:
        >>> G, S = np.zeros((2, 9, 1, 1), bool)
        >>> G[2] = S[5] = True
        >>> assd_mm(G, S, (0.5, 0.5, 0.7))
        1.5
    """
    return surface_distances(reference, prediction, spacing_mm).pooled_average()
