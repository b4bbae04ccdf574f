"""A convolution's gradients, row by row: several ways to the same numbers, each fastest somewhere.

Row i has the input a_i, the derivative g_i of its loss after the layer, and the unfolded input U_i (inputs x kernel,
pixels). With G_i = g_i as (outputs, pixels), its weight gradient is the product G_i U_i^T.

==============  ===============================================================  =======================================
norms by        formula                                                          fast where
==============  ===============================================================  =======================================
rows            |G_i U_i^T|^2                                                    first layer, few channels
shifted rows    the same, without U: see `Cells`                                 large maps
gram            sum over pixels p, q of (U^T U)_pq (G^T G)_pq                    small maps
shifted gram    the same, U^T U from the cells' Gram matrix by shifts            small maps, quarter of the work
==============  ===============================================================  =======================================

==============  ===============================================================  =======================================
sums by         formula                                                          fast where
==============  ===============================================================  =======================================
rows            sum_i w_i (G_i U_i^T), from rows that are still in memory        few parameters
convolution     the library's weight gradient of (a, w g)                        large maps
product         one matrix product over all rows and pixels                      maps of a few pixels
==============  ===============================================================  =======================================

The slow twin of every way is a loop over rows with autograd; `tests/privacy/test_convolution.py` holds them together.
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from angioshare.privacy.summation import in_chunks, square, weighted_sum

NormWay = Literal["rows", "shifted rows", "gram", "shifted gram"]
SumWay = Literal["rows", "convolution", "product"]
PassWay = Literal["convolution", "product"]


class Ways(NamedTuple):
    """How one layer works: its forward pass and input derivative, its norms, its weighted sum."""

    passes: PassWay = "convolution"
    norms: NormWay = "rows"
    sums: SumWay = "convolution"


@dataclass
class Rows:
    """The gradients of all rows, (n, outputs, columns) each; the columns of all parts together are the kernel's."""

    parts: list[Tensor]

    def weighted(self, layer: nn.Conv2d, weights: Tensor) -> Tensor:
        """Sum over rows of weight times gradient, in the shape of the layer's weight."""
        sums = [weighted_sum(weights, part) for part in self.parts]
        if len(sums) == 1:
            return sums[0].view_as(layer.weight)
        (sy, sx), (ky, kx) = layer.stride, layer.kernel_size
        shifts = torch.stack(sums).view(ky // sy, kx // sx, len(sums[0]), -1, sy, sx)
        return shifts.permute(2, 3, 0, 4, 1, 5).reshape(layer.weight.shape)


@dataclass
class Cells:
    """The input cut into cells of one stride each ("space to depth"), for kernels of whole strides.

    A 4 x 4 kernel of stride 2 is a 2 x 2 window on the grid of 2 x 2 cells. Its unfolded input is four shifted views of
    the same cells, so nothing needs to be copied four times. Output pixels are laid on the cells' wider grid, with zero
    derivatives in the columns that they lack, so that each shift is one contiguous slice.
    """

    values: Tensor
    """Shape (n, inputs * stride area, cells + a few zeros)."""
    derivatives: Tensor
    """Shape (n, outputs, pixels on the wider grid)."""
    offsets: list[int]

    @classmethod
    def of(cls, layer: nn.Conv2d, a: Tensor, g: Tensor) -> "Cells":
        """Cut the input and widen the derivative."""
        (n, c), (ky, kx), (sy, sx), (py, px) = a.shape[:2], layer.kernel_size, layer.stride, padding(layer)
        my, mx = ky // sy, kx // sx
        rows, columns = g.shape[2] + my - 1, g.shape[3] + mx - 1
        values = a.new_empty(n, c * sy * sx, rows * columns + mx - 1)
        values[:, :, rows * columns :] = 0
        grid = values[:, :, : rows * columns].view(n, c, sy, sx, rows, columns)
        for y, x in itertools.product(range(sy), range(sx)):
            (top, bottom, from_y), (left, right, from_x) = (
                _covered(rows, sy, y - py, a.shape[2]), _covered(columns, sx, x - px, a.shape[3])
            )  # fmt: skip
            phase = grid[:, :, y, x]
            for border in (phase[:, :, :top], phase[:, :, bottom:], phase[..., :left], phase[..., right:]):
                border.zero_()
            phase[:, :, top:bottom, left:right] = a[:, :, from_y::sy, from_x::sx][:, :, : bottom - top, : right - left]
        wide = functional.pad(g, (0, mx - 1)).flatten(2)
        return cls(values, wide, [i * columns + j for i in range(my) for j in range(mx)])

    def shifted(self) -> Iterator[Tensor]:
        """The cells under each place of the window, shape (n, inputs * stride area, pixels on the wider grid)."""
        pixels = self.derivatives.shape[2]
        return (self.values[:, :, offset : offset + pixels] for offset in self.offsets)


def _covered(cells: int, stride: int, shift: int, size: int) -> tuple[int, int, int]:
    """For which cells i an axis of the input has the element i * stride + shift: first, end, and the first element."""
    first = max(0, -(shift // stride)) if shift < 0 else 0
    end = max(first, min(cells, (size - 1 - shift) // stride + 1))
    return first, end, first * stride + shift


def whole_strides(layer: nn.Conv2d) -> bool:
    """Whether the kernel is made of whole strides, so that `Cells` can be cut."""
    sizes = zip(layer.kernel_size, layer.stride, layer.dilation, strict=True)
    return all(kernel % stride == 0 and dilation == 1 for kernel, stride, dilation in sizes)


def row_gradients(layer: nn.Conv2d, a: Tensor, g: Tensor, way: NormWay) -> Rows:
    """Every row's weight gradient, by `rows` or `shifted rows`."""
    if way == "rows":
        return Rows([g.flatten(2) @ unfolded(layer, a).mT])
    cells = Cells.of(layer, a, g)
    return Rows([cells.derivatives @ part.mT for part in cells.shifted()])


def gram_norms(layer: nn.Conv2d, a: Tensor, g: Tensor, way: NormWay) -> Tensor:
    """Squared norms by `gram` or `shifted gram`, shape (n,), float64: never below the true ones.

    The sum's terms cancel, so rounding could make a large gradient look small. What rounding can do at most is added:
    a dot product of k terms is off by at most k u |x| |y| (u: unit roundoff), so that the double sum over pixels is off
    by at most k u (sum over p of |u_p| |g_p|)^2, k counting the terms of all sums that follow each other.

    References:
        Higham (2002), Accuracy and Stability of Numerical Algorithms, section 3.1.
    """
    if way == "gram":
        columns, outer = unfolded(layer, a), g.flatten(2)
        inner = columns.mT @ columns
    else:
        cells = Cells.of(layer, a, g)
        whole, outer, pixels = cells.values.mT @ cells.values, cells.derivatives, cells.derivatives.shape[2]
        inner = torch.zeros(1, dtype=a.dtype, device=a.device)
        for offset in cells.offsets:
            inner = inner + whole[:, offset : offset + pixels, offset : offset + pixels]
    other = outer.mT @ outer
    lengths = inner.diagonal(dim1=1, dim2=2).to(torch.float64) * other.diagonal(dim1=1, dim2=2)
    terms = layer.weight[0].numel() + len(layer.weight) + inner.shape[-1] + 10
    rounding = terms * torch.finfo(a.dtype).eps / 2 * lengths.clamp_min_(0).sqrt().sum(1).square()
    return other.mul_(inner).sum(2).to(torch.float64).sum(1).clamp_min_(0) + rounding


def squared_norms(layer: nn.Conv2d, a: Tensor, g: Tensor, ways: Ways) -> tuple[Tensor, Rows | None]:
    """Squared norm of each row's weight gradient, shape (n,), float64, and the rows if they may stay in memory."""
    if ways.norms in ("gram", "shifted gram"):
        copies = layer.weight[0, 0].numel() if ways.norms == "gram" else 2
        work = max(a[0].numel() * copies, 2 * g[0, 0].numel() ** 2)
        return in_chunks(lambda a, g: gram_norms(layer, a, g, ways.norms), work, a, g), None
    if ways.sums == "rows":
        rows = row_gradients(layer, a, g, ways.norms)
        return sum(square(part) for part in rows.parts), rows  # type: ignore[return-value]
    work = max(layer.weight.numel(), layer.weight[0].numel() * g[0, 0].numel())

    def of_some(a: Tensor, g: Tensor) -> Tensor:
        return torch.stack([square(part) for part in row_gradients(layer, a, g, ways.norms).parts]).sum(0)

    return in_chunks(of_some, work, a, g), None


def weight_gradient(layer: nn.Conv2d, a: Tensor, g: Tensor, way: SumWay) -> Tensor:
    """Sum over rows of the weight gradient, by `convolution` or `product`."""
    if way == "product":
        return (_flat(g).mT @ _pixels_first(layer, a)).view_as(layer.weight)
    made: Tensor = torch.ops.aten.convolution_backward(
        g, a, layer.weight, None, layer.stride, padding(layer), layer.dilation, False, (0, 0), 1, (False, True, False)
    )[1]
    return made


def forward(layer: nn.Conv2d, x: Tensor, way: PassWay) -> Tensor:
    """The layer's output; its derivative with respect to the input follows the same way."""
    if way == "convolution":
        return functional.conv2d(x, layer.weight, layer.bias, layer.stride, padding(layer), layer.dilation)
    made: Tensor = _Product.apply(x, layer.weight, layer)  # type: ignore[no-untyped-call]
    return made if layer.bias is None else made + layer.bias.view(1, -1, 1, 1)


class _Product(torch.autograd.Function):
    """A convolution as one matrix product over all rows and pixels, for maps of a few pixels."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, layer: nn.Conv2d) -> Tensor:
        ctx.layer, ctx.shape = layer, x.shape
        made = _pixels_first(layer, x) @ weight.flatten(1).mT
        height, width = map_size(layer, x)
        return made.view(len(x), height, width, len(weight)).permute(0, 3, 1, 2).contiguous()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        layer, size = ctx.layer, ctx.shape[2:]
        columns = (_flat(g) @ layer.weight.flatten(1)).view(len(g), -1, layer.weight[0].numel())
        x = functional.fold(columns.mT, size, layer.kernel_size, layer.dilation, padding(layer), layer.stride)
        return x, None, None


def map_size(layer: nn.Conv2d, x: Tensor) -> tuple[int, int]:
    """Height and width of the layer's output."""
    size = [
        (length + 2 * p - d * (k - 1) - 1) // s + 1
        for length, p, d, k, s in zip(
            x.shape[2:], padding(layer), layer.dilation, layer.kernel_size, layer.stride, strict=True
        )
    ]
    return size[0], size[1]


def padding(layer: nn.Conv2d) -> tuple[int, ...]:
    """Padding in pixels; the word "valid" means none ("same" is refused beforehand)."""
    return (0, 0) if isinstance(layer.padding, str) else layer.padding


def unfolded(layer: nn.Conv2d, a: Tensor) -> Tensor:
    """U: the input of each output pixel as a column, shape (n, inputs * kernel, pixels)."""
    return functional.unfold(a, layer.kernel_size, layer.dilation, padding(layer), layer.stride)


def _pixels_first(layer: nn.Conv2d, a: Tensor) -> Tensor:
    """U^T of all rows under each other, shape (n * pixels, inputs * kernel)."""
    return unfolded(layer, a).mT.reshape(-1, layer.weight[0].numel())


def _flat(g: Tensor) -> Tensor:
    """G^T of all rows under each other, shape (n * pixels, outputs)."""
    return g.flatten(2).mT.reshape(-1, g.shape[1])
