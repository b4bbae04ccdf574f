"""A U-Net in the form that a private engine accepts: a chain of the same layers, with its loss at the end.

The chain holds the U-Net's own layers, not copies: what is taught to the chain, the U-Net knows. A skip connection is
the layer `Beside`, x -> (inner(x), x), which is the order in which the U-Net joins the coarse and the fine map.
"""

from torch import nn

from angioshare.models.unet import HalfUnet
from angioshare.privacy.branches import Beside, FirstChannels, SquaredError


def as_chain(unet: HalfUnet) -> nn.Sequential:
    """The layers of a U-Net as a chain.

    Args:
        unet: Without dropout, which a private engine refuses; its layers are taken, not copied.

    Returns:
        Maps images (n, 1, h, w) to the U-Net's probabilities, of the same shape; h and w are multiples of
        `unet.multiple`.

    Example:
        >>> import torch
        >>> unet, image = HalfUnet((2, 4, 4), seed=1), torch.randn(3, 1, 8, 12)
        >>> bool((as_chain(unet)(image) == unet(image)).all())
        True
    """
    return nn.Sequential(*_block(unet.down[0]), *_below(unet, 0), unet.last, nn.Sigmoid())


def with_loss(unet: HalfUnet) -> nn.Sequential:
    """The chain and its squared error, the Brier score of a patch: what is least where probabilities are right.

    Returns:
        Maps pairs (n, 2, h, w), standardised image and label, to sum over pixels of (probability - label)^2, (n, 1).

    Example:
        >>> import torch
        >>> with_loss(HalfUnet((2, 4), seed=1))(torch.zeros(5, 2, 8, 8)).shape
        torch.Size([5, 1])
    """
    return nn.Sequential(Beside(FirstChannels(1), as_chain(unet)), SquaredError(1))


def _below(unet: HalfUnet, level: int) -> list[nn.Module]:
    """From the map of a level to the same level after everything coarser has been seen."""
    coarser = [nn.MaxPool2d(2), *_block(unet.down[level + 1])]
    if level + 2 < len(unet.down):
        coarser += _below(unet, level + 1)
    return [Beside(*coarser, nn.Upsample(scale_factor=2)), *_block(unet.up[level])]


def _block(level: nn.Module) -> list[nn.Module]:
    """The two convolutions of a level, each with a ReLU that overwrites nothing."""
    return [step for part in level.children() if isinstance(part, nn.Conv2d) for step in (part, nn.ReLU())]
