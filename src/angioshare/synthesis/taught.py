"""Synthesizer `taught-reader`: simulated scans, labelled by a reader that the cohort has taught privately.

1. Public: subjects of the simulator's prior are drawn, and a U-Net (the reader) is trained on their pairs.
2. Private: DP-SGD on real pairs moves the finest levels of that U-Net, which are few weights.
3. Post-processing: the taught reader draws the labels of the simulated scans anew.

What a segmenter of simulated pairs lacks is less the look of real scans than what this site's readers call
an artery. That is knowledge of labels given images: a segmenter learns it with far fewer weights than a generator of
pairs, starts from a good one, and hands it on by labelling (knowledge distillation, Hinton et al. 2015,
arXiv:1503.02531; from private teachers to public inputs, Papernot et al. 2017, arXiv:1610.05755).
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import Field

from angioshare.errors import SettingsError
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store, write_patchset
from angioshare.progress import Progress
from angioshare.protocols import Context, EngineFactory, Schedule
from angioshare.segmentation.fit import Unet
from angioshare.segmentation.settings import UnetSettings
from angioshare.segmentation.trained import TrainedUnet
from angioshare.simulator.many import check_site
from angioshare.synthesis.rivals import Pairs
from angioshare.synthesis.simulated import ProtocolSettings, simulated_store
from angioshare.synthesis.taught_training import Teaching
from angioshare.types import ByteArray

READER = "reader.safetensors"
"""File of a U-Net: untaught in the folder `simulated`, taught beside the pairs."""

_AT_ONCE = 512
"""Patches that are labelled at once."""


class TaughtReaderSettings(ProtocolSettings):
    """Settings of the taught reader. None may be chosen by a look at the cohort."""

    site: str = Field("wide", description="Parameter set or prior of the simulator.")
    simulated_subjects: int = Field(48, ge=1, le=100_000, description="Simulated subjects whose scans are handed out.")
    extent: float = Field(1.0, gt=0, le=1, description="Share of its slices that is simulated of each of them.")
    workers: int = Field(1, ge=0, le=256, description="Processes that simulate; 0 takes one for each core.")
    channels: tuple[int, ...] = Field(
        (8, 16, 32, 64, 128), min_length=2, description="Width of each level of the reader, from fine to coarse."
    )
    first_iterations: int = Field(1_800, ge=1, description="Steps of the reader on simulated pairs.")
    first_batch: int = Field(16, ge=1, description="Patches in each of them.")
    first_learning_rate: float = Field(1e-3, gt=0, le=1, description="Of Adam, on simulated pairs.")
    iterations: int = Field(200, ge=1, description="Steps of the reader on real pairs.")
    batch: int = Field(240, ge=1, description="Expected patches in each of them.")
    subjects: int = Field(1, ge=1, description="Expected subjects in each of them, where the unit is the subject.")
    learning_rate: float = Field(3e-3, gt=0, le=1, description="Of Adam, on real pairs.")
    ema: float = Field(0.9, ge=0, lt=1, description="Decay of the moving average of the taught weights, which labels.")
    levels: int = Field(2, ge=0, description="Levels of the reader that learn, from the finest; 0: the last layer.")
    crop: int | None = Field(48, ge=1, description="Edge of the window of a patch that a step sees; none: all of it.")
    threshold: float = Field(0.5, gt=0, lt=1, description="A probability above this is labelled as vessel.")
    checkpoint_every: int = Field(10, ge=1, description="Steps between two checkpoints.")


class TaughtReader:
    """See the module."""

    Settings = TaughtReaderSettings
    learns_from = "simulated scans; their labels by a reader that real patches of the training subjects have taught"

    def __init__(self, settings: TaughtReaderSettings, context: Context) -> None:
        """Refuse a site that does not exist, what does not narrow it, or windows that the reader cannot halve."""
        check_site(settings.site, settings.known)
        self._settings, self._context = settings, context
        size, halved = context.patches.size, 2 ** (len(settings.channels) - 1)
        edge = min(settings.crop or size, size)
        if edge % halved:
            raise SettingsError(
                f"crop={settings.crop} of patches.size={size}: the reader of {len(settings.channels)} levels needs a "
                f"multiple of {halved} pixels, not {edge}; change crop or channels"
            )
        if settings.levels > len(settings.channels):
            raise SettingsError(f"levels={settings.levels} must be at most {len(settings.channels)}, the reader's own")

    def schedule(self) -> Schedule:
        """See `Synthesizer.schedule`: a draw for each step on real patches."""
        s = self._settings
        if self._context.unit == "patch":
            return Schedule(steps=s.iterations, units=s.batch)
        return Schedule(steps=s.iterations, units=s.subjects, patches_per_unit=max(1, s.batch // s.subjects))

    def work(self) -> int:
        """See `Synthesizer.work`: subjects, then steps of both trainings."""
        s = self._settings
        return s.simulated_subjects + s.first_iterations + s.iterations

    def fit(
        self, patches: PatchSet, engine: EngineFactory | None, *, seed: int, folder: Path, progress: Progress
    ) -> None:
        """See `Synthesizer.fit`. Whatever was finished is kept: scans, the untaught reader, the taught one, pairs."""
        target, before = folder / "patches", folder / "simulated"
        if not target.exists():
            pool = self._pool(before / "patches", seed, progress)
            if not (folder / READER).exists():
                reader = self._untaught(before / READER, pool, seed, progress)
                self._teaching().teach(reader, patches, engine, seed=seed, folder=folder, progress=progress)
                reader.record = replace(reader.record, provenance=self._context.provenance)
                reader.save(folder / READER)
            label = self._labelled(TrainedUnet.load(folder / READER, self._context.device), pool)
            drawn = PatchSet(image=pool.image, label=label, provenance=self._context.provenance)
            write_patchset(target, drawn, {"site": self._settings.site, "subjects": self._settings.simulated_subjects})
        shutil.rmtree(before / "patches", ignore_errors=True)

    def load(self, folder: Path, patches: PatchSet) -> Pairs:
        """See `Synthesizer.load`."""
        del patches
        return Pairs(open_store(folder / "patches"))

    def _pool(self, path: Path, seed: int, progress: Progress) -> PatchSet:
        """Patches of simulated subjects, with the simulator's own labels."""
        s = self._settings
        return simulated_store(
            path,
            s.site,
            s.simulated_subjects,
            self._context.patches,
            seed=seed,
            progress=progress,
            workers=s.workers,
            extent=s.extent,
            known=s.known,
        )

    def _untaught(self, path: Path, pool: PatchSet, seed: int, progress: Progress) -> TrainedUnet:
        """The reader that knows the simulator alone; made once."""
        s = self._settings
        if not path.exists():
            settings = UnetSettings(
                channels=s.channels,
                learning_rate=s.first_learning_rate,
                batch=s.first_batch,
                steps=s.first_iterations,
                ema=0.98,
            )
            Unet(settings, self._context.device).fit(pool, seed=seed, progress=progress).save(path)
        else:
            progress.advance(steps=s.first_iterations)
        return TrainedUnet.load(path, self._context.device)

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

    def _labelled(self, reader: TrainedUnet, pool: PatchSet) -> ByteArray:
        """Labels (n, h, w) of the simulated patches by the reader; nothing outside the brain, which is -1 there."""
        label = np.zeros(pool.label.shape, np.uint8)
        for first in range(0, len(pool), _AT_ONCE):
            image = pool.pairs(np.arange(first, min(first + _AT_ONCE, len(pool))))[:, 0]
            label[first : first + len(image)] = (reader.probability(image) > self._settings.threshold) & (image > -1)
        return label
