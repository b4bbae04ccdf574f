"""Write the two sides for a tracking tool: what may be seen, and only where it is asked for what is internal."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from angioshare.errors import DataError, SettingsError
from angioshare.tracking import mlflow_store, tensorboard
from angioshare.tracking.gather import sides_of
from angioshare.tracking.track import Track

Tool: TypeAlias = Literal["tensorboard", "mlflow"]

WRITERS: dict[Tool, Callable[..., None]] = {
    "tensorboard": tensorboard.write_events,
    "mlflow": mlflow_store.write_database,
}
"""How each tool is written for: title, tracks, folder, private."""

FILES = (tensorboard.FILE, mlflow_store.FILE)
"""Names that an export gives."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """What stands in a folder now.

    Attributes:
        folder: The folder.
        tracks: How many sources and runs.
        numbers: How many numbers.
    """

    folder: Path
    tracks: int
    numbers: int


def export(
    place: Path, out: Path, *, internal: Path | None = None, tool: Tool = "tensorboard", state: Path
) -> list[Written]:
    """Write what a tracking tool shows of a run or study; earlier exports to the same folders are replaced.

    Args:
        place: Run folder or study's folder; may be at work.
        out: Folder of what may be seen.
        internal: Folder (mode 0700) of everything, unprotected numbers included; None leaves them out.
        tool: For which tool.
        state: The user's state folder.

    Returns:
        What may be seen, then what is internal, if it was asked for.

    Raises:
        SettingsError: The folders are not apart, `out` holds files of an internal export, `place` is no run or study,
            or the tool's library is missing.
        DataError: A folder cannot be written.
        PrivacyError: What was left after the filter still held something unprotected.

    Guarantees:
        No unprotected number, time or path is written to `out`, or was by an internal export before.
    """
    _refuse_internal(out)
    if internal is not None:
        _refuse_together(place, out, internal)
    sides = sides_of(place, state=state)
    write = WRITERS[tool]
    write(sides.title, sides.shareable, out, private=False)
    written = [_written(out, sides.shareable)]
    if internal is not None:
        _make_private(internal)
        write(sides.title, sides.internal, internal, private=True)
        written.append(_written(internal, sides.internal))
    return written


def _written(folder: Path, tracks: tuple[Track, ...]) -> Written:
    return Written(folder=folder, tracks=len(tracks), numbers=sum(len(s.steps) for t in tracks for s in t.series))


def _refuse_together(place: Path, out: Path, internal: Path) -> None:
    """Refuse an internal folder that would be handed on with what may be seen."""
    mine = internal.resolve()
    for other in (out.resolve(), *(run / "public" for run in (place.resolve(), *place.resolve().glob("points/*")))):
        if mine == other or mine.is_relative_to(other) or other.is_relative_to(mine):
            raise SettingsError(f"--internal {internal} and {other} hold one another; keep what is internal apart")


def _refuse_internal(out: Path) -> None:
    """Refuse to show a folder that an internal export wrote to: its files would be seen beside the new ones."""
    for name in FILES:
        for file in out.rglob(name):
            if not file.stat().st_mode & 0o077:
                raise SettingsError(
                    f"{out} holds {file.relative_to(out)} of an internal export (mode 0600); delete the folder, or "
                    "choose another for what may be seen"
                )


def _make_private(folder: Path) -> None:
    """Make the folder for its owner alone; one that is others' to read and holds something is not ours to close."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.stat().st_mode & 0o077:
            if any(folder.iterdir()):
                raise SettingsError(f"--internal {folder} is open to others and not empty; choose a new folder")
            folder.chmod(0o700)
    except OSError as error:
        raise DataError(f"cannot make {folder}: {error.strerror}; choose a folder that you may write") from error
