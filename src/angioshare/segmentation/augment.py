"""Augmented copies of patches: flipped, rotated, sheared, made anew each time they are asked for.

Ranges as published: vertical flip, rotation by up to 30 degrees, shear by up to 20 degrees. What comes in from beyond
the edge is the patch mirrored at its edge, in image and label alike, so that no false edge and no cut vessel is learnt.
"Vertical" flips the first axis of a patch; in axial slices of RAS+ volumes that axis runs from left to right.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

ROTATION_DEG = 30.0
SHEAR_DEG = 20.0


def augment(image: Tensor, label: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Flip, rotate and shear each pair by its own random amounts.

    Args:
        image: Shape (n, 1, h, w), resampled linearly.
        label: Shape (n, 1, h, w), in {0, 1}, resampled to the nearest pixel, so it stays in {0, 1}.
        rng: Where the amounts come from.

    Returns:
        New tensors of the same shapes.

    Example:
        >>> label = (torch.arange(64.0).reshape(1, 1, 8, 8) > 40).float()
        >>> augment(label, label, np.random.default_rng(0))[1].unique()
        tensor([0., 1.])
    """
    if len(image) == 0:
        return image, label
    height, width = image.shape[-2:]
    grid = functional.affine_grid(
        random_affine(len(image), height, width, rng).to(image), list(image.shape), align_corners=False
    )
    return (
        functional.grid_sample(image, grid, mode="bilinear", padding_mode="reflection", align_corners=False),
        functional.grid_sample(label, grid, mode="nearest", padding_mode="reflection", align_corners=False),
    )


def random_affine(n: int, height: int, width: int, rng: np.random.Generator) -> Tensor:
    """Draw maps from output to input places, in the units of `affine_grid` (x, y; an edge is at -1 or 1).

    Args:
        n: How many.
        height: Rows of a patch.
        width: Columns of a patch.
        rng: Where the amounts come from.

    Returns:
        Shape (n, 2, 3), float32.

    Example:
        >>> random_affine(5, 96, 96, np.random.default_rng(0)).shape
        torch.Size([5, 2, 3])
    """
    turn = np.deg2rad(rng.uniform(-ROTATION_DEG, ROTATION_DEG, n))
    shear = np.tan(np.deg2rad(rng.uniform(-SHEAR_DEG, SHEAR_DEG, n)))
    flip = rng.choice([-1.0, 1.0], n)
    cos, sin = np.cos(turn), np.sin(turn)
    aspect = height / width
    maps = np.zeros((n, 2, 3))
    maps[:, 0, 0], maps[:, 0, 1] = cos, (cos * shear - sin) * flip * aspect
    maps[:, 1, 0], maps[:, 1, 1] = sin / aspect, (sin * shear + cos) * flip
    return torch.from_numpy(maps.astype(np.float32))
