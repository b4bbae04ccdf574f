"""How long work tells where it stands: a protocol, a silent twin, plain lines, and a bar on a terminal.

Work calls `start`, then `advance` after each step with a note (for example the epsilon spent so far), then `finish`.
"""

import sys
import time
from typing import Protocol, TextIO


class Progress(Protocol):
    """Told by long work where it stands."""

    def start(self, task: str, total: int, done: int = 0) -> None:
        """A task of `total` steps begins, `done` of them finished earlier (after a resume)."""

    def advance(self, note: str = "", steps: int = 1) -> None:
        """`steps` more are finished; `note` says what else a reader wants to know."""

    def finish(self) -> None:
        """The task is over."""


class SilentProgress:
    """Says nothing."""

    def start(self, task: str, total: int, done: int = 0) -> None:
        """See `Progress.start`."""

    def advance(self, note: str = "", steps: int = 1) -> None:
        """See `Progress.advance`."""

    def finish(self) -> None:
        """See `Progress.finish`."""


class Weighted:
    """Tells another progress of steps each of which takes as long as several of the other's.

    Example:
        >>> told = LineProgress(sys.stdout)
        >>> Weighted(told, 12).start("simulate", 4)
        simulate: 0/48
    """

    def __init__(self, progress: Progress, weight: int) -> None:
        """Speak to `progress`; `weight` of its steps, >= 1, are one of these."""
        self._progress, self._weight = progress, weight

    def start(self, task: str, total: int, done: int = 0) -> None:
        """See `Progress.start`."""
        self._progress.start(task, total * self._weight, done * self._weight)

    def advance(self, note: str = "", steps: int = 1) -> None:
        """See `Progress.advance`."""
        self._progress.advance(note, steps * self._weight)

    def finish(self) -> None:
        """See `Progress.finish`."""
        self._progress.finish()


class LineProgress:
    """Writes a plain line at the start, at most every `every_s` seconds, and at the end (for logs and pipes)."""

    def __init__(self, out: TextIO | None = None, every_s: float = 15.0) -> None:
        self._out = out if out is not None else sys.stderr
        self._every_s = every_s
        self._task, self._total, self._done, self._first = "", 0, 0, 0
        self._began = self._told = time.monotonic()

    def start(self, task: str, total: int, done: int = 0) -> None:
        """See `Progress.start`."""
        self._task, self._total, self._done, self._first = task, total, done, done
        self._began = self._told = time.monotonic()
        print(f"{task}: {done}/{total}", file=self._out, flush=True)

    def advance(self, note: str = "", steps: int = 1) -> None:
        """See `Progress.advance`."""
        self._done += steps
        now = time.monotonic()
        if now - self._told >= self._every_s:
            self._told = now
            print(
                f"{self._task}: {self._done}/{self._total}, {self.left()} {note}".rstrip(), file=self._out, flush=True
            )

    def left(self) -> str:
        """Time left at the speed so far, in words."""
        moved = self._done - self._first
        if moved <= 0:
            return "time left unknown"
        seconds = (time.monotonic() - self._began) / moved * max(self._total - self._done, 0)
        return f"{seconds / 60:.0f} min left" if seconds >= 90 else f"{seconds:.0f} s left"

    def finish(self) -> None:
        """See `Progress.finish`."""
        took = time.monotonic() - self._began
        told = f"done in {took:.1f} s"
        if self._done < self._total:
            told = f"ended at {self._done}/{self._total} after {took:.1f} s"
        print(f"{self._task}: {told}", file=self._out, flush=True)
