"""The fused optimiser is torch's RMSprop followed by a clamp."""

import copy

import pytest
import torch
from torch import nn

from angioshare.synthesis.rmsprop import ClampedRmsprop


def steps(network: nn.Module, optimiser: torch.optim.Optimizer, clamp: float | None) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    for _ in range(4):
        for weight in network.parameters():
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimiser.step()
        if clamp is not None:
            for weight in network.parameters():
                weight.data.clamp_(-clamp, clamp)
    return [weight.detach().clone() for weight in network.parameters()]


@pytest.mark.parametrize("clamp", [0.01, None])
def test_it_is_rmsprop_followed_by_a_clamp(clamp: float | None) -> None:
    torch.manual_seed(1)
    mine = nn.Sequential(nn.Conv2d(8, 300, 4), nn.Linear(7, 3))  # more than one piece, and less than one
    theirs = copy.deepcopy(mine)
    found = steps(mine, ClampedRmsprop(mine.parameters(), lr=1e-2, clamp=clamp or float("inf")), None)
    expected = steps(theirs, torch.optim.RMSprop(theirs.parameters(), lr=1e-2), clamp)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_a_parameter_without_gradient_stays() -> None:
    layer = nn.Linear(2, 2)
    before = [weight.detach().clone() for weight in layer.parameters()]
    layer.weight.grad = torch.ones(2, 2)
    ClampedRmsprop(layer.parameters(), lr=0.1).step()
    assert torch.equal(layer.bias, before[1])
    assert not torch.equal(layer.weight, before[0])


def test_its_state_can_be_stored_and_taken_up_again() -> None:
    torch.manual_seed(2)
    first = nn.Linear(3, 3)
    optimiser = ClampedRmsprop(first.parameters(), lr=0.1, clamp=1.0)
    steps(first, optimiser, None)
    second = copy.deepcopy(first)
    resumed = ClampedRmsprop(second.parameters(), lr=0.1, clamp=1.0)
    resumed.load_state_dict(copy.deepcopy(optimiser.state_dict()))
    for a, b in zip(steps(first, optimiser, None), steps(second, resumed, None), strict=True):
        assert torch.equal(a, b)
