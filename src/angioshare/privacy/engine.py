"""The one place where gradients meet private data.

A training loop asks for a draw, loads the rows of the units that were drawn, and hands them in together with synthetic
rows; it gets gradients that it may do anything with. ::

    draw = engine.draw()                                   # charged on disk before it is known
    engine.step_gradient(draw, real, None, synthetic, real_loss, synthetic_loss)
    optimizer.step()

Each parameter's gradient is then

    (sum over drawn units of clip(unit's gradient) + noise) / (q N)  +  mean over synthetic rows of clip(row's gradient)

The first term is the mechanism that the ledger is charged for; the second never meets a real patch and is free.
"""

import math
from types import TracebackType
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from angioshare.errors import BudgetExceeded, PrivacyError, SettingsError
from angioshare.privacy.accounting import guarantee
from angioshare.privacy.allowance import Allowance
from angioshare.privacy.backward import Loss
from angioshare.privacy.clipping import ClippedGradients
from angioshare.privacy.events import Spend
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.noise import GaussianNoise
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.selection import Draw, PoissonSelector
from angioshare.privacy.statements import SEEDED, UNLEDGERED, state
from angioshare.privacy.unit import PrivacyStatement
from angioshare.team import Team

RESERVED_AT_ONCE = 64
"""Steps that one line of the ledger reserves: a kill counts at most so many too much."""
_STOPPED = np.array([-1])  # what the leader tells instead of a draw
_GLANCES = 20  # epsilon for the progress is calculated so often in a run; in between, the next higher one is shown


class PrivateEngine:
    """Draws units, charges the ledger, and makes private gradients.

    Args:
        plan: All public settings.
        critic: What is trained; a Sequential of allowed layers.
        synthetic_rows: How many synthetic rows come with each step, >= 0: a public constant, never the number drawn.
        ledger: The cohort's ledger, open. None marks every statement `not private` (tests).
        run: Name of the run in the ledger; a resumed run has the same one, and keeps its earlier charges.
        steps: How many steps this engine may make (the rest of a resumed run); None takes the plan's.
        noise: Source of noise; None makes a fresh one from the operating system.
        selector: Draws units; None makes a fresh one from the operating system.
        most_rows: So many rows go through the critic at once.
        rows_per_patch: For unit patch, how many rows show each drawn patch, >= 1, for example under several noise
            levels. Public. A patch's gradient is then the mean over its rows, clipped once, as a subject's is.
        present: How many units are there, at most the plan's, which is a public bound; None takes that. As private as
            who they are: it is drawn from and goes nowhere else.
        team: Processes that share the training; None finds them. Only the leader has a ledger, draws and noises.
        released: What the statement speaks of.

    Raises:
        PrivacyError: The critic has a layer that is not known to be safe, or the selector does not fit the plan.

    Guarantees:
        See `plan.py`. Selection and noise are fresh at every start and cannot be stored. In a team each unit belongs
        to one process, and the sum over all processes is noised once.
    """

    def __init__(
        self,
        *,
        plan: PrivacyPlan,
        critic: nn.Module,
        synthetic_rows: int,
        ledger: Ledger | None,
        run: str,
        steps: int | None = None,
        noise: GaussianNoise | None = None,
        selector: PoissonSelector | None = None,
        most_rows: int = 256,
        rows_per_patch: int = 1,
        present: int | None = None,
        team: Team | None = None,
        released: tuple[str, ...] = ("the trained synthesizer and all that it draws",),
    ) -> None:
        self.plan, self.run, self.synthetic_rows = plan, run, synthetic_rows
        if rows_per_patch < 1:
            raise SettingsError(f"rows_per_patch={rows_per_patch} must be at least 1")
        self._rows_per_patch = rows_per_patch
        self._team = team if team is not None else Team()
        usual_rows = math.ceil((plan.expected_units * rows_per_patch + synthetic_rows) / self._team.size)
        # The synthetic term has the weight of the expected draw; see `step_gradient`.
        usual_units = (2 if synthetic_rows else 1) * plan.expected_units
        self._clipped = ClippedGradients(critic, plan.clip_norm, most_rows, usual_rows, usual_units)
        self._noise = noise if noise is not None else GaussianNoise()
        there = plan.n_units if present is None else present
        if there > plan.n_units:
            raise PrivacyError(f"more units are there than n_units={plan.n_units}, which the plan gives as their bound")
        self._selector = selector or PoissonSelector(there, plan.sampling_probability)
        if (self._selector.n_units, self._selector.probability) != (there, plan.sampling_probability):
            raise PrivacyError(
                f"selector draws from {self._selector.n_units} units with probability {self._selector.probability}, "
                f"but the plan says {plan.n_units} and {plan.sampling_probability}; make it from the plan"
            )
        if ledger is not None and not self._team.leads:
            raise PrivacyError(f"process {self._team.rank} is not the leader, who alone charges; give it no ledger")
        self._ledger, self._released = ledger, released
        self._planned = plan.steps if steps is None else steps
        self._allowance = Allowance(plan, plan.event(), ledger, run, self._planned)
        self._of_this_run = self._allowance.of_this_run
        self._made = 0
        self._reservation, self._reserved_left = 0, 0
        self._current: Draw | None = None

    @property
    def steps_left(self) -> int:
        """How many more draws are planned and affordable."""
        return self._allowance.left(self._made)

    def draw(self) -> Draw:
        """Charge a step, then draw who enters it.

        Raises:
            BudgetExceeded: The step would lift the cohort's total above the budget.
            PrivacyError: All planned steps have been made.
            LedgerError: The step could not be charged on disk.

        Guarantees:
            The step's charge is on disk before anybody knows who was drawn.
        """
        if not self._team.leads:
            return self._led_draw()
        try:
            draw = self._charged_draw()
        except BaseException:
            self._team.told_by_leader(_STOPPED)
            raise
        self._current = Draw(self._team.own(self._team.told_by_leader(draw.indices))) if self._team.size > 1 else draw
        return self._current

    def _led_draw(self) -> Draw:
        """What the leader drew, as far as this process owns it."""
        drawn = self._team.told_by_leader(None)
        if drawn.tolist() == _STOPPED.tolist():
            # Why it stopped, the leader says; whoever follows stops at the same step and in the same way.
            raise BudgetExceeded(f"the leader stopped before step {self._made + 1} of {self._planned}; see its message")
        self._made += 1
        self._current = Draw(self._team.own(drawn))
        return self._current

    def _charged_draw(self) -> Draw:
        if self._ledger is None:
            self._allowance.look(self._made)
        elif self._reserved_left == 0:
            with self._ledger.turn():
                steps = min(RESERVED_AT_ONCE, self._allowance.look(self._made))
                number = self._ledger.reserve(self.plan.event(), self.run, steps)
            # Steps come last: an interrupt before them leaves nothing to give back, least of all of an older one.
            self._reservation, self._reserved_left = number, steps
        self._reserved_left -= 1
        self._made += 1
        return self._selector.draw()

    def step_gradient(
        self, draw: Draw, real: Tensor, groups: Tensor | None, synthetic: Tensor, real_loss: Loss, synthetic_loss: Loss
    ) -> None:
        """Write the private gradient into `grad` of each trainable parameter of the critic.

        Args:
            draw: The latest draw, unspent.
            real: Rows of the drawn units, shape (n, ...): for unit patch, `rows_per_patch` for each of `draw.indices`,
                one patch after the other.
            groups: For unit subject, the position in `draw.indices` of each row's subject, shape (n,). Else None.
            synthetic: Synthetic rows, shape (synthetic_rows, ...); in a team this process's share of them.
            real_loss: Maps critic scores (n,) of real rows to losses (n,); called on one score at a time.
            synthetic_loss: The same for synthetic rows.

        Raises:
            PrivacyError: The draw was spent, is not the latest, or rows do not fit it; the number of synthetic rows
                is not the constant that was agreed.
        """
        self._accept(draw, real, groups, synthetic)
        parameters = self._clipped.parameters()
        draw.spend()
        for parameter in parameters:
            parameter.grad = None  # its memory is wanted
        public = self.plan.expected_units / max(self.synthetic_rows, 1)
        if groups is None and self._rows_per_patch > 1:
            patches = torch.arange(len(draw.indices), device=real.device)
            groups = patches.repeat_interleave(self._rows_per_patch)
        if groups is None:
            pieces = [(len(real), real_loss, 1.0), (len(synthetic), synthetic_loss, public)]
            sums = self._clipped.clipped_sum(torch.cat((real, synthetic)), pieces)
        else:
            sums = self._clipped.clipped_sum_of_units(real, groups, real_loss)
            free = self._clipped.clipped_sum(synthetic, [(len(synthetic), synthetic_loss, public)])
            sums = [private + added for private, added in zip(sums, free, strict=True)]
        sums = self._team.sum_at_leader(sums)
        for index in range(len(sums) if self._team.leads else 0):
            sums[index] = self._noise.add_to(sums[index], self.plan.noise_std)  # one by one, to hold each but once
        for parameter, noised in zip(parameters, self._team.as_leader_has(sums), strict=True):
            parameter.grad = noised.div_(self.plan.expected_units)

    def epsilon_so_far(self) -> float:
        """Epsilon of this run for the plan's unit, for a progress line: never too low, and cheap.

        Never print it without saying whose it is: see `statement`.
        """
        stride = max(1, -(-self.plan.steps // _GLANCES))
        made = -(-self._made // stride) * stride
        spends = [*self._of_this_run, Spend(event=self.plan.event(), steps=made)]
        return guarantee(spends, self.plan.delta_value, self.plan.unit, self.plan.relation).epsilon

    def statement(self) -> PrivacyStatement:
        """The statement of this run so far, its earlier and lost steps included."""
        spends = [*self._of_this_run, Spend(event=self.plan.event(), steps=self._made)]
        caveats = [SEEDED] if self._noise.seeded or self._selector.seeded else []
        caveats += [] if self._ledger is not None else [UNLEDGERED]
        return state(spends, self.plan.deltas, self._released, self.plan.relation, tuple(caveats))

    def close(self) -> None:
        """Give back the steps that were reserved and never drawn; the engine makes no more.

        Where the ledger is closed, as after a failed write, nothing is given back: too much is counted then.
        """
        unused, self._reserved_left, self._planned = self._reserved_left, 0, self._made
        self._allowance.close(self._made)
        if self._ledger is not None and unused > 0 and self._ledger.is_open:
            self._ledger.settle(self._reservation, unused)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self, draw: Draw, real: Tensor, groups: Tensor | None, synthetic: Tensor) -> None:
        """Refuse what does not fit, before any private row is looked at."""
        if draw is not self._current:
            raise PrivacyError(
                "this draw is not the latest of this engine and was not charged for this step; draw again"
            )
        if len(synthetic) != self._team.share_of(self.synthetic_rows):
            raise PrivacyError(
                f"{len(synthetic)} synthetic rows, but the public constant is {self.synthetic_rows} in all processes; "
                "their number must not follow the draw"
            )
        if (groups is not None) != (self.plan.unit == "subject"):
            raise SettingsError(f"groups must be given for unit='subject' alone; the unit is {self.plan.unit!r}")
        if groups is None and len(real) != len(draw.indices) * self._rows_per_patch:
            raise PrivacyError(
                f"real rows must be exactly those of the draw, {self._rows_per_patch} for each index, in order"
            )
        if groups is not None and (
            len(groups) != len(real)
            or (len(groups) and not 0 <= int(groups.min()) <= int(groups.max()) < len(draw.indices))
        ):
            raise PrivacyError("groups must give for each real row a position in the draw's indices")
