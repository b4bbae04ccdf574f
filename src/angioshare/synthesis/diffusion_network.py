"""The network F of the denoiser, of layers that a private engine accepts: a small U-Net.

Each level is two convolutions around a branch that sees the map at half its size. The branch's input stands beside its
output (`Beside`), which is what skip connections are. Up-sampling repeats pixels and convolves, since transposed
convolutions have no kernel in the engine; GroupNorm and SiLU are usual in denoisers and treat each row by itself.
"""

import torch
from torch import nn

from angioshare.errors import SettingsError
from angioshare.privacy.branches import Beside, FirstChannels, SquaredError

PAIR = 2
"""Channels of a pair: image, label."""

SEEN = PAIR + 1
"""Channels that F reads: the noisy pair and its noise level."""


def denoising_network(size: int, features: int, levels: int) -> nn.Sequential:
    """Build F.

    Args:
        size: Edge of a patch in pixels; a multiple of 2**levels.
        features: Channels at full size; doubled at each level.
        levels: How many times the map is halved, >= 0.

    Returns:
        Maps (n, 3, size, size) to (n, 2, size, size).

    Raises:
        SettingsError: `size` cannot be halved so often.

    Example:
        >>> denoising_network(32, 8, 2)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 2, 32, 32])
    """
    check_size(size, levels)
    return nn.Sequential(*_block(SEEN, features), *_level(features, levels), nn.Conv2d(features, PAIR, 3, padding=1))


def check_size(size: int, levels: int) -> None:
    """Refuse a patch that cannot be halved so often.

    Raises:
        SettingsError: `size` is no multiple of 2**levels.
    """
    if size % 2**levels:
        raise SettingsError(
            f"patches.size={size} cannot be halved {levels} times; lower levels, or take a multiple of {2**levels}"
        )


def with_loss(network: nn.Sequential) -> nn.Sequential:
    """F and its squared error in one chain, as the engine wants it: one score a row.

    A row holds what F reads and then F's target, which F does not see.

    Args:
        network: F.

    Returns:
        Maps rows (n, 3 + 2, h, w) to |F(first three channels) - last two channels|^2, shape (n, 1).

    Example:
        >>> with_loss(denoising_network(8, 4, 1))(torch.zeros(6, 5, 8, 8)).shape
        torch.Size([6, 1])
    """
    return nn.Sequential(Beside(FirstChannels(SEEN), network), SquaredError(PAIR))


def _block(before: int, after: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    padding = (kernel - 1) // 2
    return [nn.Conv2d(before, after, kernel, stride, padding), _norm(after), nn.SiLU()]


def _norm(channels: int) -> nn.GroupNorm:
    """GroupNorm over 8 channels and more: a group of one channel would take away what the noise level adds to it."""
    return nn.GroupNorm(max(1, channels // 8) if channels % 8 == 0 else 1, channels)


def _level(channels: int, left: int) -> list[nn.Module]:
    """Layers that keep channels and size; `left` more levels lie below."""
    if left == 0:
        return _block(channels, channels)
    wide = 2 * channels
    down = _block(channels, wide, kernel=2, stride=2)
    up = [*_block(wide, channels), nn.Upsample(scale_factor=2)]
    return [Beside(*down, *_block(wide, wide), *_level(wide, left - 1), *up), *_block(wide, channels)]


def initialise(network: nn.Sequential, generator: torch.Generator) -> None:
    """Draw initial weights: normal by fan-in, zero in the last layer, so that F begins at its target's mean.

    Args:
        network: F, changed in place.
        generator: Seeded stream of initial weights.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
    last = network[-1]
    assert isinstance(last, nn.Conv2d)
    nn.init.zeros_(last.weight)
