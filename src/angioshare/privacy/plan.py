"""The plan of a private run: it couples selection, clipping, noise and accounting, and states what they give together.

The joint guarantee
    A step draws each unit by its own coin of probability q, clips the gradient of each drawn unit to an L2 norm of at
    most C, sums, and adds to the sum independent normal noise of standard deviation sigma C per coordinate, where sigma
    is the noise multiplier. Adding or removing one unit moves the sum by at most C, and only if its coin fell. So each
    step is the Poisson-subsampled Gaussian mechanism, and `steps` of them compose adaptively: the next step may look at
    all earlier results, hence the generator, the learning rate and everything else that never meets a real patch
    again are post-processing. The sum is then divided by q N, a public constant.

Everything in a plan is public. It holds no data and draws nothing.
"""

import math
from dataclasses import dataclass

from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy.calibration import auto_delta
from angioshare.privacy.events import Spend, StepEvent
from angioshare.privacy.statements import Deltas, deltas_for, state
from angioshare.privacy.unit import NeighbouringRelation, PrivacyStatement, PrivacyUnit


@dataclass(frozen=True, kw_only=True)
class PrivacyPlan:
    """All public settings of a private run.

    Attributes:
        unit: What is drawn, clipped and protected first: `"patch"` or `"subject"`.
        n_subjects: How many subjects the private data set holds, >= 1.
        patches_per_subject: The most patches that any subject has, >= 1.
        n_units: How many units there are at most: subjects times their most patches, or the number of subjects. How
            many patches there are in truth follows from labels, so nothing public may be calculated from that.
        sampling_probability: Chance q that a unit enters a step, in (0, 1].
        noise_multiplier: sigma, noise standard deviation over clip norm, > 0.
        clip_norm: C, bound on the L2 norm of one unit's gradient, > 0.
        steps: How many noisy steps, >= 1. Fixed beforehand: stopping by a look at private data would cost extra.
        delta: Below one over the number of units; None takes `auto_delta(n_units)`. See `deltas` for the other unit.
        relation: What makes two data sets neighbours.
        epsilon_budget: No step is made that would lift epsilon of everything on the cohort's ledger, for this plan's
            unit, above it; None sets no bound.
        keeps_target: The run as a whole costs no more than `steps` of its steps. If it is killed, what was charged and
            lost counts, and it makes so many steps fewer when it is taken up again.

    Raises:
        SettingsError: A number is out of range, or the counts contradict each other.
        PrivacyError: `delta` is at or above one over the number of units.

    Example:
        >>> plan = PrivacyPlan(unit="patch", n_units=41000, n_subjects=41, patches_per_subject=1000,
        ...     sampling_probability=32 / 41000, noise_multiplier=1.0, clip_norm=1.0, steps=6405)
        >>> plan.expected_units, round(plan.predicted().patch.epsilon, 2)
        (32.0, 0.32)
    """

    unit: PrivacyUnit
    n_units: int
    n_subjects: int
    patches_per_subject: int
    sampling_probability: float
    noise_multiplier: float
    clip_norm: float = 1.0
    steps: int = 1
    delta: float | None = None
    relation: NeighbouringRelation = "add-or-remove-one"
    epsilon_budget: float | None = None
    keeps_target: bool = False

    def __post_init__(self) -> None:
        self.event()  # checks unit, relation, sampling probability, noise multiplier, patches per subject
        for name, value in (("n_units", self.n_units), ("n_subjects", self.n_subjects), ("steps", self.steps)):
            if value < 1:
                raise SettingsError(f"{name}={value} must be at least 1")
        if not (math.isfinite(self.clip_norm) and self.clip_norm > 0):
            raise SettingsError(f"clip_norm={self.clip_norm} must be finite and > 0")
        if self.epsilon_budget is not None and not (math.isfinite(self.epsilon_budget) and self.epsilon_budget > 0):
            raise SettingsError(f"epsilon_budget={self.epsilon_budget} must be finite and > 0, or absent")
        most = self.n_subjects * self.patches_per_subject if self.unit == "patch" else self.n_subjects
        exact = self.unit == "subject" and self.n_units != most
        if exact or self.n_units > most:
            raise SettingsError(
                f"n_units={self.n_units} does not fit unit={self.unit!r} with n_subjects={self.n_subjects} of at most "
                f"{self.patches_per_subject} patches; give {'' if exact else 'at most '}{most}"
            )
        if not 0 < self.delta_value < 1 / self.n_units:
            raise PrivacyError(
                f"delta={self.delta_value:.3g} must be in (0, {1 / self.n_units:.3g}), 1 / n_units for {self.n_units}: "
                f"above it, publishing a unit outright would pass; take {auto_delta(self.n_units):.3g}"
            )

    @property
    def delta_value(self) -> float:
        """The delta that holds: the given one, or the rule's."""
        return auto_delta(self.n_units) if self.delta is None else self.delta

    @property
    def patches(self) -> int:
        """How many patches there are, at most."""
        return self.n_units if self.unit == "patch" else self.n_subjects * self.patches_per_subject

    @property
    def deltas(self) -> Deltas:
        """The delta of each unit's guarantee: `delta_value`, or the rule's where that is not below one over them."""
        return deltas_for([self.delta_value], patches=self.patches, subjects=self.n_subjects)

    @property
    def expected_units(self) -> float:
        """Expected draw q N, what every noisy sum is divided by. Public, unlike the number drawn."""
        return self.sampling_probability * self.n_units

    @property
    def noise_std(self) -> float:
        """Noise sigma C, the standard deviation of the noise on each coordinate of the sum."""
        return self.noise_multiplier * self.clip_norm

    def event(self) -> StepEvent:
        """What one step does, as the ledger and the accountant see it."""
        return StepEvent(
            unit=self.unit,
            sampling_probability=self.sampling_probability,
            noise_multiplier=self.noise_multiplier,
            patches_per_subject=self.patches_per_subject,
            relation=self.relation,
        )

    def predicted(
        self, released: tuple[str, ...] = ("the trained synthesizer and all that it draws",)
    ) -> PrivacyStatement:
        """The statement of the whole run, before it has begun."""
        return state([Spend(event=self.event(), steps=self.steps)], self.deltas, released, self.relation)
