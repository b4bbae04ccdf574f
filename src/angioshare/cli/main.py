"""Entry point: one command per stage beside the tools; errors become one line and an exit code."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from threading import current_thread, main_thread
from typing import Annotated, Any

import typer

from angioshare import __version__
from angioshare.cli import data, fidelity, privacy, recommend, runs, settings, study, track
from angioshare.cli.output import answer, say
from angioshare.errors import AngioShareError

app = typer.Typer(
    name="angioshare",
    help="Turn labelled brain angiograms into synthetic pairs with a differential privacy guarantee that is true.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class _Terminated(KeyboardInterrupt):
    """A request to end (SIGTERM), as job managers and `kill` send it."""


@contextmanager
def _stopped_cleanly() -> Iterator[None]:
    """Let a request to end stop a command as an interrupt does: what it started is stopped too."""
    if current_thread() is not main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise _Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """Turn the errors of a command into one line and an exit code."""

    @wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            with _stopped_cleanly():
                command(*args, **kwargs)
        except AngioShareError as error:
            say(f"angioshare: {error}")
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt as stop:
            say("angioshare: interrupted; the same command goes on where it stopped")
            raise typer.Exit(143 if isinstance(stop, _Terminated) else 130) from stop

    return run


for module in (runs, recommend, data, fidelity, privacy, settings, study, track):
    for name, function in module.COMMANDS.items():
        app.command(name)(_guarded(function))
settings.config_app.command("show")(_guarded(settings.show))
app.add_typer(settings.config_app, name="config")


def _version(wanted: bool) -> None:
    if wanted:
        answer(f"angioshare {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Turn labelled brain angiograms into synthetic pairs with a differential privacy guarantee that is true."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: Words after the program's name; those of the process if None.

    Returns:
        The exit code: 0 done, 1 a check said no, 2 usage or settings, 3 input data, 4 refused for privacy,
        130 interrupted, 143 asked to end (SIGTERM).
    """
    try:
        app(args=arguments)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    return 0
