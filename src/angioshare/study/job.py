"""One job of a study, as Snakemake calls it: some stages of one point, with progress and failure left in small files.

A controller may have been killed while its jobs live on, here or on a cluster. So a job first waits for whoever works
in its run folder, and jobs with a budget wait for each other; then it does what is still missing, perhaps nothing.
"""

import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from angioshare.errors import AngioShareError, BusyError, SettingsError
from angioshare.progress import Progress
from angioshare.records import Record
from angioshare.rundir import read_json, write_json
from angioshare.stages.folder import open_run
from angioshare.stages.inputs import INPUTS
from angioshare.stages.pipeline import STAGE_FUNCTIONS
from angioshare.stages.prepare import drop_unfinished
from angioshare.stages.run import Run
from angioshare.stages.spending import SCANS
from angioshare.study.folder import GROUPS, point_folder

WAIT_S = 2.0
"""How often a waiting job looks whether it may begin."""

EVERY_S = 2.0
"""How often a job says where it stands."""


class FileProgress:
    """Writes where a job stands to a small file that the controller reads, and passes it on to the job's log."""

    def __init__(self, path: Path, log: Progress) -> None:
        self._path, self._log = path, log
        self._stage = ""
        self._began = self._told = 0.0
        self._done = self._total = 0

    def enter(self, stage: str) -> None:
        """A stage begins."""
        self._stage, self._began, self._done, self._total = stage, time.time(), 0, 0
        self.tell("")

    def start(self, task: str, total: int, done: int = 0) -> None:
        """See `Progress.start`."""
        self._done, self._total = done, total
        self._log.start(task, total, done)
        self.tell(task)

    def advance(self, note: str = "", steps: int = 1) -> None:
        """See `Progress.advance`."""
        self._done += steps
        self._log.advance(note, steps)
        if time.time() - self._told >= EVERY_S:
            self.tell(note)

    def finish(self) -> None:
        """See `Progress.finish`."""
        self._log.finish()

    def tell_unless_told(self, note: str) -> None:
        """Write the file if no other job of the point says where it stands."""
        if not self._path.exists():
            self.tell(note)

    def tell(self, note: str) -> None:
        """Write the file now."""
        self._told = time.time()
        place = {"pid": os.getpid(), "host": os.uname().nodename}
        state = {"stage": self._stage, "done": self._done, "total": self._total, "note": note}
        write_json(self._path, {**state, **place, "began": self._began, "time": self._told}, private=True)


def run_job(root: Path, group: str, name: str, *, state: Path, log: Progress) -> None:
    """Do the stages of a group for one point; what is finished is kept.

    Args:
        root: The study's folder.
        group: A name of `folder.GROUPS`.
        name: The point.
        state: The user's state folder.
        log: Told where it stands.

    Raises:
        SettingsError: There is no such study, group or point.
        AngioShareError: A stage failed; its error is left for the controller too.
    """
    points = read_json(root / "study.json")["points"]
    if name not in points or group not in GROUPS:
        raise SettingsError(
            f"{root} has no job {group}/{name}; jobs are {', '.join(GROUPS)} of the points in study.json"
        )
    run = open_run(point_folder(root, name), state=state)
    keeper = open_run(point_folder(root, points[name]["keeper"]), state=state)
    progress = FileProgress(root / "work" / "progress" / f"{name}.json", log)
    failure = root / "work" / "failed" / f"{name}.json"
    failure.unlink(missing_ok=True)
    try:
        with ExitStack() as held:
            _wait(lambda: held.enter_context(run.alone()), progress)
            if group == "learn" and points[name]["in_turn"]:
                _wait(lambda: held.enter_context(_private_turn(root)), progress)
            if keeper.root != run.root:
                run.once("prepare", "cohort", lambda: _take_over(keeper, run))
            for stage in GROUPS[group]:
                if run.missing(stage):
                    progress.enter(stage)
                    STAGE_FUNCTIONS[stage](run, progress)
    except AngioShareError as error:
        write_json(failure, {"error": type(error).__name__, "text": str(error), "job": group}, private=True)
        raise
    finally:
        (root / "work" / "progress" / f"{name}.json").unlink(missing_ok=True)


def _wait(enter: Callable[[], object], progress: FileProgress) -> None:
    """Enter as soon as nobody else is inside."""
    while True:
        try:
            enter()
        except BusyError:
            progress.tell_unless_told("waits for a job of an earlier start")
            time.sleep(WAIT_S)
        else:
            return


@contextmanager
def _private_turn(root: Path) -> Iterator[None]:
    """Hold the place of the one training of this study that may draw on the budget."""
    handle = os.open(root / "work" / "private.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError("another training of this study draws on the budget; wait for it") from error
        yield
    finally:
        os.close(handle)


def _take_over(keeper: Run, run: Run) -> list[Record]:
    """Share the split, what was noted of scans and labels, and the cut patches of another point of that seed.

    Patches are linked, not copied, so that points cost no disk and each folder can be deleted alone.
    """
    keeper.require("prepare")
    drop_unfinished(run)
    for name in ("split.json", SCANS, INPUTS):
        if (keeper.private / name).exists():  # earlier versions noted no inputs
            write_json(run.private / name, read_json(keeper.private / name), private=True)
    for source, target in ((keeper.private / "patches", run.private / "patches"),
                           (keeper.public_patches, run.public_patches)):  # fmt: skip
        if source is not None and target is not None:
            part = target.with_name(f".{target.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(source, part, copy_function=_link)
            part.rename(target)
    cost = ("wall_time", "peak_memory")
    return [record for record in keeper.records() if record.stage == "prepare" and record.metric not in cost]


def _link(source: str, target: str) -> str:
    """Link a file, or copy it where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
