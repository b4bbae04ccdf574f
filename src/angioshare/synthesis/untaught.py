"""Synthesizer `untaught-reader`: simulated scans, labelled by a reader that has seen nothing but simulated pairs.

The taught reader without its private step, and so what that step is measured against: it never looks at the cohort and
costs no epsilon. It is also a rival of its own. The simulator labels every artery that it has drawn, those too that
nobody could see in the scan; a U-Net of many such pairs labels what can be seen, and its labels teach the next one
without that noise (born-again networks, Furlanello et al. 2018, arXiv:1805.04770).
"""

import shutil
from pathlib import Path

from pydantic import Field

from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store
from angioshare.progress import Progress
from angioshare.protocols import Context, EngineFactory, Schedule
from angioshare.simulator.many import check_site
from angioshare.synthesis.labelled import Labelling
from angioshare.synthesis.readers import (
    READER,
    ReaderSettings,
    first_reader,
    scanning,
    scans,
)
from angioshare.synthesis.rivals import Pairs


class UntaughtReaderSettings(ReaderSettings):
    """Settings of the scans, of the reader and of its labels. None may be chosen by a look at the cohort."""

    first_iterations: int = Field(3_600, ge=1, description="Steps of the reader on simulated pairs.")
    threshold: float = Field(0.3, gt=0, lt=1, description="A probability above this is labelled as vessel.")
    label_turns: int = Field(4, ge=1, le=8, description="Turns of a scan whose mean probability it is.")


class UntaughtReader:
    """See the module."""

    Settings = UntaughtReaderSettings

    def __init__(self, settings: UntaughtReaderSettings, context: Context) -> None:
        """Refuse a site that does not exist, or what does not narrow it."""
        check_site(settings.site, settings.known)
        self._settings, self._context = settings, context
        self._labelling = Labelling(settings=settings, context=context)

    def schedule(self) -> Schedule:
        """See `Synthesizer.schedule`: no private step."""
        return Schedule(steps=0, units=1)

    def work(self) -> int:
        """See `Synthesizer.work`: steps of the first training, and all else by its time; see `readers`."""
        s = self._settings
        return (
            s.simulated_subjects * scanning(s, self._context.patches.size) + s.first_iterations + self._labelling.work()
        )

    def fit(
        self, patches: PatchSet, engine: EngineFactory | None, *, seed: int, folder: Path, progress: Progress
    ) -> None:
        """See `Synthesizer.fit`. `patches` are not read. What was finished is kept: scans, the reader, pairs."""
        del patches, engine
        s, target, before = self._settings, folder / "patches", folder / "simulated"
        if not target.exists():
            pool = scans(before / "patches", s, self._context.patches, seed=seed, progress=progress)
            reader = first_reader(folder / READER, s, pool, self._context, seed=seed, progress=progress)
            self._labelling.write(target, reader, pool, provenance="public", seed=seed, progress=progress)
        shutil.rmtree(before, ignore_errors=True)

    def load(self, folder: Path, patches: PatchSet) -> Pairs:
        """See `Synthesizer.load`."""
        del patches
        return Pairs(open_store(folder / "patches"))
