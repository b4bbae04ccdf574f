"""Exponential moving average of weights: a smoother network, and for a generator no privacy at all."""

import copy

import torch
from torch import Tensor, nn


class MovingAverage:
    """Holds a copy of a network whose weights trail the original's.

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.zeros_(layer.weight)
        >>> average = MovingAverage(layer, decay=0.5)
        >>> _ = nn.init.ones_(layer.weight)
        >>> average.update(layer)
        >>> average.network.weight.item()
        0.5
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Start from the network's present weights; `decay` in [0, 1), 0 follows at once."""
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move every weight by (1 - decay) towards the network's; buffers are copied."""
        mine: list[Tensor] = list(self.network.parameters())
        theirs: list[Tensor] = list(network.parameters())
        torch._foreach_lerp_(mine, theirs, 1 - self.decay)
        for copy_, buffer in zip(self.network.buffers(), network.buffers(), strict=True):
            copy_.copy_(buffer)
