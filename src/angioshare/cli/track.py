"""Command `track`: a run or study for TensorBoard or MLflow."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from angioshare.cli.output import answer, answer_json, state_folder


def track(
    place: Annotated[Path, typer.Argument(metavar="RUN_OR_STUDY", help="A run folder or a study's; may be at work.")],
    out: Annotated[Path, typer.Argument(help="Folder of what may be seen: scores, epsilon, statements.")],
    to: Annotated[Literal["tensorboard", "mlflow"], typer.Option(help="For which tool.")] = "tensorboard",
    internal: Annotated[
        Path | None,
        typer.Option(help="Folder (mode 0700) of everything, loss curves and unprotected scores included."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Export numbers to TensorBoard or MLflow: what may be seen, and apart from it what is internal."""
    from angioshare.tracking.export import export

    written = export(place, out, internal=internal, tool=to, state=state_folder())
    if as_json:
        sides = zip(("shareable", "internal"), written, strict=False)
        found = {side: {"folder": str(w.folder), "tracks": w.tracks, "numbers": w.numbers} for side, w in sides}
        answer_json({"to": to, "internal": None, **found})
        return
    for side, w in zip(("may be seen", "INTERNAL, never to be shared"), written, strict=False):
        answer(f"{w.folder}: {w.numbers} numbers of {w.tracks} sources and runs ({side})")


COMMANDS: dict[str, Callable[..., Any]] = {"track": track}
