"""How `study` shows where a whole study stands: a bar on a terminal, plain lines elsewhere; both on standard error."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from angioshare.cli.output import clean, say

if TYPE_CHECKING:
    from angioshare.study.watch import Standing

EVERY_S = 15.0
"""How often a line is written, where there is no terminal."""

SHOWN = 4
"""Running jobs that are named."""


class Display(Protocol):
    """Told where a study stands."""

    def tell(self, now: "Standing") -> None:
        """Show it."""


def duration(seconds: float | None) -> str:
    """Seconds in words.

    Example:
        >>> duration(None), duration(40), duration(600), duration(10_000)
        ('unknown', '40 s', '10 min', '2.8 h')
    """
    if seconds is None:
        return "unknown"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def words(now: "Standing") -> str:
    """Time left, and what is running."""
    left = f"{duration(now.seconds_left)} left" if now.seconds_left is not None else "time left unknown"
    more = len(now.running) - SHOWN
    running = ", ".join(now.running[:SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{left}; {running}" if running else left


class Lines:
    """A plain line when something moved and a while has passed."""

    def __init__(self) -> None:
        self._told, self._last = -EVERY_S, ""

    def tell(self, now: "Standing") -> None:
        """See `Display`."""
        line = f"study: {now.done:.1f} of {now.total} stages, {words(now)}"
        if line != self._last and time.monotonic() - self._told >= EVERY_S:
            self._told, self._last = time.monotonic(), line
            say(line)


@contextmanager
def display() -> Iterator[Display]:
    """Give the display that suits standard error."""
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    class Bar:
        def tell(self, now: "Standing") -> None:
            part = f"{now.done:.1f}/{now.total} stages"
            bars.update(task, completed=now.done, total=now.total, part=part, words=clean(words(now)))

    columns = (TextColumn("study"), BarColumn(), TextColumn("{task.fields[part]}"), TimeElapsedColumn())
    with Bars(*columns, TextColumn("{task.fields[words]}", markup=False), console=Console(stderr=True)) as bars:
        task = bars.add_task("study", total=None, part="", words="")
        yield Bar()
