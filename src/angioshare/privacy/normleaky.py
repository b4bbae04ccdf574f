"""InstanceNorm followed by LeakyReLU in one piece: the same numbers, in half the passes over memory.

The published critic has this pair after each convolution, and on a large map it costs as much as the convolution.
"""

from typing import Any

import torch
from torch import Tensor, nn


def fits(norm: nn.Module, activation: nn.Module, x: Tensor) -> bool:
    """Whether two layers that follow each other are this pair, without weights, on a map of at least two pixels."""
    return (
        isinstance(norm, nn.InstanceNorm2d)
        and not norm.affine
        and isinstance(activation, nn.LeakyReLU)
        and activation.negative_slope > 0
        and x.dim() == 4
        and x[0, 0].numel() > 1
        and x.device.type == "cpu"
    )


def norm_then_leaky(norm: nn.Module, activation: nn.Module, x: Tensor) -> Tensor:
    """Run the pair.

    Args:
        norm: An InstanceNorm2d without weights.
        activation: A LeakyReLU of positive slope.
        x: Shape (n, c, h, w).
    """
    made: Tensor = _NormLeaky.apply(x, norm.eps, activation.negative_slope)  # type: ignore[no-untyped-call]
    return made


class _NormLeaky(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float, slope: float) -> Tensor:
        # What batch norm calls a channel is one channel of one row, if there is a single row.
        flat = x.contiguous().view(1, -1, *x.shape[2:])
        made, mean, inverse = torch.native_batch_norm(flat, None, None, None, None, True, 0.0, eps)
        ctx.eps, ctx.slope = eps, slope
        out: Tensor = torch.ops.aten.leaky_relu_(made, slope).view(x.shape)
        ctx.save_for_backward(flat, mean, inverse, out)
        return out

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        flat, mean, inverse, out = ctx.saved_tensors
        # The sign of the output tells the sign of the input, since the slope is positive.
        inner = torch.ops.aten.leaky_relu_backward(g.contiguous(), out, ctx.slope, True).view(flat.shape)
        x, _, _ = torch.ops.aten.native_batch_norm_backward(
            inner, flat, None, None, None, mean, inverse, True, ctx.eps, [True, False, False]
        )
        return x.view(g.shape), None, None
