"""The accountant as a calculator and planner, and the ledger as a report: plain dictionaries for the command line.

A calculator answers what it is asked, and may be asked about runs that no plan would accept; what is wrong with them is
said in `warnings` and in the verdict.
"""

from pathlib import Path
from typing import Any

from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy import chain
from angioshare.privacy.accounting import ACCOUNTANT, guarantee
from angioshare.privacy.calibration import (
    affordable_numbers,
    auto_delta,
    calibrate_noise,
    rdp_of,
    signal_to_noise,
    steps_for,
    verdict,
)
from angioshare.privacy.events import Spend, StepEvent
from angioshare.privacy.ledger import read_lines
from angioshare.privacy.registry import Registry
from angioshare.privacy.statements import deltas_for, state
from angioshare.privacy.unit import NeighbouringRelation, PrivacyUnit

_MOST_STEPS = 10_000_000


def budget(
    *,
    units: int | None = None,
    batch: float | None = None,
    sampling_probability: float | None = None,
    steps: int | None = None,
    noise_multiplier: float | None = None,
    epsilon: float | None = None,
    delta: float | None = None,
    records_per_subject: int | None = None,
    unit: PrivacyUnit = "patch",
    relation: NeighbouringRelation = "add-or-remove-one",
) -> dict[str, Any]:
    """Epsilon from noise and steps, noise from epsilon and steps, or steps from epsilon and noise.

    Args:
        units: How many units there are.
        batch: Expected units in a step; with `units` it gives the sampling probability.
        sampling_probability: Chance that a unit enters a step, in (0, 1]; give this or `batch`.
        steps: Noisy steps. Left out, they are found from `epsilon` and `noise_multiplier`.
        noise_multiplier: Left out, it is found from `epsilon` and `steps`.
        epsilon: Target, for the unit. Give exactly two of `steps`, `noise_multiplier`, `epsilon`.
        delta: Left out, `auto_delta(units)`.
        records_per_subject: Patches of one subject; asks for the subject's epsilon as well (unit patch).
        unit: What is drawn and protected.
        relation: What makes two data sets neighbours.

    Returns:
        JSON values; keys `epsilon_pld`, `epsilon_rdp`, `delta`, `noise_multiplier`, `sampling_probability`, `steps`,
        `unit`, `relation`, `subject_epsilon_pld`, `signal_to_noise`, `affordable_numbers`, `verdict`, `warnings`,
        `accountant`. An infinite epsilon is None.

    Raises:
        SettingsError: Arguments are missing, too many or out of range.
        PrivacyError: `delta` is above one over `units`, or no noise reaches the target.

    Example:
        >>> found = budget(units=41000, batch=32, steps=1281, noise_multiplier=2.0, delta=1e-6)
        >>> round(found["epsilon_pld"], 3), found["verdict"][:8]
        (0.054, 'hopeless')
    """
    q = _probability(units, batch, sampling_probability)
    delta = _delta(units, delta)
    event = StepEvent(
        unit=unit,
        sampling_probability=q,
        noise_multiplier=1.0 if noise_multiplier is None else noise_multiplier,
        patches_per_subject=records_per_subject,
        relation=relation,
    )
    event, steps = _solved(event, steps, noise_multiplier, epsilon, delta)
    spends = [Spend(event=event, steps=steps)]
    exact = guarantee(spends, delta, unit, relation).epsilon
    subject = _subject_epsilon(spends, delta, exact)
    signal = None if units is None or not 0 < exact < float("inf") else signal_to_noise(exact, delta, units)
    return {
        "epsilon_pld": _finite(exact),
        "epsilon_rdp": _finite(rdp_of(event, steps, delta)) if relation == "add-or-remove-one" else None,
        "delta": delta,
        "noise_multiplier": event.noise_multiplier,
        "sampling_probability": q,
        "steps": steps,
        "unit": unit,
        "relation": relation,
        "subject_epsilon_pld": None if subject is None else _finite(subject),
        "subject_unbounded": subject is not None and _finite(subject) is None,
        "signal_to_noise": signal,
        "affordable_numbers": None if signal is None else affordable_numbers(signal),
        "verdict": verdict(exact, delta, units, subject),
        "warnings": _warnings(units, delta, unit, records_per_subject),
        "accountant": ACCOUNTANT,
    }


def ledger_report(path: Path, delta: float | None = None, registry: Registry | None = None) -> dict[str, Any]:
    """Every spend of a ledger, its totals for both units, and whether its chain holds.

    Args:
        path: The ledger's file; it may be in use.
        delta: For either unit, where it is below one over the number of them, see `deltas_for`; None takes the rule for
            all patches that the ledger's events speak of.
        registry: The user's, which knows what was seen of the ledger; None leaves its last line unchecked.

    Returns:
        JSON values; keys `path`, `events`, `steps_charged`, `epsilon` (`patch`, `subject`; None if infinite), `delta`
        (a patch's), `chain_ok`, `problems`, `subjects`, `statement`.

    Raises:
        LedgerError: It cannot be read.
    """
    lines = read_lines(path)
    found, spends = chain.problems(lines), chain.spent(lines)
    if registry is not None and lines and not found:
        found = registry.problems(str((lines[0].value or {}).get("ledger", "")), lines)
    subjects = {digest for line in lines for digest in (line.value or {}).get("subjects", ())}
    most = max((spend.event.patches_per_subject or 1 for spend in spends), default=1)
    people = max(len(subjects), 1)
    delta = auto_delta(people * most) if delta is None else delta
    deltas = deltas_for([delta], patches=people * most, subjects=people)
    total = state(spends, deltas, ("everything that was made from this cohort",))
    return {
        "path": str(path),
        "events": [{"run": s.run, "steps": s.steps, **s.event.to_json()} for s in spends],
        "steps_charged": sum(spend.steps for spend in spends),
        "epsilon": {"patch": _finite(total.patch.epsilon), "subject": _finite(total.subject.epsilon)},
        "delta": deltas.patch,
        "chain_ok": not found,
        "problems": found,
        "subjects": len(subjects),
        "statement": total.to_json(),
    }


def _probability(units: int | None, batch: float | None, q: float | None) -> float:
    """The sampling probability, however it was given."""
    if units is not None and units < 1:
        raise SettingsError(f"units={units} must be at least 1")
    if q is not None and batch is None:
        return q
    if q is None and batch is not None and units is not None:
        return batch / units
    raise SettingsError("give either sampling_probability, or batch together with units")


def _delta(units: int | None, delta: float | None) -> float:
    """The delta that is asked about; one that would allow publishing a unit outright is refused."""
    if delta is None:
        if units is None:
            raise SettingsError("give delta, or units from which it follows")
        return auto_delta(units)
    if units is not None and delta > 1 / units * (1 + 1e-9):
        raise PrivacyError(
            f"delta={delta:.3g} is above 1 / units = {1 / units:.3g}: publishing a unit outright would pass; "
            f"take {auto_delta(units):.3g}"
        )
    return delta


def _solved(
    event: StepEvent, steps: int | None, noise: float | None, epsilon: float | None, delta: float
) -> tuple[StepEvent, int]:
    """Find the one of steps, noise and epsilon that was left out."""
    if [steps, noise, epsilon].count(None) != 1:
        raise SettingsError("give exactly two of steps, noise_multiplier and epsilon; the third is calculated")
    if steps is None:
        assert epsilon is not None
        fit = steps_for(epsilon, delta, event, _MOST_STEPS)
        if fit == 0:
            raise PrivacyError(f"not one step fits into epsilon={epsilon}; take more noise or a smaller draw")
        return event, fit
    if steps < 1:
        raise SettingsError(f"steps={steps} must be at least 1")
    return (event if epsilon is None else calibrate_noise(epsilon, delta, event, steps)), steps


def _subject_epsilon(spends: list[Spend], delta: float, exact: float) -> float | None:
    """Epsilon for a whole subject, or None if nobody asked."""
    event = spends[0].event
    if event.unit == "subject":
        return exact
    return None if event.patches_per_subject is None else guarantee(spends, delta, "subject", event.relation).epsilon


def _warnings(units: int | None, delta: float, unit: PrivacyUnit, records: int | None) -> list[str]:
    """What a plan would refuse, or a reader should know."""
    found = []
    if units is not None and delta >= 1 / units * (1 - 1e-9):
        found.append(f"delta is one over units, which no private run may have; take {auto_delta(units):.3g}")
    if unit == "patch" and records is None:
        found.append("a subject with several patches is protected less than one patch; give records_per_subject")
    return found


def _finite(number: float) -> float | None:
    return number if number < float("inf") else None
