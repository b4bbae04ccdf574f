"""The one-shot mean: sensitivity, noise, charge."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from angioshare.errors import BudgetExceeded, PrivacyError, SettingsError
from angioshare.privacy.entropy import KeyStream
from angioshare.privacy.noise import GaussianNoise
from angioshare.privacy.release import bounded_sum, private_mean


@pytest.fixture
def one_shot(plan):
    def make(**changes):
        settings = {"unit": "subject", "n_units": 4, "sampling_probability": 1.0, "steps": 1, "noise_multiplier": 2.0}
        return plan(**{**settings, **changes})

    return make


ROWS = {
    "zero": [0.0, 0.0, 0.0],
    "small": [0.1, -0.2, 0.05],
    "large": [30.0, -40.0, 5.0],
    "huge": [1e308, 1e308, -1e308],
    "tiny": [5e-324, 0.0, 0.0],
    "nan": [float("nan"), 1.0, 1.0],
    "infinite": [float("inf"), 1.0, 1.0],
}


def unclipped(vectors, clip_norm):
    return np.nan_to_num(vectors).sum(axis=0)


def entry_by_entry(vectors, clip_norm):
    return np.clip(np.nan_to_num(vectors), -clip_norm, clip_norm).sum(axis=0)


def broken_let_through(vectors, clip_norm):
    norm = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors * np.minimum(1, clip_norm / norm)).sum(axis=0)


def check_one_unit_moves_the_sum_by_at_most_the_clip_norm(add):
    for row, others, clip_norm in itertools.product(ROWS.values(), (0, 1, 5), (0.3, 1.0, 7.0)):
        rest = 10 * np.random.default_rng(0).standard_normal((others, 3))
        with np.errstate(all="ignore"):
            moved = add(np.vstack([rest, row]), clip_norm) - add(rest, clip_norm)
            assert np.linalg.norm(moved) <= clip_norm


def test_one_unit_moves_the_sum_by_at_most_the_clip_norm():
    check_one_unit_moves_the_sum_by_at_most_the_clip_norm(bounded_sum)


@pytest.mark.parametrize("mutant", [unclipped, entry_by_entry, broken_let_through])
def test_check_of_the_bound_catches(mutant):
    with pytest.raises(AssertionError):
        check_one_unit_moves_the_sum_by_at_most_the_clip_norm(mutant)


def test_short_vectors_pass_unchanged_and_broken_ones_count_as_zero():
    assert bounded_sum(np.array([ROWS["small"]]), 1.0) == pytest.approx(ROWS["small"])
    assert bounded_sum(np.array([ROWS["nan"], ROWS["infinite"]]), 1.0).tolist() == [0, 0, 0]


class WithoutC(GaussianNoise):
    """Forgets the clip norm."""

    def add_to(self, value, std):
        return super().add_to(value, 2.0)


class OnTheMean(GaussianNoise):
    """Noise for one unit of four."""

    def add_to(self, value, std):
        return super().add_to(value, std / 4)


def check_the_noise_has_the_planned_size(made, ledger, kind):
    release = private_mean(np.zeros((4, 20_000)), made, ledger, "r", noise=kind(KeyStream(test_seed=5)))
    assert release.noise_std == pytest.approx(2.0 * made.clip_norm / 4)
    assert stats.kstest(release.mean / release.noise_std, "norm").pvalue > 1e-3


@pytest.mark.parametrize("clip_norm", [1.0, 3.0])
def test_the_noise_has_the_planned_size(one_shot, ledger, clip_norm):
    check_the_noise_has_the_planned_size(one_shot(clip_norm=clip_norm), ledger, GaussianNoise)


@pytest.mark.parametrize("mutant", [WithoutC, OnTheMean])
def test_check_of_its_noise_catches(one_shot, ledger, mutant):
    with pytest.raises(AssertionError):
        check_the_noise_has_the_planned_size(one_shot(clip_norm=3.0), ledger, mutant)


def test_the_mean_is_divided_by_the_public_number(one_shot, ledger):
    vectors = np.tile([0.5, 0.0], (4, 1))
    made = one_shot(noise_multiplier=1e-6)
    assert private_mean(vectors, made, ledger, "r").mean == pytest.approx([0.5, 0.0], abs=1e-4)


def over_those_that_are_there(vectors, plan, ledger, run):
    """Divides by how many vectors there are, which labels may tell."""
    release = private_mean(vectors, plan, ledger, run)
    return replace(release, mean=release.mean * plan.n_units / len(vectors))


def check_patches_that_are_not_there_count_as_zero(one_shot, ledger, release):
    made = one_shot(unit="patch", n_units=40, noise_multiplier=1e-6)
    found = release(np.tile([0.5, 0.0], (10, 1)), made, ledger, "r")
    assert found.mean == pytest.approx([0.125, 0.0], abs=1e-4)
    assert found.noise_std == made.noise_std / 40


def test_patches_that_are_not_there_count_as_zero(one_shot, ledger):
    check_patches_that_are_not_there_count_as_zero(one_shot, ledger, private_mean)


@pytest.mark.parametrize("mutant", [over_those_that_are_there])
def test_check_of_patches_that_are_not_there_catches(one_shot, ledger, mutant):
    with pytest.raises(AssertionError):
        check_patches_that_are_not_there_count_as_zero(one_shot, ledger, mutant)


def charged_afterwards(vectors, plan, ledger, run, *, noise):
    """Noises first, and charges what it has done."""

    class Later:
        def turn(self):
            return ledger.turn()

        def spends(self):
            return ledger.spends()

        def reserve(self, *event):
            self.event = event

    later = Later()
    release = private_mean(vectors, plan, later, run, noise=noise)
    ledger.reserve(*later.event)
    return release


def check_it_is_charged_once_before_the_noise_is_drawn(one_shot, ledger, release):
    class Watching(GaussianNoise):
        def add_to(self, value, std):
            assert [spend.steps for spend in ledger.spent_by("r")] == [1]
            return super().add_to(value, std)

    release(np.zeros((4, 2)), one_shot(), ledger, "r", noise=Watching())
    (spend,) = ledger.spent_by("r")
    assert (spend.steps, spend.event) == (1, one_shot().event())


def test_it_is_charged_once_before_the_noise_is_drawn(one_shot, ledger):
    check_it_is_charged_once_before_the_noise_is_drawn(one_shot, ledger, private_mean)


@pytest.mark.parametrize("mutant", [charged_afterwards])
def test_check_of_its_charge_catches(one_shot, ledger, mutant):
    with pytest.raises(AssertionError):
        check_it_is_charged_once_before_the_noise_is_drawn(one_shot, ledger, mutant)


def test_two_releases_of_the_same_vectors_have_different_noise(one_shot, ledger):
    first, second = (private_mean(np.zeros((4, 3)), one_shot(), ledger, "r").mean for _ in range(2))
    assert not np.allclose(first, second)
    assert sum(spend.steps for spend in ledger.spent_by("r")) == 2


def test_a_release_that_was_charged_and_lost_is_not_made_again_where_a_target_is_kept(one_shot, ledger):
    kept = one_shot(keeps_target=True)
    private_mean(np.zeros((4, 2)), kept, ledger, "r")
    with pytest.raises(BudgetExceeded, match="r was charged for its release before"):
        private_mean(np.zeros((4, 2)), kept, ledger, "r")
    private_mean(np.zeros((4, 2)), kept, ledger, "in another folder")
    assert [spend.run for spend in ledger.spends()] == ["r", "in another folder"]


@pytest.mark.parametrize("changes", [{"steps": 2}, {"sampling_probability": 0.5}])
def test_a_plan_of_another_mechanism_is_refused_uncharged(one_shot, ledger, changes):
    with pytest.raises(SettingsError, match="one step"):
        private_mean(np.zeros((4, 2)), one_shot(**changes), ledger, "r")
    assert ledger.spends() == []


def test_other_numbers_of_vectors_and_a_spent_budget_are_refused_uncharged(one_shot, ledger):
    with pytest.raises(PrivacyError, match="n_units=4"):
        private_mean(np.zeros((3, 2)), one_shot(), ledger, "r")
    with pytest.raises(PrivacyError, match="n_units=40"):
        private_mean(np.zeros((41, 2)), one_shot(unit="patch", n_units=40), ledger, "r")
    with pytest.raises(BudgetExceeded, match="epsilon_budget"):
        private_mean(np.zeros((4, 2)), one_shot(epsilon_budget=0.1), ledger, "r")
    assert ledger.spends() == []


def test_replace_one_costs_what_twice_the_sensitivity_costs(one_shot):
    removed = one_shot(noise_multiplier=2.0).predicted().subject.epsilon
    replaced = one_shot(noise_multiplier=4.0, relation="replace-one").predicted().subject.epsilon
    assert replaced == pytest.approx(removed, rel=1e-2)
