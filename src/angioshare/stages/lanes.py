"""Work on several sources side by side: each process takes whole sources, with one thread of its own.

On two cores this is faster than two threads on one network of this size, and a busy machine slows it far less.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch

from angioshare.config import SourceSettings
from angioshare.parallel import run_jobs
from angioshare.progress import Progress
from angioshare.records import Record
from angioshare.stages.run import Run

Work: TypeAlias = Callable[[Run, SourceSettings, Progress], Sequence[Record]]
"""Does a stage's work on one source; a function of a module, so that it can be sent to a process."""

Size: TypeAlias = Callable[[Run, SourceSettings], int]
"""How many steps of progress that work is."""


@dataclass(frozen=True)
class Lane:
    """Sources that one process works through, one after the other (see `parallel.Job`).

    Attributes:
        of: The run.
        stage: The stage.
        sources: Which sources.
        work: What is done with each.
        size: Its steps.
    """

    of: Run
    stage: str
    sources: tuple[SourceSettings, ...]
    work: Work
    size: Size

    def steps(self) -> int:
        """Steps of all its sources."""
        return sum(self.size(self.of, source) for source in self.sources)

    def done(self) -> bool:
        """Whether all are finished."""
        return all(self.of.finished(self.stage, source.name) for source in self.sources)

    def run(self, progress: Progress) -> None:
        """Do what is not finished."""
        for source in self.sources:
            told = Named(source.name, progress)
            if not self.of.once(self.stage, source.name, partial(self.work, self.of, source, told)):
                progress.advance(steps=self.size(self.of, source))


def side_by_side(
    run: Run, stage: str, lanes: Sequence[Sequence[SourceSettings]], work: Work, size: Size, progress: Progress
) -> None:
    """Do a stage's work on all sources that lack it, as many lanes at a time as the settings have workers.

    Args:
        run: The run.
        stage: Name of the stage.
        lanes: Sources that must stay together in one process, lane by lane.
        work: What is done with one source.
        size: Its steps.
        progress: Told of steps, with the name of the source.
    """
    if run.config.threads:
        torch.set_num_threads(run.config.threads)
    jobs = [Lane(run, stage, tuple(lane), work, size) for lane in lanes if lane]
    run_jobs(jobs, task=stage, workers=run.config.workers, progress=progress)
    run.collect()


class Named:
    """Passes on the steps of one source with its name; what was done before a resume counts at once."""

    def __init__(self, name: str, progress: Progress) -> None:
        """Speak for one source to `progress`, which has been started."""
        self._name, self._progress = name, progress

    def start(self, task: str, total: int, done: int = 0) -> None:
        """The lane has begun already."""
        if done:
            self._progress.advance(f"{self._name} goes on", done)

    def advance(self, note: str = "", steps: int = 1) -> None:
        """See `Progress.advance`."""
        self._progress.advance(f"{self._name}: {note}" if note else self._name, steps)

    def finish(self) -> None:
        """The lane goes on."""
