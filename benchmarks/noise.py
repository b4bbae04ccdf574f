"""Claim: cryptographic noise with RMSprop and clamp costs at most as much as `torch.normal` with RMSprop and clamp.

What follows the clipped sum in a critic update: noise, division by q N, RMSprop, clamp. PyTorch's way has
`torch.normal` in float32, and RMSprop and clamp either tensor by tensor or with `foreach`, whichever is faster.
"""

import json
import os
import sys
from typing import Any

import torch
from torch import Tensor, nn

import peers
from angioshare.privacy.noise import GaussianNoise
from angioshare.synthesis.rmsprop import ClampedRmsprop
from peers import Step, options
from peers.measure import interleaved

STD, EXPECTED, RATE, CLAMP = 1.0, 32.0, 5e-5, 0.01
OURS, BY_TENSOR, FOREACH = "AngioShare", "torch.normal", "torch.normal, foreach"


def _with_sums(size: int, features: int) -> tuple[list[nn.Parameter], list[Tensor]]:
    """A critic's parameters and something to be noised for each."""
    parameters = list(peers.critic(size, features).parameters())
    return parameters, [torch.full_like(parameter, 0.01) for parameter in parameters]


def ours(size: int, features: int) -> Step:
    """The noise of the private engine, then the optimiser that clamps."""
    parameters, sums = _with_sums(size, features)
    noise, optimiser = GaussianNoise(), ClampedRmsprop(parameters, lr=RATE, clamp=CLAMP)

    def step() -> None:
        for parameter, total in zip(parameters, sums, strict=True):
            parameter.grad = noise.add_to(total, STD) / EXPECTED
        optimiser.step()

    return step


def with_torch_normal(size: int, features: int, foreach: bool) -> Step:
    """The same with PyTorch's own generator."""
    parameters, sums = _with_sums(size, features)
    optimiser = torch.optim.RMSprop(parameters, lr=RATE, foreach=foreach)

    def step() -> None:
        for parameter, total in zip(parameters, sums, strict=True):
            parameter.grad = (total + torch.normal(0.0, STD, total.shape)) / EXPECTED
        optimiser.step()
        if foreach:
            _clamp_all(parameters)
        else:
            _clamp_each(parameters)

    return step


@torch.no_grad()
def _clamp_all(parameters: list[nn.Parameter]) -> None:
    weights: list[Tensor] = list(parameters)
    torch._foreach_clamp_min_(weights, -CLAMP)
    torch._foreach_clamp_max_(weights, CLAMP)


@torch.no_grad()
def _clamp_each(parameters: list[nn.Parameter]) -> None:
    for parameter in parameters:
        parameter.clamp_(-CLAMP, CLAMP)


def measured(size: int, features: int, rounds: int) -> dict[str, Any]:
    """CPU seconds and nanoseconds a parameter of each way, and the ratio that is claimed."""
    steps = {
        OURS: ours(size, features),
        BY_TENSOR: with_torch_normal(size, features, foreach=False),
        FOREACH: with_torch_normal(size, features, foreach=True),
    }
    count = sum(parameter.numel() for parameter in peers.critic(size, features).parameters())
    seconds = {name: cost.cpu_seconds for name, cost in interleaved(steps, rounds).items()}
    rows = {name: {"cpu_seconds": value, "ns_a_parameter": 1e9 * value / count} for name, value in seconds.items()}
    ratio = seconds[OURS] / min(seconds[BY_TENSOR], seconds[FOREACH])
    return {"features": features, "parameters": count, "rows": rows, "ratio": ratio, "met": ratio <= 1.0}


if __name__ == "__main__":
    parser = options.parser(__doc__, rounds=9)
    parser.add_argument("--features", type=options.numbers, default=[32, 64, 96], help="widths f (32,64,96)")
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    settings = [measured(flags.size, features, flags.rounds) for features in flags.features]
    if flags.json:
        json.dump(
            {"claim": __doc__.splitlines()[0], "cores": os.cpu_count(), "settings": settings}, sys.stdout, indent=1
        )
        print()
    else:
        print(f"{__doc__}\n{os.cpu_count()} cores, {flags.threads} thread")
        for setting in settings:
            print(f"f = {setting['features']}, {setting['parameters']:,} parameters")
            for name, row in setting["rows"].items():
                print(f"  {name:24}{row['cpu_seconds']:9.4f} s{row['ns_a_parameter']:8.1f} ns a parameter")
            print(f"  target: ratio <= 1.0: {setting['ratio']:.2f}, {'met' if setting['met'] else 'MISSED'}")
