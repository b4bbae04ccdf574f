"""Synthesizer `steered-reader`: simulated scans, labelled by a reader that a few released numbers have moved.

1. Public: a reader is trained on simulated sites, and a few directions are learnt in which single sites move it
   (`steered_lessons`).
2. Private, once: each training subject's own move is taken along these directions, bounded, and the mean of a few
   numbers is released with Gaussian noise.
3. Post-processing: the reader is moved as far as the noise leaves likely, and draws the labels of simulated scans anew.

What a site's readers call an artery is what U-Nets of simulated pairs lack (see `readers`). DP-SGD can teach it where
thousands of patches are the unit; a dozen people are too few for thousands of weights, and enough for a few numbers.
"""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
from pydantic import Field

from angioshare.errors import SettingsError
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store
from angioshare.progress import Progress
from angioshare.protocols import EVERY_UNIT, Context, EngineFactory, Schedule
from angioshare.segmentation.trained import TrainedUnet
from angioshare.simulator.prior import prior_of
from angioshare.synthesis.labelled import Labelling
from angioshare.synthesis.readers import (
    READER,
    ReaderSettings,
    check_levels,
    scanning,
    scans,
)
from angioshare.synthesis.releasing import release_once
from angioshare.synthesis.rivals import Pairs
from angioshare.synthesis.steered_directions import Directions
from angioshare.synthesis.steered_lessons import MOST_NUMBERS, Lessons, Moving
from angioshare.types import FloatArray

RELEASE = "release.json"
"""What was released about the cohort: made once, used ever after."""


class SteeredReaderSettings(ReaderSettings):
    """Settings of the steered reader. None may be chosen by a look at the cohort."""

    first_iterations: int = Field(6_000, ge=1, description="Steps of the reader on the pairs of all simulated sites.")
    lessons: int = Field(144, ge=2, le=10_000, description="Simulated sites that teach the reader and the directions.")
    lesson_extent: float = Field(0.25, gt=0, le=1, description="Share of its slices that is simulated of each of them.")
    numbers: int = Field(
        16, ge=1, le=MOST_NUMBERS, description="Directions along which the cohort may move the reader."
    )
    levels: int = Field(1, ge=0, description="Levels of the reader with gains, from the finest; 0: the last layer.")
    move_iterations: int = Field(300, ge=1, description="Steps in which one subject's gains are found.")
    move_batch: int = Field(16, ge=1, description="Windows in each of them, one of a patch.")
    move_crop: int = Field(48, ge=1, description="Edge of a window in pixels, at most that of a patch.")
    move_learning_rate: float = Field(1e-2, gt=0, le=1, description="Of Adam, in these steps.")


def moving_of(settings: SteeredReaderSettings) -> Moving:
    """How these settings train a reader further on one subject."""
    return Moving(
        steps=settings.move_iterations,
        batch=settings.move_batch,
        crop=settings.move_crop,
        learning_rate=settings.move_learning_rate,
        levels=settings.levels,
    )


class SteeredReader:
    """See the module."""

    Settings = SteeredReaderSettings
    learns_from = "simulated scans; their labels by a reader that a few numbers about the training subjects have moved"

    def __init__(self, settings: SteeredReaderSettings, context: Context) -> None:
        """Refuse a prior that does not exist, more numbers than lessons can teach, and patches as privacy unit."""
        prior_of(settings.site, settings.known)
        if settings.numbers >= settings.lessons:
            raise SettingsError(
                f"numbers={settings.numbers} must be below lessons={settings.lessons}; lower numbers or raise lessons"
            )
        check_levels(settings.levels, settings.channels)
        if context.provenance == "dp" and context.unit != "subject":
            raise SettingsError(
                f"steered-reader releases one move for each subject, and the unit is the {context.unit}: set unit = "
                "'subject', or take taught-reader"
            )
        self._settings, self._context = settings, context
        self._labelling = Labelling(settings=settings, context=context)

    def schedule(self) -> Schedule:
        """See `Synthesizer.schedule`: one release, in which everybody takes part."""
        return Schedule(steps=1, units=EVERY_UNIT, patches_per_unit=self._context.patches.per_subject, own_bound=True)

    def work(self) -> int:
        """See `Synthesizer.work`: what lessons take, then simulated subjects, then labels."""
        s = self._settings
        return (
            self._lessons().work()
            + s.simulated_subjects * scanning(s, self._context.patches.size)
            + self._labelling.work()
        )

    def fit(
        self, patches: PatchSet, engine: EngineFactory | None, *, seed: int, folder: Path, progress: Progress
    ) -> None:
        """See `Synthesizer.fit`. Whatever was finished is kept: lessons, the release, scans, pairs."""
        s, target, before = self._settings, folder / "patches", folder / "simulated"
        if not target.exists():
            before.mkdir(exist_ok=True)
            reader, learned = self._lessons().learn(before, progress)
            directions = self._directions(learned)
            release = release_once(
                folder / RELEASE,
                lambda: self._vectors(patches, reader, directions, progress),
                engine,
                numbers=s.numbers,
                made_by=directions.digest(),
            )
            reader = moving_of(s).moved(reader, directions.move(release))
            reader.record = replace(reader.record, provenance=self._context.provenance)
            reader.save(folder / READER)
            pool = scans(before / "patches", s, self._context.patches, seed=seed, progress=progress)
            self._labelling.write(
                target, reader, pool, provenance=self._context.provenance, seed=seed, progress=progress
            )
        shutil.rmtree(before / "patches", ignore_errors=True)

    def load(self, folder: Path, patches: PatchSet) -> Pairs:
        """See `Synthesizer.load`."""
        del patches
        return Pairs(open_store(folder / "patches"))

    def _lessons(self) -> Lessons:
        s = self._settings
        return Lessons(
            count=s.lessons,
            extent=s.lesson_extent,
            reader=s,
            context=self._context,
            moving=moving_of(s),
        )

    def _directions(self, learned: Directions) -> Directions:
        """The first directions, as many as numbers are asked for.

        Raises:
            SettingsError: Lessons gave fewer, so that what would be charged is not what was asked for.
        """
        numbers, there = self._settings.numbers, len(learned.axes)
        if numbers > there:
            raise SettingsError(
                f"numbers={numbers} must be at most {there}, the directions that lessons={self._settings.lessons} "
                "gave: moves that are no numbers teach none; lower numbers or move_learning_rate, or raise lessons"
            )
        return learned.first(numbers)

    def _vectors(
        self, patches: PatchSet, reader: TrainedUnet, directions: Directions, progress: Progress
    ) -> FloatArray:
        """The numbers (subjects, k) of each training subject, from its own patches alone."""
        vectors, count = [], len(patches.subjects)
        for index in range(count):
            progress.advance(f"move the reader to subject {index + 1} of {count}", 0)
            pairs = patches.pairs(np.flatnonzero(patches.subject == index))
            own = PatchSet(image=pairs[:, 0], label=pairs[:, 1].astype(np.uint8))
            vectors.append(directions.vector(moving_of(self._settings).move(reader, own)))
        return np.array(vectors)
