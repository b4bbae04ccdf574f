"""Commands `budget` and `ledger`: what a run would cost, and what was spent."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from angioshare.cli.output import answer, answer_json, state_folder, table
from angioshare.errors import CheckFailed, SettingsError
from angioshare.privacy.unit import rounded_up

Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def number(text: str | None, name: str) -> float | None:
    """Read a number or a fraction such as `32/41000`.

    Raises:
        SettingsError: It is neither.

    Example:
        >>> number("1/4", "--delta")
        0.25
    """
    if text is None:
        return None
    try:
        return float(Fraction(text))
    except (ValueError, ZeroDivisionError) as error:
        raise SettingsError(f"{name}={text!r} is no number; write for example 0.001, 1e-5 or 32/41000") from error


def budget(
    delta: Annotated[str, typer.Option(help="Chance that the bound fails, for example 1e-5.")],
    units: Annotated[int | None, typer.Option(help="Privacy units in the cohort.")] = None,
    batch: Annotated[str | None, typer.Option(help="Expected units in a step.")] = None,
    sampling_probability: Annotated[str | None, typer.Option(help="Chance q that a unit enters a step.")] = None,
    steps: Annotated[int | None, typer.Option(help="Noisy steps; planned from epsilon and noise if left out.")] = None,
    noise_multiplier: Annotated[str | None, typer.Option(help="Noise standard deviation / clip norm.")] = None,
    epsilon: Annotated[str | None, typer.Option(help="Target; the noise is planned from it.")] = None,
    records_per_subject: Annotated[int | None, typer.Option(help="Patches of one subject, for its epsilon.")] = None,
    unit: Annotated[Literal["patch", "subject"], typer.Option(help="What a unit is.")] = "patch",
    as_json: Json = False,
) -> None:
    """Calculate or plan a budget: epsilon from noise, noise from epsilon, steps from both."""
    from angioshare.privacy.planner import budget as plan

    found = plan(
        units=units,
        batch=number(batch, "--batch"),
        sampling_probability=number(sampling_probability, "--sampling-probability"),
        steps=steps,
        noise_multiplier=number(noise_multiplier, "--noise-multiplier"),
        epsilon=number(epsilon, "--epsilon"),
        delta=number(delta, "--delta"),
        records_per_subject=records_per_subject,
        unit=unit,
    )
    if as_json:
        answer_json(found)
    else:
        table([(key, _shown(value, key)) for key, value in found.items()], ("what", "value"))


def ledger(
    place: Annotated[Path, typer.Argument(help="A cohort, a run folder, or a ledger file.")],
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Verify the chain, and what this user has seen of it; exit code 1 if it is broken."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Show every spend on a cohort, with totals for both units."""
    from angioshare.privacy.planner import ledger_report
    from angioshare.privacy.registry import Registry
    from angioshare.stages.spending import find_ledger

    path = find_ledger(place, state_folder())
    report = ledger_report(path, registry=Registry(state_folder()))
    if as_json:
        answer_json(report)
    else:
        rows = [tuple(_shown(entry.get(key, "")) for key in _LEDGER_COLUMNS) for entry in report["events"]]
        table(rows, _LEDGER_COLUMNS)
        for key, value in report.items():
            if key != "events":
                answer(f"{key}: {_shown(value, key)}")
    if check and not report["chain_ok"]:
        raise CheckFailed(f"{path}: the chain is broken; restore the file from a backup, or treat the cohort as spent")


_LEDGER_COLUMNS = ("run", "unit", "steps", "sampling_probability", "noise_multiplier")


def _shown(value: Any, what: str = "") -> str:
    """A value in words; an epsilon, or both of one thing, is a bound and is rounded upwards."""
    if isinstance(value, float):
        return rounded_up(value) if "epsilon" in what else f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_shown(entry, what if 'epsilon' in what else key)}" for key, entry in value.items())
    return str(value)


COMMANDS: dict[str, Callable[..., Any]] = {"budget": budget, "ledger": ledger}
