"""From pairs to what the denoiser learns from: several noisy copies of each, with what the network should answer.

Noise multiplicity (Dockhorn et al. 2023, section 3.2): a pair is shown under K noise levels, and the mean gradient over
them is clipped once. The gradient is steadier, the privacy the same.

Why the noise of a private run never comes from the seed: copies are made row by row of a draw, so one patch more would
shift the noise of all that follow, and their gradients with it. Whoever knew the seed could then see more than one
clipped gradient change. Secret noise that is drawn anew for each row is independent of who was drawn, and each patch
may be thought of as bringing its own: the rest of the sum stays.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from angioshare.models.denoiser import Preconditioning
from angioshare.privacy.noise import GaussianNoise
from angioshare.rng import seed_for

Normal = Callable[[int], Tensor]
"""Draws so many standard normal numbers, shape (count,), float32."""


@dataclass(frozen=True, kw_only=True)
class NoiseLevels:
    """Which noise levels are trained: ln(sigma) ~ N(mean, std^2) (Karras et al. 2022, Table 1).

    Attributes:
        mean: P_mean.
        std: P_std, > 0.
        copies: Noise multiplicity K, how many noisy copies of a pair are shown at once, >= 1.
    """

    mean: float = -1.2
    std: float = 1.2
    copies: int = 1


def as_data(pairs: Tensor) -> Tensor:
    """Pairs whose label is -1 or 1 instead of 0 or 1, as wide as the image.

    Example:
        >>> as_data(torch.tensor([[[[0.5]], [[1.0]]], [[[0.5]], [[0.0]]]])).flatten().tolist()
        [0.5, 1.0, 0.5, -1.0]
    """
    return torch.cat((pairs[:, :1], 2 * pairs[:, 1:] - 1), 1)


def noisy_rows(pairs: Tensor, levels: NoiseLevels, about: Preconditioning, normal: Normal) -> Tensor:
    """Rows for `diffusion_network.with_loss`.

    Args:
        pairs: Shape (m, 2, h, w), image in [-1, 1] and label in {0, 1}. May be empty.
        levels: Which noise levels, and how many for each pair.
        about: Makes input and target of the network.
        normal: Where noise and noise levels come from.

    Returns:
        Shape (m * copies, 5, h, w), on the device of `pairs`: the copies of a pair follow each other.

    Example:
        >>> noisy_rows(torch.zeros(3, 2, 4, 4), NoiseLevels(copies=2), Preconditioning(), torch.randn).shape
        torch.Size([6, 5, 4, 4])
    """
    clean = as_data(pairs).repeat_interleave(levels.copies, dim=0)
    sigma = (levels.mean + levels.std * normal(len(clean)).to(pairs.device)).exp()
    noise = normal(clean.numel()).to(pairs.device).view(clean.shape)
    noisy = clean + sigma.view(-1, 1, 1, 1) * noise
    return torch.cat((about.inputs(noisy, sigma), about.target(clean, noisy, sigma)), 1)


def seeded_normal(seed: int, *purpose: str) -> Normal:
    """Numbers that a seed gives again: for trainings without privacy."""
    generator = torch.Generator().manual_seed(seed_for(seed, "diffusion", *purpose))
    return lambda count: torch.randn(count, generator=generator)


def secret_normal() -> Normal:
    """Numbers from the system's cryptographic source, for private trainings; see the module."""
    noise = GaussianNoise()
    return lambda count: noise.normal(count).to(torch.float32)
