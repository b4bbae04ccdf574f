"""The engine of the non-private rival: the same steps as the private one, with no clipping, no noise and no ledger.

It draws by Poisson sampling as the published loop did, from the user's seed, so that a run can be repeated.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from angioshare.privacy.selection import Draw
from angioshare.rng import stream


class PlainEngine:
    """Ordinary gradients under the private engine's interface."""

    def __init__(self, critic: nn.Module, n: int, batch: int, *, seed: int, steps_done: int = 0) -> None:
        """Draw each of `n` pairs with probability `batch / n`, from a stream of its own for each step."""
        self._critic, self._n, self._batch, self._seed, self._step = critic, n, batch, seed, steps_done

    def draw(self) -> Draw:
        """Draw pairs; drawn again if none came, since a mean over nothing is undefined."""
        rng = stream(self._seed, "plain", "selection", str(self._step))
        self._step += 1
        while True:
            indices = np.flatnonzero(rng.random(self._n) < self._batch / self._n)
            if len(indices):
                return Draw(indices)

    def step_gradient(
        self,
        draw: Draw,
        real: Tensor,
        groups: Tensor | None,
        synthetic: Tensor,
        real_loss: Callable[[Tensor], Tensor],
        synthetic_loss: Callable[[Tensor], Tensor],
    ) -> None:
        """Write the gradient of mean real loss + mean synthetic loss into each parameter's `grad`."""
        del draw, groups
        self._critic.zero_grad(set_to_none=True)
        scores = self._critic(torch.cat((real, synthetic))).flatten()
        loss = real_loss(scores[: len(real)]).mean() + synthetic_loss(scores[len(real) :]).mean()
        torch.autograd.backward(loss)

    def epsilon_so_far(self) -> float:
        """Infinity: there is no guarantee."""
        return float("inf")

    def close(self) -> None:
        """Nothing to settle."""
