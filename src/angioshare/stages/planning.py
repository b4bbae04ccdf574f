"""What a training will do to a cohort, and what it will cost, before it does it. No scan and no run folder is read."""

import math
from dataclasses import replace

from angioshare.config import PrivacySettings, SourceSettings
from angioshare.errors import SettingsError
from angioshare.privacy.calibration import auto_delta, calibrate_noise
from angioshare.privacy.events import Spend, StepEvent
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.statements import state
from angioshare.privacy.unit import PrivacyStatement
from angioshare.protocols import Schedule


def plan_of(
    privacy: PrivacySettings, schedule: Schedule, *, patches: int, subjects: int, patches_per_subject: int
) -> PrivacyPlan:
    """Say what a training will do to a cohort of that size, before it does it.

    Args:
        privacy: Its settings.
        schedule: What the synthesizer says of itself.
        patches: Training patches, at most; a public number.
        subjects: Training subjects.
        patches_per_subject: The most that one subject may hold, a public number.

    Raises:
        SettingsError: See `check_fits`.

    Example:
        >>> schedule = Schedule(steps=1281 * 5, units=32)
        >>> plan = plan_of(PrivacySettings(noise_multiplier=0.65), schedule, patches=41000, subjects=41,
        ...                patches_per_subject=1000)
        >>> plan.expected_units, plan.steps
        (32.0, 6405)
    """
    check_fits(privacy, schedule)
    units = patches if privacy.unit == "patch" else subjects
    delta = privacy.delta or auto_delta(units)
    event = StepEvent(
        unit=privacy.unit,
        sampling_probability=min(1.0, schedule.units / units),
        noise_multiplier=privacy.noise_multiplier or 1.0,
        patches_per_subject=patches_per_subject,
    )
    if privacy.epsilon is not None:
        event = _calibrated(privacy.epsilon, delta, event, schedule.steps)
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
        keeps_target=privacy.epsilon is not None or privacy.keeps_plan,
    )


def check_fits(privacy: PrivacySettings, schedule: Schedule) -> None:
    """Refuse privacy settings that a synthesizer cannot keep.

    Raises:
        SettingsError: It takes no private step, so that they would promise what does not happen; or it bounds units
            itself, so that a clip norm would cut what it takes for whole.
    """
    if schedule.steps == 0:
        raise SettingsError(
            "privacy is set for a synthesizer that has no private step; leave privacy out of this source"
        )
    if schedule.own_bound and privacy.clip_norm != 1:
        raise SettingsError(
            f"privacy.clip_norm={privacy.clip_norm:g}: this synthesizer bounds what each unit gives to 1 itself; leave "
            "clip_norm out"
        )


def foreseen(plan: PrivacyPlan, schedule: Schedule) -> Spend:
    """What the ledger will hold of a training when all its steps are made: the same that is charged step by step.

    Args:
        plan: What `plan_of` says.
        schedule: What the synthesizer says of itself.

    Example:
        >>> schedule = Schedule(steps=10, units=1 << 40, bounds_subjects=False)
        >>> plan = plan_of(PrivacySettings(noise_multiplier=9), schedule, patches=8, subjects=2, patches_per_subject=4)
        >>> foreseen(plan, schedule).event.patches_per_subject is None
        True
    """
    event = plan.event()
    if plan.unit == "patch" and not schedule.bounds_subjects:
        event = replace(event, patches_per_subject=None)
    return Spend(event=event, steps=plan.steps)


def predicted(plan: PrivacyPlan, spend: Spend, source: SourceSettings) -> PrivacyStatement:
    """The statement of a source before its training, from what is `foreseen`."""
    return state([spend], plan.deltas, (f"synthetic pairs of {source.shown}",), plan.relation)


def _calibrated(epsilon: float, delta: float, event: StepEvent, steps: int) -> StepEvent:
    """Noise for a target; steps without sampling are together one Gaussian of sqrt(steps) less noise, found at once."""
    if event.sampling_probability < 1 or steps == 1:
        return calibrate_noise(epsilon, delta, event, steps)
    together = calibrate_noise(epsilon, delta, event, 1).noise_multiplier
    return replace(event, noise_multiplier=together * math.sqrt(steps) * (1 + 1e-9))  # rounded upwards
