"""Command `recommend`: which method suits a cohort and a budget, from public numbers alone."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from angioshare.cli.output import answer, answer_json, progress, table
from angioshare.cli.privacy import number
from angioshare.cli.standing import duration
from angioshare.errors import SettingsError

if TYPE_CHECKING:
    from angioshare.stages.recommend import Advice, Row

_COLUMNS = ("method", "verdict", "epsilon, patch", "epsilon, subject", "mu N", "noise", "one core", "why")


def recommend(
    cohort: Annotated[Path, typer.Argument(help="BIDS or nnU-Net folder, or a table; its subjects are counted.")],
    epsilon: Annotated[str, typer.Option(help="The budget for one unit, for example 1.")],
    unit: Annotated[Literal["subject", "patch"], typer.Option(help="Who is to be protected.")] = "subject",
    delta: Annotated[str | None, typer.Option(help="Chance that the bound fails; by the rule if left out.")] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="key=value on top; may be repeated.")] = None,
    known: Annotated[
        list[str] | None, typer.Option(help="parameter=value of the simulator that the protocol prints; repeatable.")
    ] = None,
    public_cohort: Annotated[
        Path | None, typer.Option(help="Labelled scans that anybody may have: what is recommended beside them.")
    ] = None,
    write: Annotated[Path | None, typer.Option(help="Write the settings here, for `angioshare run --config`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Pick method and settings for a cohort and a budget, and say what to expect; nothing is spent, no scan is read."""
    from angioshare.cohort.cohort import open_cohort
    from angioshare.rundir import write_text
    from angioshare.stages.recommend import advise
    from angioshare.stages.simulate import read_known

    if public_cohort is not None:
        open_cohort(public_cohort)
    if write is not None and write.exists():
        raise SettingsError(f"--write {write} exists; choose another name, or remove it")
    budget = number(epsilon, "--epsilon")
    assert budget is not None
    found = advise(
        cohort,
        epsilon=budget,
        unit=unit,
        delta=number(delta, "--delta"),
        changes=tuple(changes or ()),
        protocol=read_known(known or ()),
        public_cohort=public_cohort is not None,
        progress=progress(),
    )
    if write is not None:
        write_text(write, found.toml)
    if as_json:
        answer_json(_json(found) | {"written": None if write is None else str(write)})
        return
    table([_cells(row) for row in found.rows], _COLUMNS)
    answer("")
    for sentence in found.expect:
        answer(sentence)
    answer("")
    answer(found.toml if write is None else f"settings: {write}")


def _cells(row: "Row") -> tuple[str, ...]:
    """One line of the table."""
    from angioshare.privacy.unit import rounded_up

    plan = row.planned
    found = (row.epsilon("patch"), row.epsilon("subject"))
    unknown = "" if row.verdict == "refused" else "not calculated"
    guarantees = [unknown if epsilon is None else rounded_up(epsilon) for epsilon in found]
    noise = ("", "") if plan is None else (f"{plan.signal:.3g}", f"{plan.noise:.2g}")
    return (row.method, row.verdict, *guarantees, *noise, duration(row.seconds), row.reason)


def _json(found: "Advice") -> dict[str, Any]:
    """The whole advice as JSON values; what is unknown is null."""
    known = found.known
    return {
        "recommended": found.rows[0].method,
        "unit": known.unit,
        "epsilon": known.epsilon,
        "delta": known.delta_value,
        "subjects": known.subjects,
        "patches": known.patches,
        "patches_per_subject": known.patches_per_subject,
        "verdicts": [_json_row(row) for row in found.rows],
        "expect": list(found.expect),
        "settings": found.config.model_dump(mode="json"),
        "toml": found.toml,
    }


def _json_row(row: "Row") -> dict[str, Any]:
    plan, statement = row.planned, row.statement
    return {
        "method": row.method,
        "verdict": row.verdict,
        "reason": row.reason,
        "epsilon": {"patch": row.epsilon("patch"), "subject": row.epsilon("subject")},
        "statement": None if statement is None else statement.to_json(),
        "unit": None if plan is None else plan.unit,
        "signal_to_noise": None if plan is None else plan.signal,
        "noise_per_number": None if plan is None else plan.noise,
        "numbers": None if plan is None else plan.source.settings.get("numbers"),
        "noise_multiplier": None if plan is None or statement is None else plan.plan.noise_multiplier,
        "steps": None if plan is None else plan.schedule.steps,
        "seconds_one_core": row.seconds,
    }


COMMANDS: dict[str, Callable[..., Any]] = {"recommend": recommend}
