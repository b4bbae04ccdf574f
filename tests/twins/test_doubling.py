"""Fast ways through generator and critic beside torch's own."""

import copy
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn import functional

from angioshare.errors import SettingsError
from angioshare.models import doubling
from angioshare.models.critic import convolution_critic
from angioshare.models.doubling import Doubling, by_product
from angioshare.models.generator import doublings, group_norm, initialise, transposed_generator
from angioshare.privacy import convolution, tuning
from angioshare.synthesis.scoring import scores

SHAPES = [(1, 1, 1), (2, 2, 0), (3, 3, 0), (3, 4, 0), (4, 2, 1), (6, 6, 0)]
EXACT = {torch.float32: 1e-5, torch.float64: 1e-10}


def with_torch(size, features, z):
    """The generator of torch's own layers, as it is published."""
    widths = [features * 2**power for power in range(doublings(size) - 1, -1, -1)]
    first = nn.ConvTranspose2d(z, widths[0], 4, 2, 1, output_padding=int(size % 3 == 0), bias=False)
    layers = [first, group_norm(widths[0]), nn.ReLU()]
    for before, after in pairwise(widths):
        layers += [nn.ConvTranspose2d(before, after, 4, 2, 1, bias=False), group_norm(after), nn.ReLU()]
    return nn.Sequential(*layers, nn.ConvTranspose2d(widths[-1], 2, 4, 2, 1, bias=False), nn.Tanh())


def distance(found, wanted):
    """Largest error over the largest number."""
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


@pytest.fixture
def everywhere(monkeypatch):
    """Take the product for every map and weight."""
    monkeypatch.setattr(doubling, "_FEW", 1 << 30)
    monkeypatch.setattr(doubling, "_WIDE", 0)


@pytest.mark.parametrize("dtype", EXACT)
@pytest.mark.parametrize(("height", "width", "more"), SHAPES)
def test_product_is_torchs_transposed_convolution_with_its_derivatives(height, width, more, dtype):
    torch.manual_seed(0)
    x = torch.randn(5, 7, height, width, dtype=dtype, requires_grad=True)
    weight = torch.randn(7, 3, 4, 4, dtype=dtype, requires_grad=True)
    wanted = functional.conv_transpose2d(x, weight, None, 2, 1, more)
    found = by_product(x, weight, more)
    g = torch.randn_like(wanted)
    assert found.shape == wanted.shape
    assert distance(found, wanted) < EXACT[dtype]
    for mine, theirs in zip(
        torch.autograd.grad(found, (x, weight), g), torch.autograd.grad(wanted, (x, weight), g), strict=True
    ):
        assert distance(mine, theirs) < EXACT[dtype]


@pytest.mark.parametrize("size", [16, 24, 96])
def test_generator_keeps_its_state_its_initial_weights_and_its_pairs(size, everywhere):
    mine, theirs = transposed_generator(size, 2, 4), with_torch(size, 2, 4)
    initialise(mine, torch.Generator().manual_seed(3))
    stream = torch.Generator().manual_seed(3)
    for layer in theirs:
        if isinstance(layer, nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.05, generator=stream)
    states = [network.state_dict() for network in (mine, theirs)]
    assert list(states[0]) == list(states[1])
    assert all(torch.equal(a, b) for a, b in zip(states[0].values(), states[1].values(), strict=True))
    z = torch.randn(3, 4, 1, 1, dtype=torch.float64)
    assert distance(mine.double()(z), theirs.double()(z)) < 1e-10


def test_generators_derivatives_are_those_of_torchs_layers(everywhere):
    mine, theirs = transposed_generator(48, 3, 4).double(), with_torch(48, 3, 4).double()
    theirs.load_state_dict(mine.state_dict())
    z = torch.randn(3, 4, 1, 1, dtype=torch.float64)
    for network in (mine, theirs):
        torch.autograd.backward(network(z).pow(2).sum())
    for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
        assert distance(a.grad, b.grad) < 1e-10


@pytest.mark.parametrize(
    ("inputs", "outputs", "edge", "taken"), [(1024, 256, 3, True), (1024, 256, 5, False), (512, 256, 3, False)]
)
def test_product_is_taken_for_wide_layers_on_few_pixels(inputs, outputs, edge, taken, monkeypatch):
    seen = []
    monkeypatch.setattr(doubling, "by_product", lambda x, weight, more: seen.append(more))
    Doubling(inputs, outputs)(torch.zeros(1, inputs, edge, edge))
    assert bool(seen) is taken


def test_no_image_at_all_is_doubled_too():
    assert by_product(torch.zeros(0, 3, 3, 3), torch.zeros(3, 2, 4, 4)).shape == (0, 2, 6, 6)


def test_the_same_input_gives_the_same_digits():
    layer, x = Doubling(1024, 256), torch.randn(4, 1024, 3, 3)
    assert torch.equal(layer(x), copy.deepcopy(layer)(x))


@pytest.mark.parametrize("wide", [0, 1 << 40])
def test_scores_for_the_generator_are_the_critics_own_with_their_derivative(wide, monkeypatch):
    monkeypatch.setattr(tuning, "_WIDE", wide)
    monkeypatch.setattr(tuning, "_FEW", 1 << 30)
    taken = []
    whole = convolution.forward
    monkeypatch.setattr(convolution, "forward", lambda layer, x, way: [taken.append(way), whole(layer, x, way)][1])
    critic = convolution_critic(48, 3).double().requires_grad_(False)
    pairs = torch.randn(4, 2, 48, 48, dtype=torch.float64, requires_grad=True)
    found, wanted = scores(critic, pairs), critic(pairs)
    assert set(taken) == {"convolution" if wide else "product"}
    assert distance(found, wanted) < 1e-10
    derivatives = [torch.autograd.grad(made.sum(), pairs)[0] for made in (found, wanted)]
    assert distance(*derivatives) < 1e-10


def test_a_critic_that_trains_scores_nobody():
    with pytest.raises(SettingsError, match="requires_grad"):
        scores(convolution_critic(16, 2), torch.zeros(1, 2, 16, 16))
