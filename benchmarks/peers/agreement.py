"""Whether a contender computes the clipped sum that it is said to compute; asked before it is timed.

In float64, since a float32 rounding may lift a pixel over the kink of LeakyReLU; without noise; with a clip norm that
some patches exceed and others do not.
"""

import dataclasses
import math
import statistics
from collections.abc import Iterator

import torch
from torch import Tensor, nn

import peers
from peers import Contender, Task

TOLERANCE = 1e-6
_ROWS = 4
_NO_NOISE = 1e-30  # the engine refuses none


class Disagreement(Exception):
    """A contender computes something else; its time would say nothing."""


def error_of(contender: Contender, size: int, features: int) -> float:
    """Distance of a contender's gradient from the one that a loop over patches gives, over the length of the latter.

    Raises:
        Disagreement: It is above `TOLERANCE`.
        Missing: The contender cannot be built here.
    """
    task = contender.task(size, features, _ROWS, torch.float64)
    published = peers.critic(size, features).to(torch.float64)
    norms = [_norm(gradients) for gradients in _rows(published, torch.cat((task.real, task.synthetic)))]
    clip_norm = statistics.median(norms)
    wanted = _wanted(published, task, clip_norm * (1 - contender.slack(task)) if contender.clips else math.inf)
    step = contender.build(dataclasses.replace(task, clip_norm=clip_norm, noise_multiplier=_NO_NOISE))
    step()
    step()  # what the first step leaves behind must not enter the second
    found = [parameter.grad for parameter in task.critic.parameters()]
    error = _norm([a - b for a, b in zip(found, wanted, strict=True) if a is not None]) / _norm(wanted)
    if any(a is None for a in found) or not error <= TOLERANCE:
        raise Disagreement(
            f"{contender.title}: gradient is off by {error:.3g} of its length, more than {TOLERANCE}; not timed"
        )
    return error


def _wanted(critic: nn.Module, task: Task, bound: float) -> list[Tensor]:
    """Mean of clipped gradients over real patches (loss -D) plus the same over synthetic ones (loss D)."""
    total = [torch.zeros_like(parameter) for parameter in critic.parameters()]
    for rows, sign in ((task.real, -1.0), (task.synthetic, 1.0)):
        for gradients in _rows(critic, rows):
            factor = sign * min(1.0, bound / _norm(gradients)) / len(rows)
            for sums, gradient in zip(total, gradients, strict=True):
                sums.add_(gradient, alpha=factor)
    return total


def _rows(critic: nn.Module, rows: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Gradient of D at each patch by itself."""
    parameters = list(critic.parameters())
    for row in rows:
        yield torch.autograd.grad(critic(row[None]).sum(), parameters)


def _norm(tensors: tuple[Tensor, ...] | list[Tensor]) -> float:
    return math.sqrt(sum(tensor.square().sum().item() for tensor in tensors))
