"""How many steps a run may still make: those that were planned, as far as the cohort's budget has room for them.

Other runs on the cohort may spend at the same time, so what there is room for is found anew in each turn of the ledger
in which others were seen to have spent.
"""

from angioshare.errors import BudgetExceeded, PrivacyError
from angioshare.privacy.calibration import steps_for
from angioshare.privacy.events import Spend, StepEvent, merged
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.plan import PrivacyPlan


class Allowance:
    """See the module.

    Args:
        plan: Says the budget, its delta and its unit.
        event: What one step does, as the ledger sees it.
        ledger: The cohort's ledger, open; None forgoes the budget (tests).
        run: Name of the run in the ledger.
        steps: How many steps are planned.
    """

    def __init__(self, plan: PrivacyPlan, event: StepEvent, ledger: Ledger | None, run: str, steps: int) -> None:
        self._plan, self._event, self._ledger, self._run = plan, event, ledger, run
        earlier = ledger.spends() if ledger is not None else []
        self.of_this_run = merged(spend for spend in earlier if spend.run == run)
        """What earlier starts of the run spent."""
        self._planned = self._most = self._affordable = steps
        if plan.keeps_target:
            # Steps of one run are alike: as many as were planned cost what was asked for, whoever counts them.
            charged = sum(spend.steps for spend in self.of_this_run)
            self._most = self._affordable = max(0, min(steps, plan.steps - charged))
        self._others: list[Spend] | None = None
        self._count(earlier, 0)

    def left(self, made: int) -> int:
        """How many steps may still be made after `made` of them, as far as is known."""
        return self._affordable - made

    def look(self, made: int) -> int:
        """How many may still be made, now that the ledger can be held; within its turn.

        Args:
            made: Steps of this start that the ledger holds already.

        Raises:
            BudgetExceeded: None, since one more would lift the cohort's total above its budget, or the run above what
                all its planned steps cost.
            PrivacyError: None, since all planned ones have been made.
        """
        if self._ledger is not None and self._plan.epsilon_budget is not None:
            self._count(self._ledger.spends(), made)
        if self.left(made) <= 0:
            raise self.refusal(made)
        return self.left(made)

    def close(self, made: int) -> None:
        """Allow no more than were made."""
        self._planned = self._most = self._affordable = made

    def refusal(self, made: int) -> PrivacyError:
        """Why there is no step after `made` of them."""
        if self._affordable == self._most < self._planned:
            return BudgetExceeded(
                f"what was charged before {self._run} was stopped, and then lost, leaves {self._most} of "
                f"{self._planned} steps, or it would cost more than it was asked for; a run in another folder begins "
                "anew and is charged beside it"
            )
        if self._affordable < self._planned:
            return BudgetExceeded(
                f"step {made + 1} of {self._planned} would lift epsilon for one {self._plan.unit} above "
                f"epsilon_budget={self._plan.epsilon_budget}, all runs on the cohort together; raise it or stop here"
            )
        return PrivacyError(f"all {self._planned} planned steps have been made; plan more before you start")

    def _count(self, spends: list[Spend], made: int) -> None:
        """Find anew what there is room for, if others spent since it was found last: that takes a second.

        Others are whoever spent what this start did not, under the same name too: a run's folder may have been copied.
        """
        budget = self._plan.epsilon_budget
        others = merged([*spends, Spend(event=self._event, steps=-made)])
        if budget is None or others == self._others:
            return
        self._others = others
        self._affordable = made + self._room(spends, made)

    def _room(self, spends: list[Spend], made: int) -> int:
        """How many more steps the budget has room for, beside all that was spent."""
        plan = self._plan
        assert plan.epsilon_budget is not None
        left, spent = self._most - made, tuple(merged(spends))
        return steps_for(plan.epsilon_budget, plan.delta_value, self._event, left, spent)
