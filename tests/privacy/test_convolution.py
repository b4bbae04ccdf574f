"""Every way of finding a convolution's norms and sums against a loop over rows with autograd."""

import itertools
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from angioshare.privacy import convolution
from angioshare.privacy.convolution import NormWay, PassWay, SumWay, Ways
from angioshare.privacy.kernels import Kept, squared_norms, weighted_gradients

LAYERS = {
    "published": (nn.Conv2d(3, 5, 4, 2, 1, bias=False), (3, 12, 12)),
    "published, last map": (nn.Conv2d(3, 2, 4, 2, 1, bias=False), (3, 3, 3)),
    "odd input": (nn.Conv2d(2, 3, 4, 2, 1), (2, 9, 7)),
    "three strides": (nn.Conv2d(2, 3, 6, 2, 2), (2, 11, 10)),
    "one stride": (nn.Conv2d(2, 3, 2, 2, 0), (2, 7, 8)),
    "stride 1": (nn.Conv2d(2, 3, 3, 1, 1), (2, 5, 6)),
    "uneven": (nn.Conv2d(2, 3, (4, 3), (2, 1), (1, 2)), (2, 8, 5)),
    "wide padding": (nn.Conv2d(2, 3, 4, 2, 3), (2, 6, 6)),
    "dilated": (nn.Conv2d(2, 3, 3, 2, 1, dilation=2), (2, 9, 9)),
}
NORMS: list[NormWay] = ["rows", "shifted rows", "gram", "shifted gram"]
SUMS: list[SumWay] = ["rows", "convolution", "product"]
PASSES: list[PassWay] = ["convolution", "product"]


def given(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Conv2d, Tensor, Tensor]:
    torch.manual_seed(1)
    layer, shape = LAYERS[name]
    layer = layer.to(dtype)
    a = torch.randn(4, *shape, dtype=dtype)
    return layer, a, torch.randn_like(layer(a)).detach()


def by_loop(layer: nn.Conv2d, a: Tensor, g: Tensor) -> list[list[Tensor]]:
    return [
        list(torch.autograd.grad(layer(x[None]), list(layer.parameters()), y[None])) for x, y in zip(a, g, strict=True)
    ]


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(("norms", "sums"), list(itertools.product(NORMS, SUMS)))
def test_norms_and_sums_equal_a_loop_over_rows(name: str, norms: NormWay, sums: SumWay) -> None:
    layer, a, g = given(name)
    if norms.startswith("shifted") and not convolution.whole_strides(layer):
        pytest.skip("the kernel is not made of whole strides")
    rows = by_loop(layer, a, g)
    weights = torch.tensor([0.5, 0.0, 2.0, 1.0], dtype=torch.float64)
    kept = Kept(layer, a, g.clone(), Ways("convolution", norms, sums))
    expected = torch.stack([sum((part**2).sum() for part in row) for row in rows])
    torch.testing.assert_close(squared_norms(kept), expected, rtol=1e-10, atol=1e-10)
    for index, total in enumerate(weighted_gradients(kept, weights)):
        wanted = sum(w * row[index] for w, row in zip(weights, rows, strict=True))
        torch.testing.assert_close(total, wanted, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("way", PASSES)
def test_both_passes_equal_the_layers_own(name: str, way: PassWay) -> None:
    layer, a, g = given(name)
    mine, own = a.clone().requires_grad_(), a.clone().requires_grad_()
    found, expected = convolution.forward(layer, mine, way), layer(own)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        torch.autograd.grad(found, mine, g)[0], torch.autograd.grad(expected, own, g)[0], rtol=1e-12, atol=1e-12
    )


def gram_as_computed(layer: nn.Conv2d, a: Tensor, g: Tensor, way: NormWay) -> Tensor:
    """Leaves out what rounding may have lost."""
    columns, outer = convolution.unfolded(layer, a), g.flatten(2)
    return ((columns.mT @ columns) * (outer.mT @ outer)).sum((1, 2)).double()


def check_no_norm_is_below_the_true_one(norms: Callable[..., Tensor], way: NormWay) -> None:
    """Pixels whose contributions cancel to 1e-7 of their size: float32 alone would find any number there."""
    torch.manual_seed(3)
    layer = nn.Conv2d(8, 8, 2, 2, bias=False)
    half, outward = torch.randn(200, 8, 2, 2), torch.randn(200, 8, 1, 1)
    a, g = torch.cat((half, half * (1 + 1e-7)), dim=3), torch.cat((outward, -outward), dim=3)
    exact = convolution.row_gradients(layer.double(), a.double(), g.double(), "rows").parts[0].square().sum((1, 2))
    assert (norms(layer.float(), a, g, way) >= exact).all()


@pytest.mark.parametrize("way", ["gram", "shifted gram"])
def test_no_gram_norm_is_below_the_true_one(way: NormWay) -> None:
    check_no_norm_is_below_the_true_one(convolution.gram_norms, way)


@pytest.mark.parametrize("mutant", [gram_as_computed])
def test_check_of_gram_norms_catches(mutant: Callable[..., Tensor]) -> None:
    with pytest.raises(AssertionError):
        check_no_norm_is_below_the_true_one(mutant, "gram")


def test_rows_that_are_not_finite_do_not_spoil_the_others() -> None:
    for norms, sums in itertools.product(NORMS, SUMS):
        layer, a, g = given("published")
        a[1] = float("nan")
        kept = Kept(layer, a, g.clone(), Ways("convolution", norms, sums))
        found = squared_norms(kept)
        assert found.isfinite().tolist() == [True, False, True, True]
        total = weighted_gradients(kept, torch.where(found.isfinite(), 1.0, 0.0).double())[0]
        assert total.isfinite().all()
