"""Rule 11 where a run is killed: all that it was charged together keeps what it was asked for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from angioshare.errors import BudgetExceeded, PrivacyError
from angioshare.privacy.accounting import guarantee
from angioshare.privacy.allowance import Allowance
from angioshare.privacy.engine import RESERVED_AT_ONCE, PrivateEngine
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.plan import PrivacyPlan

FAILED = (AssertionError, pytest.fail.Exception, PrivacyError)
Plan = Callable[..., PrivacyPlan]


def check_a_killed_run_keeps_its_target(plan: PrivacyPlan, critic: nn.Module, ledger: Ledger, made: int) -> None:
    """Killed in the middle and taken up from an older checkpoint, a run costs no more than it was planned to."""
    killed = PrivateEngine(plan=plan, critic=critic, synthetic_rows=0, ledger=ledger, run="r")
    for _ in range(made):
        killed.draw()  # no close: the process is gone, and what it had reserved stays charged
    ledger.reserve(plan.event(), "another run", 500)
    lost = -made % RESERVED_AT_ONCE + 10
    engine = PrivateEngine(
        plan=plan, critic=critic, synthetic_rows=0, ledger=ledger, run="r", steps=plan.steps - made + 10
    )
    assert engine.steps_left == plan.steps - made + 10 - lost
    for _ in range(engine.steps_left):
        engine.draw()
    with pytest.raises(BudgetExceeded, match="charged before r was stopped, and then lost"):
        engine.draw()
    engine.close()
    assert guarantee(ledger.spent_by("r"), plan.delta_value, plan.unit).epsilon <= plan.predicted().patch.epsilon


@pytest.mark.parametrize("made", [70, 128])
def test_a_killed_run_keeps_its_target(plan: Plan, critic: nn.Module, ledger: Ledger, made: int) -> None:
    check_a_killed_run_keeps_its_target(plan(keeps_target=True), critic, ledger, made)


class ForgetsLostSteps(Allowance):
    """Plans what the checkpoint has left, whatever was charged."""

    def __init__(self, plan: PrivacyPlan, *others: Any) -> None:
        super().__init__(replace(plan, keeps_target=False), *others)


def test_check_of_the_target_catches(
    plan: Plan, critic: nn.Module, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("angioshare.privacy.engine.Allowance", ForgetsLostSteps)
    with pytest.raises(FAILED):
        check_a_killed_run_keeps_its_target(plan(keeps_target=True), critic, ledger, 70)


def test_a_run_that_was_stopped_cleanly_makes_all_its_steps(plan: Plan, critic: nn.Module, ledger: Ledger) -> None:
    chosen = plan(keeps_target=True)
    with PrivateEngine(plan=chosen, critic=critic, synthetic_rows=0, ledger=ledger, run="r") as engine:
        for _ in range(70):
            engine.draw()
    again = PrivateEngine(plan=chosen, critic=critic, synthetic_rows=0, ledger=ledger, run="r", steps=chosen.steps - 70)
    for _ in range(chosen.steps - 70):
        again.draw()
    with pytest.raises(PrivacyError, match="have been made"):
        again.draw()
