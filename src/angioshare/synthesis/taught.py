"""Synthesizer `taught-reader`: simulated scans, labelled by a reader that the cohort has taught privately.

1. Public: subjects of the simulator's prior are drawn, and a U-Net (the reader) is trained on their pairs.
2. Private: DP-SGD on real pairs moves the finest levels of that U-Net, which are few weights.
3. Post-processing: the taught reader draws the labels of the simulated scans anew.

What a segmenter of simulated pairs lacks is less the look of real scans than what this site's readers call
an artery. That is knowledge of labels given images: a segmenter learns it with far fewer weights than a generator of
pairs, starts from a good one, and hands it on by labelling (`readers`).
"""

import shutil
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from angioshare.errors import SettingsError
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store
from angioshare.progress import Progress, Weighted
from angioshare.protocols import Context, EngineFactory, Schedule
from angioshare.segmentation.trained import TrainedUnet
from angioshare.simulator.many import check_site
from angioshare.synthesis.labelled import Labelling
from angioshare.synthesis.paces import teaching
from angioshare.synthesis.readers import (
    READER,
    check_levels,
    first_reader,
    in_steps,
    scanning,
    scans,
)
from angioshare.synthesis.rivals import Pairs
from angioshare.synthesis.taught_training import Teaching
from angioshare.synthesis.untaught import UntaughtReaderSettings


class TaughtReaderSettings(UntaughtReaderSettings):
    """Settings of the taught reader. None may be chosen by a look at the cohort."""

    iterations: int = Field(400, ge=1, description="Steps of the reader on real pairs.")
    batch: int = Field(120, ge=1, description="Expected patches in each of them.")
    subjects: int = Field(1, ge=1, description="Expected subjects in each of them, where the unit is the subject.")
    learning_rate: float = Field(3e-3, gt=0, le=1, description="Of Adam, on real pairs.")
    ema: float = Field(0.9, ge=0, lt=1, description="Decay of the moving average of the taught weights, which labels.")
    levels: int = Field(3, ge=0, description="Levels of the reader that learn, from the finest; 0: the last layer.")
    crop: int | None = Field(48, ge=1, description="Edge of the window of a patch that a step sees; none: all of it.")
    checkpoint_every: int = Field(10, ge=1, description="Steps between two checkpoints.")


class TaughtReader:
    """See the module."""

    Settings = TaughtReaderSettings
    learns_from = "simulated scans; their labels by a reader that real patches of the training subjects have taught"

    def __init__(self, settings: TaughtReaderSettings, context: Context) -> None:
        """Refuse a site that does not exist, what does not narrow it, or windows that the reader cannot halve."""
        check_site(settings.site, settings.known)
        self._settings, self._context = settings, context
        self._labelling = Labelling(settings=settings, context=context)
        size, halved = context.patches.size, 2 ** (len(settings.channels) - 1)
        edge = min(settings.crop or size, size)
        if edge % halved:
            raise SettingsError(
                f"crop={settings.crop} of patches.size={size}: the reader of {len(settings.channels)} levels needs a "
                f"multiple of {halved} pixels, not {edge}; change crop or channels"
            )
        check_levels(settings.levels, settings.channels)

    def schedule(self) -> Schedule:
        """See `Synthesizer.schedule`: a draw for each step on real patches."""
        s = self._settings
        if self._context.unit == "patch":
            return Schedule(steps=s.iterations, units=s.batch)
        return Schedule(steps=s.iterations, units=s.subjects, patches_per_unit=max(1, s.batch // s.subjects))

    def work(self) -> int:
        """See `Synthesizer.work`: steps of the first training, and all else by its time; see `readers`."""
        s = self._settings
        scanned = s.simulated_subjects * scanning(s, self._context.patches.size)
        return scanned + s.first_iterations + s.iterations * self._step() + self._labelling.work()

    def fit(
        self, patches: PatchSet, engine: EngineFactory | None, *, seed: int, folder: Path, progress: Progress
    ) -> None:
        """See `Synthesizer.fit`. Whatever was finished is kept: scans, the untaught reader, the taught one, pairs."""
        s, target, before = self._settings, folder / "patches", folder / "simulated"
        if not target.exists():
            pool = scans(before / "patches", s, self._context.patches, seed=seed, progress=progress)
            if not (folder / READER).exists():
                reader = first_reader(before / READER, s, pool, self._context, seed=seed, progress=progress)
                told = Weighted(progress, self._step())
                self._teaching().teach(reader, patches, engine, seed=seed, folder=folder, progress=told)
                reader.record = replace(reader.record, provenance=self._context.provenance)
                reader.save(folder / READER)
            reader = TrainedUnet.load(folder / READER, self._context.device)
            self._labelling.write(
                target, reader, pool, provenance=self._context.provenance, seed=seed, progress=progress
            )
        shutil.rmtree(before / "patches", ignore_errors=True)

    def load(self, folder: Path, patches: PatchSet) -> Pairs:
        """See `Synthesizer.load`."""
        del patches
        return Pairs(open_store(folder / "patches"))

    def _step(self) -> int:
        """What a private step takes, in steps of the first training."""
        s, size = self._settings, self._context.patches.size
        return in_steps(teaching(s.batch, min(s.crop or size, size), s.channels[0]), s, size)

    def _teaching(self) -> Teaching:
        s = self._settings
        return Teaching(
            iterations=s.iterations,
            batch=s.batch,
            learning_rate=s.learning_rate,
            ema=s.ema,
            levels=s.levels,
            crop=s.crop,
            unit=self._context.unit,
            patches_per_unit=self.schedule().patches_per_unit,
            checkpoint_every=s.checkpoint_every,
        )
