"""PATE-GAN: a generator that learns from a student, who learns from noisy votes of teachers, who learn from real pairs.

Source: Jordon, Yoon & van der Schaar (2019), PATE-GAN, ICLR, Algorithm 1. Three things differ. Votes are counted under
Gaussian noise and charged step by step, without looking at how far teachers agree. Networks are those of the WGAN, with
the logistic loss on their scores. The generator goes down -log S(G(z)), which has the same aim as log(1 - S(G(z))) and
a gradient where the student is sure.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from angioshare.models.critic import convolution_critic
from angioshare.models.ema import MovingAverage
from angioshare.models.generator import doublings, initialise, transposed_generator
from angioshare.patches.patchset import PatchSet
from angioshare.progress import Progress
from angioshare.protocols import EVERY_UNIT, Context, EngineFactory, Schedule, VoteEngine
from angioshare.rng import seed_for, stream
from angioshare.settings import Settings
from angioshare.synthesis.checkpoint import CHECKPOINT, Checkpoint, Curve
from angioshare.synthesis.loop import Loop
from angioshare.synthesis.pate_teachers import PlainVotes, Rows, Teachers, shards_of
from angioshare.synthesis.sampling import WEIGHTS, TrainedGenerator
from angioshare.synthesis.scoring import scores


class PateGanSettings(Settings):
    """Settings of PATE-GAN. In a private run none of them may be chosen by a look at the cohort."""

    teachers: int = Field(10, ge=1, le=10_000, description="Teacher critics k, each on a shard of its own.")
    queries: int = Field(32, ge=1, le=100_000, description="Generated pairs that are voted on in a student update.")
    features: int = Field(32, ge=1, le=512, description="Base width of generator and student.")
    teacher_features: int = Field(8, ge=1, le=512, description="Base width of a teacher.")
    z: int = Field(128, ge=1, le=4096, description="Width of the latent vector z ~ N(0, I).")
    iterations: int = Field(200, ge=1, description="Generator updates.")
    teacher_updates: int = Field(5, ge=1, le=500, description="Updates of each teacher for each generator update.")
    student_updates: int = Field(
        1, ge=1, le=500, description="Student updates for each generator update; each is a charged step."
    )
    relative_votes: bool = Field(
        False,
        description="Teachers vote for the half of the pairs that each likes best, where none would pass for real.",
    )
    batch: int = Field(32, ge=1, description="Generated pairs, and real ones, in an update of a teacher or generator.")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="Of Adam, for all networks.")
    ema: float = Field(0.0, ge=0, lt=1, description="Decay of the generator's moving average; 0 samples the last one.")
    threshold: float = Field(0.8, gt=0, lt=1, description="A generated label at or above this is vessel.")
    relative_threshold: bool = Field(
        False, description="Take the threshold as a share of the generator's own brightest labels, for short runs."
    )
    checkpoint_every: int = Field(50, ge=1, description="Generator updates between two checkpoints.")


class PateGan:
    """Synthesizer `pate-gan`: see the module."""

    Settings = PateGanSettings

    def __init__(self, settings: PateGanSettings, context: Context) -> None:
        """Refuse patches that no generator makes, before anything is charged."""
        doublings(context.patches.size)
        self._settings, self._context, self._device = settings, context, torch.device(context.device)

    def schedule(self) -> Schedule:
        """See `Synthesizer.schedule`: a release for each student update, in which every teacher takes part.

        Dealt by patches, a subject stands with many teachers, and no bound is claimed for it (`privacy.votes`).
        """
        s, dealt = self._settings, self._context.unit
        steps = s.iterations * s.student_updates
        return Schedule(steps=steps, units=EVERY_UNIT, bounds_subjects=dealt == "subject", own_bound=True)

    def work(self) -> int:
        """See `Synthesizer.work`: generator updates."""
        return self._settings.iterations

    def fit(
        self, patches: PatchSet, engine: EngineFactory | None, *, seed: int, folder: Path, progress: Progress
    ) -> None:
        """See `Synthesizer.fit`."""
        s = self._settings
        pair = self._pair(seed)
        teachers = self._teachers(patches, seed, private=engine is not None)
        checkpoint = pair.checkpoint(folder / CHECKPOINT, teachers)
        done = checkpoint.load()
        votes = PlainVotes() if engine is None else engine.votes(s.teachers, s.queries, done * s.student_updates)
        shares: list[float] = []

        def step(iteration: int) -> None:
            z = torch.Generator().manual_seed(seed_for(seed, "pate-gan", "z", str(iteration)))
            for update in range(s.teacher_updates):
                teachers.update(self._generated(pair.G, s.batch, z), iteration * s.teacher_updates + update)
            for _ in range(s.student_updates):
                counts = self._update_student(pair, teachers, votes, z)
            shares[:] = [float(counts.mean()) / s.teachers]
            self._update_generator(pair, z)

        Loop(task="train", iterations=s.iterations, checkpoint_every=s.checkpoint_every, unit=self._context.unit).run(
            step,
            votes,
            checkpoint,
            progress=progress,
            curve=Curve(folder / "curve.json", done),
            look=lambda: {"noisy share of votes for real": shares[-1]},
        )
        checkpoint.finish(folder / WEIGHTS, "average" if s.ema else "generator")

    def load(self, folder: Path, patches: PatchSet) -> TrainedGenerator:
        """See `Synthesizer.load`."""
        del patches
        s = self._settings
        G = self._pair(0).G
        provenance = self._context.provenance
        return TrainedGenerator(G, folder / WEIGHTS, s.z, s.threshold, provenance, relative=s.relative_threshold)

    def _update_student(self, pair: "_Pair", teachers: Teachers, votes: VoteEngine, z: torch.Generator) -> Tensor:
        """Ask for noisy counts n(u) of votes on generated pairs u; S goes down -sum r log S(u) + (1 - r) log(1 - S(u)).

        The label r = [n(u) >= k / 2] is what the noisy majority says. No real pair is here.
        """
        s = self._settings
        u = self._generated(pair.G, s.queries, z)
        counts = torch.from_numpy(votes.release(lambda: teachers.votes(u, relative=s.relative_votes)))
        r = (counts >= s.teachers / 2).float().to(self._device)
        loss = functional.binary_cross_entropy_with_logits(pair.S(u).flatten(), r)
        pair.student_optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        pair.student_optimiser.step()
        return counts

    def _update_generator(self, pair: "_Pair", z: torch.Generator) -> None:
        """G goes down -mean log S(G(z))."""
        pair.generator_optimiser.zero_grad(set_to_none=True)
        pair.S.requires_grad_(False)
        judged = scores(pair.S, pair.G(self._latent(self._settings.batch, z))).flatten()
        torch.autograd.backward(functional.softplus(-judged).mean())
        pair.S.requires_grad_(True)
        pair.generator_optimiser.step()
        pair.average.update(pair.G)

    @torch.no_grad()
    def _generated(self, G: nn.Module, count: int, z: torch.Generator) -> Tensor:
        pairs: Tensor = G(self._latent(count, z))
        return pairs

    def _latent(self, count: int, z: torch.Generator) -> Tensor:
        return torch.randn(count, self._settings.z, 1, 1, generator=z).to(self._device)

    def _pair(self, seed: int) -> "_Pair":
        s, size = self._settings, self._context.patches.size
        G, S = transposed_generator(size, s.features, s.z), convolution_critic(size, s.features)
        weights = torch.Generator().manual_seed(seed_for(seed, "pate-gan", "weights"))
        initialise(G, weights)
        initialise(S, weights)
        G, S = G.to(self._device), S.to(self._device)
        return _Pair(
            G=G,
            S=S,
            generator_optimiser=self._adam(G),
            student_optimiser=self._adam(S),
            average=MovingAverage(G, s.ema),
        )

    def _teachers(self, patches: PatchSet, seed: int, *, private: bool) -> Teachers:
        """Deal the units, and build a teacher for each shard."""
        s = self._settings
        networks = []
        for index in range(s.teachers):
            T = convolution_critic(self._context.patches.size, s.teacher_features)
            initialise(T, torch.Generator().manual_seed(seed_for(seed, "pate-gan", "teacher weights", str(index))))
            networks.append(T.to(self._device))

        def seeded(teacher: int, update: int) -> np.random.Generator:
            return stream(seed, "pate-gan", "rows", str(teacher), str(update))

        def fresh(teacher: int, update: int) -> np.random.Generator:
            # In a private run even this choice comes from the system: a seed never selects.
            return np.random.default_rng()

        rows: Rows = fresh if private else seeded
        shards = shards_of(patches, self._context.unit, s.teachers, seed)
        return Teachers(patches, shards, networks, [self._adam(T) for T in networks], rows)

    def _adam(self, network: nn.Module) -> torch.optim.Optimizer:
        return torch.optim.Adam(network.parameters(), lr=self._settings.learning_rate, betas=(0.5, 0.999))


@dataclass
class _Pair:
    """Generator G and student S with what moves them."""

    G: nn.Module
    S: nn.Module
    generator_optimiser: torch.optim.Optimizer
    student_optimiser: torch.optim.Optimizer
    average: MovingAverage

    def checkpoint(self, path: Path, teachers: Teachers) -> Checkpoint:
        """All of it, the teachers included, as one file on the private side."""
        return Checkpoint(
            path,
            networks={
                "generator": self.G,
                "student": self.S,
                "average": self.average.network,
                **teachers.named_networks(),
            },
            optimisers={
                "generator": self.generator_optimiser,
                "student": self.student_optimiser,
                **teachers.named_optimisers(),
            },
        )
