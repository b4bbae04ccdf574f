"""What is said of each method, and the advice as a whole."""

from dataclasses import dataclass

import tomli_w

from angioshare.config import Config
from angioshare.privacy.unit import PrivacyStatement, PrivacyUnit
from angioshare.stages.recommend.known import Known
from angioshare.stages.recommend.plans import Planned
from angioshare.stages.recommend.rules import Verdict


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is to be said of a method.

    Attributes:
        method: Registry name.
        verdict: See `rules.Verdict`.
        reason: Why.
        planned: What it would do; None if it reads nothing private, or cannot give the guarantee.
        statement: Its guarantee in both units, whole; None if it has none, or none was calculated.
        seconds: Time on one core until it is trained; None where nobody has measured it.
    """

    method: str
    verdict: Verdict
    reason: str
    planned: Planned | None = None
    statement: PrivacyStatement | None = None
    seconds: float | None = None

    def epsilon(self, unit: PrivacyUnit) -> float | None:
        """Epsilon for one unit: from the statement, else the budget that it is planned for; None if unknown."""
        if self.statement is not None:
            return self.statement.patch.epsilon if unit == "patch" else self.statement.subject.epsilon
        known = self.planned.known if self.planned is not None else None
        return known.epsilon if known is not None and known.unit == unit else None


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The whole advice.

    Attributes:
        known: The public numbers that it follows from.
        rows: Methods in order of preference; the first is recommended.
        expect: What to expect of the first, and what would change the order; sentences.
        config: The recommended settings.
    """

    known: Known
    rows: tuple[Row, ...]
    expect: tuple[str, ...]
    config: Config

    @property
    def toml(self) -> str:
        """Settings for `angioshare run --config`: what differs from the defaults, below what they are for."""
        known, first = self.known, self.rows[0]
        head = (
            f"# {first.method}: recommended for epsilon {known.epsilon:g} per {known.unit} (delta "
            f"{known.delta_value:.3g}), {known.subjects} training subjects of {known.patches_per_subject} patches."
        )
        return f"{head}\n{tomli_w.dumps(self.config.model_dump(mode='json', exclude_defaults=True, exclude_none=True))}"
