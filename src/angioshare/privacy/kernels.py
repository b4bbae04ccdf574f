"""Per layer: the squared gradient norm of each row, and the weighted sum of all rows' gradients.

`a` is what went into a layer, `g` the derivative of the loss after it; row i of both belongs to row i of the batch, and
the row's gradient is a product of the two. No row's gradient outlives its layer.

==============  =================================  ==========================================================
layer           gradient of row i                  squared norm
==============  =================================  ==========================================================
Linear          g_i a_i^T                          |g_i|^2 |a_i|^2 for plain vectors, else the product itself
Conv2d          G_i U_i^T (U: unfolded input)      by the product, or by Gram matrices: sum (U^T U) * (G^T G)
*Norm (affine)  sum over pixels of g_i * x_i       the product itself (x: normalised input)
any bias        sum over pixels of g_i             the sum itself
==============  =================================  ==========================================================
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

_CHUNK = 1 << 24  # at most so many elements of single rows' gradients stand in memory at once


def squared_norms(layer: nn.Module, a: Tensor, g: Tensor) -> Tensor:
    """Squared L2 norm of each row's gradient with respect to the layer's trainable parameters, shape (n,), float64.

    Args:
        layer: One of `layers.LEARNING`.
        a: Its input, shape (n, ...).
        g: Derivative of each row's loss with respect to its output, shape (n, ...).
    """
    norms = torch.zeros(len(a), dtype=torch.float64, device=a.device)
    if _trains(layer, "weight"):
        norms += _WEIGHT_NORMS[type(layer)](layer, a, g)
    if _trains(layer, "bias"):
        norms += _square(_bias_rows(layer, g))
    return norms


def weighted_gradients(layer: nn.Module, a: Tensor, g: Tensor, weights: Tensor) -> list[Tensor]:
    """Sum over rows of weight times gradient, for each trainable parameter of the layer in its own order.

    Args:
        layer: One of `layers.LEARNING`.
        a: Its input, shape (n, ...).
        g: Derivative of each row's loss with respect to its output, shape (n, ...).
        weights: Shape (n,). Where a weight is zero, the row counts as zero even if it holds NaN or infinity.
    """
    shape = (-1, *[1] * (g.dim() - 1))
    zero = (weights == 0).view(shape)
    g = torch.where(zero, 0, g * weights.to(g.dtype).view(shape))
    a = torch.where(zero.view(-1, *[1] * (a.dim() - 1)), 0, a)
    found = []
    if _trains(layer, "weight"):
        found.append(_WEIGHT_SUMS[type(layer)](layer, a, g))
    if _trains(layer, "bias"):
        found.append(_bias_rows(layer, g).sum(0).view_as(layer.bias))  # type: ignore[arg-type]
    return found


def trainable(layer: nn.Module) -> list[nn.Parameter]:
    """The layer's trainable parameters, weight before bias."""
    return [getattr(layer, name) for name in ("weight", "bias") if _trains(layer, name)]


def _trains(layer: nn.Module, name: str) -> bool:
    parameter = getattr(layer, name, None)
    return isinstance(parameter, nn.Parameter) and parameter.requires_grad


def _square(rows: Tensor) -> Tensor:
    """Squared norm of each row, summed in float64."""
    return rows.flatten(1).to(torch.float64).square().sum(1)


def _linear_norms(layer: nn.Linear, a: Tensor, g: Tensor) -> Tensor:
    """|g a^T|^2 = |g|^2 |a|^2 where a row is one vector; a row of several vectors is multiplied out."""
    if a.dim() == 2:
        return _square(a) * _square(g)
    return _in_chunks(lambda a, g: g.flatten(1, -2).mT @ a.flatten(1, -2), layer.weight.numel(), a, g)


def _linear_sum(layer: nn.Linear, a: Tensor, g: Tensor) -> Tensor:
    return g.flatten(0, -2).mT @ a.flatten(0, -2)


def _conv_norms(layer: nn.Conv2d, a: Tensor, g: Tensor) -> Tensor:
    """By Gram matrices where the map has few pixels L, else by the rows' gradients themselves."""
    pixels, outputs, inputs = g[0, 0].numel(), g.shape[1], layer.weight[0].numel()
    if pixels * (outputs + inputs) < outputs * inputs:
        return _in_chunks(lambda a, g: _conv_gram(layer, a, g), inputs * pixels, a, g, squared=True)
    return _in_chunks(lambda a, g: _conv_rows(layer, a, g), max(layer.weight.numel(), inputs * pixels), a, g)


def _conv_rows(layer: nn.Conv2d, a: Tensor, g: Tensor) -> Tensor:
    """Each row's gradient, shape (n, outputs, inputs * kernel)."""
    return g.flatten(2) @ _unfold(layer, a).mT


def _conv_gram(layer: nn.Conv2d, a: Tensor, g: Tensor) -> Tensor:
    """|G U^T|^2 = sum over pixel pairs of (U^T U) (G^T G), shape (n,).

    In float64, because the terms cancel: rounding them in float32 could make a large gradient look small.
    """
    unfolded, outer = _unfold(layer, a).to(torch.float64), g.flatten(2).to(torch.float64)
    return ((unfolded.mT @ unfolded) * (outer.mT @ outer)).sum((1, 2)).clamp_min_(0)


def _conv_sum(layer: nn.Conv2d, a: Tensor, g: Tensor) -> Tensor:
    """The ordinary weight gradient of a convolution."""
    weight, stride, padding = layer.weight, layer.stride, _padding(layer)
    made = torch.ops.aten.convolution_backward(
        g, a, weight, None, stride, padding, layer.dilation, False, (0, 0), 1, (False, True, False)
    )
    gradient: Tensor = made[1]
    return gradient


def _padding(layer: nn.Conv2d) -> tuple[int, ...]:
    """Padding in pixels; the word "valid" means none ("same" is refused beforehand)."""
    return (0, 0) if isinstance(layer.padding, str) else layer.padding


def _unfold(layer: nn.Conv2d, a: Tensor) -> Tensor:
    """The input of each output pixel as a column, shape (n, inputs * kernel, pixels)."""
    return functional.unfold(a, layer.kernel_size, layer.dilation, _padding(layer), layer.stride)


def _norm_norms(layer: nn.Module, a: Tensor, g: Tensor) -> Tensor:
    return _square(_norm_rows(layer, a, g))


def _norm_sum(layer: nn.Module, a: Tensor, g: Tensor) -> Tensor:
    return _norm_rows(layer, a, g).sum(0).view_as(layer.weight)  # type: ignore[arg-type]


def _norm_rows(layer: nn.Module, a: Tensor, g: Tensor) -> Tensor:
    """Each row's gradient with respect to the scale of a normalisation, shape (n, scales)."""
    return _over_pixels(layer, g * _normalised(layer, a))


def _normalised(layer: nn.Module, a: Tensor) -> Tensor:
    """The input as the layer has it before scale and bias."""
    if isinstance(layer, nn.GroupNorm):
        return functional.group_norm(a, layer.num_groups, eps=layer.eps)
    if isinstance(layer, nn.LayerNorm):
        return functional.layer_norm(a, layer.normalized_shape, eps=layer.eps)
    assert isinstance(layer, nn.InstanceNorm2d)
    return functional.instance_norm(a, eps=layer.eps)


def _bias_rows(layer: nn.Module, g: Tensor) -> Tensor:
    """Each row's gradient with respect to the bias, shape (n, biases)."""
    if isinstance(layer, nn.Linear):
        return g.flatten(1, -2).sum(1) if g.dim() > 2 else g
    return _over_pixels(layer, g)


def _over_pixels(layer: nn.Module, rows: Tensor) -> Tensor:
    """Sum over all axes along which a layer shares its parameter: pixels, or for LayerNorm the leading axes."""
    if isinstance(layer, nn.LayerNorm):
        lead = rows.dim() - len(layer.normalized_shape)
        return rows.flatten(lead).flatten(1, lead - 1).sum(1) if lead > 1 else rows.flatten(1)
    return rows.flatten(2).sum(2)


def _in_chunks(
    per_row: Callable[[Tensor, Tensor], Tensor], elements: int, a: Tensor, g: Tensor, squared: bool = False
) -> Tensor:
    """Squared norms of what `per_row` makes, for as many rows at a time as fit into memory."""
    rows = max(1, _CHUNK // max(elements, 1))
    parts: Sequence[tuple[Tensor, Tensor]] = list(zip(torch.split(a, rows), torch.split(g, rows), strict=True))
    made = [per_row(x, y) if squared else _square(per_row(x, y)) for x, y in parts]
    return torch.cat(made) if made else torch.zeros(0, dtype=torch.float64, device=a.device)


_WEIGHT_NORMS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Linear: _linear_norms,
    nn.Conv2d: _conv_norms,
    nn.InstanceNorm2d: _norm_norms,
    nn.GroupNorm: _norm_norms,
    nn.LayerNorm: _norm_norms,
}
_WEIGHT_SUMS: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.Linear: _linear_sum,
    nn.Conv2d: _conv_sum,
    nn.InstanceNorm2d: _norm_sum,
    nn.GroupNorm: _norm_sum,
    nn.LayerNorm: _norm_sum,
}
