"""From spends to the one statement: both units, the accountant, what is released and what is not covered."""

from collections.abc import Sequence

from angioshare.privacy.accounting import ACCOUNTANT, guarantee
from angioshare.privacy.events import Spend
from angioshare.privacy.unit import NeighbouringRelation, PrivacyStatement

NOT_COVERED = ("validation and test subjects", "the size of the cohort", "settings chosen on the data")
"""What no run of this project covers, whatever its epsilon."""

SEEDED = "not private: seeded noise"
UNLEDGERED = "not private: no ledger was charged"


def state(
    spends: Sequence[Spend],
    delta: float,
    released: tuple[str, ...],
    relation: NeighbouringRelation = "add-or-remove-one",
    caveats: tuple[str, ...] = (),
) -> PrivacyStatement:
    """Compose spends into a statement for both units.

    Args:
        spends: Everything that ran on the cohort and went into `released`.
        delta: For either unit, in (0, 1).
        released: What the statement speaks of, in words.
        relation: What makes two data sets neighbours.
        caveats: Reasons to trust it less.

    Example:
        >>> state([], 1e-5, ("nothing",)).subject.epsilon
        0.0
    """
    return PrivacyStatement(
        patch=guarantee(spends, delta, "patch", relation),
        subject=guarantee(spends, delta, "subject", relation),
        accountant=ACCOUNTANT,
        released=released,
        not_covered=NOT_COVERED,
        caveats=caveats,
    )
