"""The account of everything that was ever spent on a cohort: append-only, written ahead, hash-chained.

A step may run only after its line is on disk (fsync). So a kill at any moment counts too much or just right, never too
little. To keep this cheap, steps are reserved in batches; on a clean stop what was not used is given back.

Several processes may have a ledger open, trainings side by side for example. Each writes its lines in its own turn,
after reading those of the others (`journal.py`). The file says nothing about who the subjects are: it holds
fingerprints of their scans, salted anew for each ledger.
"""

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from angioshare.errors import LedgerError, SettingsError
from angioshare.privacy import chain
from angioshare.privacy.events import Spend, StepEvent
from angioshare.privacy.journal import Journal
from angioshare.privacy.registry import Registry, fingerprints
from angioshare.privacy.statements import state
from angioshare.privacy.unit import PrivacyStatement


class Ledger:
    """An open ledger, which other processes may have open too; make one with `Ledger.open`."""

    def __init__(self, journal: Journal, subjects: Mapping[str, str], registry: Registry | None) -> None:
        self.path = journal.path
        self._journal = journal
        self._subjects, self._registry = dict(subjects), registry
        self._lines: list[chain.Line] = []

    @classmethod
    def open(
        cls, path: Path, *, subjects: Mapping[str, str], registry: Registry | None = None, create: bool = True
    ) -> Self:
        """Open a cohort's ledger, or begin it.

        Args:
            path: Where it stands; see `Registry.locate`.
            subjects: Digest of what each subject's scans hold, hex, by subject id. A subset of the ledger's subjects
                is welcome, and so are newcomers beside known ones: everyone is charged for everything.
            registry: Knows the user's other ledgers; None forgoes that check (simulated cohorts, tests).
            create: Begin a new ledger if there is none.

        Raises:
            LedgerError: It is edited, damaged, of another cohort, a copy, missing while it must exist, or cannot be
                written.
            SettingsError: There are no subjects.

        Example:
            >>> import tempfile
            >>> with tempfile.TemporaryDirectory() as folder:
            ...     with Ledger.open(Path(folder) / "ledger.jsonl", subjects={"sub-1": "ab12"}) as ledger:
            ...         len(ledger.spends()), ledger.verify()
            (0, [])
        """
        if not subjects:
            raise SettingsError("a ledger needs at least one subject; give the digests of the cohort's subjects")
        ledger = cls(Journal.open(path, create), subjects, registry)
        try:
            with ledger._journal.turn():
                try:
                    ledger._load()
                except BaseException:
                    if path.exists() and path.stat().st_size == 0:
                        path.unlink()  # made by this call; a refusal leaves nothing behind
                    raise
        except BaseException:
            ledger._journal.close()
            raise
        return ledger

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Hold the ledger alone, and know all that other processes wrote; turns may be nested.

        What is looked up and what is reserved within one turn belong together: nobody spends in between.

        Raises:
            LedgerError: The ledger was changed by somebody who does not keep to its rules, or is never let go of.
        """
        with self._journal.turn():
            self._catch_up()
            yield

    @property
    def is_open(self) -> bool:
        """Whether anything can still be charged or given back."""
        return self._journal.is_open

    @property
    def id(self) -> str:
        """The ledger's id, drawn at random when it was begun."""
        return str((self._lines[0].value or {})["ledger"])

    def reserve(self, event: StepEvent, run: str, steps: int) -> int:
        """Count `steps` of `event` as spent, before any of them runs.

        Args:
            event: What one step does.
            run: Which run will do it.
            steps: How many, >= 1.

        Returns:
            The number of the reservation, for `settle`.

        Raises:
            LedgerError: It could not be written to disk; then no step may run.

        Guarantees:
            When this returns, the reservation has been flushed to the disk.
        """
        if steps < 1:
            raise SettingsError(f"steps={steps} must be at least 1 to be reserved")
        time = datetime.now(UTC).isoformat(timespec="seconds")
        with self.turn():
            # What it costs stands first, so that a torn line can mostly still be read.
            self._append({"kind": "reserve", "steps": steps, "event": event.to_json(), "run": run, "time": time})
            return len(self._lines)

    def settle(self, reservation: int, unused: int) -> None:
        """Give back the steps of a reservation that will never run.

        Args:
            reservation: What `reserve` returned.
            unused: How many of its steps did not run and never will, >= 0.

        Raises:
            LedgerError: That is more than was reserved, or it was settled before.
        """
        line = {"kind": "settle", "of": reservation, "unused": unused}
        with self.turn():
            if chain.problems([*self._lines, chain.encode(line, self._lines[-1])], len(self._lines)):
                raise LedgerError(f"reservation {reservation} cannot give back {unused} steps; nothing was changed")
            if unused:
                self._append(line)

    def spends(self) -> list[Spend]:
        """Everything that counts as spent on the cohort, by whichever process, one entry a reservation.

        A closed ledger tells what it knew last.
        """
        if self._journal.is_open:
            with self.turn():
                return chain.spent(self._lines)
        return chain.spent(self._lines)

    def spent_by(self, run: str) -> list[Spend]:
        """What one run spent, lost steps of killed attempts included."""
        return [spend for spend in self.spends() if spend.run == run]

    def totals(self, delta: float) -> PrivacyStatement:
        """The statement over all runs on the cohort, at `delta` for either unit."""
        return state(self.spends(), delta, ("everything that was made from this cohort",))

    def verify(self) -> list[str]:
        """What is wrong with the chain on disk; empty if nothing is."""
        lines, _ = chain.parse(_content(self.path))
        return chain.problems(lines) + (
            [] if lines[: len(self._lines)] == self._lines else ["the file on disk is not the one that was read before"]
        )

    def close(self) -> None:
        """Let go of the ledger; calling it twice is harmless."""
        if not self._journal.is_open:
            return
        try:
            if self._registry is not None:
                with self.turn():
                    self._registry.record(self.path, self.id, self._lines, self._subjects)
        finally:
            self._journal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _load(self) -> None:
        """Read the file, begin it if it is empty, and refuse what must not be gone on with."""
        self._lines, cut = chain.parse(self._journal.unread())
        if cut and len(self._lines) == 1 and self._lines[0].kind != "genesis":
            # Killed while it was begun: nothing can have been reserved, since a reservation needs a whole first line.
            self._journal.restart()
            self._lines, cut = [], False
        if not self._lines:
            self._check_registry("")
            self._begin()
        if found := chain.problems(self._lines):
            raise LedgerError(f"{self.path}: {found[0]} ({len(found)} problems): it was edited or damaged; restore it")
        self._check_registry(self.id)
        self._mend(cut)
        self._check_subjects()
        if self._registry is not None:
            self._registry.record(self.path, self.id, self._lines, self._subjects)

    def _catch_up(self) -> None:
        """Read what other processes wrote, and refuse it if it does not follow what was there."""
        with self._whole_or_closed():
            lines, cut = chain.parse(self._journal.unread())
            if not lines:
                return
            # A torn line that was the last one may be acknowledged by these, so the last known one is looked at again.
            if found := chain.problems([*self._lines, *lines], len(self._lines) - 1):
                raise LedgerError(
                    f"{self.path} was changed by somebody else while in use: {found[0]}; stop and restore it"
                )
            self._lines += lines
            self._mend(cut)

    def _mend(self, cut: bool) -> None:
        """End a last line that was cut short by a kill, and note that it was if it cannot be read.

        Both are one write, and a kill within it leaves what is gone on with here: a line that ends and cannot be read,
        or the beginning of the note. Before the note such a line counts as spent, and after it as well.

        Raises:
            LedgerError: Somebody ended the beginning of a note, which no kill does.
        """
        last = self._lines[-1]
        if last.value is not None:
            if cut:
                self._journal.append(b"\n")
            return
        if chain.begins_note(self._lines):
            if not cut:
                raise LedgerError(f"{self.path}: line {len(self._lines)} was edited or damaged; restore it")
            note = chain.note(self._lines[-2])
            with self._whole_or_closed():
                self._journal.append(note.raw[len(last.raw) :] + b"\n")
                self._lines[-1] = note
            return
        note = chain.note(last)
        with self._whole_or_closed():
            self._journal.append((b"\n" if cut else b"") + note.raw + b"\n")
            self._lines.append(note)

    def _check_registry(self, ledger: str) -> None:
        if self._registry is not None:
            self._registry.check(self.path, ledger, self._lines, self._subjects)

    def _begin(self) -> None:
        """Write the first line."""
        salt = secrets.token_hex(16)
        line = {"kind": "genesis", "version": 1, "ledger": secrets.token_hex(8), "salt": salt}
        self._append({**line, "subjects": fingerprints(bytes.fromhex(salt), self._subjects)})
        _sync_folder(self.path.parent)

    def _check_subjects(self) -> None:
        """Refuse another cohort; take in newcomers of this one."""
        genesis = self._lines[0].value or {}
        known = {digest for line in self._lines for digest in (line.value or {}).get("subjects", ())}
        mine = fingerprints(bytes.fromhex(genesis["salt"]), self._subjects)
        if not known & set(mine):
            raise LedgerError(
                f"{self.path} is the ledger of another cohort: none of its {len(known)} subjects is among these "
                f"{len(mine)}; give this cohort its own with --ledger PATH"
            )
        if added := sorted(set(mine) - known):
            self._append({"kind": "subjects", "subjects": added})

    def _append(self, value: dict[str, Any]) -> None:
        """Chain a line to the last one and flush it to the disk."""
        line = chain.encode(value, self._lines[-1] if self._lines else None)
        with self._whole_or_closed():
            self._journal.append(line.raw + b"\n")
            self._lines.append(line)

    @contextmanager
    def _whole_or_closed(self) -> Iterator[None]:
        """Close the ledger if an interrupt parts what is on disk from what is known of it.

        A line that followed one which is not known would break the chain for ever. What stands on disk counts.
        """
        try:
            yield
        except BaseException:
            self._journal.close()
            raise


def read_lines(path: Path) -> list[chain.Line]:
    """Read a ledger's lines without holding it (a report beside a running process).

    Raises:
        LedgerError: There is no such file.
    """
    return chain.parse(_content(path))[0]


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise LedgerError(
            f"cannot read the ledger {path}: {error.strerror}; bring it back to this place, or begin a run with the "
            "place where it stands: `angioshare run --ledger PATH`"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Make a new file's name durable too."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
