"""The WGAN after a training on simulated patches, which is free: privacy is then spent on what the simulator lacks.

A simulator is public knowledge, so whatever a network learns from it costs no epsilon (De et al. 2022; Bie et al.
2023, "Private GANs, revisited"). Generator and critic start the training on real patches from there.
"""

import shutil
from pathlib import Path

from pydantic import Field

from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store
from angioshare.progress import Progress, Weighted
from angioshare.protocols import Context, EngineFactory, Schedule
from angioshare.simulator.many import check_site
from angioshare.synthesis.checkpoint import CHECKPOINT
from angioshare.synthesis.paces import criticising, simulating
from angioshare.synthesis.sampling import WEIGHTS, TrainedGenerator
from angioshare.synthesis.simulated import ProtocolSettings, simulated_store
from angioshare.synthesis.wgan import Wgan, WganSettings
from angioshare.team import Team


class PretrainedWganSettings(WganSettings, ProtocolSettings):
    """Settings of the WGAN, and of the training before it."""

    site: str = Field("site-1", description="Parameter set or prior of the simulator.")
    simulated_subjects: int = Field(12, ge=1, le=10_000, description="Simulated subjects of the first training.")
    first_iterations: int = Field(2_000, ge=1, description="Generator updates of the first training.")
    first_batch: int = Field(32, ge=1, description="Expected patches in a critic update of the first training.")
    first_learning_rate: float = Field(5e-5, gt=0, le=1, description="Learning rate of the first training.")
    first_generator_learning_rate: float | None = Field(
        None, gt=0, le=1, description="Of the generator alone; none takes first_learning_rate."
    )

    def first(self) -> WganSettings:
        """Settings of the training on simulated patches."""
        return WganSettings.model_validate(
            {name: getattr(self, name) for name in WganSettings.model_fields}
            | {
                "iterations": self.first_iterations,
                "batch": self.first_batch,
                "learning_rate": self.first_learning_rate,
                "generator_learning_rate": self.first_generator_learning_rate,
            }
        )


class PretrainedWgan:
    """Synthesizer `wgan-pretrained`: see the module."""

    Settings = PretrainedWganSettings
    learns_from = "simulated patches first, then real patches of the training subjects"

    def __init__(self, settings: PretrainedWganSettings, context: Context) -> None:
        """Refuse a simulator's site that does not exist, or what does not narrow it."""
        check_site(settings.site, settings.known)
        self._settings, self._context = settings, context
        self._second = Wgan(settings, context)

    def schedule(self) -> Schedule:
        """See `Synthesizer.schedule`: the second training alone meets real patches."""
        return self._second.schedule()

    def work(self) -> int:
        """See `Synthesizer.work`: subjects, then updates of the first training, then what the second takes."""
        s = self._settings
        return s.simulated_subjects * self._subject() + s.first_iterations + self._second.work() * self._update()

    def fit(
        self, patches: PatchSet, engine: EngineFactory | None, *, seed: int, folder: Path, progress: Progress
    ) -> None:
        """See `Synthesizer.fit`."""
        s, context = self._settings, self._context
        before = folder / "simulated"
        if not (before / WEIGHTS).exists():
            if Team().leads:
                self._simulate(seed, before / "patches", progress)
            Team().wait()
            made = open_store(before / "patches")
            first = Wgan(s.first(), Context(patches=context.patches, provenance="public", device=context.device))
            first.fit(made, None, seed=seed, folder=before, progress=progress)
            del made
            if Team().leads:
                shutil.rmtree(before / "patches")
        else:
            progress.advance(steps=s.simulated_subjects * self._subject() + s.first_iterations)
        told = Weighted(progress, self._update())
        self._second.fit(patches, engine, seed=seed, folder=folder, progress=told, start=before / CHECKPOINT)

    def _subject(self) -> int:
        """How many updates of the first training take as long as one simulated subject."""
        s = self._settings
        update = criticising(s.critic_updates * s.first_batch, self._context.patches.size, s.features)
        return max(1, round(simulating(1) / update))

    def _update(self) -> int:
        """How many updates of the first training take as long as one of the second, by the patches that each draws."""
        return max(1, round(self._settings.batch / self._settings.first_batch))

    def _simulate(self, seed: int, path: Path, progress: Progress) -> None:
        """Cut patches of simulated subjects, if they do not stand there already."""
        s, cut = self._settings, self._context.patches
        told = Weighted(progress, self._subject())
        simulated_store(path, s.site, s.simulated_subjects, cut, seed=seed, progress=told, known=s.known)

    def load(self, folder: Path, patches: PatchSet) -> TrainedGenerator:
        """See `Synthesizer.load`."""
        return self._second.load(folder, patches)
