"""Claim: a generator update of the published WGAN takes at most 0.9 of the same with torch's layers, at f = 64 and 96.

An update is a pass through generator and critic, back to the generator's weights, and RMSprop; "forward" is the
generator alone, as five critic updates need it. With --layers every layer of the generator is timed by itself, forward
and with its derivatives, in several ways: torch's own, torch's with channels last, one matrix product whose 4 x 4
results are added up, and one product for the four phases of the output's pixels. Processor time, medians, interleaved.
"""

import copy
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from angioshare.models.critic import convolution_critic
from angioshare.models.doubling import Doubling, by_product
from angioshare.models.generator import initialise, transposed_generator
from angioshare.synthesis.rmsprop import ClampedRmsprop
from angioshare.synthesis.scoring import scores
from peers import Step, options
from peers.measure import interleaved

Z = 128
BOUND = 0.9
TOLERANCE = 1e-10


def torchs(generator: nn.Sequential) -> nn.Sequential:
    """The same generator of torch's own layers, with the same weights."""
    layers: list[nn.Module] = []
    for layer in copy.deepcopy(generator):
        if isinstance(layer, Doubling):
            inputs, outputs = layer.weight.shape[:2]
            own = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, output_padding=layer.more, bias=False)
            own.weight = layer.weight
            layer = own
        layers.append(layer)
    return nn.Sequential(*layers)


def by_phases(x: Tensor, weight: Tensor) -> Tensor:
    """A transposed convolution as one product of 2 x 2 windows with the four kernels of the output's phases."""
    (n, c, h, w), o = x.shape, weight.shape[1]
    taps = torch.tensor([[3, 2], [1, 0]])  # place in the window, phase of the output
    kernels = weight[:, :, taps][..., taps].permute(0, 2, 4, 1, 3, 5).reshape(4 * c, 4 * o)
    windows = functional.unfold(functional.pad(x, (1, 1, 1, 1)), 2).mT.reshape(-1, 4 * c)
    found = (windows @ kernels).view(n, h + 1, w + 1, o, 2, 2)
    rows = [
        torch.stack([found[:, r : r + h, s : s + w, :, r, s] for s in (0, 1)], dim=3) for r in (0, 1)
    ]  # n, h, w, s, o
    return torch.stack(rows, dim=2).permute(0, 5, 1, 2, 3, 4).reshape(n, o, 2 * h, 2 * w)


def with_torch(x: Tensor, weight: Tensor, more: int) -> Tensor:
    """Torch's own transposed convolution."""
    return functional.conv_transpose2d(x, weight, None, 2, 1, more)


def updates(size: int, features: int, batch: int) -> dict[str, Step]:
    """A whole update, and its parts, with torch's layers and with ours."""
    ours, critic = transposed_generator(size, features, Z), convolution_critic(size, features).requires_grad_(False)
    for network in (ours, critic):
        initialise(network, torch.Generator().manual_seed(0))
    theirs = torchs(ours)
    z = torch.randn(batch, Z, 1, 1)
    with torch.no_grad():
        pairs = ours(z)
    _refuse_unequal(theirs.double()(z.double()), ours.double()(z.double()))
    _refuse_unequal(critic.double()(pairs.double()), scores(critic, pairs.double()))
    for network in (ours, theirs, critic):
        network.float()
    networks: dict[str, tuple[nn.Sequential, Callable[[Tensor], Tensor]]] = {
        "torch": (theirs, critic),
        "ours": (ours, lambda made: scores(critic, made)),
    }
    steps: dict[str, Step] = {}
    for name, (generator, judge) in networks.items():
        optimiser = ClampedRmsprop(generator.parameters(), lr=5e-5)
        steps[f"update, {name}"] = _update(generator, judge, optimiser, z)
        steps[f"forward, {name}"] = _without_gradients(generator, z)
        steps[f"generator there and back, {name}"] = _there_and_back(generator, z, list(generator.parameters()))
        steps[f"critic there and back, {name}"] = _there_and_back(judge, pairs.detach().requires_grad_(), None)
    chain = [layer for layer in ours if not isinstance(layer, Doubling | nn.Tanh)]
    steps["norms and ReLU there and back"] = _chain(chain, size, batch)
    steps["RMSprop"] = optimiser.step
    return steps


def _update(
    generator: nn.Module, judge: Callable[[Tensor], Tensor], optimiser: torch.optim.Optimizer, z: Tensor
) -> Step:
    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(-judge(generator(z)).mean())
        optimiser.step()

    return step


def _without_gradients(generator: nn.Module, z: Tensor) -> Step:
    def step() -> None:
        with torch.no_grad():
            generator(z)

    return step


def _there_and_back(network: Callable[[Tensor], Tensor], x: Tensor, wanted: list[nn.Parameter] | None) -> Step:
    """Forward and the derivative of the sum, with respect to some parameters or to the input."""

    def step() -> None:
        torch.autograd.grad(network(x).sum(), wanted or [x])

    return step


def _chain(layers: list[nn.Module], size: int, batch: int) -> Step:
    """What stands between the convolutions, on maps of its own."""
    pairs = list(zip(layers[::2], layers[1::2], strict=True))
    edges = [size >> power for power in range(len(pairs), 0, -1)]
    maps = [
        torch.randn(batch, norm.num_channels, edge, edge, requires_grad=True)
        for (norm, _), edge in zip(pairs, edges, strict=True)
    ]
    after = [torch.randn_like(one) for one in maps]

    def step() -> None:
        for (norm, activation), x, g in zip(pairs, maps, after, strict=True):
            torch.autograd.grad(activation(norm(x)), [x, *norm.parameters()], g)

    return step


def layer_ways(layer: Doubling, edge: int, batch: int) -> dict[str, Step]:
    """One layer in every way, forward and there and back."""
    (inputs, outputs), more = layer.weight.shape[:2], layer.more
    x = torch.randn(batch, inputs, edge, edge, requires_grad=edge > 1)  # z needs no derivative
    g = torch.randn(batch, outputs, 2 * edge + more, 2 * edge + more)
    ways: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Any]] = {
        "torch": (lambda x, weight: with_torch(x, weight, more), torch.contiguous_format),
        "channels last": (lambda x, weight: with_torch(x, weight, more), torch.channels_last),
        "product": (lambda x, weight: by_product(x, weight, more), torch.contiguous_format),
    }
    if not more:
        ways["phases"] = (by_phases, torch.contiguous_format)
    steps: dict[str, Step] = {}
    for name, (way, memory) in ways.items():
        small = [
            tensor[:2].detach().double() if tensor is x else tensor.detach().double() for tensor in (x, layer.weight)
        ]
        _refuse_unequal(way(*small), with_torch(*small, more))
        own = [t.detach().contiguous(memory_format=memory).requires_grad_(t.requires_grad) for t in (x, layer.weight)]
        steps[f"{name}, forward"] = _layer_forward(way, own)
        steps[f"{name}, there and back"] = _layer_back(way, own, g.contiguous(memory_format=memory))
    return steps


def _layer_forward(way: Callable[[Tensor, Tensor], Tensor], inputs: list[Tensor]) -> Step:
    def step() -> None:
        with torch.no_grad():
            way(*inputs)

    return step


def _layer_back(way: Callable[[Tensor, Tensor], Tensor], inputs: list[Tensor], g: Tensor) -> Step:
    def step() -> None:
        torch.autograd.grad(way(*inputs), [tensor for tensor in inputs if tensor.requires_grad], g)

    return step


def _refuse_unequal(found: Tensor, wanted: Tensor) -> None:
    error = ((found - wanted).abs().max() / wanted.abs().max()).item()
    if not error <= TOLERANCE:
        raise SystemExit(f"a way computes something else (relative error {error:.1e} > {TOLERANCE}): not timed")


def measured(size: int, features: int, batch: int, rounds: int, layers: bool) -> dict[str, Any]:
    """CPU seconds of everything at one width."""
    torch.manual_seed(0)
    rows = {name: cost.cpu_seconds for name, cost in interleaved(updates(size, features, batch), rounds).items()}
    found = {"features": features, "batch": batch, "rows": rows}
    if layers:
        found["layers"], edge = {}, 1
        for layer in transposed_generator(size, features, Z):
            if isinstance(layer, Doubling):
                costs = interleaved(layer_ways(layer, edge, batch), rounds)
                name = f"{layer.weight.shape[0]} -> {layer.weight.shape[1]} on {edge} x {edge}"
                found["layers"][name] = {way: cost.cpu_seconds for way, cost in costs.items()}
                edge = 2 * edge + layer.more
    ratio = rows["update, ours"] / rows["update, torch"]
    return {**found, "ratio": ratio, "met": ratio <= BOUND}


def tell(setting: dict[str, Any]) -> None:
    """Print one width."""
    print(f"\nf = {setting['features']}, batch {setting['batch']}, ms")
    for name, seconds in setting["rows"].items():
        print(f"  {name:40}{1e3 * seconds:9.1f}")
    for name, ways in setting.get("layers", {}).items():
        cells = (f"{way} {1e3 * seconds:.1f}" for way, seconds in ways.items())
        print(f"  {name}: {'; '.join(cells)}")
    print(f"  target: update, ours / torch <= {BOUND}: {setting['ratio']:.2f}, {'met' if setting['met'] else 'MISSED'}")


if __name__ == "__main__":
    parser = options.parser(__doc__, rounds=5)
    parser.add_argument("--features", type=options.numbers, default=[64, 96], help="widths f (64,96)")
    parser.add_argument("--batch", type=int, default=32, help="images in an update (32)")
    parser.add_argument("--layers", action="store_true", help="time every layer by itself in every way, too")
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    if not flags.json:
        print(f"{__doc__}\n{os.cpu_count()} cores, {flags.threads} thread")
    settings = []
    for features in flags.features:
        settings.append(measured(flags.size, features, flags.batch, flags.rounds, flags.layers))
        if not flags.json:
            tell(settings[-1])
    if flags.json:
        claim = __doc__.splitlines()[0]
        json.dump({"claim": claim, "cores": os.cpu_count(), "settings": settings}, sys.stdout, indent=1)
        print()
