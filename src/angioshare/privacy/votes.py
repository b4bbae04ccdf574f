"""Votes of teachers, counted and noised: how networks that saw private data may speak about generated pairs.

Teachers are trained without noise, each on the units of its own shard, and never leave the private side. At a step
each of k teachers votes real (1) or synthetic (0) on each of m generated pairs. What is released is one vector, the m
counts of votes for real, with Gaussian noise: the Gaussian mechanism without sampling, step after step.

Sensitivity
    A unit (patch or subject) belongs to one shard, and which one is a public function of this unit alone. So, given all
    that was released before, a data set with the unit and one without it have the same teachers but one. That one may
    be any other network, so that all its m votes may turn. A vote lies in {0, 1}: the vector of its votes goes from one
    corner of the cube [0, 1]^m to another, and the counts move by at most sqrt(m) in L2. This is C. Bounding the norm
    of each teacher's vector would not be enough: a teacher is exchanged, not removed, and within a ball of radius C an
    exchange moves by 2C. Replace-one changes two teachers and is accounted for as twice the sensitivity.

Composition
    A teacher at step t depends on its own shard, on randomness of its own and on generated pairs, which follow from
    earlier noisy counts. So the steps are Gaussian mechanisms that compose adaptively, each chosen by earlier results.

References:
    Papernot et al. (2018), Scalable private learning with PATE, arXiv:1802.08908 (GNMax).
    Jordon, Yoon & van der Schaar (2019), PATE-GAN, ICLR.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy.accounting import guarantee
from angioshare.privacy.allowance import Allowance
from angioshare.privacy.events import Spend, StepEvent, merged
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.noise import GaussianNoise
from angioshare.privacy.plan import PrivacyPlan
from angioshare.types import BoolArray, FloatArray

_GLANCES = 20  # epsilon for the progress is calculated so often in a run; in between, the next higher one is shown


class NoisyVotes:
    """Charges the ledger, asks the teachers, and releases their noisy counts.

    Args:
        plan: Sampling probability 1; the noise multiplier sigma. Its clip norm must be 1, since votes bound themselves.
        teachers: How many teachers k, >= 1. Public.
        queries: On how many generated pairs they vote at a step, m >= 1. Public.
        ledger: The cohort's ledger, open.
        run: Name of the run in the ledger; a resumed run has the same one, and keeps its earlier charges.
        steps: How many steps may be made (the rest of a resumed run); None takes the plan's.
        noise: Source of noise; None makes a fresh one from the operating system.

    Raises:
        SettingsError: The plan samples or sets a clip norm, or a number is out of range.

    Guarantees:
        See the module, on the caller's promise that a unit reaches one teacher and that teachers share no randomness
        whose use follows the data. The charge of a step is on disk before any teacher is asked.
    """

    def __init__(
        self,
        *,
        plan: PrivacyPlan,
        teachers: int,
        queries: int,
        ledger: Ledger,
        run: str,
        steps: int | None = None,
        noise: GaussianNoise | None = None,
    ) -> None:
        if plan.sampling_probability != 1:
            raise SettingsError(
                f"sampling_probability={plan.sampling_probability}: every teacher votes at every step; plan it with 1"
            )
        if plan.clip_norm != 1:
            raise SettingsError(
                f"clip_norm={plan.clip_norm}: votes are 0 or 1 and bound themselves; leave it out or take 1"
            )
        if teachers < 1 or queries < 1:
            raise SettingsError(f"teachers={teachers}, queries={queries}: both must be at least 1")
        self.plan = replace(plan, clip_norm=math.sqrt(queries))
        self._shape = (teachers, queries)
        self._ledger, self._run = ledger, run
        self._noise = noise if noise is not None else GaussianNoise()
        planned = plan.steps if steps is None else steps
        self._allowance = Allowance(self.plan, self.event(), ledger, run, planned)
        self._of_this_run = self._allowance.of_this_run
        self._made = 0

    def event(self) -> StepEvent:
        """What one step does, as the ledger sees it.

        Where the unit is a patch, a subject's patches stand with many teachers. No bound is claimed for a subject
        then, so that its epsilon is infinity.
        """
        event = self.plan.event()
        return replace(event, patches_per_subject=None) if event.unit == "patch" else event

    def release(self, ask: Callable[[], BoolArray]) -> FloatArray:
        """Release the noisy counts of one step.

        Args:
            ask: Called once the step is charged. Gives the votes, shape (teachers, queries), bool: True for real.

        Returns:
            Counts of votes for real + N(0, sigma^2 queries), shape (queries,), float64. May lie outside [0, teachers].

        Raises:
            BudgetExceeded: The step would lift the cohort's total above the budget.
            PrivacyError: All planned steps have been made, or the votes are no votes.
            LedgerError: The step could not be charged on disk; then no teacher was asked.
        """
        # One line a step, since teachers take far longer than a line: a kill counts one step too many at most.
        with self._ledger.turn():
            self._allowance.look(self._made)
            self._ledger.reserve(self.event(), self._run, 1)
        self._made += 1
        votes = ask()
        if votes.dtype != np.bool_ or votes.shape != self._shape:
            raise PrivacyError(
                f"votes of {votes.dtype} {votes.shape} must be bool {self._shape}: anything else has no bound here"
            )
        counts = torch.from_numpy(votes.sum(axis=0, dtype=np.float64))
        return np.asarray(self._noise.add_to(counts, self.plan.noise_std).numpy())

    def epsilon_so_far(self) -> float:
        """Epsilon of this run for the plan's unit, for a progress line: never too low, and cheap."""
        stride = max(1, -(-self.plan.steps // _GLANCES))
        made = -(-self._made // stride) * stride
        spends = merged([*self._of_this_run, Spend(event=self.event(), steps=made)])
        return guarantee(spends, self.plan.delta_value, self.plan.unit, self.plan.relation).epsilon

    def close(self) -> None:
        """End it; there is nothing to give back."""
        self._allowance.close(self._made)
