"""An append-only file that several processes share: one at a time writes, and knows what the others wrote before.

Every write is flushed to the disk before it returns. A process that is killed while it writes frees its lock and
leaves, at worst, a torn last line for the next one to find. The lock is advisory (`flock`), so all must keep to it.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from angioshare.errors import LedgerError

PATIENCE_S = 60.0
"""How long a process waits for another one's turn, which takes milliseconds."""

_LOOK_AGAIN_S = 0.005


class Journal:
    """An open journal; make one with `Journal.open`."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle: int | None = handle
        self._size = 0
        self._depth = 0

    @classmethod
    def open(cls, path: Path, create: bool) -> Self:
        """Open the file, or begin it.

        Raises:
            LedgerError: It cannot be opened for reading and writing.
        """
        try:
            if create:
                path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_APPEND | (os.O_CREAT if create else 0), 0o600)
        except OSError as error:
            raise LedgerError(
                f"cannot open the ledger {path}: {error.strerror}; choose another place with --ledger PATH"
            ) from error
        return cls(path, handle)

    @property
    def is_open(self) -> bool:
        """Whether anything can still be written."""
        return self._handle is not None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the file alone; turns may be nested.

        Raises:
            LedgerError: Another process does not let go of it, or it was removed or exchanged for another file.
        """
        handle = self._fd()
        if self._depth == 0:
            _lock(handle, self.path)
        self._depth += 1
        try:
            if self._depth == 1:
                self._check_same_file(handle)
            yield
        finally:
            self._depth -= 1
            if self._depth == 0 and self._handle is not None:
                fcntl.flock(handle, fcntl.LOCK_UN)

    def unread(self) -> bytes:
        """What stands behind all that this process has read or written; within a turn.

        Raises:
            LedgerError: The file is shorter than it was.
        """
        handle = self._fd()
        size = os.fstat(handle).st_size
        found = b""
        while (left := size - self._size - len(found)) != 0:
            more = os.pread(handle, left, self._size + len(found)) if left > 0 else b""
            if not more:  # there is less than was read before, or than was there a moment ago
                self.close()
                raise LedgerError(f"{self.path} was cut short by somebody else while in use; stop and restore it")
            found += more
        self._size = size
        return found

    def append(self, data: bytes) -> None:
        """Write to the end and flush, within a turn; after a failure nothing more can be written.

        Raises:
            LedgerError: It could not be written.
        """
        handle, left = self._fd(), data
        try:
            while left:
                left = left[os.write(handle, left) :]
            os.fsync(handle)
        except OSError as error:
            self.close()
            raise LedgerError(f"cannot write {self.path}: {error.strerror}; free space, then start again") from error
        self._size += len(data)

    def restart(self) -> None:
        """Empty the file, within a turn."""
        os.ftruncate(self._fd(), 0)
        self._size = 0

    def close(self) -> None:
        """Let go of the file and of the lock; calling it twice is harmless."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _fd(self) -> int:
        if self._handle is None:
            raise LedgerError(f"{self.path} is closed; open it again before anything is charged")
        return self._handle

    def _check_same_file(self, handle: int) -> None:
        """Refuse to go on with a file that nobody will find at its path again."""
        try:
            there = self.path.stat()
        except OSError:
            there = None
        if there is None or not os.path.samestat(there, os.fstat(handle)):
            self.close()
            raise LedgerError(f"{self.path} was removed or exchanged while in use; restore it and start again")


def _lock(handle: int, path: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > until:
                raise LedgerError(
                    f"the ledger {path} is in use by another process for {PATIENCE_S:g} s; see whether it hangs"
                ) from error
            time.sleep(_LOOK_AGAIN_S)
        except OSError as error:
            raise LedgerError(
                f"cannot lock the ledger {path}: {error.strerror}; choose another file system with --ledger PATH"
            ) from error
        else:
            return
