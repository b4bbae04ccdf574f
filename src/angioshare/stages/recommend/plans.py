"""From a method to what it would do to this cohort: its settings, its noise, its guarantee in both units."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from angioshare.config import MOST_NOISE, Config, PrivacySettings, SourceSettings, load_config, preset_names
from angioshare.errors import AngioShareError, PrivacyError, SettingsError
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.unit import PrivacyStatement, PrivacyUnit
from angioshare.protocols import Context, Schedule
from angioshare.stages.planning import foreseen, plan_of, predicted
from angioshare.stages.recommend.known import Known
from angioshare.stages.recommend.rules import numbers_for, rule_of
from angioshare.synthesis.calibrated import FEW
from angioshare.synthesis.calibration.features import NAMES
from angioshare.synthesis.registry import PUBLIC_COHORT, build, synthesizer_class

BASE = "calibrated"
"""Preset that all recommended settings start from."""

PRIOR = "wide"
"""Prior of what is recommended."""

PUBLISHED = "kossen2022-small"
"""Preset that holds the published method at a size for two cores."""

DRAWS = (512, 256)
"""Expected patches of a step, to be tried in turn: still larger draws cost time and save hardly any noise."""


@dataclass(frozen=True)
class Planned:
    """A method, planned for a cohort.

    Attributes:
        known: Public numbers of the cohort, and the budget.
        source: What stands in the settings file.
        schedule: What the synthesizer says of itself.
        work: What it tells its progress of.
        size: Edge of a patch in pixels.
        crowd: How many voices a released mean has, as a share of the units N; 1 unless teachers vote for them.
    """

    known: Known
    source: SourceSettings
    schedule: Schedule
    work: int
    size: int
    crowd: float = 1.0

    @property
    def unit(self) -> PrivacyUnit:
        """What is drawn and bounded as one."""
        assert self.source.privacy is not None
        return self.source.privacy.unit

    @property
    def signal(self) -> float:
        """Signal to noise mu N, with N the voices of a released mean."""
        return self.known.signal(self.unit) * self.crowd

    @property
    def least_noise(self) -> float:
        """What the noise on each number of the mean is at least, as a share of the bound; quick."""
        return math.sqrt(self.schedule.steps) / self.signal

    @cached_property
    def plan(self) -> PrivacyPlan:
        """What would happen to the cohort; the accountant finds the noise, which takes seconds."""
        assert self.source.privacy is not None
        known = self.known
        return plan_of(
            self.source.privacy,
            self.schedule,
            patches=known.patches,
            subjects=known.subjects,
            patches_per_subject=known.patches_per_subject,
        )

    @cached_property
    def noise(self) -> float:
        """The noise on each number of the mean, as a share of the bound."""
        if self.least_noise >= rule_of(self.source.synthesizer).hopeless:
            return self.least_noise
        return self.plan.noise_multiplier / self.plan.expected_units / self.crowd

    @cached_property
    def statement(self) -> PrivacyStatement:
        """The guarantee in both units.

        Raises:
            PrivacyError: It cannot be calculated.
        """
        try:
            return predicted(self.plan, foreseen(self.plan, self.schedule), self.source)
        except (ValueError, TypeError) as error:  # the accountant's library does not bear every mixture
            raise PrivacyError(
                f"the accountant cannot state what a draw of {self.plan.expected_units:g} costs a subject; take a "
                "smaller draw"
            ) from error


def planned(method: str, known: Known, base: Config) -> Planned:
    """Plan a method for the budget.

    The unit that is asked for is protected by the method itself, or, for a patch, by its whole subject.

    Raises:
        AngioShareError: The method cannot give this guarantee.
    """
    reasons: list[str] = []
    units: tuple[PrivacyUnit, ...] = ("subject",) if known.unit == "subject" else ("patch", "subject")
    for unit in units:
        for settings in _settings(method, unit, known):
            try:
                one = _planned(method, unit, settings, known, base)
                if one.least_noise < rule_of(method).hopeless:
                    _ = one.statement
            except AngioShareError as error:
                reasons.append(str(error))
                continue
            return one
    raise PrivacyError("; ".join(dict.fromkeys(reasons)) + f". {rule_of(method).why}")


def _planned(method: str, unit: PrivacyUnit, settings: dict[str, Any], known: Known, base: Config) -> Planned:
    context = Context(patches=base.patches, unit=unit, provenance="dp")
    made = build(method, settings, context)
    schedule = made.schedule()
    if schedule.steps == 0:
        raise SettingsError("it has no private step, so it has no differential privacy")
    title = f"{method}, epsilon {known.epsilon:g} per {known.unit}"
    source = SourceSettings(
        name=method,
        title=title,
        synthesizer=method,
        pairs=_pairs(base),
        settings=settings,
        privacy=PrivacySettings(unit=unit, epsilon=known.epsilon, delta=known.delta_value),
    )
    crowd = _teachers(settings, known, unit) if method == "pate-gan" else 1.0
    one = Planned(known, source, schedule, made.work(), base.patches.size, crowd)
    return one if unit == known.unit else _by_subject(one)


def untaught(base: Config) -> SourceSettings:
    """A reader of simulated pairs alone, with as many scans as a taught one."""
    return SourceSettings(
        name="untaught-reader",
        title="Untaught reader",
        synthesizer="untaught-reader",
        pairs=_pairs(base),
        settings=_scans(),
    )


def public_alone(base: Config) -> SourceSettings:
    """What a public cohort gives by itself: as many of its pairs as of any source, or all."""
    return SourceSettings(
        name=PUBLIC_COHORT, title="Public cohort alone", synthesizer=PUBLIC_COHORT, pairs=_pairs(base)
    )


def _pairs(base: Config) -> int:
    return next(source.pairs for source in base.sources if source.synthesizer == BASE)


def _by_subject(one: Planned) -> Planned:
    """Give a method on subjects the noise that keeps the budget for one patch.

    Raises:
        SettingsError: The method draws some subjects at a time.
        PrivacyError: It needs more noise than settings may have.
    """
    if one.schedule.units < one.known.subjects:
        raise SettingsError("it draws some subjects at a time, for which a patch's budget is not planned")
    # Everybody takes part, so this is exact but for rounding.
    noise = math.sqrt(one.schedule.steps) * one.known.subjects / one.known.signal("subject")
    while True:
        noise = math.ceil(noise * 1.0005 * 1e4) / 1e4
        if noise > MOST_NOISE:
            raise PrivacyError(
                f"noise_multiplier={noise:g}, which would keep epsilon={one.known.epsilon:g} for one patch, must be at "
                f"most {MOST_NOISE:g}; raise epsilon"
            )
        privacy = PrivacySettings(unit="subject", noise_multiplier=noise, delta=one.known.delta_value, keeps_plan=True)
        tried = replace(one, source=one.source.model_copy(update={"privacy": privacy}))
        if tried.statement.patch.epsilon <= one.known.epsilon:
            return tried


def _settings(method: str, unit: PrivacyUnit, known: Known) -> Iterator[dict[str, Any]]:
    """Settings to try, the best first. They follow from public numbers, never from a look at the cohort."""
    if method == BASE:
        yield _calibrated(unit, known)
    elif method in preset_names():
        yield _of_preset(method, method)
    elif method == "wgan":
        yield _of_preset(PUBLISHED, method)
    elif method == "taught-reader":
        yield _taught(known)
    elif method == "steered-reader":
        yield _scans()
    elif method == "wgan-pretrained":
        for draw in DRAWS:
            yield _pretrained(min(draw, max(1, known.patches // 4)), known)
    else:
        yield {}


def _of_preset(preset: str, method: str) -> dict[str, Any]:
    """Settings of a method as a preset has them for a private run."""
    sources = [source for source in load_config(preset=preset).sources if source.synthesizer == method]
    return dict(max(sources, key=lambda source: source.privacy is not None).settings)


def _calibrated(unit: PrivacyUnit, known: Known) -> dict[str, Any]:
    return _of_preset(BASE, BASE) | {"numbers": numbers_for(known.signal(unit), FEW, len(NAMES))}


def _scans() -> dict[str, Any]:
    """As many simulated scans as the calibrated simulator has."""
    calibrated = _of_preset(BASE, BASE)
    return {"site": PRIOR, "simulated_subjects": calibrated["subjects"], "extent": calibrated["extent"]}


def _taught(known: Known) -> dict[str, Any]:
    """A draw of at most a quarter of the patches."""
    own = synthesizer_class("taught-reader").Settings()
    draws = {"batch": min(own.batch, max(1, known.patches // 4)), "subjects": max(1, known.subjects // 4)}
    return _scans() | draws


def _teachers(settings: dict[str, Any], known: Known, unit: PrivacyUnit) -> float:
    """Voices of a count of teachers' votes: k teachers, whose m votes at a step have a length of up to sqrt(m)."""
    s = synthesizer_class("pate-gan").Settings.model_validate(settings)
    units = known.patches if unit == "patch" else known.subjects
    return float(s.teachers / math.sqrt(s.queries) / units)


def _pretrained(draw: int, known: Known) -> dict[str, Any]:
    """The published method in a short run, begun on simulated patches, then a thousand steps of large draws."""
    short = _of_preset(PUBLISHED, "wgan")
    first = {f"first_{key}": short[key] for key in ("iterations", "learning_rate", "generator_learning_rate")}
    large = {"batch": draw, "subjects": max(1, known.subjects // 4), "iterations": 200, "critic_updates": 5}
    return short | first | large | {"generator_learning_rate": 2e-4, "site": PRIOR, "simulated_subjects": 24}
