"""Rules 3 and 5 for networks that branch and for several rows of one patch: each unit by itself, clipped once."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy.branches import Beside, FirstChannels, SquaredError
from angioshare.privacy.clipping import ROUNDING, ROUNDING_PER_UNIT, ClippedGradients
from angioshare.privacy.engine import PrivateEngine
from angioshare.privacy.layers import allowed_layers
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.selection import Draw, PoissonSelector

Plan = Callable[..., PrivacyPlan]
FAILED = (AssertionError, pytest.fail.Exception, RuntimeError)


def branching() -> nn.Sequential:
    """A U-Net of two levels and its squared error; rows hold three channels that it sees and two that it must meet."""
    torch.manual_seed(8)
    inner = Beside(nn.Conv2d(4, 6, 2, 2), nn.SiLU(), nn.Conv2d(6, 3, 1), nn.Upsample(scale_factor=2))
    outer = Beside(
        nn.AvgPool2d(2), nn.Conv2d(4, 4, 3, padding=1), nn.GroupNorm(2, 4), inner, nn.Upsample(scale_factor=2)
    )
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.LeakyReLU(0.2), outer, nn.Conv2d(11, 2, 3, padding=1))
    return nn.Sequential(Beside(FirstChannels(3), network), SquaredError(2)).double()


def rows_of(count: int) -> Tensor:
    return torch.randn(count, 5, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


def same(scores: Tensor) -> Tensor:
    return scores


def distance(first: list[Tensor], second: list[Tensor]) -> float:
    """L2 distance over all parameters; infinite if anything is not finite."""
    total = sum(float((a.double() - b.double()).square().sum()) for a, b in zip(first, second, strict=True))
    return float(np.sqrt(np.nan_to_num(total, nan=np.inf)))


def by_hand(critic: nn.Module, rows: Tensor, clip_norm: float, copies: int = 1) -> list[Tensor]:
    """Mean gradient over each unit's copies, clipped, summed, with nothing but autograd."""
    parameters = list(critic.parameters())
    sums = [torch.zeros_like(p) for p in parameters]
    for unit in rows.split(copies):
        gradient = torch.autograd.grad(critic(unit).mean(), parameters)
        norm = float(torch.sqrt(sum((g**2).sum() for g in gradient)))
        for total, g in zip(sums, gradient, strict=True):
            total += g * min(1.0, clip_norm / norm)
    return sums


@pytest.mark.parametrize("clip_norm", [1e-3, 1e9])
def test_unit_gradients_through_branches_equal_a_loop(clip_norm: float) -> None:
    critic, rows = branching(), rows_of(5)
    expected = by_hand(critic, rows, clip_norm * (1 - 1e-5))
    scale = max(1.0, distance(expected, [torch.zeros_like(g) for g in expected]))
    for most_rows in (2, 100):
        clipped = ClippedGradients(critic, clip_norm, most_rows)
        assert distance(clipped.clipped_sum(rows, [(5, same, 1.0)]), expected) < 1e-10 * scale
        assert distance(clipped.clipped_sum_of_units(rows, torch.arange(5), same), expected) < 1e-10 * scale


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e200, 0.0])
@pytest.mark.parametrize("channel", [0, 2, 4])
def test_a_broken_row_reaches_no_other_through_branches(value: float, channel: int) -> None:
    """The score of a row follows from this row alone, whatever stands in another one's input, level or target."""
    critic, rows = branching(), rows_of(4)
    alone = critic(rows[1:])
    rows[0, channel] = value
    assert torch.equal(critic(rows)[1:], alone)
    clipped = ClippedGradients(critic, 0.5)
    without = clipped.clipped_sum(rows[1:], [(3, same, 1.0)])
    assert distance(clipped.clipped_sum(rows, [(4, same, 1.0)]), without) <= 0.5


def test_the_target_is_not_seen_and_the_rest_is() -> None:
    critic, rows = branching(), rows_of(2)
    network = critic.requires_grad_(False)[0].inner
    other = rows.clone()
    other[:, 3:] += 1
    assert torch.equal(network(rows), network(other))
    assert critic(rows).flatten().tolist() == pytest.approx(
        [float((f - row[3:]).square().sum()) for f, row in zip(network(rows), rows, strict=True)]
    )


class Mixing(Beside):
    """Adds the mean over the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((self.inner(x) + x.mean(0), x), 1)


def unsafe_branches() -> dict[str, nn.Module]:
    tied = nn.Conv2d(2, 2, 1)
    hooked, replaced, remembering = Beside(nn.Conv2d(2, 2, 1)), Beside(nn.Conv2d(2, 2, 1)), Beside(nn.Conv2d(2, 2, 1))
    hooked.register_forward_hook(lambda module, given, made: made - made.mean(0))
    replaced.forward = lambda x: x.mean(0, keepdim=True)  # type: ignore[method-assign]
    remembering.register_buffer("seen", torch.zeros(2))
    exchanged = Beside(nn.Conv2d(2, 2, 1))
    exchanged.inner = Mixing(nn.Conv2d(2, 2, 1))  # type: ignore[assignment]
    return {
        "batch norm inside": Beside(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)),
        "batch norm two branches down": Beside(Beside(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))),
        "subclass": Mixing(nn.Conv2d(2, 2, 1)),
        "exchanged inside": exchanged,
        "hook": hooked,
        "forward of its own": replaced,
        "buffer": remembering,
        "tied inside": Beside(tied, nn.SiLU(), tied),
        "tied across": nn.Sequential(Beside(tied), nn.Conv2d(4, 2, 1), Beside(tied)),
        "subclass of a plain one": nn.Sequential(nn.Conv2d(2, 2, 1), type("FirstChannels", (FirstChannels,), {})(1)),
    }


def outside_alone(network: nn.Module) -> list[nn.Module]:
    """Looks at the chain and opens no branch."""
    return list(network.children())


def check_unsafe_branch_is_refused(layers_of: Callable[[nn.Module], list[nn.Module]], name: str) -> None:
    with pytest.raises(PrivacyError):
        layers_of(nn.Sequential(unsafe_branches()[name], nn.Flatten(), nn.Linear(8, 1)))


@pytest.mark.parametrize("name", unsafe_branches())
def test_unsafe_branch_is_refused(name: str) -> None:
    check_unsafe_branch_is_refused(allowed_layers, name)
    with pytest.raises(PrivacyError):
        ClippedGradients(nn.Sequential(unsafe_branches()[name]), 1.0)


@pytest.mark.parametrize("name", unsafe_branches())
def test_check_of_branches_catches_one_that_lets_it_through(name: str) -> None:
    with pytest.raises(FAILED):
        check_unsafe_branch_is_refused(outside_alone, name)


class Chosen(PoissonSelector):
    """Draws whom the test names."""

    def __init__(self, plan: PrivacyPlan, indices: list[int]) -> None:
        super().__init__(plan.n_units, plan.sampling_probability)
        self.chosen = indices

    def draw(self) -> Draw:
        return Draw(np.array(self.chosen, int))


class EveryCopyAUnit(PrivateEngine):
    """Clips each copy by itself, so that a patch weighs as many clip norms as it has copies."""

    def step_gradient(self, draw: Draw, real: Tensor, *others: object) -> None:
        self._accept(draw, real, None, others[1])  # type: ignore[arg-type]
        draw.spend()
        sums = self._clipped.clipped_sum(real, [(len(real), same, 1.0)])
        for parameter, total in zip(self._clipped.parameters(), sums, strict=True):
            parameter.grad = self._noise.add_to(total, self.plan.noise_std) / self.plan.expected_units


def sum_over(make: type[PrivateEngine], plan: PrivacyPlan, rows: Tensor, copies: int) -> list[Tensor]:
    """The engine's sum over patches that are all drawn, with hardly any noise."""
    critic = branching()
    engine = make(
        plan=plan, critic=critic, synthetic_rows=0, ledger=None, run="r", rows_per_patch=copies,
        selector=Chosen(plan, list(range(len(rows) // copies))),
    )  # fmt: skip
    engine.step_gradient(engine.draw(), rows, None, rows[:0], same, same)
    return [p.grad * plan.expected_units for p in critic.parameters() if p.grad is not None]


def check_copies_of_a_patch_are_one_clip(make: type[PrivateEngine], plan: PrivacyPlan) -> None:
    copies, rows = 4, rows_of(12)
    whole = sum_over(make, plan, rows, copies)
    bound = plan.clip_norm * (1 - ROUNDING - ROUNDING_PER_UNIT * plan.expected_units)
    assert distance(whole, by_hand(branching(), rows, bound, copies)) < 1e-6
    for unit in (rows[:4], rows[:4] * 1e6, torch.full_like(rows[:4], float("nan"))):
        moved = sum_over(make, plan, torch.cat((rows[4:], unit)), copies)
        assert distance(moved, sum_over(make, plan, rows[4:], copies)) <= plan.clip_norm + 1e-6


def test_copies_of_a_patch_are_one_clip(plan: Plan) -> None:
    check_copies_of_a_patch_are_one_clip(PrivateEngine, plan(noise_multiplier=1e-9, clip_norm=0.3))


@pytest.mark.parametrize("mutant", [EveryCopyAUnit])
def test_check_of_copies_catches(mutant: type[PrivateEngine], plan: Plan) -> None:
    with pytest.raises(FAILED):
        check_copies_of_a_patch_are_one_clip(mutant, plan(noise_multiplier=1e-9, clip_norm=0.3))


def test_the_number_of_copies_is_the_one_that_was_agreed(plan: Plan) -> None:
    chosen = plan()
    engine = PrivateEngine(
        plan=chosen, critic=branching(), synthetic_rows=0, ledger=None, run="r", rows_per_patch=3,
        selector=Chosen(chosen, [1, 2]),
    )  # fmt: skip
    draw = engine.draw()
    for count in (2, 4, 5, 7):
        with pytest.raises(PrivacyError, match="3 for each index"):
            engine.step_gradient(draw, rows_of(count), None, rows_of(0), same, same)
    engine.step_gradient(draw, rows_of(6), None, rows_of(0), same, same)
    with pytest.raises(SettingsError, match="rows_per_patch=0"):
        PrivateEngine(plan=chosen, critic=branching(), synthetic_rows=0, ledger=None, run="r", rows_per_patch=0)


def test_copies_cost_nothing(plan: Plan) -> None:
    """The event that is charged does not know of copies, and an empty draw is still noise."""
    chosen = plan()
    critic = branching()
    engine = PrivateEngine(
        plan=chosen, critic=critic, synthetic_rows=0, ledger=None, run="r", rows_per_patch=5,
        selector=Chosen(chosen, []),
    )  # fmt: skip
    before = engine.statement().patch.epsilon
    engine.step_gradient(engine.draw(), rows_of(0), None, rows_of(0), same, same)
    assert before < engine.statement().patch.epsilon
    once = PrivateEngine(plan=chosen, critic=branching(), synthetic_rows=0, ledger=None, run="r")
    once.draw()
    assert engine.statement().patch.epsilon == once.statement().patch.epsilon
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in critic.parameters())
