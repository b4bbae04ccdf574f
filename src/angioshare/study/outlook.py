"""What a study would do before it does it: jobs, what each would spend for both units, and how long it will take."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from angioshare.errors import LedgerError, SettingsError
from angioshare.privacy.chain import spent
from angioshare.privacy.events import Spend
from angioshare.privacy.ledger import read_lines
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.statements import deltas_for, state
from angioshare.privacy.unit import PrivacyStatement
from angioshare.stages.planning import foreseen, plan_of, predicted
from angioshare.stages.spending import find_ledger
from angioshare.stages.train import synthesizer_of, training_size
from angioshare.study.folder import GROUPS, Study
from angioshare.study.points import Point
from angioshare.study.watch import StageTimes


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """What lies ahead.

    Attributes:
        jobs: One row a job, in order: `job`, `point`, `state` (done or missing), `noise_multiplier`, `epsilon` (of
            `patch` and `subject`; absent where nothing is charged), `statement`, `seconds` (None if unknown).
        statement: Everything that was spent on the cohort and will be, composed; None if no point is private.
        seconds: Time that all missing jobs will take side by side, or None if unknown.
    """

    jobs: list[dict[str, Any]]
    statement: PrivacyStatement | None
    seconds: float | None


def outlook(study: Study, jobs: int, rehearse: Callable[[StageTimes], None] | None = None) -> Outlook:
    """Look ahead; nothing is changed.

    Args:
        study: The study, whether its folder stands or not.
        jobs: How many jobs will go on at a time.
        rehearse: Adds to the times of finished stages, see `rehearsal`.

    Raises:
        SettingsError: A synthesizer's settings are wrong.
        PrivacyError: A plan is refused, or cannot reach its epsilon.
    """
    times = StageTimes()
    times.read(study)
    if rehearse is not None:
        rehearse(times)
    rows: list[dict[str, Any]] = []
    ahead: list[Spend] = []
    plans: dict[str, tuple[PrivacyPlan, Spend] | None] = {}
    for point in study.points:
        missing = study.missing(point)
        plan = _plan(study, point, plans)
        if plan is not None and "train" in missing:
            ahead.append(plan[1])
        for group, stages in GROUPS.items():
            if group != "prepare" or point.keeper == point.name:
                rows.append(_row(point, group, [stage for stage in stages if stage in missing], plan, times))
    needed = [(point, stage, 0.0, None) for point in study.points for stage in study.missing(point)]
    known = [found[0] for found in plans.values() if found]
    return Outlook(jobs=rows, statement=_whole(study, ahead, known), seconds=times.left(needed, jobs))


def _row(
    point: Point, group: str, missing: list[str], plan: tuple[PrivacyPlan, Spend] | None, times: StageTimes
) -> dict[str, Any]:
    own = [stage for stage in missing if group == "prepare" or stage != "prepare"]
    seconds = [second for stage in own if (second := times.expected(point, stage)) is not None]
    row: dict[str, Any] = {
        "job": f"{group}/{point.name}",
        "point": point.name,
        "title": point.source.shown,
        "seed": point.source.seed,
        "state": "missing" if own else "done",
        "seconds": sum(seconds) if len(seconds) == len(own) else None,
    }
    if plan is not None and group == "learn" and "train" in own:
        found = predicted(*plan, point.source).to_json()
        row |= {
            "noise_multiplier": plan[0].noise_multiplier,
            "epsilon": {unit: found[unit]["epsilon"] for unit in ("patch", "subject")},
            "statement": found,
        }
    return row


def _plan(
    study: Study, point: Point, known: dict[str, tuple[PrivacyPlan, Spend] | None]
) -> tuple[PrivacyPlan, Spend] | None:
    """What a point's training does to the cohort, and what will be charged; the same for all its seeds."""
    run, source = study.run_of(point), point.source
    synthesizer = synthesizer_of(run, source)  # refuses wrong settings, of every point
    if source.privacy is None:
        return None
    key = source.model_copy(update={"name": "", "seed": 0, "title": ""}).model_dump_json()
    if key not in known:
        subjects, patches = training_size(run)
        schedule, per_subject = synthesizer.schedule(), run.config.patches.per_subject
        plan = plan_of(source.privacy, schedule, patches=patches, subjects=subjects, patches_per_subject=per_subject)
        known[key] = plan, foreseen(plan, schedule)
    return known[key]


def _whole(study: Study, ahead: list[Spend], known: list[PrivacyPlan]) -> PrivacyStatement | None:
    """Everything on the cohort: what its ledger holds already, and what lies ahead; `known` are plans of all points."""
    if not known:
        return None
    deltas = deltas_for(
        (plan.delta_value for plan in known),
        patches=max(plan.patches for plan in known),
        subjects=max(plan.n_subjects for plan in known),
    )
    return state([*_earlier(study), *ahead], deltas, ("everything that was and will be made from this cohort",))


def _earlier(study: Study) -> list[Spend]:
    """What the cohort's ledger holds; nothing where there is none yet."""
    try:
        return spent(read_lines(study.ledger or find_ledger(study.cohort, study.state)))
    except (SettingsError, LedgerError):
        return []
