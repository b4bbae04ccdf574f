"""The generator of the published WGAN: a latent vector becomes an image and its label.

Source: Kossen et al. (2022), section 3.3, and the facts of the authors' code: six transposed convolutions (kernel 4,
stride 2) with 16f, 8f, 4f, 2f, f and 2 channels, ReLU, tanh; GroupNorm in place of BatchNorm.
"""

from itertools import pairwise

import torch
from torch import nn

from angioshare.errors import SettingsError
from angioshare.models.doubling import Doubling

PATCH_SIZES = (16, 24, 32, 48, 64, 96, 128, 192)
"""Edges h = w that the networks can make: 2 or 3 pixels, doubled again and again."""


def doublings(size: int) -> int:
    """How many times a first map of 2 x 2 or 3 x 3 pixels must double to reach `size`.

    Raises:
        SettingsError: `size` cannot be reached.

    Example:
        >>> doublings(96), doublings(64)
        (5, 5)
    """
    if size not in PATCH_SIZES:
        raise SettingsError(f"patches.size={size} fits no generator; choose one of {PATCH_SIZES}")
    first = 3 if size % 3 == 0 else 2
    return (size // first).bit_length() - 1


def group_norm(channels: int) -> nn.GroupNorm:
    """GroupNorm with at most 32 groups, as the usual exchange of BatchNorm makes it."""
    groups = min(32, channels)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels)


def transposed_generator(size: int, features: int, z: int) -> nn.Sequential:
    """Build the code's default generator.

    Args:
        size: Edge of a patch in pixels, one of `PATCH_SIZES`; 96 as published.
        features: Base width f; 96 as published.
        z: Width of the latent vector; 128 as published.

    Returns:
        Maps (n, z, 1, 1) to (n, 2, size, size) in [-1, 1]; channel 0 is the image, channel 1 the label.

    Example:
        >>> transposed_generator(96, 4, 8)(torch.zeros(2, 8, 1, 1)).shape
        torch.Size([2, 2, 96, 96])
    """
    depth = doublings(size)
    widths = [features * 2**power for power in range(depth - 1, -1, -1)]
    first = Doubling(z, widths[0], more=int(size % 3 == 0))
    layers: list[nn.Module] = [first, group_norm(widths[0]), nn.ReLU()]
    for before, after in pairwise(widths):
        layers += [Doubling(before, after), group_norm(after), nn.ReLU()]
    layers += [Doubling(widths[-1], 2), nn.Tanh()]
    return nn.Sequential(*layers)


def upsampling_generator(size: int, features: int, z: int) -> nn.Sequential:
    """Build the generator of the paper's text: one linear layer, then up-sampling and convolution.

    Shapes and ranges as in `transposed_generator`.

    Example:
        >>> upsampling_generator(96, 4, 8)(torch.zeros(2, 8, 1, 1)).shape
        torch.Size([2, 2, 96, 96])
    """
    depth = doublings(size)
    first = size // 2**depth
    widths = [features * 2**power for power in range(depth - 1, -1, -1)]
    layers: list[nn.Module] = [
        nn.Flatten(),
        nn.Linear(z, widths[0] * first**2),
        nn.Unflatten(1, (widths[0], first, first)),
    ]
    for before, after in zip(widths, [*widths[1:], 0], strict=True):
        layers += [nn.Upsample(scale_factor=2), nn.Conv2d(before, after or 2, 5, padding=2)]
        layers += [group_norm(after), nn.ReLU()] if after else [nn.Tanh()]
    return nn.Sequential(*layers)


def initialise(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all convolution weights from N(0, 0.05), as published.

    Args:
        network: Changed in place.
        generator: Seeded stream of initial weights.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | Doubling | nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.05, generator=generator)
            if isinstance(module.bias, nn.Parameter):
                nn.init.zeros_(module.bias)
