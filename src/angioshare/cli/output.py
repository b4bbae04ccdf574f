"""How commands speak: results on standard output, everything else on standard error, control characters stripped."""

import json
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from angioshare.progress import Progress

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(text: str) -> str:
    """Drop control characters, so that no file name can drive a terminal.

    Example:
        >>> clean("a" + chr(27) + "[2Jb")
        'a[2Jb'
    """
    return _CONTROL.sub("", text)


def say(text: str) -> None:
    """Write a line to standard error."""
    sys.stderr.write(clean(text) + "\n")


def answer(text: str) -> None:
    """Write a result to standard output."""
    sys.stdout.write(clean(text) + "\n")


def answer_json(value: dict[str, Any] | list[Any]) -> None:
    """Write one JSON value to standard output; numbers that are not finite become null."""
    sys.stdout.write(json.dumps(_finite(value), indent=1) + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and value - value != 0:
        return None
    return value


def table(rows: Sequence[Sequence[str]], header: tuple[str, ...]) -> None:
    """Write a table to standard output, plain where it is no terminal."""
    if not sys.stdout.isatty():
        for row in [header, *rows]:
            answer("\t".join(row))
        return
    from rich.table import Table

    shown = Table(*header)
    for row in rows:
        shown.add_row(*(clean(cell) for cell in row))
    Console().print(shown)


def progress() -> "Progress":
    """A bar on a terminal, plain lines elsewhere; both on standard error."""
    if sys.stderr.isatty():
        from angioshare.cli.bar import BarProgress

        return BarProgress()
    from angioshare.progress import LineProgress

    return LineProgress()


def state_folder() -> Path:
    """Where AngioShare remembers a user's ledgers: the one thing that it reads from the environment."""
    from angioshare.privacy.registry import user_state_folder

    return user_state_folder(os.environ)
