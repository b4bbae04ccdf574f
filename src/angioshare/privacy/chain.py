"""The lines of a ledger: hash-chained JSON, read back into what was spent (standard library alone, writes nothing).

Each line holds the SHA-256 of the one before, so that a changed, inserted or removed line shows. Kinds of line:

========  ==============================================================================================
genesis   the ledger's id, its salt, and a salted fingerprint of each subject; always the first
subjects  fingerprints of subjects that came later
reserve   `steps` of `event` may run from now on, and count as spent
settle    of reservation `of` (a line number), `unused` steps will never run
torn      the line before was cut short by a kill or a power cut; it counts as spent
========  ==============================================================================================

A torn reservation never ran, since a step waits until its line is on disk. It counts all the same, as far as it can be
read; if its event cannot be read, it counts as a copy of the reservation before it, or else of the one after it.
"""

import hashlib
import json
import re
from dataclasses import dataclass, replace
from typing import Any

from angioshare.errors import PrivacyError
from angioshare.privacy.events import Spend, event_from_json

KINDS = ("genesis", "subjects", "reserve", "settle", "torn")

_SALT = re.compile(r"(?:[0-9a-f]{2})+")


@dataclass(frozen=True)
class Line:
    """One line: its bytes without the newline, and what they say (None if they cannot be read)."""

    raw: bytes
    value: dict[str, Any] | None

    @property
    def kind(self) -> str:
        """Its kind, or `""` if it cannot be read."""
        return str(self.value.get("kind", "")) if self.value else ""

    @property
    def hash(self) -> str:
        """SHA-256 of its bytes, hex: what the next line must hold."""
        return hashlib.sha256(self.raw).hexdigest()


def parse(content: bytes) -> tuple[list[Line], bool]:
    r"""Split a ledger's bytes into lines.

    Returns:
        The lines, and whether the last one was cut short (has no newline).

    Example:
        >>> lines, cut = parse(b'{"kind": "genesis", "prev": ""}\n{"kind": "res')
        >>> [line.kind for line in lines], cut
        (['genesis', ''], True)
    """
    parts = content.split(b"\n")
    cut = parts[-1] != b""
    return [_line(part) for part in (parts if cut else parts[:-1])], cut


def encode(value: dict[str, Any], previous: Line | None) -> Line:
    """Make the line that holds `value` and follows `previous`."""
    chained = {**value, "prev": previous.hash if previous else ""}
    return Line(json.dumps(chained, separators=(",", ":")).encode(), chained)


def note(torn: Line) -> Line:
    """Make the line that acknowledges a torn one."""
    return encode({"kind": "torn"}, torn)


def begins_note(lines: list[Line]) -> bool:
    """Whether the last line is the beginning of the note that the line before it is torn."""
    if len(lines) < 2 or lines[-1].value is not None or lines[-2].value is not None:
        return False
    return note(lines[-2]).raw.startswith(lines[-1].raw)


def problems(lines: list[Line], checked: int = 0) -> list[str]:
    """What is wrong with a chain; empty if nothing is.

    A torn line is no problem if it is the last or acknowledged, or if its acknowledgement has begun.

    Args:
        lines: The whole chain.
        checked: So many of its first lines are known to be right, and are not looked at again.
    """
    found = [] if lines and lines[0].kind == "genesis" else ["line 1 is no genesis line"]
    settled = {line.value["of"] for line in lines[:checked] if line.kind == "settle" and line.value}
    for number, line in enumerate(lines[checked:], checked + 1):
        if line.value is None:
            acknowledged = number == len(lines) or lines[number].kind == "torn"
            if not acknowledged and not (number == len(lines) - 1 and begins_note(lines)):
                found.append(f"line {number} cannot be read")
            continue
        if line.value.get("prev") != (lines[number - 2].hash if number > 1 else ""):
            found.append(f"line {number} does not follow the line before it")
        if line.kind not in KINDS or (line.kind == "genesis" and number > 1):
            found.append(f"line {number} is of kind {line.kind!r}, which cannot stand there")
        if line.kind == "genesis" and not _founds(line.value):
            found.append(f"line {number} lacks or garbles the ledger's id or salt")
        if line.kind == "reserve" and _reserved(line) is None:
            found.append(f"line {number} reserves what cannot be accounted for")
        if line.kind == "settle" and not _settles(lines[: number - 1], line, settled):
            found.append(f"line {number} gives back what was not reserved")
    return found


def spent(lines: list[Line]) -> list[Spend]:
    """Everything that counts as spent, one entry a reservation, torn ones included.

    Only what is certain is given back: a settlement that does not fit its reservation is ignored.
    """
    spends: dict[int, Spend | None] = {}
    settled: set[int] = set()
    for number, line in enumerate(lines, 1):
        if line.kind == "reserve":
            spends[number] = _reserved(line)
        elif line.value is None:
            spends[number] = _torn(line.raw)
        elif line.kind == "settle" and _settles(lines[: number - 1], line, settled):
            of, whole = int(line.value["of"]), spends[int(line.value["of"])]
            if whole is not None:
                spends[of] = Spend(event=whole.event, steps=whole.steps - int(line.value["unused"]), run=whole.run)
    return _filled(list(spends.values()), [s for s in map(_reserved, lines) if s])


def _filled(spends: list[Spend | None], reserved: list[Spend]) -> list[Spend]:
    """Let what cannot be read count as the costliest reservation that can be, if there is any."""
    stand_in = max(reserved, key=lambda s: (s.steps, -s.event.noise_multiplier), default=None)
    nobodys = replace(stand_in, run="") if stand_in else None  # it never ran, and whose it was is not known
    return [spend for spend in (known or nobodys for known in spends) if spend]


def _line(raw: bytes) -> Line:
    """Read a line; one that is no object, is nested too deep, or lists subjects that are no words, cannot be read."""
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        return Line(raw, None)
    return Line(raw, value if isinstance(value, dict) and _words(value.get("subjects", [])) else None)


def _words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) for word in value)


def _founds(value: dict[str, Any]) -> bool:
    """Whether a genesis line names the ledger, and holds the salt of its fingerprints."""
    return _words([value.get("ledger"), value.get("salt")]) and bool(_SALT.fullmatch(value["salt"]))


def _reserved(line: Line) -> Spend | None:
    """What a reservation spends, or None if it is none or cannot be read."""
    if line.value is None or line.kind != "reserve":
        return None
    steps = line.value.get("steps")
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 0:
        return None
    try:
        return Spend(event=event_from_json(line.value["event"]), steps=steps, run=str(line.value.get("run", "")))
    except (KeyError, TypeError, OverflowError, PrivacyError):
        return None


def _torn(raw: bytes) -> Spend | None:
    """What a torn reservation would have spent, if it is whole up to the end of its event."""
    text = raw.decode("utf-8", "replace")
    begin = text.find('"event":{')
    if begin < 0:
        return None
    try:
        _, length = json.JSONDecoder().raw_decode(text[begin + 8 :])
        return _reserved(_line((text[: begin + 8 + length] + "}").encode()))
    except (ValueError, RecursionError):
        return None


def _settles(before: list[Line], line: Line, settled: set[int]) -> bool:
    """Whether a settlement gives back part of an earlier reservation, for the first time; if so, note it."""
    value = line.value or {}
    of, unused = value.get("of"), value.get("unused")
    if not isinstance(of, int) or not isinstance(unused, int) or not 1 <= of <= len(before) or of in settled:
        return False
    whole = _reserved(before[of - 1])
    if whole is None or not 0 <= unused <= whole.steps:
        return False
    settled.add(of)
    return True
