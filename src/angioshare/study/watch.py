"""Where a whole study stands, read from small files in its folder, so that jobs may run anywhere.

Time left rests on what finished stages took: an unfinished stage is expected to take the mean of its kind (stage,
synthesizer, private or not), else of its stage; a running one of unknown kind tells by its own pace.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, TypeAlias

from angioshare.errors import DataError
from angioshare.rundir import read_json
from angioshare.study.folder import LEARN, Study
from angioshare.study.points import Point

REHEARSED = ("train", "segment")
"""Stages that can be rehearsed; beside their estimates, the short other ones count as nothing."""

Kind: TypeAlias = tuple[str, str, bool]
"""Stage, synthesizer, private."""


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a study stands.

    Attributes:
        done: Finished stages of all points; running ones count by their part.
        total: All of them.
        running: Point, stage and part done of each running job.
        seconds_left: Time left, or None if nothing is known yet.
    """

    done: float
    total: int
    running: tuple[str, ...]
    seconds_left: float | None


@dataclass
class StageTimes:
    """What finished stages took, in seconds, and what a rehearsal expects of those of which none was finished."""

    of: dict[Kind, list[float]] = field(default_factory=lambda: defaultdict(list))
    rehearsed: dict[tuple[str, str], float] = field(default_factory=dict)
    _read: set[tuple[str, str]] = field(default_factory=set)

    def read(self, study: Study) -> None:
        """Take in stages that were finished since the last time."""
        for point in study.points:
            run = study.run_of(point)
            for stage in study.stages_of(point):
                if (point.name, stage) in self._read or run.missing(stage):
                    continue
                self._read.add((point.name, stage))
                times = [one.value for one in run.records() if (one.stage, one.metric) == (stage, "wall_time")]
                seconds = sum(value for value in times if value is not None)
                self.of[(stage, point.source.synthesizer, point.private)].append(seconds)

    def expected(self, point: Point, stage: str) -> float | None:
        """Seconds that a stage of a point will take, or None if no such stage was finished yet."""
        kind = (stage, point.source.synthesizer, point.private)
        if self.of.get(kind):
            return fmean(self.of[kind])
        if (point.name, stage) in self.rehearsed:
            return self.rehearsed[point.name, stage]
        alike = [second for (known, _, _), seconds in self.of.items() if known == stage for second in seconds]
        if alike:
            return fmean(alike)
        return 0.0 if self.rehearsed and stage not in REHEARSED else None

    def left(self, needed: Iterable[tuple[Point, str, float, float | None]], jobs: int) -> float | None:
        """Time left of stages side by side; trainings with a budget have no neighbour of their kind.

        Args:
            needed: Point, stage, part done in [0, 1], and seconds it will take by its own pace, if known.
            jobs: How many go on at a time.
        """
        total = alone = 0.0
        for point, stage, part, pace in needed:
            expected = self.expected(point, stage)
            whole = pace if expected is None else expected
            if whole is None:
                return None
            total += whole * (1 - part)
            if point.in_turn and stage in LEARN:
                alone += whole * (1 - part)
        return max(total / jobs, alone)


def standing(study: Study, times: StageTimes, jobs: int) -> Standing:
    """Look where everything stands now.

    Args:
        study: The study.
        times: What finished stages took; taken in further.
        jobs: How many jobs go on at a time.
    """
    times.read(study)
    done, total = 0.0, 0
    running, needed = [], []
    for point in study.points:
        missing = study.missing(point)
        total += len(study.stages_of(point))
        done += len(study.stages_of(point)) - len(missing)
        told = _told(study, point) if missing else {}
        for stage in missing:
            part, pace = _part(told) if told.get("stage") == stage else (0.0, None)
            done += part
            needed.append((point, stage, part, pace))
        if told:
            part, _ = _part(told)
            words = f"{point.name} {told['stage']} {part:.0%}" if told["stage"] else f"{point.name} {told['note']}"
            running.append(words)
    return Standing(done=done, total=total, running=tuple(running), seconds_left=times.left(needed, max(jobs, 1)))


def _told(study: Study, point: Point) -> dict[str, Any]:
    """What a point's job said last, if there is one."""
    try:
        return read_json(study.work / "progress" / f"{point.name}.json")
    except DataError:
        return {}


def _part(told: dict[str, Any]) -> tuple[float, float | None]:
    """The part of a stage that is done, and how long the whole will take at that pace."""
    part = min(told["done"] / told["total"], 1.0) if told["total"] else 0.0
    seconds = told["time"] - told["began"]
    return part, seconds / part if part > 0.01 and seconds > 0 else None
