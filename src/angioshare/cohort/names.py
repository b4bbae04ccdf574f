"""Names that come from folders and tables, checked before a path is built from them or a person reads them.

Imports nothing but the standard library, so that settings may use it without waiting for an image library.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from angioshare.errors import DataError

_ID = re.compile(r"(?:sub-)?([A-Za-z0-9]{1,64})")
_SITE = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_LONGEST = 200


def printable(text: object) -> str:
    """Make a name safe to show: control characters become `?`, and very long ones are cut.

    A file name may hold terminal commands; a message must not carry them out.

    Example:
        >>> printable("sub-" + chr(27) + "[2J")
        'sub-?[2J'
    """
    shown = "".join(letter if letter.isprintable() else "?" for letter in str(text)[: _LONGEST + 1])
    return shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "..."


def listed(names: Iterable[object], most: int = 5) -> str:
    """Name the first few of many, safe to show.

    Example:
        >>> listed(["a", "b", "c"], most=2)
        'a, b and 1 more'
    """
    shown = [printable(name) for name in names]
    rest = len(shown) - most
    return ", ".join(shown[:most]) + (f" and {rest} more" if rest > 0 else "")


def subject_id(text: str, where: object) -> str:
    """Check a subject's name and return it with its BIDS prefix.

    Args:
        text: The name as found, with or without `sub-`.
        where: What holds it, for the message.

    Returns:
        `sub-` and one to 64 letters or digits.

    Raises:
        DataError: It holds anything but ASCII letters and digits, such as `..` or `/`.

    Example:
        >>> subject_id("A001", "participants.tsv")
        'sub-A001'
    """
    match = _ID.fullmatch(text)
    if match is None:
        raise DataError(
            f"{printable(where)}: subject {printable(text)!r} must be 'sub-' and 1 to 64 letters or digits; rename it"
        )
    return f"sub-{match[1]}"


def site_name(text: str, where: object) -> str:
    """Check the name of a site; `n/a` and blank mean that there is none.

    Raises:
        DataError: It holds more than letters, digits, spaces, dots, underscores and hyphens.

    Example:
        >>> site_name("3T scanner-2", "participants.tsv"), site_name("n/a", "participants.tsv")
        ('3T scanner-2', '')
    """
    text = text.strip()
    if text in ("", "n/a"):
        return ""
    if _SITE.fullmatch(text) is None:
        raise DataError(
            f"{printable(where)}: site {printable(text)!r} must be 1 to 64 letters, digits, spaces, '.', '_' or '-', "
            "the first a letter or digit; rename it"
        )
    return text


def refuse_duplicates(ids: Iterable[str], where: object) -> None:
    """Refuse a list that names a subject twice: it could stand on both sides of a split.

    Raises:
        DataError: A subject is named more than once.
    """
    seen: set[str] = set()
    twice: list[str] = []
    for name in ids:
        if name in seen:
            twice.append(name)
        seen.add(name)
    if twice:
        raise DataError(f"{printable(where)} names {listed(twice)} more than once; keep one entry for each subject")


def inside(root: Path, path: Path) -> Path:
    """Check that a file stands within a cohort's folder, after all links are followed.

    Args:
        root: The cohort's folder.
        path: The file, beneath it by name.

    Returns:
        `path` as it was given.

    Raises:
        DataError: It is missing, no regular file, or a link that leads out of `root`.
    """
    try:
        real = path.resolve(strict=True)
        home = root.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{printable(path)} is missing or a broken link; restore it or drop its subject") from error
    if not real.is_relative_to(home):
        raise DataError(f"{printable(path)} leads out of the cohort {printable(root)}; put the file itself there")
    if not real.is_file():
        raise DataError(f"{printable(path)} is no regular file; put a NIfTI file there")
    return path
