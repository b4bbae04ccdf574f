"""Synthesizer `diffusion`: a small diffusion model of pairs, taught by the simulator first, then by the cohort.

Sources: Karras et al. (2022), "EDM" (denoiser, loss, sampler); Dockhorn et al. (2023), "Differentially private
diffusion models" (DP-SGD with noise multiplicity, large draws, a moving average, few steps of the sampler). What the
network learns from simulated patches is public knowledge and costs no epsilon.
"""

from dataclasses import replace
from pathlib import Path

import torch
from pydantic import Field
from torch import nn

from angioshare.models.denoiser import Preconditioning
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store
from angioshare.progress import Progress, Weighted
from angioshare.protocols import Context, EngineFactory, Schedule
from angioshare.rng import seed_for
from angioshare.simulator.many import check_site
from angioshare.synthesis.checkpoint import CHECKPOINT
from angioshare.synthesis.diffusion_network import check_size, denoising_network, initialise
from angioshare.synthesis.diffusion_rows import NoiseLevels
from angioshare.synthesis.diffusion_sampling import TrainedDiffusion
from angioshare.synthesis.diffusion_training import Course
from angioshare.synthesis.paces import denoising, simulating
from angioshare.synthesis.sampling import WEIGHTS
from angioshare.synthesis.simulated import ProtocolSettings, simulated_store
from angioshare.team import Team


class DiffusionSettings(ProtocolSettings):
    """Settings of the diffusion model; the defaults are for a GPU. None may be chosen by a look at the cohort."""

    features: int = Field(64, ge=1, le=512, description="Channels of the network at full size; doubled at each level.")
    levels: int = Field(3, ge=0, le=6, description="How many times the network halves a patch.")
    sigma_data: float = Field(0.5, gt=0, le=10, description="Standard deviation of the data that is assumed.")
    noise_mean: float = Field(-1.2, ge=-10, le=10, description="Mean of ln(sigma) over the noise levels of training.")
    noise_std: float = Field(1.2, gt=0, le=10, description="Standard deviation of ln(sigma).")
    copies: int = Field(8, ge=1, le=256, description="Noise multiplicity K: noise levels that a patch is shown under.")
    iterations: int = Field(2_000, ge=1, description="Steps on real patches.")
    batch: int = Field(1_024, ge=1, description="Expected patches in a step.")
    subjects: int = Field(1, ge=1, description="Expected subjects in a step, where the unit is the subject.")
    learning_rate: float = Field(3e-4, gt=0, le=1, description="Of Adam, on real patches.")
    ema: float = Field(0.999, ge=0, lt=1, description="Decay of the moving average of the weights, which is sampled.")
    checkpoint_every: int = Field(100, ge=1, description="Steps between two checkpoints.")
    site: str = Field("wide", description="Parameter set or prior of the simulator for the first training.")
    simulated_subjects: int = Field(200, ge=1, le=100_000, description="Simulated subjects of the first training.")
    first_iterations: int = Field(50_000, ge=0, description="Steps on simulated patches; 0 leaves them out.")
    first_batch: int = Field(256, ge=1, description="Expected patches in a step of the first training.")
    first_copies: int = Field(1, ge=1, le=256, description="Noise multiplicity of the first training.")
    first_learning_rate: float = Field(3e-4, gt=0, le=1, description="Of Adam, on simulated patches.")
    sampler_steps: int = Field(18, ge=2, le=1_000, description="Noise levels of the sampler; each costs two passes.")
    threshold: float = Field(0.5, gt=0, lt=1, description="A generated label at or above this is vessel.")


class Diffusion:
    """See the module."""

    Settings = DiffusionSettings
    learns_from = "simulated patches first, then real patches of the training subjects"

    def __init__(self, settings: DiffusionSettings, context: Context) -> None:
        """Refuse a patch that cannot be halved so often, a site that does not exist, or what does not narrow it."""
        check_size(context.patches.size, settings.levels)
        check_site(settings.site, settings.known)
        self._settings, self._context = settings, context
        self._about = Preconditioning(settings.sigma_data)

    def schedule(self) -> Schedule:
        """See `Synthesizer.schedule`: a draw for each step on real patches, however many copies it shows."""
        s = self._settings
        if self._context.unit == "patch":
            return Schedule(steps=s.iterations, units=s.batch)
        return Schedule(steps=s.iterations, units=s.subjects, patches_per_unit=max(1, s.batch // s.subjects))

    def work(self) -> int:
        """See `Synthesizer.work`: subjects, then steps of the first training, then what the second takes."""
        s = self._settings
        first = s.simulated_subjects * self._subject() + s.first_iterations if s.first_iterations else 0
        return first + s.iterations * self._step()

    def fit(
        self, patches: PatchSet, engine: EngineFactory | None, *, seed: int, folder: Path, progress: Progress
    ) -> None:
        """See `Synthesizer.fit`. The first training stands in the folder `simulated` and is made once."""
        start = None
        if self._settings.first_iterations:
            start = self._learn_from_simulator(seed, folder / "simulated", progress)
        network = self._network(seed)
        told = Weighted(progress, self._step())
        self._course().train(network, patches, engine, seed=seed, folder=folder, progress=told, start=start)

    def load(self, folder: Path, patches: PatchSet) -> TrainedDiffusion:
        """See `Synthesizer.load`."""
        del patches
        s = self._settings
        return TrainedDiffusion(
            self._network(0),
            folder / WEIGHTS,
            about=self._about,
            size=self._context.patches.size,
            steps=s.sampler_steps,
            threshold=s.threshold,
            provenance=self._context.provenance,
        )

    def _step(self) -> int:
        """How many steps of the first training take as long as one of the second, by the copies that each shows."""
        s = self._settings
        return max(1, round(s.batch * s.copies / (s.first_batch * s.first_copies))) if s.first_iterations else 1

    def _subject(self) -> int:
        """How many steps of the first training take as long as one simulated subject."""
        s = self._settings
        step = denoising(s.first_batch * s.first_copies, self._context.patches.size, s.features)
        return max(1, round(simulating(1) / step))

    def _learn_from_simulator(self, seed: int, folder: Path, progress: Progress) -> Path:
        """The first training, and the checkpoint that it leaves."""
        s = self._settings
        if (folder / WEIGHTS).exists():
            progress.advance(steps=s.simulated_subjects * self._subject() + s.first_iterations)
            return folder / CHECKPOINT
        if Team().leads:
            self._simulate(seed, folder, progress)
        Team().wait()
        made = open_store(folder / "patches")
        self._first_course().train(self._network(seed), made, None, seed=seed, folder=folder, progress=progress)
        return folder / CHECKPOINT

    def _simulate(self, seed: int, folder: Path, progress: Progress) -> None:
        """Cut patches of simulated subjects, if they do not stand there already."""
        s, cut = self._settings, self._context.patches
        path, count, told = folder / "patches", s.simulated_subjects, Weighted(progress, self._subject())
        simulated_store(path, s.site, count, cut, seed=seed, progress=told, known=s.known)

    def _network(self, seed: int) -> nn.Sequential:
        """F with its initial weights."""
        s = self._settings
        network = denoising_network(self._context.patches.size, s.features, s.levels)
        initialise(network, torch.Generator().manual_seed(seed_for(seed, "diffusion", "weights")))
        return network.to(self._context.device)

    def _course(self) -> Course:
        """The training on real patches."""
        s = self._settings
        return Course(
            iterations=s.iterations,
            batch=s.batch,
            learning_rate=s.learning_rate,
            ema=s.ema,
            levels=NoiseLevels(mean=s.noise_mean, std=s.noise_std, copies=s.copies),
            about=self._about,
            unit=self._context.unit,
            patches_per_unit=self.schedule().patches_per_unit,
            checkpoint_every=s.checkpoint_every,
        )

    def _first_course(self) -> Course:
        """The training on simulated patches."""
        s = self._settings
        return replace(
            self._course(),
            iterations=s.first_iterations,
            batch=s.first_batch,
            learning_rate=s.first_learning_rate,
            levels=NoiseLevels(mean=s.noise_mean, std=s.noise_std, copies=s.first_copies),
            unit="patch",
            patches_per_unit=1,
        )
