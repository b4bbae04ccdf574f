"""Libraries of the extra `tracking`, loaded when needed."""

from importlib import import_module
from typing import Any

from angioshare.errors import SettingsError


def optional(module: str, what: str) -> Any:
    """Import a module of an optional library.

    Args:
        module: Its full name.
        what: What it is needed for, as the subject of a sentence.

    Raises:
        SettingsError: It is not installed.

    Example:
        >>> optional("json", "this example").loads("1")
        1
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise SettingsError(
            f"{what} need {module.partition('.')[0]} ({error}); install the extra: pip install -e '.[tracking]'"
        ) from error
