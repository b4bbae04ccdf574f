"""How a reader is taught: DP-SGD on the finest levels of a U-Net that simulated pairs have trained before."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from angioshare.models.ema import MovingAverage
from angioshare.models.unet import open_levels, opened
from angioshare.patches.patchset import PatchSet
from angioshare.privacy.unit import PrivacyUnit
from angioshare.progress import Progress
from angioshare.protocols import CriticEngine, EngineFactory
from angioshare.rng import stream
from angioshare.segmentation.trained import TrainedUnet
from angioshare.synthesis.batches import UnitRows
from angioshare.synthesis.checkpoint import CHECKPOINT, Checkpoint
from angioshare.synthesis.loop import Drawing, Loop
from angioshare.synthesis.taught_network import with_loss


def squared_error(scores: Tensor) -> Tensor:
    """The loss of a pair is its score: `with_loss` has compared already."""
    return scores


@dataclass(frozen=True, kw_only=True)
class Teaching:
    """The training of a reader on real pairs.

    Attributes:
        iterations: Steps of Adam.
        batch: Expected patches in a step.
        learning_rate: Of Adam.
        ema: Decay of the moving average of the weights, which is the result.
        levels: How many of the U-Net's levels learn, see `open_levels`.
        crop: Edge of the window of a patch that a step sees, the same window for all; None takes whole patches.
        unit: What a private engine draws.
        patches_per_unit: Patches read of a drawn subject.
        checkpoint_every: Steps between two checkpoints.
    """

    iterations: int
    batch: int
    learning_rate: float
    ema: float
    levels: int
    crop: int | None
    unit: PrivacyUnit
    patches_per_unit: int
    checkpoint_every: int = 10

    def teach(
        self,
        reader: TrainedUnet,
        patches: PatchSet,
        engine: EngineFactory | None,
        *,
        seed: int,
        folder: Path,
        progress: Progress,
    ) -> None:
        """Teach a reader, or go on where a checkpoint in `folder` ended.

        Args:
            reader: Trained on simulated pairs; it has the averaged weights at the end.
            patches: Real pairs.
            engine: See `Synthesizer.fit`.
            seed: Drives the windows, and selection without privacy.
            folder: Checkpoints stand here.
            progress: Told of steps.
        """
        unet = reader.network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        open_levels(unet, self.levels)
        critic, average = with_loss(unet), MovingAverage(unet, self.ema)
        optimiser = torch.optim.Adam(opened(unet), lr=self.learning_rate)
        networks = {"reader": unet, "average": average.network}
        checkpoint = Checkpoint(folder / CHECKPOINT, networks=networks, optimisers={"reader": optimiser})
        done = checkpoint.load()
        drawing = Drawing(
            patches=patches,
            engine=engine,
            unit=self.unit,
            patches_per_unit=self.patches_per_unit,
            seed=seed,
            name="taught",
        )
        source, rows = drawing.source(critic, batch=self.batch, steps_done=done), drawing.rows(done)

        def step(iteration: int) -> None:
            self._step(reader, source, patches, rows, self._window(patches.image.shape[1], seed, iteration))
            optimiser.step()
            average.decay = min(self.ema, (iteration + 1) / (iteration + 10))  # close behind at first
            average.update(unet)

        self._loop().run(step, source, checkpoint, progress=progress)
        unet.requires_grad_(False)
        unet.load_state_dict(average.network.state_dict())

    def _step(
        self, reader: TrainedUnet, source: CriticEngine, patches: PatchSet, rows: UnitRows, window: tuple[slice, slice]
    ) -> None:
        """Draw units and write the gradient of their mean squared error."""
        draw = source.draw()
        chosen, groups = rows.of(draw.indices)
        device = next(reader.network.parameters()).device
        pairs = torch.from_numpy(patches.pairs(chosen))[:, :, *window].contiguous().to(device)
        pairs[:, :1] = reader.standardised(pairs[:, :1])
        of = None if groups is None else torch.from_numpy(groups).to(device)
        source.step_gradient(draw, pairs, of, pairs[:0], squared_error, squared_error)

    def _window(self, size: int, seed: int, iteration: int) -> tuple[slice, slice]:
        """The part of every patch that a step sees: chosen without a look at who was drawn, so a seed may choose it."""
        edge = size if self.crop is None else min(self.crop, size)
        first = stream(seed, "taught", "window", str(iteration)).integers(0, size - edge + 1, 2)
        return slice(int(first[0]), int(first[0]) + edge), slice(int(first[1]), int(first[1]) + edge)

    def _loop(self) -> Loop:
        return Loop(
            task="teach the reader",
            iterations=self.iterations,
            checkpoint_every=self.checkpoint_every,
            unit=self.unit,
        )
