"""The critic of the published WGAN: how real a pair of image and label looks.

Source: Kossen et al. (2022), section 3.3: convolutions (kernel 4, stride 2) with f, 2f, 4f, 8f, 16f and 1 channels,
InstanceNorm, LeakyReLU 0.2, no bias. InstanceNorm without running statistics treats every pair by itself, so it may
stand in a private critic.
"""

from torch import nn

from angioshare.models.generator import doublings

CHANNELS = 2
"""Channel 0 is the image, channel 1 the label."""


def convolution_critic(size: int, features: int) -> nn.Sequential:
    """Build the critic.

    Args:
        size: Edge of a patch in pixels; 96 as published.
        features: Base width f; 96 as published.

    Returns:
        Maps pairs (n, 2, size, size) to scores (n, 1).

    Example:
        >>> import torch
        >>> convolution_critic(96, 4)(torch.zeros(3, 2, 96, 96)).shape
        torch.Size([3, 1])
    """
    widths = [features * 2**power for power in range(doublings(size))]
    layers: list[nn.Module] = []
    for before, after in zip([CHANNELS, *widths[:-1]], widths, strict=True):
        layers += [nn.Conv2d(before, after, 4, 2, 1, bias=False), nn.InstanceNorm2d(after), nn.LeakyReLU(0.2)]
    layers += [nn.Conv2d(widths[-1], 1, 4, 2, 1, bias=False), nn.Flatten()]
    return nn.Sequential(*layers)
