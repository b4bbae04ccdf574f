"""Which way each convolution works fastest on this machine: measured once, on random numbers.

No private number enters: shapes and the number of rows are public, the content is random. The choice moves results by
rounding alone.
"""

import math
import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from angioshare.privacy import convolution
from angioshare.privacy.convolution import NormWay, PassWay, SumWay, Ways
from angioshare.privacy.kernels import Kept, squared_norms, weighted_gradients

Way = TypeVar("Way")
_REPEATS = 3
_MOST_ROWS = 32
_FEW, _WIDE = 16, 1 << 22  # pixels and weights for which a product won wherever it was tried
_SMALL_MAP = 64  # pixels up to which a plain matrix product may win


def ways_for(layer: nn.Module, shape: tuple[int, ...], rows: int | None, like: Tensor, *, first: bool) -> Ways:
    """The fastest way for a layer; for all but convolutions there is only one.

    Args:
        layer: An allowed layer.
        shape: Of one row of its input.
        rows: About how many rows a step has, >= 1. Public. None measures nothing and follows a rule.
        like: A tensor of the type and device on which the layer runs.
        first: Whether it is the first layer, whose input needs no derivative.
    """
    if not isinstance(layer, nn.Conv2d):
        return Ways()
    if rows is None:
        pixels = math.prod(convolution.map_size(layer, torch.empty(1, *shape, device="meta")))
        wide = layer.weight.numel() >= _WIDE and pixels <= _FEW
        return Ways("product", "rows", "product") if wide else Ways()
    form = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return _measured(form, shape, min(rows, _MOST_ROWS), like.dtype, like.device, first, torch.get_num_threads())


@lru_cache(maxsize=256)
def _measured(
    form: tuple[int, int, tuple[int, int], tuple[int, int], tuple[int, int] | str, tuple[int, int]],
    shape: tuple[int, ...],
    rows: int,
    dtype: torch.dtype,
    device: torch.device,
    first: bool,
    threads: int,
) -> Ways:
    del threads  # part of the key: another number of threads has another fastest way
    inputs, outputs, kernel, stride, pad, dilation = form
    generator = torch.Generator().manual_seed(0)
    random_state = torch.random.get_rng_state()
    layer = nn.Conv2d(inputs, outputs, kernel, stride, pad, dilation, bias=False).to(device, dtype)
    torch.random.set_rng_state(random_state)  # the user's stream stands where it stood
    a = torch.randn(rows, *shape, generator=generator, dtype=dtype).to(device)
    g = torch.randn(rows, outputs, *convolution.map_size(layer, a), generator=generator, dtype=dtype).to(device)
    passes: list[PassWay] = ["convolution", "product"]
    if g[0, 0].numel() > _SMALL_MAP:
        passes.remove("product")
    best_pass = _fastest({way: partial(_both_ways, layer, a, g, way, first) for way in passes})
    candidates = [
        Ways(best_pass, norms, sums) for norms in _norm_ways(layer, a, g) for sums in _sum_ways(layer, norms, a, g)
    ]
    return _fastest({ways: partial(_norms_and_sum, layer, a, g, ways) for ways in candidates})


def _norm_ways(layer: nn.Conv2d, a: Tensor, g: Tensor) -> list[NormWay]:
    """The ways that can be had without too much memory; there is always one."""
    pixels, weights = g[0, 0].numel(), layer.weight.numel()
    gram: list[NormWay] = ["gram"] if pixels**2 <= 2 * weights else []
    rows: list[NormWay] = ["rows"] if weights <= 4 * (a[0].numel() + g[0].numel()) or not gram else []
    found = rows + gram
    shifted: dict[NormWay, NormWay] = {"rows": "shifted rows", "gram": "shifted gram"}
    return found + [shifted[way] for way in found if convolution.whole_strides(layer)]


def _sum_ways(layer: nn.Conv2d, norms: NormWay, a: Tensor, g: Tensor) -> list[SumWay]:
    """Rows stay in memory where they are no larger than what the layer keeps anyway."""
    keep = norms.endswith("rows") and layer.weight.numel() <= a[0].numel() + g[0].numel()
    small = g[0, 0].numel() <= _SMALL_MAP
    return [*(["rows"] if keep else []), "convolution", *(["product"] if small else [])]  # type: ignore[list-item]


def _both_ways(layer: nn.Conv2d, a: Tensor, g: Tensor, way: PassWay, first: bool) -> None:
    x = a.detach().requires_grad_(not first)
    with torch.enable_grad():
        made = convolution.forward(layer, x, way)
    if not first:
        torch.autograd.grad(made, x, g)


def _norms_and_sum(layer: nn.Conv2d, a: Tensor, g: Tensor, ways: Ways) -> None:
    kept = Kept(layer, a, g.clone(), ways)  # the sum scales it in place
    squared_norms(kept)
    weighted_gradients(kept, torch.ones(len(a), dtype=torch.float64, device=a.device))


def _fastest(ways: dict[Way, Callable[[], None]]) -> Way:
    """The way whose best run was the shortest; one that is far behind after its first run gets no second."""
    best = dict.fromkeys(ways, math.inf)
    for repeat in range(_REPEATS):
        for way, work in ways.items():
            if repeat == 0 or best[way] < 2 * min(best.values()):
                begun = time.perf_counter()
                work()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                best[way] = min(best[way], time.perf_counter() - begun)
    return min(ways, key=best.__getitem__)
