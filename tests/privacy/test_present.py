"""How many units are there may follow from labels: they are drawn from, and nothing else follows from their number."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from angioshare.errors import PrivacyError
from angioshare.privacy.engine import PrivateEngine
from angioshare.privacy.entropy import KeyStream
from angioshare.privacy.noise import GaussianNoise
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.selection import Draw

Plan = Callable[..., PrivacyPlan]
Rows = Callable[[int], Tensor]


class DividesByThoseThatAreThere(PrivateEngine):
    """Makes its plan from how many units there are, which labels may tell."""

    def __init__(self, **settings: object) -> None:
        plan, there = settings["plan"], settings["present"]
        assert isinstance(plan, PrivacyPlan)
        assert isinstance(there, int)
        share = plan.expected_units / there
        super().__init__(**{**settings, "plan": replace(plan, n_units=there, sampling_probability=share)})  # type: ignore[arg-type]


def check_how_many_are_there_goes_nowhere(
    make: Callable[..., PrivateEngine], plan: PrivacyPlan, critic: nn.Module, rows: Rows
) -> None:
    """With 40 units or 10 of them, those are drawn that are there, and gradient and statement are the same."""
    found = []
    for present in (40, 10):
        quiet = GaussianNoise(KeyStream(test_seed=1))
        engine = make(plan=plan, critic=critic, synthetic_rows=0, ledger=None, run="r", noise=quiet, present=present)
        sizes = []
        for _ in range(150):
            indices = engine.draw().indices
            assert indices.max(initial=0) < present
            sizes.append(len(indices))
        assert stats.binomtest(sum(sizes), 150 * present, plan.sampling_probability).pvalue > 1e-9
        engine._selector.draw = lambda: Draw(np.array([3, 7]))  # type: ignore[method-assign]
        engine.step_gradient(engine.draw(), rows(2), None, rows(0), torch.square, torch.square)
        gradients = [p.grad.clone() for p in critic.parameters() if p.grad is not None]
        found.append((gradients, engine.statement().to_json()))
    (one, said), (other, said_too) = found
    assert said == said_too
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_how_many_are_there_goes_nowhere(plan: Plan, critic: nn.Module, rows: Rows) -> None:
    check_how_many_are_there_goes_nowhere(PrivateEngine, plan(), critic, rows)


@pytest.mark.parametrize("mutant", [DividesByThoseThatAreThere])
def test_check_of_those_that_are_there_catches(
    mutant: type[PrivateEngine], plan: Plan, critic: nn.Module, rows: Rows
) -> None:
    with pytest.raises(AssertionError):
        check_how_many_are_there_goes_nowhere(mutant, plan(), critic, rows)


def test_more_units_than_the_bound_are_refused(plan: Plan, critic: nn.Module) -> None:
    with pytest.raises(PrivacyError, match="their bound"):
        PrivateEngine(plan=plan(), critic=critic, synthetic_rows=0, ledger=None, run="r", present=41)
