"""Files that are never half-written, and folders that two processes never share.

Writes go to a temporary name beside the target and are renamed over it, so that a kill or a full disk leaves the old
file. Whatever is private is written with mode 0600.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from angioshare.errors import BusyError, DataError
from angioshare.types import Json

_PATIENCE_S = 1.0

_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")
"""Names that `atomic_path` gives."""


@contextmanager
def atomic_path(path: Path, *, private: bool = False) -> Iterator[Path]:
    """Give a temporary path; on success it is flushed to disk and renamed to `path`, else removed.

    Args:
        path: Where the file is to stand. Its folder is made if need be.
        private: The file is for its owner's eyes alone (mode 0600).

    Raises:
        DataError: The folder cannot be written, or the disk is full. The old file, if any, still stands.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(mode=0o600)  # before anything is in it, so that nobody else can read what is written
        yield temporary
        temporary.chmod(0o600 if private else 0o644)
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        raise DataError(
            f"cannot write {path}: {error.strerror or error}; free space or choose a folder that you may write"
        ) from error
    finally:
        with suppress(OSError):  # its folder may be no folder; that error was told above
            temporary.unlink()


def sweep(folder: Path) -> None:
    """Remove what killed writers left under temporary names below a folder; only while nobody writes there."""
    for path in folder.rglob(".*.tmp"):
        if _TEMPORARY.fullmatch(path.name):
            with suppress(OSError):
                path.unlink()


def write_text(path: Path, text: str, *, private: bool = False) -> None:
    """Write a text file atomically (see `atomic_path`)."""
    with atomic_path(path, private=private) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Json, *, private: bool = False) -> None:
    """Write a JSON object atomically (see `atomic_path`)."""
    write_text(path, json.dumps(value, indent=1, sort_keys=True) + "\n", private=private)


def read_json(path: Path) -> Json:
    """Read a JSON object.

    Raises:
        DataError: The file is missing or holds no JSON object.
    """
    value = _loaded(path)
    if not isinstance(value, dict):
        raise DataError(f"{path} holds a {type(value).__name__}, not a JSON object; bring back the file that was")
    return value


def read_rows(path: Path, step: str) -> list[Json]:
    """Read a JSON list of rows: objects of the same keys, `step` with a number, the others with a number or null.

    Raises:
        DataError: The file is missing or holds no such list.
    """
    rows = _loaded(path)
    if not (
        isinstance(rows, list)
        and all(isinstance(row, dict) and row.keys() == rows[0].keys() for row in rows)
        and all(isinstance(row.get(step), int | float) for row in rows)
        and all(isinstance(value, int | float | None) for row in rows for value in row.values())
    ):
        raise DataError(f"{path} holds no rows of numbers by {step!r}; bring back the file that was, or delete it")
    return rows


def _loaded(path: Path) -> Any:
    """Read JSON of any kind."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError as error:
        raise DataError(f"cannot read {path}: it is nested too deep; bring back the file that was") from error
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {error}; bring back the file that was") from error


@contextmanager
def locked(path: Path, patience_s: float = _PATIENCE_S) -> Iterator[None]:
    """Hold an exclusive lock on `path` (made if need be) while the block runs; a dead owner's lock is free.

    Args:
        path: What is locked.
        patience_s: How long another holder is waited for, in seconds.

    Raises:
        BusyError: Another process holds it.
        DataError: The folder cannot be written, or knows no locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}; choose a folder that you may write") from error
    try:
        _hold(handle, path, monotonic() + patience_s)
        yield
    finally:
        os.close(handle)


def _hold(handle: int, path: Path, until: float) -> None:
    """Take the lock; wait a moment at least for a child that a killed owner had just forked and that still holds it."""
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if monotonic() > until:
                raise BusyError(f"{path.parent} is in use by another process; wait for it or stop it") from error
            sleep(0.05)
        except OSError as error:
            raise DataError(
                f"cannot lock {path}: {error.strerror}; choose a folder on a disk that has locks"
            ) from error
