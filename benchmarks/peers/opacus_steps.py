"""Steps of Opacus: gradients of single patches by hooks, and ghost clipping with two backward passes."""

import warnings

import torch
from torch import Tensor

from angioshare.synthesis.losses import critic_real
from peers import Idle, Missing, Step, Task

# torch tells Opacus' hooks that no input asks for a derivative; the first layer's patches need none.
warnings.filterwarnings("ignore", "Full backward hook is firing", UserWarning)

NEEDS = "needs opacus: install angioshare[bench]"


def hooks(task: Task) -> Step:
    """`GradSampleModule` with `DPOptimizer`."""
    try:
        from opacus.grad_sample import GradSampleModule
        from opacus.optimizers import DPOptimizer
    except ModuleNotFoundError as error:
        raise Missing(NEEDS) from error
    module = GradSampleModule(task.critic)
    optimizer = DPOptimizer(
        Idle(task.critic),
        noise_multiplier=task.noise_multiplier,
        max_grad_norm=task.clip_norm,
        expected_batch_size=len(task.real),
    )

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(critic_real(module(task.real).flatten()).mean())
        optimizer.step()
        for parameter in optimizer.params:
            parameter.grad_sample = None  # else they would stand in memory while the others are timed

    return step


class _Loss:
    """Losses of single patches, in the form that Opacus' ghost clipping calls."""

    reduction = "mean"

    def __call__(self, scores: Tensor) -> Tensor:
        return critic_real(scores)


def ghost(task: Task) -> Step:
    """`GradSampleModuleFastGradientClipping` with `DPOptimizerFastGradientClipping`."""
    try:
        from opacus.grad_sample import GradSampleModuleFastGradientClipping
        from opacus.optimizers import DPOptimizerFastGradientClipping
        from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
    except ModuleNotFoundError as error:
        raise Missing(NEEDS) from error
    module = GradSampleModuleFastGradientClipping(task.critic, max_grad_norm=task.clip_norm, use_ghost_clipping=True)
    optimizer = DPOptimizerFastGradientClipping(
        Idle(task.critic),
        noise_multiplier=task.noise_multiplier,
        max_grad_norm=task.clip_norm,
        expected_batch_size=len(task.real),
    )
    loss = DPLossFastGradientClipping(module, optimizer, _Loss())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(module(task.real).flatten()).backward()
        optimizer.step()

    return step
