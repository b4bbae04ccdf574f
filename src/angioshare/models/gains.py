"""Gains of a U-Net: a factor and a shift for each channel that a convolution gives, in place of all its weights.

A convolution of weights W and bias b gives W * x + b. With the gain g and the shift s of a channel it gives

    exp(g) (W * x + b) + s,   which is a convolution again: weights exp(g) W, bias exp(g) b + s.

So a U-Net with gains is a U-Net with other weights, and two numbers a channel say which. Few as they are, they follow a
domain (Li et al. 2017, arXiv:1603.04779; Perez et al. 2018, arXiv:1709.07871: there as factors and shifts of
normalisation layers, which this U-Net lacks).
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from angioshare.models.unet import HalfUnet, check_levels
from angioshare.types import FloatArray

Forward = Callable[[HalfUnet, Tensor], Tensor]


class Gains:
    """A U-Net whose weights stay as they are, and whose gains learn.

    Attributes:
        values: Gains and shifts, a leaf with gradients, shape (2, channels), all 0 at first: the U-Net as it is.

    Example:
        >>> unet = HalfUnet((2, 4, 4), seed=1)
        >>> gains = Gains(unet, 1)
        >>> gains.values.shape, bool((gains(torch.ones(1, 1, 4, 4)) == unet(torch.ones(1, 1, 4, 4))).all())
        (torch.Size([2, 9]), True)
    """

    def __init__(self, unet: HalfUnet, levels: int, forward: Forward | None = None) -> None:
        """Give gains to the convolutions of the finest levels and to the last layer.

        Args:
            unet: Its weights are read, and never changed here.
            levels: How many levels, from the finest, on the way down and up; 0 leaves the last layer alone.
            forward: How the network is gone through, if not by a call.

        Raises:
            SettingsError: The U-Net has fewer levels.
        """
        self._called = _Called(unet, forward or HalfUnet.__call__)
        self._names = [f"unet.{name}" for name in convolutions(unet, levels)]
        self._base = {name: weight.detach() for name, weight in self._called.named_parameters()}
        self._channels = [len(self._base[f"{name}.bias"]) for name in self._names]
        self.values = self._base["unet.last.bias"].new_zeros(2, sum(self._channels)).requires_grad_()

    def __call__(self, image: Tensor) -> Tensor:
        """Map standardised images (n, 1, h, w) to probabilities of the same shape."""
        found: Tensor = functional_call(self._called, {**self._base, **self.weights()}, image)
        return found

    def weights(self) -> dict[str, Tensor]:
        """Weights and biases of the convolutions with gains, by name, with gradients to the gains."""
        changed = {}
        parts = torch.split(self.values, self._channels, dim=1)
        for name, (gain, shift) in zip(self._names, parts, strict=True):
            factor = gain.exp()
            changed[f"{name}.weight"] = self._base[f"{name}.weight"] * factor[:, None, None, None]
            changed[f"{name}.bias"] = self._base[f"{name}.bias"] * factor + shift
        return changed

    def flat(self) -> FloatArray:
        """The gains, then the shifts, in a row (D,), float32."""
        return np.array(self.values.detach().cpu().numpy().ravel(), np.float32)


def with_gains(unet: HalfUnet, levels: int, values: FloatArray) -> HalfUnet:
    """Change the weights of a U-Net in place to what its gains make of them, and return it.

    Args:
        unet: The U-Net that the gains belong to.
        levels: As the gains were made with.
        values: Gains, then shifts, in a row (D,); see `Gains.flat`.

    Raises:
        ValueError: There are more or fewer values than the levels have.

    Example:
        >>> unet, image = HalfUnet((2, 4, 4), seed=1), torch.ones(1, 1, 4, 4)
        >>> darker = with_gains(HalfUnet((2, 4, 4), seed=1), 0, np.array([0.0, -9.0], np.float32))
        >>> bool((darker(image) < unet(image)).all())
        True
    """
    gains = Gains(unet, levels)
    if values.shape != (gains.values.numel(),):
        raise ValueError(f"{values.shape} values for {gains.values.numel()} gains and shifts of {levels} levels")
    with torch.no_grad():
        gains.values.copy_(torch.from_numpy(np.asarray(values, np.float32)).view_as(gains.values))
        parameters = dict(unet.named_parameters())
        for name, weight in gains.weights().items():
            parameters[name.removeprefix("unet.")].copy_(weight)
    return unet


def convolutions(unet: HalfUnet, levels: int) -> list[str]:
    """Names of the convolutions of the finest levels, on the way down, then up, and of the last layer.

    Raises:
        SettingsError: The U-Net has fewer levels.

    Example:
        >>> convolutions(HalfUnet((2, 4, 4), seed=1), 1)
        ['down.0.0', 'down.0.3', 'up.0.0', 'up.0.3', 'last']
    """
    check_levels(unet, levels)
    finest = {f"{way}.{level}" for way in ("down", "up") for level in range(levels)}
    return [
        name
        for name, module in unet.named_modules()
        if isinstance(module, nn.Conv2d) and (name == "last" or name.rpartition(".")[0] in finest)
    ]


class _Called(nn.Module):
    """A U-Net and how it is gone through, as one module that can be called with other weights."""

    def __init__(self, unet: HalfUnet, forward: Forward) -> None:
        super().__init__()
        self.unet, self._forward = unet, forward

    def forward(self, image: Tensor) -> Tensor:
        return self._forward(self.unet, image)
