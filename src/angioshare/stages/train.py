"""Stage 2: real patches -> trained synthesizers, each with its privacy statement, charged to the cohort's ledger."""

import math
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from angioshare.cohort.cohort import open_cohort
from angioshare.cohort.split import make_split
from angioshare.config import PrivacySettings, SourceSettings
from angioshare.errors import LedgerError
from angioshare.heap import keep_freed_memory
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store, read_manifest
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.statements import Deltas, state
from angioshare.privacy.unit import (
    PrivacyStatement,
    public_knowledge,
    rounded_up,
    statement_from_json,
    without_privacy,
)
from angioshare.progress import Progress, SilentProgress
from angioshare.protocols import Context, Schedule, Synthesizer
from angioshare.records import Record
from angioshare.rundir import read_json, write_json
from angioshare.stages.engines import Engines
from angioshare.stages.lanes import Named, side_by_side
from angioshare.stages.planning import foreseen, plan_of, predicted
from angioshare.stages.run import Run
from angioshare.stages.spending import open_ledger, spent_by
from angioshare.synthesis.registry import PUBLIC, TRAINED_TOGETHER, build, learns_from_public, shows_public
from angioshare.team import Team, apart, join

ROUNDING = 1e-6
"""By which share epsilons of one ledger may differ: processors sum in different orders."""


def train(run: Run, progress: Progress) -> None:
    """Train every source that is not trained yet.

    Private sources are trained one after the other in one process, so that a budget goes to the first; the others
    beside, the longest first, by whoever is free.
    """
    run.require("prepare")
    if (team := join()).size > 1:
        _train_together(run, team, progress)
        return
    private = [source for source in run.config.sources if source.privacy]
    others = [source for source in run.config.sources if not source.privacy]
    others.sort(key=lambda source: -_steps(run, source))
    side_by_side(run, "train", [private, *([source] for source in others)], _train, _steps, progress)


def _train_together(run: Run, team: Team, progress: Progress) -> None:
    """Train source by source with all processes of `torchrun`; the leader writes, and trains alone what is not shared.

    Where a source is not trained by critic steps, the others wait for the next one.
    """
    todo = team.told_by_leader(
        np.array([not run.finished("train", source.name) for source in run.config.sources]) if team.leads else None
    )
    sources = [source for source, left in zip(run.config.sources, todo, strict=True) if left]
    keep_freed_memory()
    if team.leads:
        progress.start("train", sum(_steps(run, source) for source in sources))
    for source in sources:
        together = source.synthesizer in TRAINED_TOGETHER
        if team.leads:
            with nullcontext() if together else apart():
                run.once("train", source.name, partial(_train, run, source, Named(source.name, progress)))
        elif together:
            _follow(run, source)
    if team.leads:
        progress.finish()


def _follow(run: Run, source: SourceSettings) -> None:
    """Take part in a training that another process leads: no ledger, no files."""
    synthesizer, patches = synthesizer_of(run, source), open_store(run.private / "patches")
    engines = None
    if source.privacy is not None:
        plan = _plan(run, source.privacy, synthesizer.schedule())
        engines = Engines(plan, None, f"{run.id}/{source.name}", _present(plan, patches))
    synthesizer.fit(patches, engines, seed=source.seed, folder=run.source(source.name), progress=SilentProgress())


def _steps(run: Run, source: SourceSettings) -> int:
    return synthesizer_of(run, source).work()


def synthesizer_of(run: Run, source: SourceSettings, *, public: bool = True) -> Synthesizer:
    """Build the synthesizer of a source; without the public cohort where its patches are not cut yet."""
    context = Context(
        patches=run.config.patches,
        unit=source.privacy.unit if source.privacy else "patch",
        provenance="dp" if source.privacy else "unprotected",
        device=Team().device(run.config.device),
        public=run.public_patches if public else None,
    )
    return build(source.synthesizer, source.settings, context)


def outlook_of_source(run: Run, name: str) -> dict[str, Any]:
    """What training a source would spend; the size of the cohort is read from the store, or taken from the settings."""
    source = next(source for source in run.config.sources if source.name == name)
    if source.privacy is None:
        return {"spends": "nothing"}
    schedule = synthesizer_of(run, source).schedule()
    plan = _plan(run, source.privacy, schedule)
    statement = predicted(plan, foreseen(plan, schedule), source)
    found = statement.to_json()
    return {
        "spends": f"epsilon {rounded_up(statement.patch.epsilon)} per patch, "
        f"{rounded_up(statement.subject.epsilon)} per subject",
        "epsilon": {unit: found[unit]["epsilon"] for unit in ("patch", "subject")},
        "statement": found,
    }


def _plan(run: Run, privacy: PrivacySettings, schedule: Schedule) -> PrivacyPlan:
    per_subject = run.config.patches.per_subject
    subjects, patches = training_size(run)
    return plan_of(privacy, schedule, patches=patches, subjects=subjects, patches_per_subject=per_subject)


def training_size(run: Run) -> tuple[int, int]:
    """Training subjects, and how many patches they have at most: public numbers.

    How many they have in truth may follow from their labels (`patches.allow_fewer`), and no delta, draw or divisor may.
    """
    if run.finished("prepare", "cohort"):
        subjects = len(read_manifest(run.private / "patches")["subjects"])
    else:
        subjects = len(make_split(open_cohort(run.cohort).ids, run.config.split).train)
    return subjects, subjects * run.config.patches.per_subject


def _present(plan: PrivacyPlan, patches: PatchSet) -> int:
    """How many of the plan's units are there: private where the unit is a patch."""
    return len(patches) if plan.unit == "patch" else plan.n_units


def _train(run: Run, source: SourceSettings, progress: Progress) -> list[Record]:
    patches = open_store(run.private / "patches")
    synthesizer = synthesizer_of(run, source)
    folder = run.source(source.name)
    folder.mkdir(parents=True, exist_ok=True)
    if source.privacy is None:
        synthesizer.fit(patches, None, seed=source.seed, folder=folder, progress=progress)
        statement = _unprotected_or_public(source)
    else:
        statement = _train_privately(run, source, synthesizer, patches, progress)
    if run.public_cohort and learns_from_public(source.synthesizer):
        statement = _beside_public(statement, source)
    write_json(folder / "statement.json", statement.to_json(), private=True)
    return [
        Record(
            stage="train",
            metric=f"epsilon_{guarantee.unit}",
            value=guarantee.epsilon,
            trained_on=source.name,
            synthesizer=source.synthesizer,
            seed=source.seed,
            provenance="public",
        )
        for guarantee in (statement.patch, statement.subject)
    ]


def _train_privately(
    run: Run, source: SourceSettings, synthesizer: Synthesizer, patches: PatchSet, progress: Progress
) -> PrivacyStatement:
    assert source.privacy is not None
    plan = _plan(run, source.privacy, synthesizer.schedule())
    name = f"{run.id}/{source.name}"
    with open_ledger(run) as ledger:
        factory = Engines(plan, ledger, name, _present(plan, patches))
        synthesizer.fit(patches, factory, seed=source.seed, folder=run.source(source.name), progress=progress)
        # From the ledger, not from the plan: what a killed attempt spent counts too.
        spent = ledger.spent_by(name)
        if not spent:
            raise LedgerError(
                f"{run.source(source.name)} holds a training that {ledger.path} was never charged for, so no epsilon "
                "can be stated; bring back the ledger that was, or begin anew in another folder"
            )
        return state(spent, plan.deltas, (f"synthetic pairs of {source.shown}",), plan.relation)


def rehearse(run: Run, source: SourceSettings, made_up: PatchSet, *, folder: Path, progress: Progress) -> None:
    """Train a source as `train` would, on made-up patches in another folder, under a ledger that stands there too.

    Args:
        run: The run; neither its folder nor its cohort's ledger is touched.
        source: The source.
        made_up: As many patches and subjects as the training will have, none of them real.
        folder: Where everything stands that this leaves.
        progress: Told of steps; it may end the training by an exception.
    """
    synthesizer = synthesizer_of(run, source, public=False)
    if source.privacy is None:
        synthesizer.fit(made_up, None, seed=source.seed, folder=folder, progress=progress)
        return
    plan = _plan(run, source.privacy, synthesizer.schedule())
    with Ledger.open(folder / "ledger.jsonl", subjects=dict.fromkeys(made_up.subjects, "")) as ledger:
        engines = Engines(plan, ledger, "rehearsal", _present(plan, made_up))
        synthesizer.fit(made_up, engines, seed=source.seed, folder=folder, progress=progress)


def check_statement(run: Run, source: SourceSettings) -> None:
    """See that a source's statement says what its ledger holds, neither less nor more, before it is handed out.

    Raises:
        LedgerError: The statement was edited, or the ledger was edited or rolled back.
    """
    path = run.source(source.name) / "statement.json"
    said = statement_from_json(read_json(path), path)
    if source.privacy is None:
        held = _unprotected_or_public(source)
    else:
        deltas = Deltas(patch=said.patch.delta, subject=said.subject.delta)
        held = state(spent_by(run, source.name), deltas, said.released, said.patch.relation)
    if run.public_cohort and learns_from_public(source.synthesizer):
        held = _beside_public(held, source)
    if (said.not_covered, said.caveats) != (held.not_covered, held.caveats):
        raise LedgerError(f"{path} names other things that are not covered than it did; bring it back")
    subjects, patches = training_size(run)
    for unit, units in (("patch", patches), ("subject", subjects)):
        one, other = getattr(said, unit), getattr(held, unit)
        if one.delta >= 1 / units:
            raise LedgerError(f"{path} states a delta of {one.delta:.3g}, not below one over {units}; bring it back")
        if one.delta != other.delta or not math.isclose(one.epsilon, other.epsilon, rel_tol=ROUNDING):
            raise LedgerError(
                f"{path} states epsilon {one.epsilon:.6g} at delta {one.delta:.3g} for one {unit}, and the ledger "
                f"{other.epsilon:.6g} at {other.delta:.3g}; bring back whichever was changed, or begin anew in another "
                "folder"
            )


def _beside_public(statement: PrivacyStatement, source: SourceSettings) -> PrivacyStatement:
    """Say of something that a public cohort has taught, too, that it does not protect those people."""
    uncovered = [words for words in statement.not_covered if words != "nothing"]
    shown = ", whose scans are among the pairs" if shows_public(source.synthesizer, source.settings) else ""
    return replace(statement, not_covered=(*uncovered, f"people of the public cohort{shown}"))


def _unprotected_or_public(source: SourceSettings) -> PrivacyStatement:
    released = (f"pairs of {source.shown}",)
    return public_knowledge(released) if source.synthesizer in PUBLIC else without_privacy(released)
