"""The loop of every training that spends a budget step by step, and who draws for it, privately or not.

What trainings have in common stands here once: they go on where a checkpoint ended, save at a fixed pace, show what was
spent, keep what was trained when the budget ends, and settle with the ledger whatever happens.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import nn

from angioshare.errors import BudgetExceeded
from angioshare.patches.patchset import PatchSet
from angioshare.privacy.unit import PrivacyUnit
from angioshare.progress import Progress
from angioshare.protocols import CriticEngine, EngineFactory
from angioshare.rng import stream
from angioshare.synthesis.batches import UnitRows
from angioshare.synthesis.checkpoint import Checkpoint, Curve
from angioshare.synthesis.plain import PlainEngine

_log = logging.getLogger(__name__)


class Spender(Protocol):
    """What a step draws from: an engine of gradients or of votes, private or not."""

    def epsilon_so_far(self) -> float:
        """Epsilon that this run has spent; infinity without privacy."""

    def close(self) -> None:
        """Settle with the ledger."""


@dataclass(frozen=True, kw_only=True)
class Loop:
    """Iterations of a training, each of which may spend.

    Attributes:
        task: What progress calls it.
        iterations: How many in all.
        checkpoint_every: Iterations between two checkpoints; the last one is always saved.
        unit: The privacy unit, for what progress says.
    """

    task: str
    iterations: int
    checkpoint_every: int
    unit: PrivacyUnit

    def run(
        self,
        step: Callable[[int], None],
        source: Spender,
        checkpoint: Checkpoint,
        *,
        progress: Progress,
        curve: Curve | None = None,
        look: Callable[[], Mapping[str, float]] | None = None,
    ) -> None:
        """Go on after the iterations of the checkpoint, until all are done or the budget is spent.

        Args:
            step: Does the iteration of this number; what it draws from `source` is charged before it is drawn.
            source: Closed at the end, whatever happens.
            checkpoint: Loaded already.
            progress: Told of iterations and of what was spent.
            curve: Gets a row with each checkpoint, of what `look` sees.
            look: Unprotected numbers for the private side.

        Raises:
            BudgetExceeded: There was no budget for the first iteration of all, so nothing was trained.

        Logs a warning that says why, if the budget ends later: in counts of steps alone.
        """
        done = checkpoint.iteration
        progress.start(self.task, self.iterations, done)
        try:
            for iteration in range(done, self.iterations):
                step(iteration)
                if (iteration + 1) % self.checkpoint_every == 0 or iteration + 1 == self.iterations:
                    if curve is not None and look is not None:
                        curve.add(iteration + 1, look())
                        curve.save()
                    checkpoint.save(iteration + 1)
                progress.advance(_note(source, self.unit))
        except BudgetExceeded as error:
            # The budget depends on counts of steps alone, so stopping by it reveals nothing.
            if iteration == 0:
                raise
            checkpoint.save(iteration)
            _log.warning("%s ended after %d of %d updates: %s", self.task, iteration, self.iterations, error)
        finally:
            source.close()
        progress.finish()


def _note(source: Spender, unit: PrivacyUnit) -> str:
    epsilon = source.epsilon_so_far()
    return "no privacy spent" if math.isinf(epsilon) else f"epsilon {epsilon:.3g} per {unit} so far"


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Who draws real patches for a training, and which.

    Attributes:
        patches: Real pairs.
        engine: Private if there is one, see `Synthesizer.fit`.
        unit: What a private engine draws.
        patches_per_unit: Patches read of a drawn subject.
        seed: Selects without privacy; in a private run nothing that it gives may select.
        name: Of the training, for streams of its own.
    """

    patches: PatchSet
    engine: EngineFactory | None
    unit: PrivacyUnit
    patches_per_unit: int
    seed: int
    name: str

    def source(
        self, critic: nn.Module, *, batch: int, synthetic: int = 0, steps_done: int = 0, rows_per_patch: int = 1
    ) -> CriticEngine:
        """The engine for this critic: steps of `batch` expected patches beside `synthetic` generated ones."""
        if self.engine is None:
            return PlainEngine(critic, len(self.patches), batch, seed=self.seed, steps_done=steps_done)
        return self.engine(critic, synthetic, steps_done, rows_per_patch)

    def rows(self, done: int) -> UnitRows:
        """Rows of drawn units, after `done` iterations of earlier starts."""
        return UnitRows(self.patches, self.unit, self.patches_per_unit, self.choosing(done))

    def choosing(self, done: int) -> np.random.Generator:
        """Random numbers that choose a subject's patches: from the system in a private run, so no seed selects."""
        return stream(self.seed, self.name, "rows", str(done)) if self.engine is None else np.random.default_rng()
