"""Rules 11 to 13: plans, statements and the planner say what holds, for both units, and refuse what cannot."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from angioshare.errors import LedgerError, PrivacyError, SettingsError
from angioshare.privacy.accounting import guarantee
from angioshare.privacy.calibration import (
    affordable_numbers,
    auto_delta,
    calibrate_noise,
    gaussian_mu,
    signal_to_noise,
    steps_for,
    verdict,
)
from angioshare.privacy.events import Spend, StepEvent
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.planner import budget, ledger_report
from angioshare.privacy.statements import NOT_COVERED, Deltas, deltas_for, state
from angioshare.privacy.unit import PrivacyStatement, public_knowledge, statement_from_json, without_privacy

FAILED = (AssertionError, pytest.fail.Exception)
EVENT = StepEvent(unit="patch", sampling_probability=0.02, noise_multiplier=2.0)
Plan = Callable[..., PrivacyPlan]
Calibrate = Callable[[float, float, StepEvent, int], StepEvent]


# Calibration.


def by_formula(epsilon: float, delta: float, event: StepEvent, steps: int) -> StepEvent:
    """The folklore sigma = q sqrt(2 T log(1.25 / delta)) / epsilon, never checked again."""
    noise = event.sampling_probability * math.sqrt(2 * steps * math.log(1.25 / delta)) / epsilon
    return replace(event, noise_multiplier=noise)


def rounded_down(epsilon: float, delta: float, event: StepEvent, steps: int) -> StepEvent:
    found = calibrate_noise(epsilon, delta, event, steps)
    return replace(event, noise_multiplier=math.floor(found.noise_multiplier * 100) / 100)


def check_calibrated_noise_keeps_the_target(calibrate: Calibrate) -> None:
    for epsilon, steps in ((1.0, 500), (0.3, 1000)):
        found = calibrate(epsilon, 1e-5, EVENT, steps)
        exact = guarantee([Spend(event=found, steps=steps)], 1e-5, "patch").epsilon
        assert 0.98 * epsilon <= exact <= epsilon


def test_calibrated_noise_keeps_the_target() -> None:
    check_calibrated_noise_keeps_the_target(calibrate_noise)


@pytest.mark.parametrize("mutant", [by_formula, rounded_down])
def test_check_of_calibration_catches(mutant: Calibrate) -> None:
    with pytest.raises(FAILED):
        check_calibrated_noise_keeps_the_target(mutant)


def test_little_noise_is_found_for_a_large_target() -> None:
    found = calibrate_noise(60.0, 1e-5, EVENT, 10)
    assert found.noise_multiplier < 0.5
    assert guarantee([Spend(event=found, steps=10)], 1e-5, "patch").epsilon <= 60.0


def test_hopeless_targets_are_refused() -> None:
    with pytest.raises(PrivacyError, match="no noise multiplier"):
        calibrate_noise(1e-3, 1e-9, replace(EVENT, sampling_probability=1.0), 10_000_000)
    for epsilon, steps in ((0.0, 5), (math.inf, 5), (1.0, 0)):
        with pytest.raises(SettingsError):
            calibrate_noise(epsilon, 1e-5, EVENT, steps)


def test_steps_fit_exactly_into_a_budget() -> None:
    fit = steps_for(2.0, 1e-5, EVENT, most=3000)
    costs = [guarantee([Spend(event=EVENT, steps=steps)], 1e-5, "patch").epsilon for steps in (fit, fit + 1)]
    assert costs[0] <= 2.0 < costs[1]


def test_steps_beside_earlier_spends() -> None:
    earlier = (Spend(event=EVENT, steps=500),)
    assert steps_for(2.0, 1e-5, EVENT, most=3000, earlier=earlier) == steps_for(2.0, 1e-5, EVENT, most=3000) - 500
    assert steps_for(0.5, 1e-5, EVENT, most=3000, earlier=earlier) == 0
    assert steps_for(9.0, 1e-5, EVENT, most=7) == 7
    with pytest.raises(SettingsError):
        steps_for(0.0, 1e-5, EVENT, most=7)


@pytest.mark.parametrize(("epsilon", "delta"), [(0.5, 1e-5), (1.0, 1e-3), (8.0, 1e-6), (100.0, 1e-5)])
def test_mu_is_that_of_the_gaussian_mechanism(epsilon: float, delta: float) -> None:
    mu = gaussian_mu(epsilon, delta)
    event = StepEvent(unit="patch", sampling_probability=1.0, noise_multiplier=1 / mu)
    assert guarantee([Spend(event=event, steps=1)], delta, "patch").epsilon == pytest.approx(epsilon, rel=2e-3)


def test_signal_to_noise_decides_what_is_hopeless() -> None:
    assert signal_to_noise(1.0, 1e-5, 41_000) == pytest.approx(11_000, rel=0.05)
    assert affordable_numbers(signal_to_noise(1.0, 1e-3, 41)) < 100
    assert verdict(1.0, 1e-5, 41, None).startswith("hopeless")
    assert verdict(1.0, 1e-5, 41_000, None).startswith("workable")
    assert "no meaningful protection" in verdict(50.0, 1e-5, 41_000, None)
    assert "none of a whole subject" in verdict(1.0, 1e-5, 41_000, 900.0)
    assert "nothing" in verdict(0.0, 1e-5, 41, None)


def test_auto_delta_stays_below_one_over_the_units() -> None:
    for units in (1, 41, 41_000, 10**7):
        assert 0 < auto_delta(units) < 1 / units
    with pytest.raises(SettingsError):
        auto_delta(0)


# Plans.


@pytest.mark.parametrize(
    "change",
    [
        {"n_units": 41},
        {"n_units": 0},
        {"steps": 0},
        {"clip_norm": 0.0},
        {"clip_norm": math.inf},
        {"noise_multiplier": 0.0},
        {"sampling_probability": 2.0},
        {"epsilon_budget": 0.0},
        {"unit": "subject"},
        {"n_subjects": 0},
    ],
)
def test_plans_that_contradict_themselves_are_refused(plan: Plan, change: dict[str, object]) -> None:
    with pytest.raises(SettingsError):
        plan(**change)


class AnyDelta(PrivacyPlan):
    def __post_init__(self) -> None:
        pass


def check_delta_at_one_over_units_is_refused(make: type[PrivacyPlan], settings: dict[str, object]) -> None:
    for delta in (1 / 40, 0.5):
        with pytest.raises(PrivacyError, match="delta"):
            make(**{**settings, "delta": delta})  # type: ignore[arg-type]


def test_delta_at_one_over_units_is_refused(plan: Plan) -> None:
    check_delta_at_one_over_units_is_refused(PrivacyPlan, vars(plan()))


def test_check_of_delta_catches_a_plan_that_takes_any(plan: Plan) -> None:
    with pytest.raises(FAILED):
        check_delta_at_one_over_units_is_refused(AnyDelta, vars(plan()))


class OneDelta(PrivacyPlan):
    @property
    def deltas(self) -> Deltas:
        return Deltas(patch=self.delta_value, subject=self.delta_value)


def check_no_delta_is_one_over_its_units(make: type[PrivacyPlan], settings: dict[str, object]) -> None:
    """Both units stand in the statement, so both deltas must mean something, also where subjects were drawn."""
    changes = {"unit": "subject", "n_units": 41, "n_subjects": 41, "patches_per_subject": 1000, "noise_multiplier": 9.0}
    for delta in (0.01, 0.02, 2e-5):
        found = make(**{**settings, **changes, "delta": delta}).predicted()  # type: ignore[arg-type]
        assert found.subject.delta == delta
        assert found.patch.delta < 1 / 41_000
        assert f"at delta = {found.patch.delta:.3g} (patch)" in found.sentence()
    assert found.patch.delta == 2e-5


def test_no_delta_is_one_over_its_units(plan: Plan) -> None:
    check_no_delta_is_one_over_its_units(PrivacyPlan, vars(plan()))


@pytest.mark.parametrize("mutant", [OneDelta])
def test_check_of_both_deltas_catches(mutant: type[PrivacyPlan], plan: Plan) -> None:
    with pytest.raises(FAILED):
        check_no_delta_is_one_over_its_units(mutant, vars(plan()))


def test_the_default_of_many_subjects_is_none_for_their_patches(plan: Plan) -> None:
    many = plan(unit="subject", n_units=200, n_subjects=200, patches_per_subject=1000, delta=None)
    assert many.deltas == Deltas(patch=auto_delta(200_000), subject=auto_delta(200))
    assert plan(delta=None).deltas == Deltas(patch=auto_delta(40), subject=auto_delta(40))


def test_of_several_deltas_each_unit_takes_the_largest_that_means_something() -> None:
    assert deltas_for([0.01, 2e-5, 1e-6], patches=41_000, subjects=41) == Deltas(patch=2e-5, subject=0.01)
    assert deltas_for([0.5], patches=41_000, subjects=41) == Deltas(patch=auto_delta(41_000), subject=auto_delta(41))
    assert deltas_for([1 / 41], patches=41, subjects=41).subject < 1 / 41


def test_a_plan_predicts_both_units(plan: Plan) -> None:
    chosen = plan(delta=None, noise_multiplier=8.0)
    found = chosen.predicted()
    assert chosen.delta_value == auto_delta(40) == found.patch.delta == found.subject.delta
    assert 0 < found.patch.epsilon < found.subject.epsilon
    assert chosen.expected_units == pytest.approx(8.0)
    assert chosen.noise_std == 8.0


# Statements.


def statement() -> PrivacyStatement:
    event = StepEvent(unit="patch", sampling_probability=0.01, noise_multiplier=4.0, patches_per_subject=5)
    return state([Spend(event=event, steps=100)], 1e-5, ("pairs",))


def check_statement_says_it_all(say: Callable[[PrivacyStatement], str]) -> None:
    said = say(statement())
    needed = ["one patch", "one subject", "delta", "add-or-remove-one", "PLD", "dp-accounting", "pairs", *NOT_COVERED]
    assert all(word in said for word in needed), said


def bare_epsilon(found: PrivacyStatement) -> str:
    return f"epsilon = {found.patch.epsilon:.2f}"


def patch_alone(found: PrivacyStatement) -> str:
    return found.sentence().replace("one subject", "")


def test_statement_says_it_all() -> None:
    check_statement_says_it_all(PrivacyStatement.sentence)


@pytest.mark.parametrize("mutant", [bare_epsilon, patch_alone])
def test_check_of_statements_catches(mutant: Callable[[PrivacyStatement], str]) -> None:
    with pytest.raises(FAILED):
        check_statement_says_it_all(mutant)


def test_a_printed_epsilon_is_never_below_the_calculated_one() -> None:
    found = statement()
    shown = found.sentence().split("epsilon = ")[1].split(" ")[0]
    assert found.patch.epsilon <= float(shown) <= found.patch.epsilon * 1.01


def test_statements_survive_json() -> None:
    for found in (statement(), without_privacy(("x",)), public_knowledge(("y",))):
        assert statement_from_json(found.to_json()) == found


def test_a_caveat_voids_a_statement() -> None:
    assert statement().private
    assert not replace(statement(), caveats=("not private: seeded noise",)).private
    assert not without_privacy(("x",)).private
    assert "epsilon = 0 for one patch" in public_knowledge(("x",)).sentence()
    assert "seeded noise" in replace(statement(), caveats=("not private: seeded noise",)).sentence()


# The planner.


def test_budget_goes_all_three_ways() -> None:
    forward = budget(units=10_000, batch=100, steps=1000, noise_multiplier=1.0, delta=1e-5)
    assert forward["epsilon_pld"] == pytest.approx(1.828, abs=1e-3)
    assert forward["epsilon_rdp"] == pytest.approx(2.10, abs=1e-2)
    epsilon = forward["epsilon_pld"]
    noise = budget(units=10_000, sampling_probability=0.01, steps=1000, epsilon=epsilon, delta=1e-5)
    assert noise["noise_multiplier"] == pytest.approx(1.0, rel=3e-3)
    assert noise["epsilon_pld"] <= epsilon
    steps = budget(units=10_000, batch=100, noise_multiplier=1.0, epsilon=epsilon, delta=1e-5)
    assert 1000 <= steps["steps"] <= 1010


def test_budget_of_the_published_run_says_what_it_is_worth() -> None:
    found = budget(
        units=41_000, batch=32, steps=64_050, noise_multiplier=0.65, delta=1 / 41_000, records_per_subject=1000
    )
    assert found["epsilon_pld"] == pytest.approx(2.628, abs=1e-3)
    assert found["subject_epsilon_pld"] > 10_000
    assert "none of a whole subject" in found["verdict"]
    assert any("delta" in warning for warning in found["warnings"])


def test_budget_of_subjects() -> None:
    found = budget(units=41, batch=1, steps=2000, noise_multiplier=4.0, delta=1 / 41_000, unit="subject")
    assert found["epsilon_pld"] == found["subject_epsilon_pld"] == pytest.approx(0.984, abs=1e-3)
    assert found["verdict"].startswith("hopeless")
    assert found["signal_to_noise"] < 20


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"batch": None}, SettingsError),
        ({"sampling_probability": 0.5}, SettingsError),
        ({"units": None}, SettingsError),
        ({"units": 0}, SettingsError),
        ({"noise_multiplier": None}, SettingsError),
        ({"epsilon": 1.0}, SettingsError),
        ({"steps": 0}, SettingsError),
        ({"noise_multiplier": -1.0}, SettingsError),
        ({"batch": 101}, SettingsError),
        ({"delta": 0.5}, PrivacyError),
        ({"steps": None, "epsilon": 1e-3}, PrivacyError),
    ],
)
def test_budget_refuses_what_it_cannot_answer(change: dict[str, object], error: type[Exception]) -> None:
    settings: dict[str, object] = {"units": 100, "batch": 10, "steps": 5, "noise_multiplier": 1.0, "delta": 1e-5}
    with pytest.raises(error):
        budget(**{**settings, **change})  # type: ignore[arg-type]


def test_budget_without_units_needs_delta() -> None:
    with pytest.raises(SettingsError, match="delta"):
        budget(sampling_probability=0.1, steps=1, noise_multiplier=1.0)
    found = budget(sampling_probability=0.1, steps=1, noise_multiplier=1.0, delta=1e-5)
    assert found["signal_to_noise"] is None


def test_budget_under_replacement_has_no_renyi_number() -> None:
    found = budget(units=1000, batch=10, steps=5, noise_multiplier=2.0, relation="replace-one")
    assert found["epsilon_rdp"] is None
    assert found["epsilon_pld"] > 0


def test_ledger_report_adds_up_and_looks_at_the_chain(ledger: Ledger) -> None:
    ledger.reserve(replace(EVENT, patches_per_subject=10, noise_multiplier=5.0), "one", 30)
    ledger.reserve(replace(EVENT, patches_per_subject=10, noise_multiplier=5.0), "two", 12)
    found = ledger_report(ledger.path)
    assert found["steps_charged"] == 42
    assert [event["run"] for event in found["events"]] == ["one", "two"]
    assert found["delta"] == auto_delta(20)
    assert 0 < found["epsilon"]["patch"] < found["epsilon"]["subject"]
    assert found["chain_ok"]
    assert found["subjects"] == 2
    ledger.close()
    ledger.path.write_bytes(ledger.path.read_bytes().replace(b'"steps":30', b'"steps":3'))
    assert not ledger_report(ledger.path)["chain_ok"]


def test_ledger_report_of_nothing_says_where_to_look(ledger: Ledger) -> None:
    with pytest.raises(LedgerError, match="--ledger"):
        ledger_report(ledger.path.with_name("nothing"))
