"""Epsilon over the steps of a training: as its statement says at the end, as the ledger says before.

Accountant, plan and ledger are public, so nothing here reveals more than the statement. A guarantee is never taken
apart: both units are followed side by side, and the statement's sentence stands with them.
"""

import math
from collections.abc import Sequence

from angioshare.config import SourceSettings
from angioshare.errors import LedgerError, SettingsError
from angioshare.privacy.chain import spent
from angioshare.privacy.events import Spend
from angioshare.privacy.ledger import read_lines
from angioshare.privacy.statements import Deltas, state
from angioshare.privacy.unit import PrivacyStatement
from angioshare.stages.planning import plan_of
from angioshare.stages.report import statement_of
from angioshare.stages.run import Run
from angioshare.stages.spending import cohort_statement, find_ledger
from angioshare.stages.train import synthesizer_of, training_size
from angioshare.tracking.track import Series, series

PARTS = 4
"""Epsilon is calculated at so many equal parts of the steps: each takes the accountant about a second."""


def spends_of(run: Run, source: SourceSettings) -> list[Spend]:
    """What the ledger holds for a source, in order; steps that a running training has reserved are in it."""
    try:
        lines = read_lines(find_ledger(run.root, run.state))
    except (SettingsError, LedgerError):
        return []
    return [spend for spend in spent(lines) if spend.run == f"{run.id}/{source.name}"]


def statement_so_far(run: Run, source: SourceSettings, spends: Sequence[Spend]) -> PrivacyStatement | None:
    """The statement of a source: the final one if it is trained, else what was charged until now; None if nothing.

    Args:
        run: Its run.
        source: Which source.
        spends: What the ledger holds for it.
    """
    if run.finished("train", source.name):
        return statement_of(run, source)
    if source.privacy is None or not spends:
        return None
    subjects, patches = training_size(run)
    plan = plan_of(
        source.privacy,
        synthesizer_of(run, source).schedule(),
        patches=patches,
        subjects=subjects,
        patches_per_subject=run.config.patches.per_subject,
    )
    return state(spends, plan.deltas, (f"{source.shown}, as far as it is trained",), plan.relation)


def whole_cohort(run: Run) -> PrivacyStatement | None:
    """What all runs on the run's cohort spent together; None before anything was charged."""
    if not run.finished("prepare", "cohort"):
        return None
    try:
        return cohort_statement(run)
    except LedgerError:
        return None


def epsilon_series(statement: PrivacyStatement, spends: Sequence[Spend] = ()) -> list[Series]:
    """Epsilon of both units over noisy steps charged; its last number is the statement's.

    Args:
        statement: Of everything in `spends`.
        spends: What was charged, in order; empty for a single number at step 0.

    Returns:
        Both series or none: a guarantee for one unit is not shown without that for the other, so a statement has none
        unless it is private and both its numbers are finite. Its sentence says the rest.

    Example:
        >>> from angioshare.privacy.unit import public_knowledge
        >>> [(one.name, one.values) for one in epsilon_series(public_knowledge(("patches",)))]
        [('privacy/epsilon_patch', (0.0,)), ('privacy/epsilon_subject', (0.0,))]
    """
    if not statement.private or not all(math.isfinite(one.epsilon) for one in (statement.patch, statement.subject)):
        return []
    total = sum(spend.steps for spend in spends)
    steps = sorted({total * part // PARTS for part in range(1, PARTS)} - {0, total})
    deltas = Deltas(patch=statement.patch.delta, subject=statement.subject.delta)
    passed = [state(first(spends, count), deltas, statement.released, statement.patch.relation) for count in steps]
    found = [*passed, statement]
    begin = [0] if total else []
    return [
        one
        for unit in ("patch", "subject")
        for one in series(
            f"privacy/epsilon_{unit}",
            [*begin, *steps, total],
            [*(0.0 for _ in begin), *(getattr(entry, unit).epsilon for entry in found)],
        )
    ]


def first(spends: Sequence[Spend], steps: int) -> list[Spend]:
    """The spends of the first `steps` steps.

    Example:
        >>> from angioshare.privacy.events import StepEvent
        >>> event = StepEvent(unit="patch", sampling_probability=0.1, noise_multiplier=1.0)
        >>> [spend.steps for spend in first([Spend(event=event, steps=3), Spend(event=event, steps=5)], 4)]
        [3, 1]
    """
    kept = []
    for spend in spends:
        taken = min(spend.steps, steps)
        if taken:
            kept.append(Spend(event=spend.event, steps=taken, run=spend.run))
        steps -= taken
    return kept
