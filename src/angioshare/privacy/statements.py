"""From spends to the one statement: both units, the accountant, what is released and what is not covered."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from angioshare.privacy.accounting import ACCOUNTANT, guarantee
from angioshare.privacy.calibration import auto_delta
from angioshare.privacy.events import Spend
from angioshare.privacy.unit import NeighbouringRelation, PrivacyStatement

NOT_COVERED = ("validation and test subjects", "the size of the cohort", "settings chosen on the data")
"""What no run of this project covers, whatever its epsilon."""

SEEDED = "not private: seeded noise"
UNLEDGERED = "not private: no ledger was charged"


@dataclass(frozen=True, kw_only=True)
class Deltas:
    """The delta of each unit's guarantee: a cohort has far more patches than subjects."""

    patch: float
    subject: float


def deltas_for(given: Iterable[float], *, patches: int, subjects: int) -> Deltas:
    """For each unit the largest given delta below one over the number of its units, or else the rule's.

    Args:
        given: Each in (0, 1).
        patches: How many patches there are at most, >= 1.
        subjects: How many subjects, >= 1.

    Example:
        >>> deltas_for([0.01], patches=41_000, subjects=41)
        Deltas(patch=2.4390243902439027e-06, subject=0.01)
    """
    known = tuple(given)

    def below(units: int) -> float:
        return max((delta for delta in known if delta < 1 / units), default=auto_delta(units))

    return Deltas(patch=below(patches), subject=below(subjects))


def state(
    spends: Sequence[Spend],
    delta: float | Deltas,
    released: tuple[str, ...],
    relation: NeighbouringRelation = "add-or-remove-one",
    caveats: tuple[str, ...] = (),
) -> PrivacyStatement:
    """Compose spends into a statement for both units.

    Args:
        spends: Everything that ran on the cohort and went into `released`.
        delta: For either unit, in (0, 1), or one for each. Whoever knows how many units there are takes `deltas_for`.
        released: What the statement speaks of, in words.
        relation: What makes two data sets neighbours.
        caveats: Reasons to trust it less.

    Example:
        >>> state([], 1e-5, ("nothing",)).subject.epsilon
        0.0
    """
    each = delta if isinstance(delta, Deltas) else Deltas(patch=delta, subject=delta)
    return PrivacyStatement(
        patch=guarantee(spends, each.patch, "patch", relation),
        subject=guarantee(spends, each.subject, "subject", relation),
        accountant=ACCOUNTANT,
        released=released,
        not_covered=NOT_COVERED,
        caveats=caveats,
    )
