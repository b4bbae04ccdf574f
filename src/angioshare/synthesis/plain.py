"""The engine of the non-private rival: the same steps as the private one, with no clipping, no noise and no ledger.

It draws by Poisson sampling as the published loop did, from the user's seed, and works in ways that do not depend on
the machine's speed, so that a run can be repeated.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from angioshare.privacy.backward import BookKeeping, factors, full_precision
from angioshare.privacy.kernels import weighted_gradients
from angioshare.privacy.selection import Draw
from angioshare.rng import stream
from angioshare.team import Team


class PlainEngine:
    """Ordinary gradients under the private engine's interface."""

    def __init__(self, critic: nn.Module, n: int, batch: int, *, seed: int, steps_done: int = 0) -> None:
        """Draw each of `n` pairs with probability `batch / n`, from a stream of its own for each step."""
        self._passes = BookKeeping(critic, None)
        self._n, self._batch, self._seed, self._step = n, batch, seed, steps_done
        self._team = Team()

    def draw(self) -> Draw:
        """Draw pairs; drawn again if none came, since a mean over nothing is undefined."""
        rng = stream(self._seed, "plain", "selection", str(self._step))
        self._step += 1
        while True:
            indices = np.flatnonzero(rng.random(self._n) < self._batch / self._n)
            if len(indices):
                return Draw(self._team.own(indices))

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
        rows = torch.cat((real, synthetic))
        losses = [(len(real), real_loss), (len(synthetic), synthetic_loss)]
        pieces = [(count, loss, 1 / max(1, self._team.count(count))) for count, loss in losses]
        parameters = self._passes.parameters()
        with full_precision(rows):
            weights = factors(pieces, rows)
            sums = [total for kept in self._passes.run(rows, pieces) for total in weighted_gradients(kept, weights)]
        for parameter, total in zip(parameters, self._team.sum_over_all(sums), strict=True):
            parameter.grad = total

    def epsilon_so_far(self) -> float:
        """Infinity: there is no guarantee."""
        return float("inf")

    def close(self) -> None:
        """Nothing to settle."""
