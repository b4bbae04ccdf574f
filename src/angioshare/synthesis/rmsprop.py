"""RMSprop with clamped weights, a piece of each parameter at a time: the numbers of torch's own, read once from memory.

A parameter of a wide critic is larger than the processor's cache, and torch's RMSprop walks through it six times, the
clamp twice more. Here every piece is finished before the next begins.
"""

import math
from collections.abc import Callable, Iterable
from typing import overload

import torch
from torch import Tensor, nn

_PIECE = 1 << 15  # floats: weight, gradient, average and one intermediate stay in the cache together


class ClampedRmsprop(torch.optim.Optimizer):
    """RMSprop without momentum; afterwards each weight is clamped to [-clamp, clamp].

    Args:
        parameters: What is trained.
        lr: Learning rate, > 0.
        clamp: Bound on each weight's absolute value; infinity leaves weights as they are.
        alpha: Decay of the average of squared gradients.
        eps: Added to its square root.

    References:
        Hinton, Srivastava & Swersky (2012), Lecture 6e; Arjovsky et al. (2017), Algorithm 1, lines 6 and 7.

    Example:
        >>> weight = nn.Parameter(torch.tensor([1.0, -0.005]))
        >>> optimiser = ClampedRmsprop([weight], lr=1e-3, clamp=0.01)
        >>> weight.grad = torch.zeros(2)
        >>> optimiser.step()
        >>> weight.data
        tensor([ 0.0100, -0.0050])
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        clamp: float = math.inf,
        alpha: float = 0.99,
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "clamp": clamp, "alpha": alpha, "eps": eps})

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take one step with the gradients that stand in `grad`; a parameter without one stays."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    state = self.state[weight]
                    if not state:
                        state["square_avg"] = torch.zeros_like(weight, memory_format=torch.contiguous_format)
                    _step(weight, weight.grad, state["square_avg"], group)
        return loss


def _step(weight: Tensor, grad: Tensor, average: Tensor, group: dict[str, float]) -> None:
    """V <- alpha v + (1 - alpha) g^2; w <- clamp(w - lr g / (sqrt(v) + eps))."""
    if weight.device.type != "cpu" or not weight.is_contiguous():
        pieces = [(weight, grad, average)]  # an accelerator has no use for small pieces
    else:
        flat = (weight.detach().view(-1), grad.reshape(-1), average.view(-1))
        pieces = list(zip(*(torch.split(part, _PIECE) for part in flat), strict=True))
    for w, g, v in pieces:
        v.mul_(group["alpha"]).addcmul_(g, g, value=1 - group["alpha"])
        w.addcdiv_(g, v.sqrt().add_(group["eps"]), value=-group["lr"])
        if math.isfinite(group["clamp"]):
            w.clamp_(-group["clamp"], group["clamp"])
