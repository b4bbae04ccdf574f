"""Claim: bAHD of a pair of 312 x 384 x 127 takes at most 1/10 of the time of ITK's average Hausdorff distance.

The masks are vessel-like: random walks of two voxels' width, the second one moved and thinned. ITK comes as SimpleITK
(extra `bench`); its filter gives the plain average Hausdorff distance, which is held against ours before anything is
timed. The other rivals do what common Python code does: two distance transforms of the whole grid, or MONAI.
"""

import warnings

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt

from angioshare.metrics.surface import ahd_voxel, bahd_voxel
from timing import arguments, interleaved, tell

SHAPE = (312, 384, 127)


def tree(seed: int, walks: int = 60, steps: int = 350) -> np.ndarray:
    """Random walks that keep their direction for a while, two voxels wide."""
    rng = np.random.default_rng(seed)
    at = rng.uniform(0.2, 0.8, (walks, 3)) * SHAPE
    direction = rng.normal(size=(walks, 3))
    mask = np.zeros(SHAPE, bool)
    for _ in range(steps):
        direction = 0.97 * direction + 0.25 * rng.normal(size=(walks, 3))
        at += direction / np.linalg.norm(direction, axis=1, keepdims=True)
        at = np.clip(at, 2, np.array(SHAPE) - 3)
        mask[tuple(at.astype(int).T)] = True
    return binary_dilation(mask, np.ones((2, 2, 2), bool))


def by_transforms(G: np.ndarray, S: np.ndarray) -> float:
    """Two distance transforms of the whole grid."""
    return float((distance_transform_edt(~S)[G].sum() + distance_transform_edt(~G)[S].sum()) / (2 * G.sum()))


def peers(G: np.ndarray, S: np.ndarray) -> dict[str, object]:
    """What can be had here, by name."""
    found: dict[str, object] = {}
    try:
        import SimpleITK as sitk  # noqa: N813
    except ImportError:
        print("SimpleITK is missing: pip install SimpleITK")
    else:
        sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
        images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (G, S)]

        def itk() -> float:
            measure = sitk.HausdorffDistanceImageFilter()
            measure.Execute(*images)
            return float(measure.GetAverageHausdorffDistance())

        print(f"average Hausdorff distance: ITK {itk():.6f}, angioshare {ahd_voxel(G, S):.6f}")
        found["ITK (SimpleITK), average Hausdorff distance"] = itk
    try:
        import torch
        from monai.metrics import compute_average_surface_distance
    except ImportError:
        print("MONAI is missing: pip install monai")
    else:
        tensors = [torch.from_numpy(mask)[None, None] for mask in (S, G)]
        found["MONAI, average surface distance"] = lambda: compute_average_surface_distance(
            *tensors, include_background=True, symmetric=True
        )
    return found


if __name__ == "__main__":
    options = arguments(__doc__.splitlines()[0], rounds=3)
    warnings.simplefilter("ignore")
    G = tree(1)
    S = np.roll(G, 1, axis=0) & tree(1, steps=300)
    if abs(bahd_voxel(G, S) - by_transforms(G, S)) > 1e-6:
        raise SystemExit("bAHD differs from that of two distance transforms")
    work = {
        "angioshare, bAHD": lambda: bahd_voxel(G, S),
        "two distance transforms (scipy), bAHD": lambda: by_transforms(G, S),
        **peers(G, S),
    }
    title = f"{__doc__.splitlines()[0]} {int(G.sum()):,} and {int(S.sum()):,} voxels"
    tell(title, interleaved(work, options.rounds), "angioshare, bAHD", options.json)
