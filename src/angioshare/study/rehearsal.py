"""How long trainings will take of which none was finished yet: a few seconds of each on made-up patches, extrapolated.

No real patch is read and the cohort's ledger is not opened: a private training is rehearsed under a ledger that is
thrown away.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import torch

from angioshare.errors import AngioShareError
from angioshare.patches.patchset import PatchSet
from angioshare.progress import SilentProgress
from angioshare.rng import stream
from angioshare.segmentation.fit import Unet
from angioshare.stages.train import rehearse, synthesizer_of, training_size
from angioshare.study.folder import Study
from angioshare.study.points import Point
from angioshare.study.watch import StageTimes

SECONDS = 5.0
"""How long the steps of one training are watched, the first one left out."""

_FEWEST = 2
"""Steps that are watched even if they take longer."""

_PAIRS = 512
"""Made-up pairs of a U-Net: it reads all of them first."""


class SeenEnough(Exception):
    """Ends a training that is only watched."""


class Watch(SilentProgress):
    """A progress that measures the pace of steps and then ends the work.

    Attributes:
        skipped: Steps that were finished beforehand, for example lessons that are kept.
    """

    def __init__(self, seconds: float = SECONDS, clock: Callable[[], float] = perf_counter) -> None:
        self._enough, self._clock = seconds, clock
        self._began: float | None = None
        self._steps, self._seconds, self.skipped = 0, 0.0, 0

    def start(self, task: str, total: int, done: int = 0) -> None:
        """See `Progress.start`."""
        self.skipped += done

    def advance(self, note: str = "", steps: int = 1) -> None:
        """See `Progress.advance`."""
        now = self._clock()
        if self._began is None:  # the first step also sets up
            self._began = now
            return
        self._steps, self._seconds = self._steps + steps, now - self._began
        if self._seconds >= self._enough and self._steps >= _FEWEST:
            raise SeenEnough

    def pace(self) -> float | None:
        """Seconds a step, or None if none was seen but the first.

        Example:
            >>> watch = Watch(clock=iter([0.0, 1.0, 2.0]).__next__)
            >>> for _ in range(3):
            ...     watch.advance()
            >>> watch.pace()
            1.0
        """
        return self._seconds / self._steps if self._steps else None


def rehearsed(
    study: Study,
    times: StageTimes,
    tell: Callable[[str], None],
    seconds: float = SECONDS,
    clock: Callable[[], float] = perf_counter,
) -> None:
    """Add to `times` what trainings of synthesizers and U-Nets will take whose kind was not finished yet.

    Args:
        study: The study.
        times: What is known; each point's estimates are added.
        tell: Told of each rehearsal before it begins.
        seconds: How long each is watched.
        clock: Seconds since some moment.

    Edge cases: steps of different cost count as those that were seen; jobs that share a machine are slower than what is
        watched alone; cutting, drawing and scoring count as nothing. What cannot be rehearsed stays unknown.
    """
    torch.set_num_threads(study.plan.cores)
    found: dict[str, float | None] = {}
    for point in study.points:
        for stage, rehearsal in (("train", _training), ("segment", _unets)):
            if stage not in study.missing(point) or times.expected(point, stage) is not None:
                continue
            key = f"{stage} {_what(point, stage)}"
            if key not in found:
                tell(f"{stage} of {point.source.shown}")
                found[key] = rehearsal(study, point, Watch(seconds, clock))
            if (expected := found[key]) is not None:
                times.rehearsed[point.name, stage] = expected


def _what(point: Point, stage: str) -> str:
    """What the time of a stage depends on."""
    if stage == "segment":
        return point.config.segmentation.model_dump_json() + str((point.source.pairs, point.config.patches.size))
    unit = point.source.privacy.unit if point.source.privacy else ""
    return f"{point.source.synthesizer} {point.source.settings} {unit} {point.config.patches.model_dump_json()}"


def _training(study: Study, point: Point, watch: Watch) -> float | None:
    """Seconds that a synthesizer's training will take."""
    run = study.run_of(point)
    steps = synthesizer_of(run, point.source).work()
    subjects, patches = training_size(run)
    made_up = _made_up(point.config.patches.size, patches, subjects)
    with TemporaryDirectory() as folder:
        ended = _watched(lambda: rehearse(run, point.source, made_up, folder=Path(folder), progress=watch))
    if steps == 0 or not ended:
        return 0.0 if ended else None
    pace = watch.pace()
    return None if pace is None else pace * max(steps - watch.skipped, 0)


def _unets(study: Study, point: Point, watch: Watch) -> float | None:
    """Seconds that the U-Nets of a point will take."""
    run = study.run_of(point)
    grid = point.config.segmentation.grid()
    pairs = point.source.pairs if point.source.synthesizer not in ("real", "shuffled") else training_size(run)[1]
    made_up = _made_up(point.config.patches.size, _PAIRS, 0)
    _watched(lambda: Unet(grid[0], run.config.device).fit(made_up, seed=0, progress=watch))
    pace = watch.pace()
    return None if pace is None else pace * sum(one.total_steps(pairs) for one in grid)


def _watched(work: Callable[[], object]) -> bool:
    """Do work until enough of it was seen; whether it came so far."""
    try:
        work()
    except SeenEnough:
        pass
    except AngioShareError:
        return False
    return True


def _made_up(size: int, count: int, subjects: int) -> PatchSet:
    """Patches (count, size, size) that take the memory of one."""
    noise = stream(0, "rehearsal").uniform(-1, 1, (size, size)).astype(np.float16)
    image = np.broadcast_to(noise, (count, size, size))
    label = np.broadcast_to((noise > 0.9).astype(np.uint8), (count, size, size))
    return PatchSet(
        image=image,
        label=label,
        subject=np.arange(count) * subjects // count,
        subjects=tuple(f"made-up-{number}" for number in range(subjects)),
    )
