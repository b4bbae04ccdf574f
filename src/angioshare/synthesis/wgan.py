"""The published WGAN, line by line, private or not.

Source: Kossen et al. (2022), section 3.3; Arjovsky et al. (2017), Algorithm 1. Every critic update has a fresh draw:
the published loop used one draw for five updates, which voids its accounting (see `docs/concepts/privacy.md`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from angioshare.models.critic import convolution_critic
from angioshare.models.ema import MovingAverage
from angioshare.models.generator import doublings, initialise, transposed_generator, upsampling_generator
from angioshare.patches.patchset import PatchSet
from angioshare.progress import Progress
from angioshare.protocols import Context, CriticEngine, EngineFactory, Schedule
from angioshare.rng import seed_for, stream
from angioshare.settings import Settings
from angioshare.synthesis import losses
from angioshare.synthesis.batches import UnitRows
from angioshare.synthesis.checkpoint import CHECKPOINT, Checkpoint, Curve
from angioshare.synthesis.loop import Drawing, Loop
from angioshare.synthesis.rmsprop import ClampedRmsprop
from angioshare.synthesis.sampling import WEIGHTS, TrainedGenerator
from angioshare.synthesis.scoring import scores
from angioshare.team import Team
from angioshare.types import IntArray


class WganSettings(Settings):
    """Settings of the published WGAN; the defaults are the published values."""

    features: int = Field(96, ge=1, le=512, description="Base width f of generator and critic.")
    z: int = Field(128, ge=1, le=4096, description="Width of the latent vector z ~ N(0, I).")
    architecture: Literal["transposed", "upsampling"] = Field(
        "transposed", description="Generator of the authors' code (transposed) or of the paper's text (upsampling)."
    )
    iterations: int = Field(64_050, ge=1, description="Generator updates; 50 epochs of 1,281 as published.")
    critic_updates: int = Field(5, ge=1, le=500, description="Critic updates for each generator update.")
    batch: int = Field(32, ge=1, description="Expected patches in a critic update, and synthetic pairs beside them.")
    subjects: int = Field(1, ge=1, description="Expected subjects in a critic update, where the unit is the subject.")
    learning_rate: float = Field(5e-5, gt=0, le=1, description="Of RMSprop, for both networks.")
    generator_learning_rate: float | None = Field(
        None, gt=0, le=1, description="Of RMSprop for the generator alone, in short runs; none takes learning_rate."
    )
    clamp: float = Field(0.01, gt=0, le=10, description="Critic weights are clamped to [-clamp, clamp].")
    ema: float = Field(0.0, ge=0, lt=1, description="Decay of the generator's moving average; 0 samples the last one.")
    threshold: float = Field(0.8, gt=0, lt=1, description="A generated label at or above this is vessel.")
    relative_threshold: bool = Field(
        False, description="Take the threshold as a share of the generator's own brightest labels, for short runs."
    )
    label_background: float = Field(
        0.0, ge=-1, le=0, description="Label value of what is no vessel while networks train; -1 suits the tanh."
    )
    checkpoint_every: int = Field(200, ge=1, description="Generator updates between two checkpoints.")


class Wgan:
    """Synthesizer `wgan`: see the module."""

    Settings = WganSettings

    def __init__(self, settings: WganSettings, context: Context) -> None:
        """Refuse patches that no generator makes, before anything is simulated or charged."""
        doublings(context.patches.size)
        self.settings, self.context, self.device = settings, context, torch.device(context.device)
        self._team = Team()

    def schedule(self) -> Schedule:
        """See `Synthesizer.schedule`: a draw for each critic update."""
        s = self.settings
        steps = s.iterations * s.critic_updates
        if self.context.unit == "patch":
            return Schedule(steps=steps, units=s.batch)
        return Schedule(steps=steps, units=s.subjects, patches_per_unit=max(1, s.batch // s.subjects))

    def work(self) -> int:
        """See `Synthesizer.work`: generator updates."""
        return self.settings.iterations

    def networks(self, seed: int) -> tuple[nn.Sequential, nn.Sequential]:
        """Build generator G and critic D with their initial weights."""
        s = self.settings
        build = transposed_generator if s.architecture == "transposed" else upsampling_generator
        G, D = (
            build(self.context.patches.size, s.features, s.z),
            convolution_critic(self.context.patches.size, s.features),
        )
        weights = torch.Generator().manual_seed(seed_for(seed, "wgan", "weights"))
        initialise(G, weights)
        initialise(D, weights)
        return G.to(self.device), D.to(self.device)

    def fit(
        self,
        patches: PatchSet,
        engine: EngineFactory | None,
        *,
        seed: int,
        folder: Path,
        progress: Progress,
        start: Path | None = None,
    ) -> None:
        """See `Synthesizer.fit`; `start` is a checkpoint made without real patches, to begin from."""
        s = self.settings
        pair = self._pair(seed)
        checkpoint = pair.checkpoint(folder / CHECKPOINT)
        done = checkpoint.load()
        if start is not None and not done:
            pair.checkpoint(start).load_networks()
        drawing = Drawing(
            patches=patches,
            engine=engine,
            unit=self.context.unit,
            patches_per_unit=self.schedule().patches_per_unit,
            seed=seed,
            name="wgan",
        )
        source = drawing.source(pair.D, batch=s.batch, synthetic=s.batch, steps_done=done * s.critic_updates)
        rows, z = drawing.rows(done), torch.Generator()
        shown = self._real(patches, stream(seed, "wgan", "shown").integers(0, len(patches), 64))

        def step(iteration: int) -> None:
            z.manual_seed(seed_for(seed, "wgan", "z", str(iteration)))
            for _ in range(s.critic_updates):
                self._update_critic(pair, source, patches, rows, z)
            self._update_generator(pair, z)

        Loop(task="train", iterations=s.iterations, checkpoint_every=s.checkpoint_every, unit=self.context.unit).run(
            step,
            source,
            checkpoint,
            progress=progress,
            curve=Curve(folder / "curve.json", done),
            look=lambda: self._scores(pair, shown, z),
        )
        checkpoint.finish(folder / WEIGHTS, "average" if s.ema else "generator")
        self._team.wait()

    def _pair(self, seed: int) -> "_Pair":
        s = self.settings
        G, D = self.networks(seed)
        return _Pair(
            G=G,
            D=D,
            generator_optimiser=ClampedRmsprop(G.parameters(), lr=s.generator_learning_rate or s.learning_rate),
            critic_optimiser=ClampedRmsprop(D.parameters(), lr=s.learning_rate, clamp=s.clamp),
            average=MovingAverage(G, s.ema),
        )

    def _update_critic(
        self, pair: "_Pair", source: CriticEngine, patches: PatchSet, rows: UnitRows, z: torch.Generator
    ) -> None:
        """Algorithm 1, lines 3 to 7: D goes down mean D(G(z)) - mean D(x), then is clamped."""
        draw = source.draw()
        chosen, groups = rows.of(draw.indices)
        real = self._real(patches, chosen)
        with torch.no_grad():
            synthetic = pair.G(self._team.share(self._latent(z)))
        source.step_gradient(
            draw,
            real,
            None if groups is None else torch.from_numpy(groups).to(self.device),
            synthetic,
            losses.critic_real,
            losses.critic_synthetic,
        )
        pair.critic_optimiser.step()  # clamps, too

    def _update_generator(self, pair: "_Pair", z: torch.Generator) -> None:
        """Algorithm 1, lines 9 to 11: G goes down -mean D(G(z)). It never meets a real patch."""
        pair.generator_optimiser.zero_grad(set_to_none=True)
        pair.D.requires_grad_(False)
        judged = scores(pair.D, pair.G(self._team.share(self._latent(z)))).flatten()
        loss: Tensor = losses.generator(judged).sum() / self.settings.batch
        torch.autograd.backward(loss)
        pair.D.requires_grad_(True)
        weights = list(pair.G.parameters())
        shares = [weight.grad if weight.grad is not None else torch.zeros_like(weight) for weight in weights]
        for weight, total in zip(weights, self._team.sum_over_all(shares), strict=True):
            weight.grad = total
        pair.generator_optimiser.step()
        pair.average.update(pair.G)

    def _real(self, patches: PatchSet, rows: IntArray) -> Tensor:
        """Real pairs, their labels in {background, 1}: a public constant, the same for every pair."""
        background = self.settings.label_background
        pairs = torch.from_numpy(patches.pairs(rows))
        pairs[:, 1].mul_(1 - background).add_(background)
        return pairs.to(self.device)

    def _latent(self, z: torch.Generator) -> Tensor:
        return torch.randn(self.settings.batch, self.settings.z, 1, 1, generator=z).to(self.device)

    @torch.no_grad()
    def _scores(self, pair: "_Pair", shown: Tensor, z: torch.Generator) -> dict[str, float]:
        """Mean critic scores of some real and synthetic pairs: unprotected, for the private side."""
        real, synthetic = pair.D(shown).mean().item(), pair.D(pair.G(self._latent(z))).mean().item()
        return {"critic score, real": real, "critic score, synthetic": synthetic}

    def load(self, folder: Path, patches: PatchSet) -> TrainedGenerator:
        """See `Synthesizer.load`."""
        del patches
        G, _ = self.networks(0)
        s = self.settings
        return TrainedGenerator(
            G,
            folder / WEIGHTS,
            s.z,
            s.threshold,
            self.context.provenance,
            relative=s.relative_threshold,
            background=s.label_background,
        )


@dataclass
class _Pair:
    """Generator G and critic D with what moves them."""

    G: nn.Module
    D: nn.Module
    generator_optimiser: torch.optim.Optimizer
    critic_optimiser: torch.optim.Optimizer
    average: MovingAverage

    def checkpoint(self, path: Path) -> Checkpoint:
        """All of it as one file."""
        return Checkpoint(
            path,
            networks={"generator": self.G, "critic": self.D, "average": self.average.network},
            optimisers={"generator": self.generator_optimiser, "critic": self.critic_optimiser},
        )
