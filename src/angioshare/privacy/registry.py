"""Which ledgers a user has, and where a cohort's ledger stands.

A ledger belongs to people, not to a folder. So that a copied, renamed or cut-down cohort does not start at zero again,
each ledger is entered here with keyed fingerprints of its subjects and with the last line that was seen of it.

One JSON file in the user's state folder, mode 0600; fingerprints are keyed with a secret of that file, so that nobody
who finds it alone can tell whether a given scan is in it.
"""

import fcntl
import hashlib
import hmac
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from angioshare.errors import AngioShareError, LedgerError
from angioshare.privacy.chain import Line
from angioshare.rundir import read_json, write_json

BESIDE = Path("derivatives") / "angioshare" / "ledger.jsonl"
"""Where a ledger stands in a cohort's folder that can be written."""


def user_state_folder(environment: Mapping[str, str]) -> Path:
    """The folder of what AngioShare remembers for a user: `$XDG_STATE_HOME/angioshare` or `~/.local/state/angioshare`.

    Example:
        >>> user_state_folder({"XDG_STATE_HOME": "/state"}).as_posix()
        '/state/angioshare'
    """
    base = environment.get("XDG_STATE_HOME") or str(
        Path(environment.get("HOME", "~")).expanduser() / ".local" / "state"
    )
    return Path(base) / "angioshare"


def fingerprints(key: bytes, subjects: Mapping[str, str]) -> list[str]:
    """Keyed fingerprints of subjects, sorted; names do not enter, so that renaming changes nothing.

    Args:
        key: Secret of whoever keeps them.
        subjects: Digest of what each subject's scans hold, hex, by subject id.
    """
    return sorted({hmac.new(key, digest.encode(), hashlib.sha256).hexdigest()[:32] for digest in subjects.values()})


def writable(folder: Path) -> bool:
    """Whether files may be made below `folder`: its mode must say so, even where a superuser could write anyway."""
    standing = folder
    while not standing.exists():
        standing = standing.parent
    may = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH
    return standing.is_dir() and bool(standing.stat().st_mode & may) and os.access(standing, os.W_OK)


_CHANGED = "was seen before, and is gone or changed: the ledger was edited or replaced by an older copy"


class Registry:
    """The ledgers that a user has.

    Args:
        folder: The user's state folder; see `user_state_folder`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "registry.json"

    def locate(self, cohort: Path, subjects: Mapping[str, str], override: Path | None = None) -> Path:
        """Where the ledger of a cohort stands.

        Args:
            cohort: The cohort's folder (or the table that lists it).
            subjects: Content digest of each subject, hex, by id.
            override: Where the user says that it stands.

        Returns:
            `override`; else beside the cohort; else, if that cannot be written, in the state folder, under a name that
            follows from who the subjects are.
        """
        if override is not None:
            return override
        root = cohort if cohort.is_dir() else cohort.parent
        beside = root / BESIDE
        if beside.exists() or (writable(root) and writable(beside.parent)):
            return beside
        with self._locked() as content:
            name = hashlib.sha256("".join(fingerprints(_key(content), subjects)).encode()).hexdigest()[:16]
        return self.folder / "ledgers" / f"{name}.jsonl"

    def check(self, path: Path, ledger: str, lines: list[Line], subjects: Mapping[str, str]) -> None:
        """Refuse a ledger that would forget what is known to be spent.

        Args:
            path: Where it stands.
            ledger: Its id.
            lines: Its lines.
            subjects: Content digest of each subject, hex, by id.

        Raises:
            LedgerError: A known ledger holds some of these subjects and is another one, or this one is a copy, or lines
                that were seen earlier are gone.
        """
        with self._locked() as content:
            mine = set(fingerprints(_key(content), subjects))
            for known in content["ledgers"]:
                if known["ledger"] == ledger:
                    _check_same(path, lines, known)
                elif shared := len(mine & set(known["subjects"])):
                    there = Path(known["path"]).exists() and Path(known["path"]).stat().st_size > 0
                    state = "" if there else f", which is missing (restore it; it is remembered in {self.path})"
                    raise LedgerError(
                        f"{shared} of {len(mine)} subjects already have a ledger, {known['path']}{state}: charging "
                        f"{path} too would split what was spent; go on with --ledger {known['path']}"
                    )

    def problems(self, ledger: str, lines: list[Line]) -> list[str]:
        """What is wrong with a ledger by what was seen of it: a chain does not tell that its last line was edited.

        Args:
            ledger: Its id.
            lines: Its lines.

        Returns:
            Empty if nothing is, or if the ledger is not known here.
        """
        if not self.path.exists():
            return []
        with self._locked() as content:
            known = next((entry for entry in content["ledgers"] if entry["ledger"] == ledger), None)
        return [] if known is None or _holds(lines, known) else [f"line {known['lines']} {_CHANGED}"]

    def record(self, path: Path, ledger: str, lines: list[Line], subjects: Mapping[str, str]) -> None:
        """Remember a ledger, its subjects and its last line."""
        with self._locked() as content:
            mine = fingerprints(_key(content), subjects)
            known = next((entry for entry in content["ledgers"] if entry["ledger"] == ledger), None)
            if known is None:
                known = {"ledger": ledger, "subjects": []}
                content["ledgers"].append(known)
            known["subjects"] = sorted({*known["subjects"], *mine})
            known.update(path=str(path.resolve()), lines=len(lines), head=lines[-1].hash)
            write_json(self.path, content, private=True)

    @contextmanager
    def _locked(self) -> Iterator[dict[str, Any]]:
        """Give the registry's content (a new one has a fresh key) while no other process has it."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self.folder / "registry.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise LedgerError(
                f"cannot write {self.folder}: {error.strerror}; set XDG_STATE_HOME to a folder that you may write"
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            if not self.path.exists():
                write_json(self.path, {"key": secrets.token_hex(32), "ledgers": []}, private=True)
            yield _read(self.path)
        finally:
            os.close(handle)


def _read(path: Path) -> dict[str, Any]:
    """Read the registry, or say that it is damaged."""
    try:
        content = read_json(path)
        _key(content)
        entries: Iterable[dict[str, Any]] = content["ledgers"]
        for entry in entries:
            _ = entry["ledger"], entry["path"], entry["subjects"], entry["lines"], entry["head"]
    except (AngioShareError, KeyError, TypeError, ValueError) as error:
        raise LedgerError(
            f"{path} is damaged ({error}); restore it: it knows which ledgers must not be forgotten"
        ) from error
    return content


def _key(content: dict[str, Any]) -> bytes:
    return bytes.fromhex(content["key"])


def _check_same(path: Path, lines: list[Line], known: dict[str, Any]) -> None:
    """Refuse a copy, and a ledger from which lines that were seen are gone."""
    elsewhere = Path(known["path"])
    if elsewhere.exists() and not (path.exists() and elsewhere.samefile(path)):
        raise LedgerError(
            f"{path} is a copy of the ledger {elsewhere}: charging both would split what was spent; "
            f"go on with --ledger {elsewhere}, or delete that one if this is its successor"
        )
    if not _holds(lines, known):
        raise LedgerError(f"{path}: line {known['lines']} {_CHANGED}; restore the newest one")


def _holds(lines: list[Line], known: dict[str, Any]) -> bool:
    """Whether the last line that was seen stands where it stood."""
    seen = known["lines"]
    return len(lines) >= seen and bool(lines[seen - 1].hash == known["head"])
