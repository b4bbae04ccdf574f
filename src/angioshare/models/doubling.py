"""A transposed convolution that doubles a map, as one matrix product where the map has a few pixels.

Libraries run a transposed convolution image by image. On the first maps of a wide generator that means reading all of
its weights, most of the network, for 9 pixels at a time. One product over the pixels of the whole batch reads them
once. What was measured stands in `docs/decisions/0007-generator-products.md`.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

KERNEL, STRIDE, PADDING = 4, 2, 1

_FEW, _WIDE = 16, 1 << 22  # pixels and weights for which the product won wherever it was tried


class Doubling(nn.Module):
    """Transposed convolution of kernel 4, stride 2 and padding 1, without bias: h x w becomes 2h x 2w.

    Example:
        >>> Doubling(5, 3)(torch.zeros(2, 5, 6, 6)).shape
        torch.Size([2, 3, 12, 12])
    """

    def __init__(self, inputs: int, outputs: int, *, more: int = 0) -> None:
        """Make it with torch's usual initial weights.

        Args:
            inputs: Channels that it reads.
            outputs: Channels that it makes.
            more: Pixels to add at the lower and the right edge, 0 or 1 (torch's `output_padding`).
        """
        super().__init__()
        self.more = more
        self.register_parameter("bias", None)  # as the layers beside it say that they have none
        self.weight = nn.Parameter(torch.empty(inputs, outputs, KERNEL, KERNEL))
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))

    def forward(self, x: Tensor) -> Tensor:
        """Double a map.

        The way depends on shapes alone, never on a measured time, so that the same seed gives the same networks.

        Args:
            x: Shape (n, inputs, h, w).

        Returns:
            Shape (n, outputs, 2h + more, 2w + more).
        """
        if x.device.type == "cpu" and self.weight.numel() >= _WIDE and x.shape[2] * x.shape[3] <= _FEW:
            return by_product(x, self.weight, self.more)
        return functional.conv_transpose2d(x, self.weight, None, STRIDE, PADDING, self.more)


def by_product(x: Tensor, weight: Tensor, more: int = 0) -> Tensor:
    """The same map as one matrix product over all pixels, whose 4 x 4 results are added up where they overlap.

    Args:
        x: Shape (n, inputs, h, w).
        weight: Shape (inputs, outputs, 4, 4).
        more: See `Doubling`.

    Returns:
        Shape (n, outputs, 2h + more, 2w + more). Its derivatives are two products of the same size.

    Example:
        >>> by_product(torch.ones(1, 1, 1, 1), torch.arange(16.0).view(1, 1, 4, 4))
        tensor([[[[ 5.,  6.],
                  [ 9., 10.]]]])
    """
    n, inputs, h, w = x.shape
    pixels = x.flatten(2).mT.reshape(n * h * w, inputs)
    patches = (pixels @ weight.flatten(1)).view(n, h * w, weight[0].numel()).mT
    size = (STRIDE * h + more, STRIDE * w + more)
    return functional.fold(patches, size, KERNEL, padding=PADDING, stride=STRIDE)
