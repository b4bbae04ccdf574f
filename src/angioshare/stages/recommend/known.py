"""What may be known of a cohort before anything is spent: how many people, how many patches, and the budget.

No voxel is read. Subjects are counted by their names, patches by the settings.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scipy.optimize import brentq

from angioshare.cohort.cohort import open_cohort
from angioshare.cohort.split import make_split
from angioshare.config import Config
from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy.calibration import auto_delta, gaussian_mu
from angioshare.privacy.unit import PrivacyUnit

LEAST_EPSILON, MOST_EPSILON = 1e-4, 1e4
"""Below the first the accountant's grid of privacy losses is too coarse to state anything."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """The public numbers that a plan follows from.

    Attributes:
        subjects: Training subjects N, >= 1.
        patches_per_subject: Patches that each gives at most, >= 1.
        epsilon: The budget for one `unit`, in [0.0001, 10,000].
        unit: Who is to be protected: `"patch"` or `"subject"`.
        delta: Below one over the number of units; None takes `auto_delta`.

    Raises:
        SettingsError: epsilon is out of range.
        PrivacyError: delta is not in (0, 1 / units).

    Example:
        >>> known = Known(subjects=41, patches_per_subject=1000, epsilon=1.0, unit="patch", delta=2e-5)
        >>> round(known.signal("patch"), -2), round(known.signal("subject"), 1)
        (11500.0, 5.7)
    """

    subjects: int
    patches_per_subject: int
    epsilon: float
    unit: PrivacyUnit
    delta: float | None = None

    def __post_init__(self) -> None:
        if not LEAST_EPSILON <= self.epsilon <= MOST_EPSILON:
            raise SettingsError(
                f"epsilon={self.epsilon} must be in [{LEAST_EPSILON:g}, {MOST_EPSILON:g}]; without any budget take the "
                "simulator alone or a run without privacy"
            )
        if not 0 < self.delta_value < 1 / self.units:
            raise PrivacyError(
                f"delta={self.delta_value:.3g} must be in (0, {1 / self.units:.3g}), one over {self.units} "
                f"{self.unit} units: above it, publishing a unit outright would pass; take {auto_delta(self.units):.3g}"
            )

    @property
    def patches(self) -> int:
        """Training patches."""
        return self.subjects * self.patches_per_subject

    @property
    def units(self) -> int:
        """Units that are to be protected."""
        return self.patches if self.unit == "patch" else self.subjects

    @property
    def delta_value(self) -> float:
        """The delta that holds."""
        return auto_delta(self.units) if self.delta is None else self.delta

    def signal(self, drawn: PrivacyUnit, epsilon: float | None = None) -> float:
        """Signal to noise mu N of a mechanism that keeps the budget and draws `drawn` units.

        A mechanism on subjects protects a patch as well: one patch more may turn its subject's vector, of length C,
        into any other one. That is twice what adding a subject may do, so half of mu is left.
        """
        mu = gaussian_mu(self.epsilon if epsilon is None else epsilon, self.delta_value)
        if drawn == self.unit:
            return mu * self.units
        if drawn == "subject":
            return mu / 2 * self.subjects
        raise SettingsError("a mechanism on patches is not planned for whole subjects; draw subjects")

    def epsilon_for(self, signal: float, drawn: PrivacyUnit) -> float:
        """The epsilon from which on a mechanism has this signal; infinity if it is beyond 100."""
        if self.signal(drawn, 100.0) < signal:
            return math.inf
        return float(brentq(lambda epsilon: self.signal(drawn, epsilon) - signal, 1e-4, 100.0, xtol=1e-4))

    def subjects_for(self, signal: float, drawn: PrivacyUnit) -> int | None:
        """The number of training subjects from which on a mechanism has this signal; None if no delta allows it.

        By the rule delta falls as units grow, so that twice the subjects give a little less than twice the signal.

        Example:
            >>> known = Known(subjects=12, patches_per_subject=1000, epsilon=1.0, unit="subject")
            >>> known.subjects_for(10.0, "subject")
            38
        """

        def reached(subjects: int) -> bool:
            return replace(self, subjects=subjects).signal(drawn) >= signal

        low, high = self.subjects, self.subjects
        try:
            while not reached(high):
                low, high = high, 2 * high
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if reached(middle) else (middle, high)
        except PrivacyError:  # a delta that was given is above one over so many
            return None
        return high


def known_of(cohort: Path, base: Config, *, epsilon: float, unit: PrivacyUnit, delta: float | None) -> Known:
    """Count a cohort by its names.

    Raises:
        DataError: It is no cohort, or the split does not fit it.
        SettingsError: The split leaves nobody to train on; see `Known`.
        PrivacyError: See `Known`.
    """
    subjects = len(make_split(open_cohort(cohort).ids, base.split).train)
    return Known(
        subjects=subjects, patches_per_subject=base.patches.per_subject, epsilon=epsilon, unit=unit, delta=delta
    )


def parted(changes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part changes of sources, which are chosen later, from all others, which the counts follow from.

    Example:
        >>> parted(["split.test=2", "sources.calibrated.seed=1"])
        (['split.test=2'], ['sources.calibrated.seed=1'])
    """
    of_sources = [change for change in changes if change.startswith("sources.")]
    return [change for change in changes if change not in of_sources], of_sources
