"""Rule 9: what ran is what is counted, by a trusted library, upwards, and never in contradiction to a second method."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant
from dp_accounting.pld import privacy_loss_distribution as pld
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy import accounting
from angioshare.privacy.accounting import composed, cross_checked, guarantee, rdp_epsilon
from angioshare.privacy.events import Spend, StepEvent, event_from_json, merged

FAILED = (AssertionError, pytest.fail.Exception)
Epsilon = Callable[[Sequence[Spend], float], float]


def spend(
    noise: float = 2.0, q: float = 0.01, steps: int = 1000, unit: str = "patch", patches: int | None = None
) -> Spend:
    event = StepEvent(
        unit=unit,  # type: ignore[arg-type]
        sampling_probability=q,
        noise_multiplier=noise,
        patches_per_subject=patches,
    )
    return Spend(event=event, steps=steps)


def by_library(spends: Sequence[Spend], delta: float) -> float:
    accountant = PLDAccountant()
    for s in spends:
        gaussian = dp_accounting.GaussianDpEvent(s.event.noise_multiplier)
        accountant.compose(dp_accounting.PoissonSampledDpEvent(s.event.sampling_probability, gaussian), s.steps)
    return float(accountant.get_epsilon(delta))


def of_patch(spends: Sequence[Spend], delta: float) -> float:
    return guarantee(spends, delta, "patch").epsilon


CASES = [
    [spend()],
    [spend(0.7, 0.002, 5000)],
    [spend(4.0, 0.3, 200)],
    [spend(steps=100), spend(2.0, 0.05, 50), spend(steps=20)],
]


def check_epsilon_is_the_librarys(epsilon: Epsilon) -> None:
    for spends in CASES:
        assert epsilon(spends, 1e-5) == pytest.approx(by_library(spends, 1e-5), rel=1e-3)


def check_epsilon_is_monotone(epsilon: Epsilon) -> None:
    base = epsilon([spend()], 1e-5)
    assert epsilon([spend(steps=1300)], 1e-5) > base
    assert epsilon([spend(q=0.013)], 1e-5) > base
    assert epsilon([spend(noise=1.6)], 1e-5) > base
    assert epsilon([spend()], 1e-6) > base
    assert epsilon([spend(), spend(noise=9.0, steps=1000)], 1e-5) > base


def forgets_steps(spends: Sequence[Spend], delta: float) -> float:
    return of_patch([Spend(event=s.event, steps=s.steps // 2) for s in spends], delta)


def counts_the_last_run_alone(spends: Sequence[Spend], delta: float) -> float:
    return of_patch(spends[-1:], delta)


def composes_by_maximum(spends: Sequence[Spend], delta: float) -> float:
    return max(of_patch([s], delta) for s in spends)


def renyi_as_if_exact(spends: Sequence[Spend], delta: float) -> float:
    return rdp_epsilon(spends, delta)


def test_epsilon_is_the_librarys() -> None:
    check_epsilon_is_the_librarys(of_patch)


def test_epsilon_is_monotone() -> None:
    check_epsilon_is_monotone(of_patch)


@pytest.mark.parametrize("mutant", [forgets_steps, counts_the_last_run_alone, composes_by_maximum, renyi_as_if_exact])
def test_check_of_epsilon_catches(mutant: Epsilon) -> None:
    with pytest.raises(FAILED):
        check_epsilon_is_the_librarys(mutant)


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Closed form of the Gaussian mechanism, by bisection (Balle & Wang 2018, theorem 8)."""
    low, high = 0.0, 100.0
    for _ in range(200):
        e = (low + high) / 2
        tail = math.exp(e) * stats.norm.cdf(-e / mu - mu / 2)
        low, high = (e, high) if stats.norm.cdf(-e / mu + mu / 2) - tail > delta else (low, e)
    return high


@pytest.mark.parametrize(("noise", "steps"), [(1.0, 1), (2.0, 4), (5.0, 100)])
def test_full_draws_cost_what_the_closed_form_says(noise: float, steps: int) -> None:
    closed = gaussian_epsilon(math.sqrt(steps) / noise, 1e-5)
    assert of_patch([spend(noise, 1.0, steps)], 1e-5) == pytest.approx(closed, rel=1e-3)
    assert of_patch([spend(noise, 1.0, steps)], 1e-5) >= closed - 1e-6


def gaussian_delta(mu: float, epsilon: float) -> float:
    """Delta of the Gaussian mechanism in closed form, by logarithms that bear any epsilon."""
    taken = epsilon + stats.norm.logcdf(-epsilon / mu - mu / 2)
    return float(stats.norm.cdf(mu / 2 - epsilon / mu) - math.exp(taken))


ReadOff = Callable[[Any, float], float]


def check_huge_epsilons_are_true_and_finite(read_off: ReadOff) -> None:
    """An exponential of more than 708 overflows; delta at what is read off must still be the one that was asked for."""
    for mu in (30.0, 33.0, 33.5, 34.0, 34.5, 40.0, 200.0):
        loss = pld.from_gaussian_mechanism(1 / mu, value_discretization_interval=0.01)
        epsilon = read_off(loss, 2e-5)
        assert math.isfinite(epsilon)
        assert gaussian_delta(mu, epsilon - 0.02) > 0.99 * 2e-5
        assert gaussian_delta(mu, epsilon) <= 2e-5


def by_library_alone(total: Any, delta: float) -> float:
    with np.errstate(over="ignore"):
        return float(total.get_epsilon_for_delta(delta))


def from_below(total: Any, delta: float) -> float:
    """Halves in upon epsilon and returns the end at which delta is still too large."""
    return accounting.read_off(total, delta) * (1 - 1e-3)


def test_huge_epsilons_are_true_and_finite() -> None:
    check_huge_epsilons_are_true_and_finite(accounting.read_off)


@pytest.mark.parametrize("mutant", [by_library_alone, from_below])
def test_check_of_huge_epsilons_catches(mutant: ReadOff) -> None:
    with pytest.raises(AssertionError):
        check_huge_epsilons_are_true_and_finite(mutant)


@pytest.mark.parametrize(("epsilon", "delta", "expected"), [(math.nan, 0.0, math.nan), (math.inf, math.nan, math.inf)])
def test_what_is_no_number_is_read_off_as_none(epsilon: float, delta: float, expected: float) -> None:
    class Broken:
        def get_epsilon_for_delta(self, _: float) -> float:
            return epsilon

        def get_delta_for_epsilon(self, _: float) -> float:
            return delta

    assert accounting.read_off(Broken(), 1e-5) == pytest.approx(expected, nan_ok=True)


def test_little_noise_costs_a_finite_epsilon_that_grows_with_every_step() -> None:
    event = StepEvent(unit="patch", sampling_probability=32 / 3600, noise_multiplier=0.1, patches_per_subject=300)
    found = [guarantee([Spend(event=event, steps=n)], 2e-5, "patch").epsilon for n in (440, 480, 502, 520, 560)]
    assert np.all(np.diff(found) > 0)
    assert 600 < found[0] < found[-1] < 800


@pytest.mark.parametrize(("noise", "patches"), [(10.0, 3), (30.0, 8)])
def test_a_subject_whose_patches_always_enter_costs_its_number_of_patches(noise: float, patches: int) -> None:
    """q = 1: the mixture is one Gaussian of sensitivity K, and the closed form holds."""
    found = guarantee([spend(noise, 1.0, 5, patches=patches)], 1e-5, "subject").epsilon
    closed = gaussian_epsilon(math.sqrt(5) * patches / noise, 1e-5)
    assert closed - 1e-6 <= found <= closed * 1.01


def test_a_subject_with_one_patch_costs_what_the_patch_costs() -> None:
    found = guarantee([spend(4.0, patches=1)], 1e-5, "subject").epsilon
    assert found == pytest.approx(of_patch([spend(4.0)], 1e-5), rel=0.01)


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 2.0])
def test_mixture_equals_numerical_integration(epsilon: float) -> None:
    """One step, K = 4, q = 0.3, sigma = 2: delta at epsilon by adding up densities on a fine grid."""
    event = spend(2.0, 0.3, 1, patches=4)
    x = np.linspace(-40, 44, 400_001)
    weights = stats.binom.pmf(np.arange(5), 4, 0.3)
    mixture = sum(w * stats.norm.pdf(x, k, 2.0) for k, w in enumerate(weights))
    alone = stats.norm.pdf(x, 0, 2.0)
    step = x[1] - x[0]
    expected = max(
        np.maximum(mixture - math.exp(epsilon) * alone, 0).sum() * step,
        np.maximum(alone - math.exp(epsilon) * mixture, 0).sum() * step,
    )
    total = composed([event], 1e-5, "subject", "add-or-remove-one", 1e-3)[1]
    assert expected - 1e-9 <= total.get_delta_for_epsilon(epsilon) <= expected * 1.001 + 1e-9


def test_subject_costs_more_than_a_patch_and_less_than_naive_group_privacy() -> None:
    """Twenty patches: naive group privacy multiplies epsilon by 20 at a delta that is e^(19 epsilon) smaller."""
    event = spend(6.0, 0.01, 500, patches=20)
    patch, subject = of_patch([event], 1e-5), guarantee([event], 1e-5, "subject").epsilon
    assert 2 * patch < subject < 20 * of_patch([event], 1e-7)


def test_hopeless_subjects_get_a_rough_bound_or_infinity() -> None:
    published = spend(0.65, 32 / 41000, 64050, patches=1000)
    assert 5e4 < guarantee([published], 1e-5, "subject").epsilon < 1e5
    assert guarantee([spend(0.1, 0.5, 10_000, patches=1000)], 1e-5, "subject").epsilon == math.inf
    assert guarantee([spend(patches=None)], 1e-5, "subject").epsilon == math.inf
    assert of_patch([spend(0.01, 0.5, 100_000)], 1e-5) == math.inf


def test_a_patch_under_unit_subject_has_the_subjects_replacement() -> None:
    event = spend(4.0, 0.1, 200, unit="subject")
    patch, subject = guarantee([event], 1e-5, "patch"), guarantee([event], 1e-5, "subject")
    assert patch.epsilon == guarantee([event], 1e-5, "subject", "replace-one").epsilon
    assert subject.epsilon < patch.epsilon < 2 * subject.epsilon * 1.2
    assert "whole subject" in patch.method


def test_replacing_costs_at_most_removing_and_adding() -> None:
    single = of_patch([spend()], 1e-7)
    replaced = guarantee([spend()], 1e-5, "patch", "replace-one").epsilon
    assert of_patch([spend()], 1e-5) < replaced < 2 * single


def test_replacing_a_subject_of_a_patch_run_is_bounded_by_two_steps() -> None:
    event = spend(20.0, 0.001, 100, patches=10)
    once, twice = guarantee([event], 1e-6, "subject"), guarantee([event], 1e-6, "subject", "replace-one")
    assert once.epsilon < twice.epsilon < 6 * once.epsilon
    assert "two" in twice.method


def test_runs_on_both_units_compose() -> None:
    patches, subjects = spend(4.0, 0.01, 100, patches=5), spend(8.0, 0.1, 50, unit="subject")
    for unit in ("patch", "subject"):
        alone = [guarantee([s], 1e-5, unit).epsilon for s in (patches, subjects)]
        assert max(alone) < guarantee([patches, subjects], 1e-5, unit).epsilon < sum(alone) * 1.05


def test_nothing_spent_costs_nothing() -> None:
    assert guarantee([], 1e-5, "subject").epsilon == 0
    assert of_patch([spend(steps=0)], 1e-5) == 0


@pytest.mark.parametrize(
    ("exact", "loose"), [(math.nan, 1.0), (math.inf, math.inf), (1.2, 1.0), (-0.1, 1.0), (1.0, math.nan)]
)
def test_contradicting_accountants_are_noticed(exact: float, loose: float) -> None:
    assert not cross_checked(exact, loose)
    assert cross_checked(1.0, 1.0)


def test_contradicting_accountants_fail_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "rdp_epsilon", lambda spends, delta: 0.05)
    with pytest.raises(PrivacyError, match="contradict"):
        of_patch([spend(4.01, 0.0101, 999)], 1e-5)


def test_a_number_that_is_none_fails_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "composed", lambda *settings: (math.nan, None))
    with pytest.raises(PrivacyError, match="no number"):
        guarantee([spend(1.02, 0.0102, 998, patches=3)], 1e-5, "subject")


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-5, math.nan])
def test_impossible_deltas_are_refused(delta: float) -> None:
    with pytest.raises(SettingsError, match="delta"):
        of_patch([spend()], delta)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"sampler": "shuffled"}, PrivacyError),
        ({"unit": "voxel"}, PrivacyError),
        ({"relation": "zero-out"}, PrivacyError),
        ({"sampling_probability": 0.0}, SettingsError),
        ({"sampling_probability": 1.01}, SettingsError),
        ({"noise_multiplier": 0.0}, SettingsError),
        ({"noise_multiplier": math.inf}, SettingsError),
        ({"patches_per_subject": 0}, SettingsError),
    ],
)
def test_events_without_a_theorem_are_refused(change: dict[str, object], error: type[Exception]) -> None:
    with pytest.raises(error):
        StepEvent(**{"unit": "patch", "sampling_probability": 0.1, "noise_multiplier": 1.0, **change})  # type: ignore[arg-type]


def test_events_survive_json() -> None:
    event = spend(patches=7).event
    assert event_from_json(event.to_json()) == event
    with pytest.raises(PrivacyError, match="version"):
        event_from_json({"unit": "patch", "surprise": 1})
    with pytest.raises(PrivacyError, match="version"):
        event_from_json({"unit": "patch", "sampling_probability": 2, "noise_multiplier": 1})


@settings(max_examples=50)
@given(st.lists(st.tuples(st.sampled_from([0.5, 1.0]), st.integers(0, 5)), max_size=6))
def test_merging_keeps_every_step(parts: list[tuple[float, int]]) -> None:
    found = merged([spend(noise, steps=steps) for noise, steps in parts])
    assert sum(s.steps for s in found) == sum(steps for _, steps in parts)
    assert len({s.event for s in found}) == len(found)


@pytest.mark.parametrize(("bearable", "expected"), [((1.0,), 3.0), ((), math.inf), ((0.1,), 2.5)])
def test_a_grid_that_the_library_does_not_bear_leaves_the_bound_of_another_one(
    monkeypatch: pytest.MonkeyPatch, bearable: tuple[float, ...], expected: float
) -> None:
    """Never a number that no grid gave, and never a crash: without any bound nothing is promised."""

    def on_a_grid(*settings: object) -> tuple[float, None]:
        interval = settings[4]
        if interval not in bearable:
            raise ValueError("a must be greater than b")
        return {1.0: 3.0, 0.1: 2.5}[float(str(interval))], None

    monkeypatch.setattr(accounting, "composed", on_a_grid)
    found = guarantee(
        [spend(1.0, 0.1, 10 + round(10 * sum(bearable)), patches=400)], 1e-5, "subject", "add-or-remove-one"
    )
    assert found.epsilon == expected


@pytest.mark.parametrize("patches", [1, 7, 400])
def test_all_patches_of_a_subject_at_once_are_one_gaussian_of_so_much_more_sensitivity(patches: int) -> None:
    noise = 2.0 * patches
    whole = guarantee([spend(noise, 1.0, 3, patches=patches)], 1e-5, "subject", "add-or-remove-one").epsilon
    alone = guarantee([spend(2.0, 1.0, 3, unit="subject")], 1e-5, "subject", "add-or-remove-one").epsilon
    assert whole == pytest.approx(alone, rel=0.03)
    assert whole >= alone * (1 - 1e-3)
