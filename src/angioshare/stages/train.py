"""Stage 2: real patches -> trained synthesizers, each with its privacy statement, charged to the cohort's ledger."""

from typing import Any

from torch import nn

from angioshare.cohort.cohort import open_cohort
from angioshare.cohort.split import make_split
from angioshare.config import PrivacySettings, SourceSettings
from angioshare.errors import SettingsError
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store, read_manifest
from angioshare.privacy.calibration import auto_delta, calibrate_noise
from angioshare.privacy.engine import PrivateEngine
from angioshare.privacy.events import StepEvent
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.statements import state
from angioshare.privacy.unit import PrivacyStatement, public_knowledge, without_privacy
from angioshare.progress import Progress
from angioshare.protocols import Context, CriticEngine, EngineFactory, Schedule, Synthesizer
from angioshare.records import Record
from angioshare.rundir import write_json
from angioshare.stages.lanes import side_by_side
from angioshare.stages.run import Run
from angioshare.stages.spending import open_ledger
from angioshare.synthesis.registry import build


def train(run: Run, progress: Progress) -> None:
    """Train every source that is not trained yet.

    Private sources are trained one after the other in one process, since a ledger has one holder; the others beside.
    """
    run.require("prepare")
    private = [source for source in run.config.sources if source.privacy]
    others = [source for source in run.config.sources if not source.privacy]
    side_by_side(run, "train", [private, others], _train, _steps, progress)


def _steps(run: Run, source: SourceSettings) -> int:
    return synthesizer_of(run, source).work()


def synthesizer_of(run: Run, source: SourceSettings) -> Synthesizer:
    """Build the synthesizer of a source."""
    context = Context(
        patches=run.config.patches,
        unit=source.privacy.unit if source.privacy else "patch",
        provenance="dp" if source.privacy else "unprotected",
    )
    return build(source.synthesizer, source.settings, context)


def plan_of(
    privacy: PrivacySettings, schedule: Schedule, *, patches: int, subjects: int, patches_per_subject: int
) -> PrivacyPlan:
    """Say what a training will do to a cohort of that size, before it does it.

    Args:
        privacy: Its settings.
        schedule: What the synthesizer says of itself.
        patches: Training patches.
        subjects: Training subjects.
        patches_per_subject: The most that one subject may hold, a public number.

    Raises:
        SettingsError: The synthesizer takes no private step, so a privacy setting would promise what does not happen.

    Example:
        >>> schedule = Schedule(steps=1281 * 5, units=32)
        >>> plan = plan_of(PrivacySettings(noise_multiplier=0.65), schedule, patches=41000, subjects=41,
        ...                patches_per_subject=1000)
        >>> plan.expected_units, plan.steps
        (32.0, 6405)
    """
    if schedule.steps == 0:
        raise SettingsError(
            "privacy is set for a synthesizer that has no private step; leave privacy out of this source"
        )
    units = patches if privacy.unit == "patch" else subjects
    delta = privacy.delta or auto_delta(units)
    event = StepEvent(
        unit=privacy.unit,
        sampling_probability=min(1.0, schedule.units / units),
        noise_multiplier=privacy.noise_multiplier or 1.0,
        patches_per_subject=patches_per_subject,
    )
    if privacy.epsilon is not None:
        event = calibrate_noise(privacy.epsilon, delta, event, schedule.steps)
    return PrivacyPlan(
        unit=privacy.unit,
        n_units=units,
        n_subjects=subjects,
        patches_per_subject=patches_per_subject,
        sampling_probability=event.sampling_probability,
        noise_multiplier=event.noise_multiplier,
        clip_norm=privacy.clip_norm,
        steps=schedule.steps,
        delta=delta,
        epsilon_budget=privacy.budget,
    )


def outlook_of_source(run: Run, name: str) -> dict[str, Any]:
    """What training a source would spend; the size of the cohort is read from the store, or taken from the settings."""
    source = next(source for source in run.config.sources if source.name == name)
    if source.privacy is None:
        return {"spends": "nothing"}
    schedule = synthesizer_of(run, source).schedule()
    statement = _plan(run, source.privacy, schedule).predicted((f"synthetic pairs of {source.shown}",))
    found = statement.to_json()
    return {
        "spends": f"epsilon {statement.patch.epsilon:.4g} per patch, {statement.subject.epsilon:.4g} per subject",
        "epsilon": {unit: found[unit]["epsilon"] for unit in ("patch", "subject")},
        "statement": found,
    }


def _plan(run: Run, privacy: PrivacySettings, schedule: Schedule) -> PrivacyPlan:
    per_subject = run.config.patches.per_subject
    subjects, patches = training_size(run)
    return plan_of(privacy, schedule, patches=patches, subjects=subjects, patches_per_subject=per_subject)


def training_size(run: Run) -> tuple[int, int]:
    """Training subjects and their patches; before `prepare` as the settings foresee it."""
    if run.finished("prepare", "cohort"):
        manifest = read_manifest(run.private / "patches")
        return len(manifest["subjects"]), manifest["count"]
    subjects = len(make_split(open_cohort(run.cohort).ids, run.config.split).train)
    return subjects, subjects * run.config.patches.per_subject


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
        factory = _engine_factory(plan, ledger, name)
        synthesizer.fit(patches, factory, seed=source.seed, folder=run.source(source.name), progress=progress)
        # From the ledger, not from the plan: what a killed attempt spent counts too.
        return state(ledger.spent_by(name), plan.delta_value, (f"synthetic pairs of {source.shown}",), plan.relation)


def _engine_factory(plan: PrivacyPlan, ledger: Ledger, name: str) -> EngineFactory:
    def factory(critic: nn.Module, synthetic: int, steps_done: int) -> CriticEngine:
        return PrivateEngine(
            plan=plan,
            critic=critic,
            synthetic_rows=synthetic,
            ledger=ledger,
            run=name,
            steps=plan.steps - steps_done,
        )

    return factory


def _unprotected_or_public(source: SourceSettings) -> PrivacyStatement:
    released = (f"pairs of {source.shown}",)
    return public_knowledge(released) if source.synthesizer == "simulator" else without_privacy(released)
