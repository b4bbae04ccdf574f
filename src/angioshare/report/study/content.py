"""What the report of a study is made of: settings, their points (one a seed), and the content of an ordinary report.

The sources of that report are the trained points, under their own names, so that its tables and its walls apply here.
Nothing here reads files.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
from typing import Literal, TypeAlias, get_args

from angioshare.privacy.unit import Guarantee, PrivacyStatement, PrivacyUnit
from angioshare.records import Record
from angioshare.report.content import ReportContent, SourceKind
from angioshare.report.study.views import ErrorView
from angioshare.report.tables import Summary, epsilon_words, summarise, validation_dice

Role: TypeAlias = Literal["private", "non-private", "real", "simulator", "public", "shuffled"]
"""What a setting is in the figures: trained with noise, trained without, or a rival."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Setting:
    """What the points of all seeds share.

    Attributes:
        name: Its name, as the points' names begin.
        title: What readers see.
        kind: What sort of source it is.
        synthesizer: Registry name of the synthesizer.
        family: What settings have in common that differ in noise alone, for example `"WGAN"`.
        private: Whether it is meant to be trained with noise.
        trained_on: In words, what the source itself was made from.
        points: Names of its points, in the order of the seeds.
        noise_multiplier: Of its private steps; None where there is none, or it is not known yet.
        statement: What its pairs reveal; of several seeds, the weakest. None before any was trained.
    """

    name: str
    title: str
    kind: SourceKind
    synthesizer: str
    family: str
    private: bool
    trained_on: str
    points: tuple[str, ...]
    noise_multiplier: float | None = None
    statement: PrivacyStatement | None = None

    @property
    def role(self) -> Role:
        """What it is in the figures."""
        if self.kind != "synthesizer":
            return self.kind
        return "private" if self.private else "non-private"

    def epsilon(self, unit: PrivacyUnit) -> float:
        """Its bound for a unit; infinity where there is none."""
        if self.statement is None or not self.statement.private:
            return math.inf
        guarantee: Guarantee = getattr(self.statement, unit)
        return guarantee.epsilon

    def epsilon_shown(self, unit: PrivacyUnit) -> str:
        """The same for a label, rounded upwards."""
        return "∞" if math.isinf(self.epsilon(unit)) else epsilon_words(getattr(self.statement, unit))

    @property
    def noise_shown(self) -> str:
        """The noise multiplier for a label, in four digits."""
        return "unknown" if self.noise_multiplier is None else f"{self.noise_multiplier:.4g}"


@dataclass(frozen=True, kw_only=True)
class SeedScore:
    """One metric of one point at one site: a number for each subject.

    Attributes:
        point: Name of the point.
        seed: Its seed.
        subjects: Ids of the subjects.
        values: Their scores; None where undefined.
    """

    point: str
    seed: int
    subjects: tuple[str, ...]
    values: tuple[float | None, ...]

    @property
    def summary(self) -> Summary:
        """Mean and SD over subjects."""
        return summarise(self.values)

    @property
    def mean(self) -> float | None:
        """Mean over the subjects where it is defined."""
        return self.summary.mean


@dataclass(frozen=True, kw_only=True, eq=False)
class StudyContent:
    """All that the report of a study shows.

    Attributes:
        report: Trained points as sources, and every record with its point as `trained_on`.
        settings: All settings of the plan, finished or not.
        missing: Unfinished points: name to the stages that are missing.
        views: Error maps of each setting's best point, reduced to what is drawn.
    """

    report: ReportContent
    settings: Sequence[Setting]
    missing: Mapping[str, Sequence[str]] = field(default_factory=dict)
    views: Sequence[ErrorView] = ()

    @property
    def sites(self) -> Sequence[str]:
        """Test sites; the first is the cohort's own."""
        return self.report.sites

    @cached_property
    def seeds(self) -> dict[str, int]:
        """Seed of each trained point."""
        return {source.name: source.seed for source in self.report.sources}

    @cached_property
    def _scores(self) -> dict[tuple[str, str, str], list[Record]]:
        found: dict[tuple[str, str, str], list[Record]] = {}
        for record in self.report.records:
            if record.stage == "evaluate" and record.subject:
                found.setdefault((record.trained_on, record.metric, record.site), []).append(record)
        return found

    def spread(self, setting: Setting, metric: str, site: str) -> tuple[SeedScore, ...]:
        """The scores of a setting, one entry for each point that was evaluated, in the order of the seeds."""
        found = []
        for point in setting.points:
            records = sorted(self._scores.get((point, metric, site), []), key=lambda record: record.subject)
            if records:
                subjects = tuple(record.subject for record in records)
                values = tuple(_finite(record.value) for record in records)
                found.append(SeedScore(point=point, seed=self.seeds[point], subjects=subjects, values=values))
        return tuple(found)

    def score(self, point: str, metric: str, site: str, subject: str) -> float | None:
        """One number of one subject; None where it is undefined or not measured."""
        found = self._scores.get((point, metric, site), [])
        return next((_finite(record.value) for record in found if record.subject == subject), None)

    def scored(self, setting: Setting, sites: Iterable[str]) -> list[str]:
        """The points of a setting with a Dice at any of these sites; a trained point may have none yet."""
        found = {score.point for site in sites for score in self.spread(setting, "dice", site)}
        return [point for point in setting.points if point in found]

    def seed_means(self, setting: Setting, metric: str, site: str) -> list[float]:
        """Mean over subjects of each seed; seeds where it is undefined on all are left out."""
        return [score.mean for score in self.spread(setting, metric, site) if score.mean is not None]

    def subject_means(self, setting: Setting, metric: str, site: str) -> dict[str, float]:
        """Mean over seeds of each subject; subjects where it is undefined for all seeds are left out."""
        found: dict[str, list[float]] = {}
        for score in self.spread(setting, metric, site):
            for subject, value in zip(score.subjects, score.values, strict=True):
                if value is not None:
                    found.setdefault(subject, []).append(value)
        return {subject: fmean(values) for subject, values in found.items()}

    def numbers(self, setting: Setting, metric: str) -> dict[str, float]:
        """A number of stage `fidelity` of each point where it is defined, by point."""
        return {
            record.trained_on: record.value
            for record in self.report.records
            if (record.stage, record.metric) == ("fidelity", metric)
            and record.trained_on in setting.points
            and _finite(record.value) is not None
            and record.value is not None
        }

    @cached_property
    def _validation(self) -> dict[str, float]:
        return validation_dice(self.report.records)

    def best_point(self, setting: Setting) -> str | None:
        """The point of a setting whose U-Net had the best Dice on validation subjects; None if none was measured."""
        measured = [point for point in setting.points if point in self._validation]
        return max(measured, key=self._validation.__getitem__) if measured else None

    def best_setting(self, role: Role) -> Setting | None:
        """The setting of a role whose best point had the best Dice on validation subjects."""
        found = [(setting, best) for setting in self.with_role(role) if (best := self.best_point(setting)) is not None]
        return max(found, key=lambda pair: self._validation[pair[1]])[0] if found else None

    def with_role(self, *roles: Role) -> list[Setting]:
        """Settings of these roles, in the order of the figures."""
        return [setting for setting in in_order(self.settings) if setting.role in roles]


def in_order(settings: Iterable[Setting]) -> list[Setting]:
    """The order of figures: private ones by family from most noise to least, then without noise, then rivals."""
    roles: tuple[Role, ...] = get_args(Role)
    listed = list(settings)
    families = list(dict.fromkeys(setting.family for setting in listed))
    return sorted(
        listed,
        key=lambda setting: (
            roles.index(setting.role),
            families.index(setting.family),
            -(setting.noise_multiplier if setting.noise_multiplier is not None else math.inf),
        ),
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
