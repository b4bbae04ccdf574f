"""The "half" U-Net that finds vessels in 2-D slices.

Source: Livne et al. (2019), Frontiers in Neuroscience 13:97, with half of the original channels: five levels, two 3 x 3
convolutions each with ReLU, 2 x 2 max-pooling down, nearest-neighbour up-sampling and concatenation up, a 1 x 1
convolution with a sigmoid at the end, dropout between the two convolutions of a level. The paper states no
normalisation layer, so there is none; it states no initial weights: convolutions start as He et al. (2015) propose for
ReLU, biases at zero.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from angioshare.errors import SettingsError

PUBLISHED = (32, 64, 128, 256, 512)
"""Channels of the five levels, from fine to coarse."""


class HalfUnet(nn.Module):
    """Vessel probability of every pixel.

    Example:
        >>> HalfUnet((2, 4, 4), seed=1)(torch.zeros(1, 1, 21, 30)).shape
        torch.Size([1, 1, 21, 30])
    """

    def __init__(self, channels: Sequence[int] = PUBLISHED, dropout: float = 0.0, *, seed: int) -> None:
        """Build it with weights drawn from `seed` alone.

        Args:
            channels: Width of each level from fine to coarse, at least two, each >= 1.
            dropout: Chance in [0, 1) that an activation between two convolutions is zeroed in training.
            seed: Drives the initial weights.

        Raises:
            SettingsError: Fewer than two levels, an empty level, or dropout outside [0, 1).
        """
        super().__init__()
        if len(channels) < 2 or min(channels) < 1 or not 0 <= dropout < 1:
            raise SettingsError(
                f"channels={tuple(channels)}, dropout={dropout}: a U-Net needs two levels or more, each of one channel "
                f"or more, and dropout in [0, 1); {PUBLISHED} and 0.1 are published"
            )
        self.multiple = 2 ** (len(channels) - 1)
        inputs = [1, *channels[:-1]]
        pairs = zip(channels[1:], channels[:-1], strict=True)
        with torch.random.fork_rng([]):  # torch draws weights of its own first; the caller's stream stays where it was
            self.down = nn.ModuleList(_level(a, b, dropout) for a, b in zip(inputs, channels, strict=True))
            self.up = nn.ModuleList(_level(coarse + fine, fine, dropout) for coarse, fine in pairs)
            self.last = nn.Conv2d(channels[0], 1, 1)
        _initialise(self, seed)

    def forward(self, image: Tensor) -> Tensor:
        """Map standardised images to probabilities.

        Args:
            image: Shape (n, 1, h, w), any h and w >= 1: edges are repeated up to a multiple of 16 and cut off again.

        Returns:
            Shape (n, 1, h, w), in [0, 1].
        """
        height, width = image.shape[-2:]
        x, skips = self.way_down(image)
        for level, skip in zip(reversed(self.up), reversed(skips), strict=True):
            x = level(torch.cat((functional.interpolate(x, scale_factor=2.0, mode="nearest"), skip), dim=1))
        return probability_of(self.last(x))[..., :height, :width]

    def way_down(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The coarsest map of images (n, 1, h, w), and the maps of the finer levels, finest first."""
        x = self.padded(image)
        skips = []
        for level in self.down[:-1]:
            x = level(x)
            skips.append(x)
            x = functional.max_pool2d(x, 2)
        return self.down[-1](x), skips

    def padded(self, image: Tensor) -> Tensor:
        """Repeat the edges of images (n, 1, h, w) until h and w can be halved at every level."""
        height, width = image.shape[-2:]
        return functional.pad(image, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")


def probability_of(logit: Tensor) -> Tensor:
    """Sigmoid of a network's last layer, in float32 or finer: in bfloat16 it is 1, without a gradient, from 6.3 on.

    Example:
        >>> probability_of(torch.tensor([-2.0, 8.0], dtype=torch.bfloat16))
        tensor([0.1192, 0.9997])
    """
    return torch.sigmoid(logit.float() if logit.dtype == torch.bfloat16 else logit)


def open_levels(unet: HalfUnet, levels: int) -> int:
    """Let the finest levels and the last layer learn, and nothing else.

    Args:
        unet: Changed in place.
        levels: How many levels, from the finest; 0 leaves the last layer alone.

    Returns:
        Weights that learn.

    Raises:
        SettingsError: The U-Net has fewer levels.

    Example:
        >>> open_levels(HalfUnet((2, 4, 4), seed=1), 0), open_levels(HalfUnet((2, 4, 4), seed=1), 1)
        (3, 209)
    """
    check_levels(unet, levels)
    unet.requires_grad_(False)
    for part in (*list(unet.down)[:levels], *list(unet.up)[:levels], unet.last):
        part.requires_grad_(True)
    return sum(weight.numel() for weight in opened(unet))


def check_levels(unet: HalfUnet, levels: int) -> None:
    """Refuse levels that a U-Net does not have.

    Raises:
        SettingsError: There are fewer.
    """
    if not 0 <= levels <= len(unet.down):
        raise SettingsError(f"levels={levels}: the U-Net has {len(unet.down)} levels; take 0 to {len(unet.down)}")


def opened(unet: HalfUnet) -> list[nn.Parameter]:
    """The weights that learn, always in the same order."""
    return [weight for weight in unet.parameters() if weight.requires_grad]


def _level(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    """Two convolutions with ReLU, dropout between them."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Dropout(dropout),
        nn.Conv2d(outputs, outputs, 3, padding=1),
        nn.ReLU(inplace=True),
    )


def _initialise(network: nn.Module, seed: int) -> None:
    """He's normal weights for ReLU and zero biases, from a stream of their own."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
