"""A progress bar with time left and a note, on a terminal."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars


class BarProgress:
    """`angioshare.progress.Progress` as a bar on standard error."""

    def __init__(self, console: Console | None = None) -> None:
        self._bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console or Console(stderr=True),
        )
        self._task: TaskID | None = None

    def start(self, task: str, total: int, done: int = 0) -> None:
        """See `Progress.start`."""
        self.finish()
        self._bars.start()
        self._task = self._bars.add_task(task, total=total, completed=done, note="")

    def advance(self, note: str = "", steps: int = 1) -> None:
        """See `Progress.advance`."""
        if self._task is not None:
            self._bars.update(self._task, advance=steps, note=note)

    def finish(self) -> None:
        """See `Progress.finish`."""
        if self._task is not None:
            self._bars.stop_task(self._task)
            self._bars.stop()
            self._task = None
