"""Why a method stands where it stands, and what to expect of the first, in sentences."""

import math
from collections.abc import Sequence

from angioshare.config import Config
from angioshare.privacy.unit import delta_words, rounded_up
from angioshare.protocols import EVERY_UNIT
from angioshare.stages.recommend.known import Known
from angioshare.stages.recommend.plans import BASE, Planned
from angioshare.stages.recommend.rows import Row
from angioshare.stages.recommend.rules import Verdict, rule_of, told

_ROOM = 1.002
"""So much more signal than arithmetic asks for: the noise that is calibrated for a release is a little larger."""

_NOBODY = 20.0
"""An epsilon beyond which a statement protects nobody."""


def reason(one: Planned, verdict: Verdict, *, public_cohort: bool = False) -> str:
    """Say why a method stands where it stands."""
    rule = rule_of(one.source.synthesizer)
    bound = rule.good if verdict == "good" else rule.hopeless
    side = {"good": "works up to", "weak": "fades towards", "hopeless": "does not pay from"}[verdict]
    basis = rule.basis or "by arithmetic, not measured"
    by_subject = " It protects the whole subject, and so its patches." if one.unit != one.known.unit else ""
    beside = " Beside a public cohort it was not seen to earn its epsilon." if public_cohort and not rule.beside else ""
    found = f"mu N = {one.signal:.3g}, noise {one.noise:.2g}; it {side} {bound:.2g} ({basis}). {rule.why}"
    return f"{found}{by_subject}{beside}"


def expect(rows: Sequence[Row], known: Known, config: Config, *, public_cohort: bool = False) -> tuple[str, ...]:
    """What to expect of the first method, and what would change the order."""
    first, found = rows[0], []
    if first.statement is not None and first.planned is not None:
        found.append(
            f"{first.method} would give epsilon {rounded_up(first.statement.patch.epsilon)} for one patch and "
            f"{rounded_up(first.statement.subject.epsilon)} for one subject, at delta {delta_words(first.statement)}."
        )
        if first.statement.subject.epsilon > _NOBODY:
            found.append(
                "That protects no person: a subject has many patches, and patches that overlap share what they show."
            )
    if first.method == BASE and first.planned is not None:
        found.append(
            f"The release tells about {told(first.planned.signal):.0%} of what tells one site from another; the rest "
            "stays as wide as the prior. What the simulator cannot draw, no release can teach it."
        )
    elif first.verdict == "public" and public_cohort:
        found.append("With this budget nothing was seen to beat what a public cohort gives for nothing: keep it.")
    elif first.verdict == "public":
        found.append(
            "What this budget buys drowns in its noise. The simulator gives as much for no epsilon: keep the budget."
        )
    elif first.planned is not None:
        found.append("Whether it beats the simulator alone, the run will show: both are in the settings.")
    if not any(source.settings.get("known") for source in config.sources):
        found.append(
            "What your protocol prints is public and narrows the simulator, above all the voxel's size: "
            "--known acquisition.voxel_i_mm=MM --known acquisition.voxel_k_mm=MM."
        )
    found += _cures(rows, known, public_cohort)
    found.append(
        "Earlier runs on the cohort add to this: see `angioshare ledger`. Test and validation are not covered."
    )
    return tuple(found)


def _cures(rows: Sequence[Row], known: Known, public_cohort: bool) -> list[str]:
    """What would help the method that needs the least more, where noise is what the first place lacks."""
    short = [
        row
        for row in rows
        if row.planned is not None
        and row.verdict in ("weak", "hopeless")
        and (rule_of(row.method).beside if public_cohort else rule_of(row.method).earned)
    ]
    if rows[0].verdict == "good" or not short:
        return []
    row = min(short, key=lambda row: _lacking(row, known))
    one, rule = row.planned, rule_of(row.method)
    assert one is not None
    limit, word = (rule.hopeless, "would begin to pay") if row.verdict == "hopeless" else (rule.good, "would work well")
    needed = _ROOM * math.sqrt(one.schedule.steps) / limit
    epsilon, subjects = known.epsilon_for(needed, one.unit), known.subjects_for(needed, one.unit)
    ways = [f"from epsilon {rounded_up(epsilon)} per {known.unit} on"] if math.isfinite(epsilon) else []
    ways += [f"from {subjects} training subjects on"] if subjects is not None else []
    if not ways:
        return []
    soonest = "" if one.schedule.units == EVERY_UNIT else " at the earliest"  # sampling leaves a little more noise
    return [
        f"{row.method} {word}{soonest} {', or '.join(ways)} ({rule.basis}). "
        f"A larger delta, still far below 1 / {known.units}, helps as well."
    ]


def _lacking(row: Row, known: Known) -> float:
    """How many times as strong the signal would have to be for a method to work well."""
    one = row.planned
    assert one is not None
    return math.sqrt(one.schedule.steps) / (rule_of(row.method).good * one.signal)
