"""Steps in plain PyTorch: not private, and the two obvious private ones."""

import torch
from torch import Tensor

from angioshare.synthesis.losses import critic_real
from peers import Step, Task


def plain(task: Task) -> Step:
    """Forward and backward: the yardstick."""
    rows = torch.cat((task.real, task.synthetic))
    signs = torch.cat((-torch.ones(len(task.real)), torch.ones(len(task.synthetic)))).to(rows.dtype)

    def step() -> None:
        task.critic.zero_grad(set_to_none=True)
        torch.autograd.backward((signs * task.critic(rows).flatten()).sum() / len(task.real))

    return step


def vmap(task: Task) -> Step:
    """`torch.func`: the gradient of every patch at once, then clip and sum."""
    weights = {name: parameter.detach() for name, parameter in task.critic.named_parameters()}

    def loss(weights: dict[str, Tensor], row: Tensor) -> Tensor:
        return critic_real(torch.func.functional_call(task.critic, weights, (row[None],)).flatten()).sum()

    gradients_of_rows = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))

    def step() -> None:
        rows = gradients_of_rows(weights, task.real)
        norms = torch.stack([gradient.flatten(1).norm(dim=1) for gradient in rows.values()]).norm(dim=0)
        factors = (task.clip_norm / norms).clamp(max=1)
        _noised(task, [torch.tensordot(factors, rows[name], 1) for name, _ in task.critic.named_parameters()])

    return step


def loop(task: Task) -> Step:
    """One backward pass for each patch."""
    parameters = list(task.critic.parameters())

    def step() -> None:
        sums = [torch.zeros_like(parameter) for parameter in parameters]
        for row in task.real:
            gradients = torch.autograd.grad(critic_real(task.critic(row[None]).flatten()).sum(), parameters)
            norm = torch.stack([gradient.norm() for gradient in gradients]).norm()
            factor = (task.clip_norm / norm).clamp(max=1)
            for total, gradient in zip(sums, gradients, strict=True):
                total += factor * gradient
        _noised(task, sums)

    return step


def _noised(task: Task, sums: list[Tensor]) -> None:
    """Add PyTorch's own normal noise and divide by the number of patches."""
    for parameter, total in zip(task.critic.parameters(), sums, strict=True):
        noise = torch.normal(0.0, task.noise_std, total.shape, dtype=total.dtype)
        parameter.grad = (total + noise) / len(task.real)
