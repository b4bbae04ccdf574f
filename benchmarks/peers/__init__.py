"""Ways to make one private critic step, each with the same network, patches, clip norm and noise.

A contender is built from a `Task` and is then a function without arguments: it leaves the noised mean of the clipped
gradients in `grad` of each parameter of the task's critic, as an optimiser would find it. No optimiser moves anything.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from angioshare.models.critic import CHANNELS, convolution_critic
from angioshare.models.generator import initialise

Step = Callable[[], None]


class Missing(Exception):
    """A contender cannot be built here; the message says what it needs."""


@dataclass(frozen=True)
class Task:
    """What a contender is given.

    Attributes:
        critic: A copy of its own.
        real: Patches whose gradients are clipped and noised, shape (B, 2, size, size).
        synthetic: Patches of a generator beside them, shape (B or 0, 2, size, size).
        clip_norm: Bound C on the gradient of one patch.
        noise_multiplier: Noise on the sum over C.
    """

    critic: nn.Sequential
    real: Tensor
    synthetic: Tensor
    clip_norm: float = 1.0
    noise_multiplier: float = 1.0

    @property
    def noise_std(self) -> float:
        """Noise on the sum of clipped gradients."""
        return self.noise_multiplier * self.clip_norm


@dataclass(frozen=True)
class Contender:
    """A way to make a step.

    Attributes:
        title: Its row in the table.
        build: Makes the step; raises `Missing` where a library is not installed.
        whole: Takes B synthetic patches beside the B real ones, as training does; else the real ones alone.
        group_norm: Has GroupNorm in place of the published InstanceNorm: the same numbers, and all but ours are faster.
        clips: Bounds each patch's gradient; otherwise not private, and a yardstick.
        slack: Share of the clip norm that it leaves free for rounding in a task.
        keeps_rows: Holds each patch's gradient in memory.
    """

    title: str
    build: Callable[[Task], Step]
    whole: bool = False
    group_norm: bool = True
    clips: bool = True
    slack: Callable[[Task], float] = lambda task: 0.0
    keeps_rows: bool = False

    def task(self, size: int, features: int, batch: int, dtype: torch.dtype = torch.float32) -> Task:
        """Its network and patches; the same weights and pixels for every contender and at every call."""
        pixels = torch.Generator().manual_seed(2)
        real, synthetic = torch.randn(2, batch, CHANNELS, size, size, generator=pixels).to(dtype)
        network = critic(size, features, self.group_norm).to(dtype)
        return Task(critic=network, real=real, synthetic=synthetic if self.whole else synthetic[:0])


class Idle(torch.optim.Optimizer):
    """An optimiser that moves nothing, for libraries that make their gradient inside `optimizer.step`."""

    def __init__(self, critic: nn.Module) -> None:
        super().__init__(critic.parameters(), {})

    def step(self, closure: object = None) -> None:  # type: ignore[override]  # never asked for a loss
        """Leave everything as it is."""


def critic(size: int, features: int, group_norm: bool = False) -> nn.Sequential:
    """The published critic; with GroupNorm, a channel a group, in place of InstanceNorm if so wanted."""
    network = convolution_critic(size, features)
    for index, layer in enumerate(network):
        if group_norm and isinstance(layer, nn.InstanceNorm2d):
            network[index] = nn.GroupNorm(layer.num_features, layer.num_features, affine=False)
    initialise(network, torch.Generator().manual_seed(1))
    return network
