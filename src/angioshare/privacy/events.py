"""What ran, as data: the events that the ledger keeps and the accountant composes (standard library alone).

An event says exactly what one step did, so that its cost can be calculated again in ten years by any accountant.
It holds public settings only, never a count that was drawn.
"""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy.unit import NeighbouringRelation, PrivacyUnit


@dataclass(frozen=True, kw_only=True)
class StepEvent:
    """One noisy step: a fresh Poisson draw of units, each contribution clipped, the sum noised once.

    Attributes:
        unit: What is drawn and clipped as one.
        sampling_probability: Chance q that a unit enters the step, in (0, 1]; 1 is a one-shot release.
        noise_multiplier: Standard deviation of the noise divided by the clip norm, > 0.
        patches_per_subject: The most patches that any subject has; None if unknown, and then a step on patches
            gives a subject no finite guarantee. Not used when the unit is the subject.
        relation: The neighbouring relation that the run was planned under.
        sampler: How units are drawn. Anything but `"poisson"` is refused.

    Raises:
        SettingsError: A number is out of range.
        PrivacyError: The sampler, unit or relation is one that the accountant has no theorem for.

    Example:
        >>> StepEvent(unit="patch", sampling_probability=0.01, noise_multiplier=1.0, patches_per_subject=1000).sampler
        'poisson'
    """

    unit: PrivacyUnit
    sampling_probability: float
    noise_multiplier: float
    patches_per_subject: int | None = None
    relation: NeighbouringRelation = "add-or-remove-one"
    sampler: Literal["poisson"] = "poisson"

    def __post_init__(self) -> None:
        if self.sampler != "poisson":
            raise PrivacyError(f"sampler={self.sampler!r} has no accountant here; draw units with sampler='poisson'")
        if self.unit not in get_args(PrivacyUnit):
            raise PrivacyError(f"unit={self.unit!r} must be one of {get_args(PrivacyUnit)}")
        if self.relation not in get_args(NeighbouringRelation):
            raise PrivacyError(f"relation={self.relation!r} must be one of {get_args(NeighbouringRelation)}")
        if not 0 < self.sampling_probability <= 1:
            raise SettingsError(
                f"sampling_probability={self.sampling_probability} must be in (0, 1]; "
                "divide the expected draw by the number of units"
            )
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0):
            raise SettingsError(
                f"noise_multiplier={self.noise_multiplier} must be finite and > 0; "
                "for a run without privacy use no engine at all"
            )
        if self.patches_per_subject is not None and self.patches_per_subject < 1:
            raise SettingsError(f"patches_per_subject={self.patches_per_subject} must be at least 1, or unknown (None)")

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Spend:
    """The same event, `steps` times over, by one run.

    Attributes:
        event: What one step did.
        steps: How often, >= 0.
        run: Which run did it; no part of the accounting.
    """

    event: StepEvent
    steps: int
    run: str = ""


def event_from_json(value: dict[str, Any]) -> StepEvent:
    """Read what `StepEvent.to_json` wrote.

    Raises:
        PrivacyError: It is no event that this version can account for.
    """
    try:
        return StepEvent(**value)
    except (TypeError, SettingsError) as error:
        raise PrivacyError(
            f"event {value!r} cannot be accounted for ({error}); use the version that wrote it"
        ) from error


def merged(spends: Iterable[Spend]) -> list[Spend]:
    """Add up spends of equal events, whatever their run; the order of first appearance is kept."""
    steps: dict[StepEvent, int] = {}
    for spend in spends:
        steps[spend.event] = steps.get(spend.event, 0) + spend.steps
    return [Spend(event=event, steps=count) for event, count in steps.items() if count > 0]
