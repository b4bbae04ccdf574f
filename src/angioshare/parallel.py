"""Jobs in worker processes of one thread each, so that several cores are used better than by threads in one process.

Each job leaves its result in a file of its own, so whatever is finished stays finished: a dead worker, a kill or an
interrupt costs the jobs that were running. Workers are spawned (never forked), have no files in common, and end when
the process that started them ends. A script that asks for workers must guard its main part by
`if __name__ == "__main__":`, as for all of Python's `multiprocessing`.
"""

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

import torch

from angioshare import errors
from angioshare.errors import AngioShareError
from angioshare.heap import keep_freed_memory
from angioshare.processes import allowed_here
from angioshare.progress import Progress


class Job(Protocol):
    """A piece of work that a worker can do; it must survive being sent to another process."""

    def steps(self) -> int:
        """How much work it is, in steps."""

    def done(self) -> bool:
        """Whether its result stands already."""

    def run(self, progress: Progress) -> None:
        """Do it, and leave the result in a file; tell `progress` of `steps()` steps in all."""


class StepsOnly:
    """Passes on steps alone, for a job within a longer task."""

    def __init__(self, progress: Progress) -> None:
        """Speak to `progress`, which has been started."""
        self._progress = progress

    def start(self, task: str, total: int, done: int = 0) -> None:
        """The longer task has begun already."""

    def advance(self, note: str = "", steps: int = 1) -> None:
        """See `Progress.advance`."""
        self._progress.advance(note, steps)

    def finish(self) -> None:
        """The longer task goes on."""


class _Telling:
    """Passes steps to the parent process; ends this one if the parent is gone."""

    def __init__(self, parent: Connection) -> None:
        self._parent = parent

    def start(self, task: str, total: int, done: int = 0) -> None: ...

    def advance(self, note: str = "", steps: int = 1) -> None:
        self.tell({"steps": steps, "note": note})

    def finish(self) -> None: ...

    def tell(self, message: dict[str, int | str]) -> None:
        try:
            self._parent.send_bytes(json.dumps(message).encode())
        except OSError:
            os._exit(1)


def run_jobs(jobs: Sequence[Job], *, task: str, workers: int, progress: Progress) -> None:
    """Do all jobs that are not done, `workers` at a time.

    Args:
        jobs: What is to be done.
        task: What the progress says.
        workers: Processes of one thread each; 1 works in this process with its own number of threads, as does a job
            that itself runs in a worker, which may have none of its own.
        progress: Told of steps.

    Raises:
        AngioShareError: A job failed (its own error, where that is one of ours) or a worker died. The other running
            jobs are stopped; finished ones stay.
    """
    waiting = [job for job in jobs if not job.done()]
    total, left = sum(job.steps() for job in jobs), sum(job.steps() for job in waiting)
    progress.start(task, total, total - left)
    workers = allowed_here(workers)
    if workers <= 1 or len(waiting) <= 1:
        keep_freed_memory()
        for job in waiting:
            job.run(StepsOnly(progress))
    else:
        _in_processes(sorted(waiting, key=lambda job: job.steps(), reverse=True), workers, progress)
    progress.finish()


def _in_processes(jobs: list[Job], workers: int, progress: Progress) -> None:
    """Hand the jobs out in order, the next to whoever is free; the first failure stops all."""
    context = multiprocessing.get_context("spawn")
    queue = iter(jobs)
    running: dict[Connection, BaseProcess] = {}
    try:
        for job in islice(queue, workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True)
            process.start()
            theirs.close()
            running[ours] = process
            with suppress(OSError):  # a worker that died at once is noticed below
                ours.send(job)
        while running:
            spoke = wait(list(running))
            for ours in [connection for connection in running if connection in spoke]:
                if not _heard(ours, queue, progress):
                    _ended_well(running.pop(ours))
    finally:
        for worker in running.values():
            worker.terminate()
        for worker in running.values():
            worker.join()


def _heard(worker: Connection, queue: Iterator[Job], progress: Progress) -> bool:
    """Take one message of a worker; False when it has hung up."""
    try:
        message = json.loads(worker.recv_bytes())
        if "free" in message:
            worker.send(next(queue, None))
            return True
    except (EOFError, OSError):
        worker.close()
        return False
    if "error" in message:
        kind = getattr(errors, message["error"], AngioShareError)
        raise kind(message["text"])
    progress.advance(message["note"], message["steps"])
    return True


def _ended_well(process: BaseProcess) -> None:
    process.join()
    if process.exitcode:
        raise AngioShareError(
            f"a worker process ended with code {process.exitcode}, perhaps for want of memory; "
            "finished jobs are kept: run again, with fewer workers or a smaller batch"
        )


def _work(parent: Connection) -> None:
    """The life of a worker process: one job after the other, until there is none."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # an interrupt reaches the parent, which stops its workers
    torch.set_num_threads(1)
    keep_freed_memory()
    telling = _Telling(parent)
    try:
        while (job := _next_of(parent)) is not None:
            job.run(StepsOnly(telling))
            telling.tell({"free": 1})
    except Exception as error:
        text = str(error) if isinstance(error, AngioShareError) else f"a worker failed: {error!r}"
        telling.tell({"error": type(error).__name__, "text": text})


def _next_of(parent: Connection) -> Job | None:
    try:
        job: Job | None = parent.recv()
    except (EOFError, OSError):
        os._exit(1)  # the parent is gone
    return job
