"""Trivial rivals: what every synthesizer is measured against.

Real pairs are the ceiling, shuffled labels the floor, and the simulator alone what public knowledge gives for epsilon
0: a private synthesizer that does not beat it has not earned its epsilon. Where there is a public cohort, its own pairs
are another such rival.
"""

from pathlib import Path

import numpy as np
from pydantic import Field

from angioshare.errors import SettingsError
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_public, open_store
from angioshare.progress import Progress
from angioshare.protocols import Context, EngineFactory, Schedule
from angioshare.rng import stream
from angioshare.settings import Settings
from angioshare.simulator.many import check_site
from angioshare.synthesis.simulated import ProtocolSettings, simulated_store
from angioshare.types import IntArray


class NoSettings(Settings):
    """There is nothing to set."""


class SimulatorSettings(ProtocolSettings):
    """Settings of the simulator alone."""

    site: str = Field("site-1", description="Parameter set or prior of the simulator.")
    subjects: int = Field(12, ge=1, le=10_000, description="Simulated subjects that patches are cut from.")
    extent: float = Field(1.0, gt=0, le=1, description="Share of its slices that is simulated of each subject.")
    workers: int = Field(1, ge=0, le=256, description="Processes that simulate; 0 takes one for each core.")


def chosen_rows(available: int, n: int, seed: int) -> IntArray:
    """Choose `n` of the rows without repeats, in order; all of them if there are no more.

    Example:
        >>> chosen_rows(3, 5, seed=0).tolist()
        [0, 1, 2]
    """
    if n >= available:
        return np.arange(available)
    return np.sort(stream(seed, "rivals", "rows").permutation(available)[:n])


class Pairs:
    """A trained rival: it holds the pairs that it hands out."""

    def __init__(self, patches: PatchSet) -> None:
        self._patches = patches

    def sample(self, n: int, seed: int) -> PatchSet:
        """Up to `n` of the pairs, none twice."""
        if n >= len(self._patches):
            return self._patches
        rows = chosen_rows(len(self._patches), n, seed)
        subject = self._patches.subject[rows] if self._patches.subjects else self._patches.subject
        return PatchSet(
            image=self._patches.image[rows],
            label=self._patches.label[rows],
            subject=subject,
            subjects=self._patches.subjects,
            provenance=self._patches.provenance,
        )


class Untrained:
    """What rivals share that take the real pairs as they are: there is nothing to set and nothing to learn."""

    Settings = NoSettings

    def __init__(self, settings: NoSettings, context: Context) -> None:
        del settings, context

    def schedule(self) -> Schedule:
        """See `Synthesizer.schedule`."""
        return Schedule(steps=0, units=1)

    def work(self) -> int:
        """See `Synthesizer.work`."""
        return 0

    def fit(
        self, patches: PatchSet, engine: EngineFactory | None, *, seed: int, folder: Path, progress: Progress
    ) -> None:
        """Nothing to learn."""


class RealPairs(Untrained):
    """Synthesizer `real`: the real pairs themselves. The ceiling; never leaves the private side."""

    def load(self, folder: Path, patches: PatchSet) -> Pairs:
        """See `Synthesizer.load`."""
        return Pairs(patches)


class ShuffledLabels(Untrained):
    """Synthesizer `shuffled`: every real image with the label of another one. The floor; unprotected."""

    def load(self, folder: Path, patches: PatchSet) -> "Shuffled":
        """See `Synthesizer.load`."""
        return Shuffled(patches)


class Shuffled:
    """Real images whose labels were dealt anew."""

    def __init__(self, patches: PatchSet) -> None:
        self._patches = patches

    def sample(self, n: int, seed: int) -> PatchSet:
        """Up to `n` images, each with the label of the next one in a random circle (so never its own)."""
        rows = chosen_rows(len(self._patches), n, seed)
        circle = stream(seed, "rivals", "shuffle").permutation(rows)
        return PatchSet(image=self._patches.image[circle], label=self._patches.label[np.roll(circle, 1)])


class PublicCohort(Untrained):
    """Synthesizer `public-cohort`: labelled scans that anybody may have, as they are. Epsilon 0.

    What somebody has who takes nothing from the private cohort, not even a simulator. Its pairs stay on the private
    side: whether they may be passed on is for their licence to say.
    """

    def __init__(self, settings: NoSettings, context: Context) -> None:
        """Where its patches stand is the run's to say; see `registry.shows_public`."""
        del settings
        self._public = context.public

    def load(self, folder: Path, patches: PatchSet) -> Pairs:
        """See `Synthesizer.load`.

        Raises:
            DataError: What stands for the public cohort's patches is something else.
            SettingsError: The run has no public cohort.
        """
        del folder, patches
        if self._public is None:
            raise SettingsError("source public-cohort needs a public cohort; give --public-cohort, or leave it out")
        return Pairs(open_public(self._public))


class SimulatorAlone:
    """Synthesizer `simulator`: pairs cut from simulated subjects. It never looks at the cohort: epsilon 0."""

    Settings = SimulatorSettings

    def __init__(self, settings: SimulatorSettings, context: Context) -> None:
        """Refuse a site that does not exist, or what does not narrow it."""
        check_site(settings.site, settings.known)
        self._settings, self._context = settings, context

    def schedule(self) -> Schedule:
        """See `Synthesizer.schedule`."""
        return Schedule(steps=0, units=1)

    def work(self) -> int:
        """See `Synthesizer.work`."""
        return self._settings.subjects

    def fit(
        self, patches: PatchSet, engine: EngineFactory | None, *, seed: int, folder: Path, progress: Progress
    ) -> None:
        """Simulate subjects and cut patches as they are cut from real ones. `patches` are not read."""
        del patches, engine
        s, cut = self._settings, self._context.patches
        simulated_store(
            folder / "patches",
            s.site,
            s.subjects,
            cut,
            seed=seed,
            progress=progress,
            workers=s.workers,
            extent=s.extent,
            known=s.known,
        )

    def load(self, folder: Path, patches: PatchSet) -> Pairs:
        """See `Synthesizer.load`."""
        del patches
        return Pairs(open_store(folder / "patches"))
