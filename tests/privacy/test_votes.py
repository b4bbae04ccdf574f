"""Noisy votes of teachers: sensitivity, noise, charge, budget, and releases that break one of them."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from angioshare.errors import BudgetExceeded, PrivacyError, SettingsError
from angioshare.privacy.calibration import gaussian_mu
from angioshare.privacy.entropy import KeyStream
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.noise import GaussianNoise
from angioshare.privacy.statements import state
from angioshare.privacy.votes import NoisyVotes

FAILED = (AssertionError, pytest.fail.Exception)
TEACHERS, QUERIES = 5, 4


class Silent(GaussianNoise):
    """No noise, so that the counts themselves can be seen."""

    def add_to(self, value, std):
        return value


@pytest.fixture
def everybody(plan):
    def make(**changes):
        settings = {"unit": "subject", "n_units": 4, "sampling_probability": 1.0, "steps": 3, "noise_multiplier": 2.0}
        return plan(**{**settings, **changes})

    return make


@pytest.fixture
def votes(everybody, ledger):
    def make(kind=NoisyVotes, *, noise=None, queries=QUERIES, run="r", steps=None, **changes):
        return kind(
            plan=everybody(**changes), teachers=TEACHERS, queries=queries, ledger=ledger, run=run, steps=steps,
            noise=noise,
        )  # fmt: skip

    return make


def ballots(seed, queries=QUERIES):
    return np.random.default_rng(seed).random((TEACHERS, queries)) < 0.5


class TakesScores(NoisyVotes):
    """Takes whatever teachers say, and bounds the norm of what each says: an exchange moves twice as far."""

    def release(self, ask):
        self._ledger.reserve(self.event(), self._run, 1)
        said = np.asarray(ask(), float)
        norm = np.maximum(np.linalg.norm(said, axis=1, keepdims=True), 1e-9)
        return (said * np.minimum(1, self.plan.clip_norm / norm)).sum(axis=0)


class WeighsByAgreement(NoisyVotes):
    """Gives a pair more weight where teachers agree, so that one of them moves it further."""

    def release(self, ask):
        counts = super().release(ask)
        return counts * (1 + np.abs(counts - TEACHERS / 2))


def check_one_teacher_moves_the_counts_by_at_most_c(votes, kind):
    engine = votes(kind, noise=Silent(), steps=1000)
    ways = [np.array(way) for way in itertools.product([False, True], repeat=QUERIES)]
    ways += [10.0 * way - 5 for way in ways]
    for teacher, before, after in itertools.product((0, 4), ways[::15], ways[::2]):
        counts = []
        for way in (before, after):
            said = ballots(0).astype(way.dtype)
            said[teacher] = way
            try:
                counts.append(engine.release(lambda said=said: said))
            except PrivacyError:
                engine._made = 0
        if len(counts) == 2:
            assert np.linalg.norm(counts[0] - counts[1]) <= engine.plan.clip_norm == math.sqrt(QUERIES)


def test_one_teacher_moves_the_counts_by_at_most_c(votes):
    check_one_teacher_moves_the_counts_by_at_most_c(votes, NoisyVotes)


@pytest.mark.parametrize("mutant", [TakesScores, WeighsByAgreement])
def test_check_of_the_counts_catches(votes, mutant):
    with pytest.raises(FAILED):
        check_one_teacher_moves_the_counts_by_at_most_c(votes, mutant)


def test_counts_are_those_of_votes_for_real(votes):
    said = ballots(1)
    assert votes(noise=Silent()).release(lambda: said).tolist() == said.sum(axis=0).tolist()


class NoiseForOneVote(NoisyVotes):
    """Noise as if a teacher moved one count, not all of them."""

    def __init__(self, **settings):
        super().__init__(**settings)
        object.__setattr__(self.plan, "clip_norm", 1.0)


class NoiseOverTeachers(NoisyVotes):
    """Noise for a mean over teachers, put on their sum."""

    def release(self, ask):
        said = ask()
        return said.sum(axis=0) + (super().release(lambda: said) - said.sum(axis=0)) / TEACHERS


class OneNoiseForAllPairs(NoisyVotes):
    """One number of noise on all counts: their differences are exact."""

    def release(self, ask):
        said = ask()
        counts = said.sum(axis=0)
        return counts + (super().release(lambda: said) - counts)[0]


def check_the_noise_of_counts_has_the_planned_size(votes, kind):
    queries = 10_000
    engine = votes(kind, noise=GaussianNoise(KeyStream(test_seed=5)), queries=queries)
    said = ballots(2, queries)
    error = (engine.release(lambda: said) - said.sum(axis=0)) / (2.0 * math.sqrt(queries))
    assert stats.kstest(error, "norm").pvalue > 1e-3  # seeded: it fails always or never


def test_the_noise_of_counts_has_the_planned_size(votes):
    check_the_noise_of_counts_has_the_planned_size(votes, NoisyVotes)


@pytest.mark.parametrize("mutant", [NoiseForOneVote, NoiseOverTeachers, OneNoiseForAllPairs])
def test_check_of_the_noise_of_counts_catches(votes, mutant):
    with pytest.raises(FAILED):
        check_the_noise_of_counts_has_the_planned_size(votes, mutant)


class AsksFirst(NoisyVotes):
    """Has the votes before they are paid for."""

    def release(self, ask):
        said = ask()
        return super().release(lambda: said)


class ChargesTheFirstStep(NoisyVotes):
    """Charges a training as if it were one release."""

    def release(self, ask):
        if self._made == 0:
            return super().release(ask)
        self._made += 1
        return ask().sum(axis=0) + self._noise.normal(self._shape[1]).numpy() * self.plan.noise_std


def check_each_step_is_on_disk_before_a_teacher_is_asked(votes, ledger, kind):
    engine = votes(kind)
    for step in range(1, 4):

        def ask(step=step):
            assert sum(spend.steps for spend in ledger.spent_by("r")) == step
            assert ledger.verify() == []
            return ballots(step)

        engine.release(ask)
    (event,) = {spend.event for spend in ledger.spent_by("r")}
    assert (event.sampling_probability, event.noise_multiplier, event.unit) == (1.0, 2.0, "subject")


def test_each_step_is_on_disk_before_a_teacher_is_asked(votes, ledger):
    check_each_step_is_on_disk_before_a_teacher_is_asked(votes, ledger, NoisyVotes)


@pytest.mark.parametrize("mutant", [AsksFirst, ChargesTheFirstStep])
def test_check_of_charged_votes_catches(votes, ledger, mutant):
    with pytest.raises(FAILED):
        check_each_step_is_on_disk_before_a_teacher_is_asked(votes, ledger, mutant)


def test_nobody_is_asked_where_the_charge_fails(votes, ledger):
    engine = votes()
    ledger.close()
    with pytest.raises(PrivacyError, match="closed"):
        engine.release(lambda: pytest.fail("asked without a charge"))


def test_a_teacher_that_breaks_off_leaves_the_step_charged(votes, ledger):
    def broken():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        votes().release(broken)
    assert sum(spend.steps for spend in ledger.spent_by("r")) == 1


def test_the_budget_stops_before_the_step_and_counts_other_runs(votes, everybody, ledger):
    two, three = (everybody(steps=steps).predicted().subject.epsilon for steps in (2, 3))
    for run, budget, made in (("a", two * 1.001, 2), ("b", three * 1.001, 1)):
        engine = votes(run=run, epsilon_budget=budget)
        for step in range(made):
            engine.release(lambda step=step: ballots(step))
        with pytest.raises(BudgetExceeded, match="epsilon_budget"):
            engine.release(lambda: pytest.fail("asked beyond the budget"))
    assert [spend.run for spend in ledger.spends()] == ["a", "a", "b"]


def test_the_budget_counts_another_process_of_the_same_name(votes, everybody):
    budget = everybody(steps=3).predicted().subject.epsilon * 1.001
    first, second = votes(epsilon_budget=budget), votes(epsilon_budget=budget)
    for engine in (first, second, first):
        engine.release(lambda: ballots(0))
    for engine in (second, first):
        with pytest.raises(BudgetExceeded, match="epsilon_budget"):
            engine.release(lambda: pytest.fail("asked beyond the budget"))


def test_no_step_is_made_beyond_the_plan_and_a_resumed_run_adds_up(votes, ledger):
    engine = votes()
    for step in range(3):
        engine.release(lambda step=step: ballots(step))
    with pytest.raises(PrivacyError, match="planned"):
        engine.release(lambda: ballots(0))
    again = votes(steps=1)
    again.release(lambda: ballots(0))
    again.close()
    with pytest.raises(PrivacyError):
        again.release(lambda: ballots(0))
    assert sum(spend.steps for spend in ledger.spent_by("r")) == 4
    assert again.epsilon_so_far() >= state(ledger.spent_by("r"), 1e-5, ()).subject.epsilon - 1e-9


def test_the_same_votes_get_other_noise_at_each_step_and_start(votes):
    first, second = votes(run="a"), votes(run="b")
    released = [engine.release(lambda: ballots(0)) for engine in (first, first, second)]
    assert len({counts.tobytes() for counts in released}) == 3


@pytest.mark.parametrize("said", [ballots(0).astype(float), ballots(0)[:-1], ballots(0, QUERIES + 1)])
def test_what_is_no_vote_is_refused(votes, said):
    with pytest.raises(PrivacyError, match="bool"):
        votes().release(lambda: said)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"sampling_probability": 0.5}, "sampling"), ({"clip_norm": 3.0}, "clip_norm"), ({"queries": 0}, "queries")],
)
def test_a_plan_of_another_mechanism_is_refused_uncharged(votes, ledger, changes, named):
    with pytest.raises(SettingsError, match=named):
        votes(**changes)
    assert ledger.spends() == []


def test_a_training_costs_what_one_gaussian_of_its_total_noise_costs(everybody):
    noise = math.sqrt(400) / gaussian_mu(3.0, 1e-5)
    found = everybody(steps=400, noise_multiplier=noise, delta=1e-5).predicted().subject
    assert found.epsilon == pytest.approx(3.0, rel=0.01)


def test_a_subject_gets_no_bound_where_the_unit_is_a_patch(votes, ledger):
    engine = votes(unit="patch", n_units=40)
    engine.release(lambda: ballots(0))
    statement = state(ledger.spent_by("r"), 1e-5, ("pairs",))
    assert math.isfinite(statement.patch.epsilon)
    assert statement.subject.epsilon == math.inf
    assert engine.epsilon_so_far() >= statement.patch.epsilon - 1e-9


def test_a_new_process_finds_the_charges(votes, ledger):
    votes().release(lambda: ballots(0))
    ledger.close()
    with Ledger.open(ledger.path, subjects={"sub-1": "a1", "sub-2": "b2"}) as again:
        assert sum(spend.steps for spend in again.spent_by("r")) == 1
