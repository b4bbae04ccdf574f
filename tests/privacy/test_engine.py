"""Rules 1 to 3, 6, 7, 10 and 11 where they meet: the engine, and engines that break one of them."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor, nn

from angioshare.errors import BudgetExceeded, PrivacyError, SettingsError
from angioshare.privacy.accounting import guarantee
from angioshare.privacy.allowance import Allowance
from angioshare.privacy.backward import Loss
from angioshare.privacy.chain import spent
from angioshare.privacy.clipping import ClippedGradients
from angioshare.privacy.engine import RESERVED_AT_ONCE, PrivateEngine
from angioshare.privacy.entropy import KeyStream
from angioshare.privacy.events import Spend
from angioshare.privacy.ledger import Ledger, read_lines
from angioshare.privacy.noise import GaussianNoise
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.selection import Draw, PoissonSelector
from angioshare.team import Team

FAILED = (AssertionError, pytest.fail.Exception, PrivacyError)
Plan = Callable[..., PrivacyPlan]
Rows = Callable[[int], Tensor]
SYNTHETIC = 5


class Chosen(PoissonSelector):
    """Draws whom the test names."""

    def __init__(self, plan: PrivacyPlan, indices: list[int]) -> None:
        super().__init__(plan.n_units, plan.sampling_probability)
        self.chosen = indices

    def draw(self) -> Draw:
        return Draw(np.array(self.chosen, int))


def squared(scores: Tensor) -> Tensor:
    return scores**2 - scores


def plus(scores: Tensor) -> Tensor:
    return scores


def step(engine: PrivateEngine, critic: nn.Module, real: Tensor, synthetic: Tensor) -> list[Tensor]:
    engine.step_gradient(engine.draw(), real, None, synthetic, squared, plus)
    return [parameter.grad.clone() for parameter in critic.parameters() if parameter.grad is not None]


class DividesByDrawn(PrivateEngine):
    """Takes the mean over who was drawn."""

    def step_gradient(
        self, draw: Draw, real: Tensor, groups: Tensor | None, synthetic: Tensor, real_loss: Loss, synthetic_loss: Loss
    ) -> None:
        super().step_gradient(draw, real, groups, synthetic, real_loss, synthetic_loss)
        for parameter in self._clipped.parameters():
            assert parameter.grad is not None
            parameter.grad *= self.plan.expected_units / max(len(real), 1)


class NoiseOverBatch(PrivateEngine):
    """Adds noise to the mean with the size that the sum needs divided by the batch once more."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        expected = self.plan.expected_units

        class Thinner(GaussianNoise):
            def add_to(self, value: Tensor, std: float) -> Tensor:
                return super().add_to(value, std / expected)

        self._noise = Thinner()


class SkipsEmptyDraws(PrivateEngine):
    """Makes no noise when nobody was drawn, which tells everybody that nobody was."""

    def step_gradient(
        self, draw: Draw, real: Tensor, groups: Tensor | None, synthetic: Tensor, real_loss: Loss, synthetic_loss: Loss
    ) -> None:
        if len(real):
            return super().step_gradient(draw, real, groups, synthetic, real_loss, synthetic_loss)
        for parameter in self._clipped.parameters():
            parameter.grad = torch.zeros_like(parameter)
        return None


class OneLayerWithout(PrivateEngine):
    def step_gradient(
        self, draw: Draw, real: Tensor, groups: Tensor | None, synthetic: Tensor, real_loss: Loss, synthetic_loss: Loss
    ) -> None:
        super().step_gradient(draw, real, groups, synthetic, real_loss, synthetic_loss)
        first = self._clipped.parameters()[0]
        first.grad = self._clipped.clipped_sum(real, [(len(real), real_loss, 1.0)])[0] / self.plan.expected_units


class ClipsTheBatch(PrivateEngine):
    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        clip = self.plan.clip_norm

        class Batch(ClippedGradients):
            def clipped_sum(self, rows: Tensor, losses: object) -> list[Tensor]:
                loose = ClippedGradients(self._passes.critic, 1e9).clipped_sum(rows, losses)  # type: ignore[arg-type]
                norm = float(torch.sqrt(sum(g.square().sum() for g in loose)))
                return [g * min(1.0, clip / norm) for g in loose]

        self._clipped = Batch(self._clipped._passes.critic, clip)


def check_gradient_is_the_formula(
    make: Callable[..., PrivateEngine], plan: PrivacyPlan, critic: nn.Module, rows: Rows
) -> None:
    """(sum of clipped + noise) / (q N) + mean of clipped synthetic, for draws of 0, 1 and 9 units; noise seen apart."""
    quiet = ClippedGradients(critic, plan.clip_norm)
    errors = []
    for drawn in ([], [3], [0, 1, 2, 3, 4, 5, 6, 7, 8]) * 6:
        engine = make(
            plan=plan, critic=critic, synthetic_rows=SYNTHETIC, ledger=None, run="r", selector=Chosen(plan, drawn)
        )
        real, synthetic = rows(len(drawn)), rows(SYNTHETIC) * 2
        found = step(engine, critic, real, synthetic)
        private = quiet.clipped_sum(real, [(len(real), squared, 1.0)])
        free = quiet.clipped_sum(synthetic, [(SYNTHETIC, plus, 1.0 / SYNTHETIC)])
        errors.append(
            [
                ((g - f) * plan.expected_units - p).flatten() / plan.noise_std
                for g, p, f in zip(found, private, free, strict=True)
            ]
        )
    for drawn_errors in errors:
        assert stats.kstest(torch.cat(drawn_errors).numpy(), "norm").pvalue > 1e-9
    for tensor in zip(*errors, strict=True):
        assert stats.kstest(torch.cat(tensor).numpy(), "norm").pvalue > 1e-9


def test_gradient_is_the_formula(plan: Plan, critic: nn.Module, rows: Rows) -> None:
    check_gradient_is_the_formula(PrivateEngine, plan(clip_norm=0.01, noise_multiplier=2.0), critic, rows)


@pytest.mark.parametrize("mutant", [DividesByDrawn, NoiseOverBatch, SkipsEmptyDraws, OneLayerWithout, ClipsTheBatch])
def test_check_of_formula_catches(mutant: type[PrivateEngine], plan: Plan, critic: nn.Module, rows: Rows) -> None:
    chosen = plan(clip_norm=0.01, noise_multiplier=2.0 if mutant is not ClipsTheBatch else 0.01)
    with pytest.raises(FAILED):
        check_gradient_is_the_formula(mutant, chosen, critic, rows)


class NoRoomForRounding(PrivateEngine):
    """Clips as if a sum of thousands were as exact as one of a few."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)  # type: ignore[arg-type]
        self._clipped = ClippedGradients(self._clipped._passes.critic, self.plan.clip_norm)


def check_rounding_stays_within_the_bound(make: Callable[..., PrivateEngine], plan: Plan) -> None:
    """Where units are alike, all gradients add up in one direction, and the last digits of the sum are coarse."""
    torch.manual_seed(4)
    for count, width, clip_norm in ((196, 18, 2.577), (1000, 64, 1.0), (8000, 64, 1.0), (8000, 1, 1.0)):
        chosen = plan(
            n_units=count, n_subjects=1, patches_per_subject=count, sampling_probability=1.0, clip_norm=clip_norm
        )
        critic = nn.Sequential(nn.Linear(width, 1, bias=False))
        engine = make(plan=chosen, critic=critic, synthetic_rows=0, ledger=None, run="r")
        for _ in range(5):
            alike = torch.randn(width).expand(count, width)
            whole, without = (
                engine._clipped.clipped_sum(rows, [(len(rows), lambda s: 1e3 * s, 1.0)])[0].double()
                for rows in (alike, alike[1:])
            )
            assert float(torch.linalg.vector_norm(whole - without)) <= clip_norm


def test_rounding_stays_within_the_bound(plan: Plan) -> None:
    check_rounding_stays_within_the_bound(PrivateEngine, plan)


@pytest.mark.parametrize("mutant", [NoRoomForRounding])
def test_check_of_rounding_catches(mutant: type[PrivateEngine], plan: Plan) -> None:
    with pytest.raises(FAILED):
        check_rounding_stays_within_the_bound(mutant, plan)


def test_more_than_float32_can_sum_is_refused(critic: nn.Module) -> None:
    for units in (1e6, -1.0, float("nan")):
        with pytest.raises(SettingsError, match="usual_units"):
            ClippedGradients(critic, 1.0, usual_units=units)


def test_subject_gradient_is_the_formula(plan: Plan, critic: nn.Module, rows: Rows) -> None:
    chosen = plan(unit="subject", n_units=4, noise_multiplier=1e-9, clip_norm=0.3)
    groups = torch.tensor([0, 0, 1, 1, 1, 0])
    engine = PrivateEngine(
        plan=chosen, critic=critic, synthetic_rows=2, ledger=None, run="r", selector=Chosen(chosen, [1, 3])
    )
    engine.step_gradient(engine.draw(), rows(6), groups, rows(2), squared, plus)
    quiet = ClippedGradients(critic, 0.3)
    private = quiet.clipped_sum_of_units(rows(6), groups, squared)
    free = quiet.clipped_sum(rows(2), [(2, plus, 0.5)])
    for parameter, p, f in zip(critic.parameters(), private, free, strict=True):
        assert torch.allclose(parameter.grad, p / chosen.expected_units + f, atol=1e-7)


class ReusesDraws(PrivateEngine):
    """Accepts any draw, again and again."""

    def _accept(self, draw: Draw, real: Tensor, groups: Tensor | None, synthetic: Tensor) -> None:
        draw._spent = False


class FollowsTheDraw(PrivateEngine):
    """Takes as many synthetic rows as real ones came."""

    def _accept(self, draw: Draw, real: Tensor, groups: Tensor | None, synthetic: Tensor) -> None:
        self.synthetic_rows = len(synthetic)


def engine_for(make: Callable[..., PrivateEngine], plan: PrivacyPlan, critic: nn.Module) -> PrivateEngine:
    return make(plan=plan, critic=critic, synthetic_rows=SYNTHETIC, ledger=None, run="r")


def check_draw_is_used_once(
    make: Callable[..., PrivateEngine], plan: PrivacyPlan, critic: nn.Module, rows: Rows
) -> None:
    engine = engine_for(make, plan, critic)
    draw = engine.draw()
    real = rows(len(draw.indices))
    engine.step_gradient(draw, real, None, rows(SYNTHETIC), squared, plus)
    with pytest.raises(PrivacyError, match="spent"):
        engine.step_gradient(draw, real, None, rows(SYNTHETIC), squared, plus)
    engine.draw()
    with pytest.raises(PrivacyError, match="latest"):
        engine.step_gradient(draw, real, None, rows(SYNTHETIC), squared, plus)


def check_synthetic_count_is_public(
    make: Callable[..., PrivateEngine], plan: PrivacyPlan, critic: nn.Module, rows: Rows
) -> None:
    engine = engine_for(make, plan, critic)
    draw = engine.draw()
    with pytest.raises(PrivacyError, match="public constant"):
        engine.step_gradient(draw, rows(len(draw.indices)), None, rows(SYNTHETIC + 1), squared, plus)


def check_generators_are_fresh(
    make: Callable[..., PrivateEngine], plan: PrivacyPlan, critic: nn.Module, rows: Rows
) -> None:
    """Two engines that resume from one and the same state."""
    chosen = Chosen(plan, [])
    first, second = (
        step(
            make(plan=plan, critic=critic, synthetic_rows=SYNTHETIC, ledger=None, run="r", selector=chosen),
            critic,
            rows(0),
            rows(SYNTHETIC),
        )
        for _ in range(2)
    )
    assert all(not torch.equal(a, b) for a, b in zip(first, second, strict=True))


class ResumesNoise(PrivateEngine):
    """Restores the generator from a checkpoint."""

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings, noise=GaussianNoise(KeyStream(test_seed=7)))  # type: ignore[arg-type]


CHECKS: dict[Callable[..., None], type[PrivateEngine]] = {
    check_draw_is_used_once: ReusesDraws,
    check_synthetic_count_is_public: FollowsTheDraw,
    check_generators_are_fresh: ResumesNoise,
}


@pytest.mark.parametrize("check", CHECKS)
def test_engine_holds(check: Callable[..., None], plan: Plan, critic: nn.Module, rows: Rows) -> None:
    check(PrivateEngine, plan(), critic, rows)


@pytest.mark.parametrize("check", CHECKS)
def test_engine_check_catches_its_mutant(check: Callable[..., None], plan: Plan, critic: nn.Module, rows: Rows) -> None:
    with pytest.raises(FAILED):
        check(CHECKS[check], plan(), critic, rows)


class ChargesAfterwards(PrivateEngine):
    """Writes a step to the ledger once it is done."""

    def draw(self) -> Draw:
        self._made += 1
        self._current = self._selector.draw()
        return self._current

    def step_gradient(
        self, draw: Draw, real: Tensor, groups: Tensor | None, synthetic: Tensor, real_loss: Loss, synthetic_loss: Loss
    ) -> None:
        super().step_gradient(draw, real, groups, synthetic, real_loss, synthetic_loss)
        assert self._ledger is not None
        self._ledger.reserve(self.plan.event(), self.run, 1)


class ChargesHalf(PrivateEngine):
    """Reserves fewer steps than it then makes."""

    def draw(self) -> Draw:
        draw = super().draw()
        self._reserved_left += self._reserved_left == 1
        return draw


def check_charge_is_on_disk_before_the_draw(
    make: Callable[..., PrivateEngine], plan: PrivacyPlan, critic: nn.Module, ledger: Ledger
) -> None:
    flushed = []
    flush = os.fsync

    class Watched(PoissonSelector):
        def draw(self) -> Draw:
            assert flushed, "nothing was flushed to disk before the first draw"
            made.append(1)
            on_disk = sum(spend.steps for spend in spent(read_lines(ledger.path)))
            assert on_disk >= len(made), f"{on_disk} steps charged at draw {len(made)}"
            return super().draw()

    made: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda handle: (flushed.append(handle), flush(handle))[1])
        selector = Watched(plan.n_units, plan.sampling_probability)
        engine = make(plan=plan, critic=critic, synthetic_rows=0, ledger=ledger, run="r", selector=selector)
        for _ in range(2 * RESERVED_AT_ONCE + 1):
            engine.draw()


def test_charge_is_on_disk_before_the_draw(plan: Plan, critic: nn.Module, ledger: Ledger) -> None:
    check_charge_is_on_disk_before_the_draw(PrivateEngine, plan(), critic, ledger)


@pytest.mark.parametrize("mutant", [ChargesAfterwards, ChargesHalf])
def test_check_of_charges_catches(mutant: type[PrivateEngine], plan: Plan, critic: nn.Module, ledger: Ledger) -> None:
    with pytest.raises(FAILED):
        check_charge_is_on_disk_before_the_draw(mutant, plan(), critic, ledger)


def test_a_clean_stop_charges_what_was_made(plan: Plan, critic: nn.Module, ledger: Ledger) -> None:
    with PrivateEngine(plan=plan(), critic=critic, synthetic_rows=0, ledger=ledger, run="r") as engine:
        for _ in range(RESERVED_AT_ONCE + 3):
            engine.draw()
    assert sum(spend.steps for spend in ledger.spends()) == RESERVED_AT_ONCE + 3
    with pytest.raises(PrivacyError, match="have been made"):
        engine.draw()


def test_resuming_twice_charges_both(plan: Plan, critic: nn.Module, ledger: Ledger) -> None:
    for _ in range(2):
        engine = PrivateEngine(plan=plan(), critic=critic, synthetic_rows=0, ledger=ledger, run="r", steps=10)
        for _ in range(10):
            engine.draw()
        engine.close()
    assert sum(spend.steps for spend in ledger.spent_by("r")) == 20
    expected = guarantee([Spend(event=plan().event(), steps=20)], 1e-5, "patch").epsilon
    assert engine.statement().patch.epsilon == pytest.approx(expected)
    assert ledger.totals(1e-5).patch.epsilon == pytest.approx(expected)


class IgnoresTheBudget(Allowance):
    def _room(self, spends: list[Spend], made: int) -> int:
        return self._planned - made


class ForgetsOtherRuns(Allowance):
    def _room(self, spends: list[Spend], made: int) -> int:
        return super()._room([], made)


class OneStepTooMany(Allowance):
    def _room(self, spends: list[Spend], made: int) -> int:
        return super()._room(spends, made) + 1


class LooksOnce(Allowance):
    """Knows what others spent before, not what they spend meanwhile."""

    def look(self, made: int) -> int:
        if self.left(made) <= 0:
            raise self.refusal(made)
        return self.left(made)


def check_budget_stops_before_the_step(
    make: Callable[..., PrivateEngine], plan: PrivacyPlan, critic: nn.Module, ledger: Ledger
) -> None:
    ledger.reserve(plan.event(), "an earlier run", 20)
    engine = make(plan=plan, critic=critic, synthetic_rows=0, ledger=ledger, run="r")
    made = 0
    for _ in range(engine.steps_left):
        engine.draw()
        made += 1
    with pytest.raises(BudgetExceeded, match="above epsilon_budget"):
        engine.draw()
    engine.close()
    assert made > 10
    total = ledger.totals(plan.delta_value).patch.epsilon
    one_more = [*ledger.spends(), Spend(event=plan.event(), steps=1)]
    assert total <= plan.epsilon_budget < guarantee(one_more, plan.delta_value, "patch").epsilon


def test_budget_stops_before_the_step(plan: Plan, critic: nn.Module, ledger: Ledger) -> None:
    check_budget_stops_before_the_step(PrivateEngine, plan(epsilon_budget=1.5), critic, ledger)


@pytest.mark.parametrize("mutant", [IgnoresTheBudget, ForgetsOtherRuns, OneStepTooMany])
def test_check_of_budget_catches(
    mutant: type[Allowance], plan: Plan, critic: nn.Module, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("angioshare.privacy.engine.Allowance", mutant)
    with pytest.raises(FAILED):
        check_budget_stops_before_the_step(PrivateEngine, plan(epsilon_budget=1.5), critic, ledger)


class SeesOtherNamesAlone(Allowance):
    """Takes whatever was spent under its own name for its own."""

    def _count(self, spends: list[Spend], made: int) -> None:
        if not made or any(spend.run != "first" for spend in spends):
            super()._count(spends, made)


def check_runs_side_by_side_keep_one_budget(
    plan: PrivacyPlan, critic: nn.Module, ledger: Ledger, names: tuple[str, str]
) -> None:
    """Two trainings draw in turn, each with a ledger of its own on the same file; together they keep the budget."""
    with Ledger.open(ledger.path, subjects={"sub-1": "a1"}) as other:
        engines = [
            PrivateEngine(plan=plan, critic=critic, synthetic_rows=0, ledger=one, run=name)
            for name, one in zip(names, (ledger, other), strict=True)
        ]
        assert engines[0].steps_left == engines[1].steps_left > 2 * RESERVED_AT_ONCE
        going, stops = list(engines), 0
        while going:
            for engine in list(going):
                try:
                    engine.draw()
                except BudgetExceeded:
                    going.remove(engine)
                    stops += 1
        assert stops == 2
        spends = ledger.spends()
        assert guarantee(spends, plan.delta_value, plan.unit, plan.relation).epsilon <= plan.epsilon_budget
        assert {spend.run for spend in spends} == set(names)
        assert ledger.verify() == other.verify() == []


@pytest.mark.parametrize("names", [("first", "second"), ("first", "first")])
def test_runs_side_by_side_keep_one_budget(
    plan: Plan, critic: nn.Module, ledger: Ledger, names: tuple[str, str]
) -> None:
    """Under one name too, as a copied folder of a run has it."""
    chosen = plan(epsilon_budget=1.2, noise_multiplier=8.0, steps=1000)
    check_runs_side_by_side_keep_one_budget(chosen, critic, ledger, names)


@pytest.mark.parametrize("mutant", [LooksOnce, SeesOtherNamesAlone])
def test_check_of_runs_side_by_side_catches(
    mutant: type[Allowance], plan: Plan, critic: nn.Module, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("angioshare.privacy.engine.Allowance", mutant)
    with pytest.raises(FAILED):
        check_runs_side_by_side_keep_one_budget(
            plan(epsilon_budget=1.2, noise_multiplier=8.0, steps=1000), critic, ledger, ("first", "first")
        )


def test_a_full_disk_stops_the_run_before_the_draw(plan: Plan, critic: nn.Module, ledger: Ledger) -> None:
    engine = PrivateEngine(plan=plan(), critic=critic, synthetic_rows=0, ledger=ledger, run="r")
    ledger.close()
    with pytest.raises(PrivacyError, match="closed"):
        engine.draw()


def test_epsilon_so_far_is_never_too_low(plan: Plan, critic: nn.Module, ledger: Ledger) -> None:
    ledger.reserve(plan().event(), "r", 5)
    engine = PrivateEngine(plan=plan(), critic=critic, synthetic_rows=0, ledger=ledger, run="r")
    for made in range(1, 6):
        engine.draw()
        exact = guarantee([Spend(event=plan().event(), steps=5 + made)], 1e-5, "patch").epsilon
        assert exact <= engine.epsilon_so_far() <= exact * 1.6


def test_statement_tells_of_seeds_and_of_a_missing_ledger(plan: Plan, critic: nn.Module, ledger: Ledger) -> None:
    make = {"plan": plan(), "critic": critic, "synthetic_rows": 0, "run": "r"}
    seeded = PrivateEngine(**make, ledger=ledger, noise=GaussianNoise(KeyStream(test_seed=1)))
    drawn = PrivateEngine(**make, ledger=ledger, selector=PoissonSelector(40, 0.2, KeyStream(test_seed=1)))
    for engine in (seeded, drawn):
        assert engine.statement().caveats == ("not private: seeded noise",)
        assert not engine.statement().private
    assert not PrivateEngine(**make, ledger=None).statement().private
    honest = PrivateEngine(**make, ledger=ledger).statement()
    assert honest.private
    assert honest.caveats == ()


def test_a_selector_that_does_not_fit_the_plan_is_refused(plan: Plan, critic: nn.Module) -> None:
    with pytest.raises(PrivacyError, match="make it from the plan"):
        PrivateEngine(
            plan=plan(), critic=critic, synthetic_rows=0, ledger=None, run="r", selector=PoissonSelector(40, 0.1)
        )


def test_only_the_leader_of_a_team_charges(plan: Plan, critic: nn.Module, tmp_path: Path) -> None:
    team = Team()
    team.rank, team.size = 1, 2
    with (
        Ledger.open(tmp_path / "ledger.jsonl", subjects={"a": "ab"}) as ledger,
        pytest.raises(PrivacyError, match="leader"),
    ):
        PrivateEngine(plan=plan(), critic=critic, synthetic_rows=0, ledger=ledger, run="r", team=team)


def test_a_follower_stops_as_its_leader_does(plan: Plan, critic: nn.Module) -> None:
    class Told(Team):
        def told_by_leader(self, values: object) -> np.ndarray:
            return np.array([-1])

    team = Told()
    team.rank, team.size = 1, 2
    engine = PrivateEngine(plan=plan(), critic=critic, synthetic_rows=0, ledger=None, run="r", team=team)
    with pytest.raises(BudgetExceeded, match="leader stopped before step 1"):
        engine.draw()


def test_rows_must_be_those_of_the_draw(plan: Plan, critic: nn.Module, rows: Rows) -> None:
    engine = PrivateEngine(
        plan=plan(), critic=critic, synthetic_rows=0, ledger=None, run="r", selector=Chosen(plan(), [1, 2])
    )
    with pytest.raises(PrivacyError, match="exactly those of the draw"):
        engine.step_gradient(engine.draw(), rows(3), None, rows(0), squared, plus)
    with pytest.raises(SettingsError, match="groups"):
        engine.step_gradient(engine.draw(), rows(2), torch.tensor([0, 1]), rows(0), squared, plus)


@pytest.mark.parametrize("groups", [[0, 2, 0], [0, -1, 0], [0, 1]])
def test_groups_must_point_into_the_draw(plan: Plan, critic: nn.Module, rows: Rows, groups: list[int]) -> None:
    chosen = plan(unit="subject", n_units=4)
    engine = PrivateEngine(
        plan=chosen, critic=critic, synthetic_rows=0, ledger=None, run="r", selector=Chosen(chosen, [1, 2])
    )
    with pytest.raises(PrivacyError, match="position"):
        engine.step_gradient(engine.draw(), rows(3), torch.tensor(groups), rows(0), squared, plus)


def test_a_refused_step_does_not_spend_the_draw(plan: Plan, critic: nn.Module, rows: Rows) -> None:
    engine = PrivateEngine(
        plan=plan(), critic=critic, synthetic_rows=0, ledger=None, run="r", selector=Chosen(plan(), [1])
    )
    draw = engine.draw()
    with pytest.raises(PrivacyError):
        engine.step_gradient(draw, rows(2), None, rows(0), squared, plus)
    engine.step_gradient(draw, rows(1), None, rows(0), squared, plus)


def test_nothing_that_was_drawn_is_written_down(plan: Plan, critic: nn.Module, ledger: Ledger, rows: Rows) -> None:
    """The ledger, the statement and the engine's words are the same whoever was drawn."""
    texts = set()
    for drawn in ([], list(range(30))):
        path = Path(str(ledger.path) + str(len(drawn)))
        with Ledger.open(path, subjects={"sub-1": "a1"}) as own:
            engine = PrivateEngine(
                plan=plan(), critic=critic, synthetic_rows=0, ledger=own, run="r", selector=Chosen(plan(), drawn)
            )
            engine.step_gradient(engine.draw(), rows(len(drawn)), None, rows(0), squared, plus)
            texts.add(f"{engine.statement()} {own.spends()} {engine.epsilon_so_far()}")
    assert len(texts) == 1
