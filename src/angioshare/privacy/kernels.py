"""Per layer: the squared gradient norm of each row, and the weighted sum of all rows' gradients.

`a` is what went into a layer, `g` the derivative of the loss after it; row i of both belongs to row i of the batch, and
the row's gradient is a product of the two. What is kept of single rows' gradients is small or gone with its layer.

==============  =================================  ==========================================================
layer           gradient of row i                  squared norm
==============  =================================  ==========================================================
Linear          g_i a_i^T                          |g_i|^2 |a_i|^2 for plain vectors, else the product itself
Conv2d          G_i U_i^T (U: unfolded input)      see `convolution.py`
*Norm (affine)  sum over pixels of g_i * x_i       the product itself (x: normalised input)
any bias        sum over pixels of g_i             the sum itself
==============  =================================  ==========================================================
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from angioshare.privacy import convolution
from angioshare.privacy.convolution import Rows, Ways
from angioshare.privacy.summation import in_chunks, square, weighted_sum

DEFAULT = Ways()


@dataclass
class Kept:
    """What the book-keeping keeps of one layer between its norms and its sum."""

    layer: nn.Module
    a: Tensor
    """The layer's input, shape (n, ...)."""
    g: Tensor
    """Derivative of each row's loss with respect to the layer's output, shape (n, ...). Scaled in place by the sum."""
    ways: Ways = DEFAULT
    weight_rows: Rows | Tensor | None = None
    bias_rows: Tensor | None = None

    def part(self, begin: int, end: int) -> "Kept":
        """Some rows of it, before its norms were found."""
        return Kept(self.layer, self.a[begin:end], self.g[begin:end], self.ways)


def squared_norms(kept: Kept) -> Tensor:
    """Squared L2 norm of each row's gradient with respect to the layer's trainable parameters, shape (n,), float64.

    Args:
        kept: One of `layers.LEARNING` with its input and derivative; rows that are worth keeping are left in it.
    """
    layer, a, g = kept.layer, kept.a, kept.g
    norms = torch.zeros(len(a), dtype=torch.float64, device=a.device)
    if _trains(layer, "weight"):
        if isinstance(layer, nn.Conv2d):
            found, kept.weight_rows = convolution.squared_norms(layer, a, g, kept.ways)
            norms += found
        elif isinstance(layer, nn.Linear):
            norms += _linear_norms(layer, a, g)
        else:
            kept.weight_rows = _norm_rows(kept)
            norms += square(kept.weight_rows)
    if _trains(layer, "bias"):
        kept.bias_rows = _bias_rows(layer, g)
        norms += square(kept.bias_rows)
    return norms


def weighted_gradients(kept: Kept, weights: Tensor) -> list[Tensor]:
    """Sum over rows of weight times gradient, for each trainable parameter of the layer in its own order.

    Args:
        kept: A layer after `squared_norms`.
        weights: Shape (n,). Where a weight is zero, the row counts as zero even if it holds NaN or infinity.
    """
    layer, used = kept.layer, weights != 0
    if not used.all():
        if not used.any():
            return [torch.zeros_like(parameter) for parameter in trainable(layer)]
        weights = weights[used]
        kept = _some(kept, used)
    found = []
    if _trains(layer, "bias"):  # before the weight, whose sum scales `g` in place
        rows = _bias_rows(layer, kept.g) if kept.bias_rows is None else kept.bias_rows
        found.append(weighted_sum(weights, rows))
    if _trains(layer, "weight"):
        found.insert(0, _weight_sum(kept, weights))
    return [total.view(parameter.shape) for total, parameter in zip(found, trainable(layer), strict=True)]


def forward(layer: nn.Module, x: Tensor, ways: Ways) -> Tensor:
    """Run one allowed layer, a convolution in the way that was chosen for it."""
    if isinstance(layer, nn.Conv2d):
        return convolution.forward(layer, x, ways.passes)
    made: Tensor = layer(x)
    return made


def trainable(layer: nn.Module) -> list[nn.Parameter]:
    """The layer's trainable parameters, weight before bias."""
    return [getattr(layer, name) for name in ("weight", "bias") if _trains(layer, name)]


def _trains(layer: nn.Module, name: str) -> bool:
    parameter = getattr(layer, name, None)
    return isinstance(parameter, nn.Parameter) and parameter.requires_grad


def _some(kept: Kept, used: Tensor) -> Kept:
    """Some rows of it, after its norms were found."""
    rows, biases = kept.weight_rows, kept.bias_rows
    if isinstance(rows, Rows):
        rows = Rows([part[used] for part in rows.parts])
    elif rows is not None:
        rows = rows[used]
    return Kept(kept.layer, kept.a[used], kept.g[used], kept.ways, rows, None if biases is None else biases[used])


def _weight_sum(kept: Kept, weights: Tensor) -> Tensor:
    layer, a, g, rows = kept.layer, kept.a, kept.g, kept.weight_rows
    if rows is None and not isinstance(layer, nn.Conv2d | nn.Linear):
        rows = _norm_rows(kept)
    if isinstance(rows, Tensor):
        return weighted_sum(weights, rows)
    if isinstance(layer, nn.Conv2d) and rows is not None:
        return rows.weighted(layer, weights)
    g.mul_(weights.to(g.dtype).view(-1, *[1] * (g.dim() - 1)))
    if isinstance(layer, nn.Conv2d):
        return convolution.weight_gradient(layer, a, g, "convolution" if kept.ways.sums == "rows" else kept.ways.sums)
    return g.flatten(0, -2).mT @ a.flatten(0, -2)


def _linear_norms(layer: nn.Linear, a: Tensor, g: Tensor) -> Tensor:
    """|g a^T|^2 = |g|^2 |a|^2 where a row is one vector; a row of several vectors is multiplied out."""
    if a.dim() == 2:
        return square(a) * square(g)
    return in_chunks(lambda a, g: square(g.flatten(1, -2).mT @ a.flatten(1, -2)), layer.weight.numel(), a, g)


def _norm_rows(kept: Kept) -> Tensor:
    """Each row's gradient with respect to the scale of a normalisation, shape (n, scales)."""
    return _over_pixels(kept.layer, kept.g * _normalised(kept.layer, kept.a))


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
        return g.flatten(1, -2).sum(1) if g.dim() > 2 else g.clone()  # `g` itself is scaled later
    return _over_pixels(layer, g)


def _over_pixels(layer: nn.Module, rows: Tensor) -> Tensor:
    """Sum over all axes along which a layer shares its parameter: pixels, or for LayerNorm the leading axes."""
    if isinstance(layer, nn.LayerNorm):
        lead = rows.dim() - len(layer.normalized_shape)
        return rows.flatten(lead).flatten(1, lead - 1).sum(1) if lead > 1 else rows.flatten(1)
    return rows.flatten(2).sum(2)
