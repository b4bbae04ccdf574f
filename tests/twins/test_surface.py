"""The fast distances against the slow obvious ones: every pair of voxels, a full transform, and MONAI."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion, distance_transform_edt

from angioshare.metrics import surface as surface_module
from angioshare.metrics.surface import assd_mm, hd95_mm, mask_distances, surface, surface_distances

SPACINGS = [(1.0, 1.0, 1.0), (0.5, 0.5, 0.7), (2.0, 0.3, 1.0)]


def tree_like(seed: int, share: float = 0.01, grow: int = 1) -> np.ndarray:
    mask = np.random.default_rng(seed).random((17, 14, 11)) < share
    mask[seed % 17, 5, 5] = True
    return binary_dilation(mask, iterations=grow) if grow else mask


def brute_force(asked: np.ndarray, target: np.ndarray, spacing) -> np.ndarray:
    from_points, to_points = (np.argwhere(mask) * np.asarray(spacing) for mask in (asked, target))
    return np.linalg.norm(from_points[:, None] - to_points[None], axis=2).min(axis=1)


PAIRS = [
    (tree_like(1), tree_like(2)),
    (tree_like(3), np.roll(tree_like(3), 1, axis=0)),
    (tree_like(4, grow=0), tree_like(5, share=0.3)),
    (tree_like(6, share=0.5, grow=0), tree_like(7, grow=0)),
]


@pytest.mark.parametrize("share", [0.0, 1.0], ids=["transform", "tree"])
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("pair", PAIRS)
def test_both_fast_paths_equal_every_pair_of_voxels(monkeypatch, share, spacing, pair):
    monkeypatch.setattr(surface_module, "TRANSFORM_PAYS_ABOVE", share)
    G, S = pair
    found = mask_distances(G, S, spacing)
    np.testing.assert_allclose(np.sort(found.from_reference), np.sort(brute_force(G, S, spacing)), rtol=2e-6)
    np.testing.assert_allclose(np.sort(found.from_prediction), np.sort(brute_force(S, G, spacing)), rtol=2e-6)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("pair", PAIRS)
def test_surface_distances_equal_every_pair_of_surface_voxels(spacing, pair):
    G, S = pair
    found = surface_distances(G, S, spacing)
    slow = brute_force(G & ~binary_erosion(G), S & ~binary_erosion(S), spacing)
    np.testing.assert_allclose(np.sort(found.from_reference), np.sort(slow), rtol=2e-6)


def test_distances_equal_a_transform_of_the_uncropped_grid():
    G, S = (np.pad(mask, 9) for mask in PAIRS[0])
    slow = distance_transform_edt(~S, sampling=(0.5, 0.5, 0.7))[G]
    np.testing.assert_allclose(np.sort(mask_distances(G, S, (0.5, 0.5, 0.7)).from_reference), np.sort(slow), rtol=2e-6)


@pytest.mark.parametrize("mask", [mask for pair in PAIRS for mask in pair])
def test_the_surface_is_what_an_erosion_takes_away(mask):
    np.testing.assert_array_equal(surface(mask), mask & ~binary_erosion(mask))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_hd95_and_assd_equal_those_of_monai(spacing, pair):
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance

    G, S = (torch.from_numpy(mask)[None, None] for mask in pair)
    theirs = compute_hausdorff_distance(S, G, include_background=True, percentile=95, spacing=spacing)
    assert hd95_mm(*pair, spacing) == pytest.approx(float(theirs), rel=1e-5)
    theirs = compute_average_surface_distance(S, G, include_background=True, symmetric=True, spacing=spacing)
    assert assd_mm(*pair, spacing) == pytest.approx(float(theirs), rel=1e-5)
