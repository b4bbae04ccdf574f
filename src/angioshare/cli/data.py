"""Commands `simulate` and `compare`: cohorts from public knowledge, and two masks side by side."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from angioshare.cli.output import answer, answer_json, progress, table

Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder of the new BIDS cohort.")],
    subjects: Annotated[int, typer.Option(min=1, max=100_000, help="Subjects to simulate.")] = 10,
    seed: Annotated[int, typer.Option(help="Seed; the same seed gives the same cohort.")] = 0,
    site: Annotated[
        str, typer.Option(help="Parameter set of the simulated site, or a prior: each subject then has its own site.")
    ] = "site-1",
    known: Annotated[
        list[str] | None,
        typer.Option(help="parameter=value or parameter=[low, high] that narrows a prior; may be repeated."),
    ] = None,
    jobs: Annotated[int, typer.Option(min=0, max=256, help="Processes; 0 takes one for each core.")] = 0,
    as_json: Json = False,
) -> None:
    """Write a simulated BIDS cohort: volumes, vessel labels and brain masks."""
    from angioshare.stages.simulate import read_known
    from angioshare.stages.simulate import simulate as work

    narrow = read_known(known or ())
    work(out, subjects=subjects, seed=seed, site=site, workers=jobs, progress=progress(), known=narrow)
    if as_json:
        answer_json({"cohort": str(out), "subjects": subjects, "site": site, "seed": seed, "known": narrow})
    else:
        answer(str(out))


def compare(
    reference: Annotated[Path, typer.Argument(help="NIfTI mask taken as the truth.")],
    prediction: Annotated[Path, typer.Argument(help="NIfTI mask that is judged.")],
    as_json: Json = False,
) -> None:
    """Compare two masks: Dice, clDice, bAHD and AHD (voxels and mm), HD95, ASSD, volumes."""
    from angioshare.stages.compare import compare_files

    found = compare_files(reference, prediction)
    if as_json:
        answer_json(found)
    else:
        table(
            [(key, "undefined" if value is None else f"{value:.6g}") for key, value in found.items()],
            ("metric", "value"),
        )


COMMANDS: dict[str, Callable[..., Any]] = {"simulate": simulate, "compare": compare}
