"""The training loop of the diffusion model, the same with and without privacy (Dockhorn et al. 2023, Algorithm 1)."""

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from angioshare.models.denoiser import Preconditioning
from angioshare.models.ema import MovingAverage
from angioshare.patches.patchset import PatchSet
from angioshare.privacy.unit import PrivacyUnit
from angioshare.progress import Progress
from angioshare.protocols import CriticEngine, EngineFactory
from angioshare.rng import stream
from angioshare.synthesis.batches import UnitRows
from angioshare.synthesis.checkpoint import CHECKPOINT, Checkpoint, Curve
from angioshare.synthesis.diffusion_network import with_loss
from angioshare.synthesis.diffusion_rows import NoiseLevels, Normal, noisy_rows, secret_normal, seeded_normal
from angioshare.synthesis.loop import Drawing, Loop
from angioshare.synthesis.sampling import WEIGHTS
from angioshare.team import Team

_SHOWN = 64


def squared_error(scores: Tensor) -> Tensor:
    """The loss of a row is its score: `with_loss` has compared already."""
    return scores


@dataclass(frozen=True, kw_only=True)
class Course:
    """One training: on simulated patches, or on real ones.

    Attributes:
        iterations: Steps of the optimiser.
        batch: Expected patches in a step.
        learning_rate: Of Adam.
        ema: Decay of the moving average of the weights, which is the result.
        levels: Which noise levels are shown, and how many for each patch.
        about: What surrounds the network.
        unit: What a private engine draws.
        patches_per_unit: Patches read of a drawn subject.
        checkpoint_every: Steps between two checkpoints.
    """

    iterations: int
    batch: int
    learning_rate: float
    ema: float
    levels: NoiseLevels
    about: Preconditioning = field(default_factory=Preconditioning)
    unit: PrivacyUnit = "patch"
    patches_per_unit: int = 1
    checkpoint_every: int = 100

    def train(
        self,
        network: nn.Sequential,
        patches: PatchSet,
        engine: EngineFactory | None,
        *,
        seed: int,
        folder: Path,
        progress: Progress,
        start: Path | None = None,
    ) -> None:
        """Train, or go on where a checkpoint in `folder` ended; the average's weights stand in `folder` at the end.

        Args:
            network: F with its initial weights, on the device where it trains.
            patches: Pairs.
            engine: See `Synthesizer.fit`.
            seed: Drives noise and selection without privacy, nothing with it.
            folder: Checkpoints and result stand here.
            progress: Told of steps.
            start: A checkpoint made without these pairs, to begin from.
        """
        team, device = Team(), next(network.parameters()).device
        model = _Model.of(network, self)
        checkpoint = model.checkpoint(folder / CHECKPOINT)
        done = checkpoint.load()
        if start is not None and not done:
            model.checkpoint(start).load_networks()
            network.load_state_dict(model.average.network.state_dict())
        drawing = Drawing(
            patches=patches,
            engine=engine,
            unit=self.unit,
            patches_per_unit=self.patches_per_unit,
            seed=seed,
            name="diffusion",
        )
        source = drawing.source(model.critic, batch=self.batch, steps_done=done, rows_per_patch=self.levels.copies)
        rows, shown, secret = drawing.rows(done), self._shown(patches, seed, device), secret_normal()

        def step(iteration: int) -> None:
            # Not even the noise that pairs are shown under follows the seed in a private run (`diffusion_rows`).
            public = seeded_normal(seed, "noise", str(iteration), str(team.rank))
            self._step(model, source, patches, rows, public if engine is None else secret)

        self._loop().run(
            step,
            source,
            checkpoint,
            progress=progress,
            curve=Curve(folder / "curve.json", done),
            look=lambda: {"denoising loss": _mean_loss(model.critic, shown)},
        )
        checkpoint.finish(folder / WEIGHTS, "average")
        team.wait()

    def _step(self, model: "_Model", source: CriticEngine, patches: PatchSet, rows: UnitRows, normal: Normal) -> None:
        """Draw units, show each pair under K noise levels, take one private step."""
        draw = source.draw()
        chosen, groups = rows.of(draw.indices)
        pairs = torch.from_numpy(patches.pairs(chosen)).to(model.device)
        real = noisy_rows(pairs, self.levels, self.about, normal)
        source.step_gradient(
            draw,
            real,
            None if groups is None else torch.from_numpy(groups).to(model.device).repeat_interleave(self.levels.copies),
            real[:0],  # nothing synthetic: the whole loss is the private term
            squared_error,
            squared_error,
        )
        model.optimiser.step()
        model.average.update(model.network)

    def _loop(self) -> Loop:
        return Loop(task="train", iterations=self.iterations, checkpoint_every=self.checkpoint_every, unit=self.unit)

    def _shown(self, patches: PatchSet, seed: int, device: torch.device) -> Tensor:
        """Some pairs under the same noise at every look: unprotected, for the private side."""
        chosen = stream(seed, "diffusion", "shown").integers(0, len(patches), _SHOWN)
        pairs = torch.from_numpy(patches.pairs(chosen)).to(device)
        return noisy_rows(pairs, self.levels, self.about, seeded_normal(seed, "shown"))[:: self.levels.copies]


@dataclass
class _Model:
    """F with what moves it."""

    network: nn.Sequential
    critic: nn.Sequential
    optimiser: torch.optim.Optimizer
    average: MovingAverage
    device: torch.device

    @classmethod
    def of(cls, network: nn.Sequential, course: Course) -> "_Model":
        optimiser = torch.optim.Adam(network.parameters(), lr=course.learning_rate)
        device = next(network.parameters()).device
        return cls(network, with_loss(network), optimiser, MovingAverage(network, course.ema), device)

    def checkpoint(self, path: Path) -> Checkpoint:
        """All of it as one file."""
        networks = {"denoiser": self.network, "average": self.average.network}
        return Checkpoint(path, networks=networks, optimisers={"denoiser": self.optimiser})


@torch.no_grad()
def _mean_loss(critic: nn.Module, rows: Tensor) -> float:
    """Squared error for each number that F gives; 1 is what zeros would have."""
    return float(critic(rows).mean() / rows[0, :2].numel())
