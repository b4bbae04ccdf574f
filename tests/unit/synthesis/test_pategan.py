import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from watched import Stop, StopAfter

from angioshare.config import PrivacySettings, SourceSettings
from angioshare.errors import BudgetExceeded, DataError
from angioshare.patches.extract import PatchSettings
from angioshare.patches.patchset import PatchSet
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.statements import state
from angioshare.progress import SilentProgress
from angioshare.protocols import EVERY_UNIT, Context
from angioshare.rng import stream
from angioshare.stages.engines import Engines
from angioshare.stages.planning import foreseen, plan_of, predicted
from angioshare.synthesis import pategan
from angioshare.synthesis.pate_teachers import PlainVotes, Teachers, shards_of, teacher_of
from angioshare.synthesis.pategan import PateGan, PateGanSettings

FAILED = (AssertionError, pytest.fail.Exception)
SMALL = {
    "teachers": 3, "queries": 5, "features": 2, "teacher_features": 2, "z": 4, "iterations": 4, "teacher_updates": 2,
    "student_updates": 2, "batch": 4, "learning_rate": 1e-2, "checkpoint_every": 2,
}  # fmt: skip


def pate(kind=PateGan, unit="patch", provenance="unprotected", **changes):
    context = Context(patches=PatchSettings(size=16), unit=unit, provenance=provenance)
    return kind(PateGanSettings(**{**SMALL, **changes}), context)


def fit(synthesizer, real, folder, engine=None, seed=1):
    folder.mkdir(exist_ok=True)
    synthesizer.fit(real, engine, seed=seed, folder=folder, progress=SilentProgress())
    return synthesizer.load(folder, real)


def plan(**changes):
    settings = {
        "unit": "subject", "n_units": 2, "n_subjects": 2, "patches_per_subject": 12, "sampling_probability": 1.0,
        "noise_multiplier": 5.0, "steps": 8, "delta": 1e-3,
    }  # fmt: skip
    return PrivacyPlan(**{**settings, **changes})


def engines(ledger, run="run", **changes):
    return Engines(plan(**changes), ledger, run)


@pytest.fixture
def ledger(tmp_path):
    with Ledger.open(tmp_path / "ledger.jsonl", subjects={"sub-1": "a1", "sub-2": "b2"}) as ledger:
        yield ledger


def test_private_pairs_are_charged_step_by_step(real, tmp_path, ledger):
    synthesizer = pate(unit="subject", provenance="dp")
    pairs = fit(synthesizer, real, tmp_path / "a", engines(ledger)).sample(7, seed=3)
    assert pairs.image.shape == pairs.label.shape == (7, 16, 16)
    assert np.allclose(pairs.image.min((1, 2)), -1)
    assert np.allclose(pairs.image.max((1, 2)), 1)
    assert set(np.unique(pairs.label)) <= {0, 1}
    assert pairs.provenance == "dp"
    assert sum(spend.steps for spend in ledger.spent_by("run")) == synthesizer.schedule().steps == 8
    assert synthesizer.schedule().units == EVERY_UNIT


def test_without_privacy_the_same_seeds_give_the_same_pairs_and_others_do_not(real, tmp_path):
    first, again = (fit(pate(), real, tmp_path / name).sample(4, seed=3) for name in "ab")
    other = fit(pate(), real, tmp_path / "c", seed=2).sample(4, seed=3)
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("iterations_before", [1, 3])
def test_a_resumed_run_ends_as_an_uninterrupted_one(real, tmp_path, iterations_before):
    whole = fit(pate(ema=0.5), real, tmp_path / "whole").sample(3, seed=0)
    folder = tmp_path / "broken"
    folder.mkdir()
    with pytest.raises(Stop):
        pate(ema=0.5).fit(real, None, seed=1, folder=folder, progress=StopAfter(iterations_before))
    resumed = fit(pate(ema=0.5), real, folder).sample(3, seed=0)
    assert np.array_equal(whole.image, resumed.image)


def test_a_resumed_private_run_charges_what_it_makes_again(real, tmp_path, ledger):
    folder = tmp_path / "broken"
    folder.mkdir()
    with pytest.raises(Stop):
        pate().fit(real, engines(ledger), seed=1, folder=folder, progress=StopAfter(3))
    fit(pate(), real, folder, engines(ledger))
    # Three iterations of two steps, then two more from the checkpoint after the second.
    assert sum(spend.steps for spend in ledger.spent_by("run")) == 6 + 4
    fit(pate(), real, folder, engines(ledger))  # finished: nothing more is asked
    assert sum(spend.steps for spend in ledger.spent_by("run")) == 10


def test_a_spent_budget_stops_the_run_and_keeps_what_was_trained(real, tmp_path, ledger):
    enough = replace(plan(), steps=5).predicted().subject.epsilon * 1.001
    trained = fit(pate(), real, tmp_path / "a", engines(ledger, epsilon_budget=enough))
    assert len(trained.sample(2, seed=0)) == 2
    assert sum(spend.steps for spend in ledger.spent_by("run")) == 5
    with pytest.raises(BudgetExceeded):
        fit(pate(), real, tmp_path / "b", engines(ledger, run="other", epsilon_budget=enough))


def subset(patches, rows):
    return PatchSet(
        image=patches.image[rows], label=patches.label[rows], subject=patches.subject[rows], subjects=patches.subjects
    )


def people(count, each=3):
    rng = np.random.default_rng(4)
    image = rng.uniform(-1, 1, (count * each, 16, 16)).astype(np.float32)
    names = tuple(f"sub-{index}" for index in range(count))
    return PatchSet(
        image=image, label=(image > 0.5).astype(np.uint8), subject=np.repeat(np.arange(count), each), subjects=names
    )


def dealt_in_turn(patches, unit, teachers, seed):
    """Deals equal shards by position: who comes later moves when somebody leaves."""
    units = patches.subject if unit == "subject" else np.arange(len(patches))
    order = np.unique(units, return_inverse=True)[1]
    return [np.flatnonzero(order % teachers == teacher) for teacher in range(teachers)]


def check_a_unit_reaches_one_teacher(deal, unit):
    everybody = people(9)
    contents = [set(map(bytes, everybody.image[rows])) for rows in deal(everybody, unit, 3, 0)]
    assert sum(map(len, contents)) == len(set().union(*contents)) == len(everybody)
    for left in range(9):
        mine = everybody.subject == left if unit == "subject" else np.arange(27) == 3 * left + 1
        fewer = subset(everybody, ~mine)
        without = [set(map(bytes, fewer.image[rows])) for rows in deal(fewer, unit, 3, 0)]
        changed = [before ^ after for before, after in zip(contents, without, strict=True)]
        assert sorted(map(len, changed)) == [0, 0, mine.sum()]


@pytest.mark.parametrize("unit", ["patch", "subject"])
def test_a_unit_reaches_one_teacher(unit):
    check_a_unit_reaches_one_teacher(shards_of, unit)


@pytest.mark.parametrize("unit", ["patch", "subject"])
def test_check_of_shards_catches_dealing_in_turn(unit):
    with pytest.raises(FAILED):
        check_a_unit_reaches_one_teacher(dealt_in_turn, unit)


def trained_teachers(patches, rows):
    torch.manual_seed(0)
    networks = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(512, 1)) for _ in range(3)]
    optimisers = [torch.optim.Adam(T.parameters(), lr=1e-2) for T in networks]
    teachers = Teachers(patches, shards_of(patches, "subject", 3, 0), networks, optimisers, rows)
    for update in range(3):
        teachers.update(torch.randn(4, 2, 16, 16, generator=torch.Generator().manual_seed(update)), update)
    return [T[1].weight.detach() for T in networks]


def of_its_own(teacher, update):
    return stream(0, "rows", str(teacher), str(update))


def check_a_subject_changes_one_teacher_alone(make_rows):
    everybody = people(5)
    shards = [teacher_of(name.encode(), 3, 0) for name in everybody.subjects]
    assert sorted(map(shards.count, range(3))) == [1, 2, 2]  # who leaves may leave an empty shard
    before = trained_teachers(everybody, make_rows())
    for left in range(5):
        after = trained_teachers(subset(everybody, everybody.subject != left), make_rows())
        same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        assert same.count(True) == 2
        assert same.index(False) == shards[left]


def test_a_subject_changes_one_teacher_alone():
    check_a_subject_changes_one_teacher_alone(lambda: of_its_own)


def test_check_of_teachers_catches_a_shared_stream_of_rows():
    def shared():
        rng = np.random.default_rng(0)
        return lambda teacher, update: rng

    with pytest.raises(FAILED):
        check_a_subject_changes_one_teacher_alone(shared)


class Told:
    """Engines whose counts are given, whatever the teachers say."""

    def votes(self, teachers, queries, steps_done):
        self.rng = np.random.default_rng(steps_done)
        self.queries = queries
        return self

    def release(self, ask):
        assert ask().shape == (3, self.queries)
        return self.rng.normal(1.5, 1.0, self.queries)

    def epsilon_so_far(self):
        return 1.0

    def close(self):
        pass


class StudentSeesReal(PateGan):
    """Shows the student a real pair beside the generated ones."""

    def _update_student(self, pair, teachers, votes, z):
        counts = super()._update_student(pair, teachers, votes, z)
        loss = pair.S(torch.from_numpy(teachers.patches.pairs(np.array([0])))).mean()
        pair.student_optimiser.zero_grad()
        loss.backward()
        pair.student_optimiser.step()
        return counts


class TeacherTeachesTheGenerator(PateGan):
    """Lets the generator go down a teacher's loss."""

    def _update_student(self, pair, teachers, votes, z):
        counts = super()._update_student(pair, teachers, votes, z)
        pair.S.load_state_dict(teachers.networks[0].state_dict())
        return counts


class CleanVotes(PateGan):
    """Learns from the votes before they are noised."""

    def _update_student(self, pair, teachers, votes, z):
        super()._update_student(pair, teachers, votes, z)
        return super()._update_student(pair, teachers, PlainVotes(), z)


def check_real_pairs_reach_the_generator_through_the_counts_alone(kind, real, folder):
    other = PatchSet(image=-real.image, label=1 - real.label, subject=real.subject, subjects=real.subjects)
    made = [
        fit(pate(kind, threshold=0.01), patches, folder / name, Told()).sample(4, seed=0)
        for name, patches in (("a", real), ("b", other))
    ]
    assert np.array_equal(made[0].image, made[1].image)
    assert np.array_equal(made[0].label, made[1].label)


def test_real_pairs_reach_the_generator_through_the_counts_alone(real, tmp_path):
    check_real_pairs_reach_the_generator_through_the_counts_alone(PateGan, real, tmp_path)


@pytest.mark.parametrize("mutant", [StudentSeesReal, TeacherTeachesTheGenerator, CleanVotes])
def test_check_of_what_reaches_the_generator_catches(mutant, real, tmp_path):
    # Teachers' rows are drawn in secret, so votes on both cohorts may be the same by chance: once, not eight times.
    caught = []
    for attempt in range(8):
        (folder := tmp_path / str(attempt)).mkdir()
        try:
            check_real_pairs_reach_the_generator_through_the_counts_alone(mutant, real, folder)
        except FAILED as error:
            caught.append(error)
            break
    assert caught


def test_the_student_learns_from_generated_pairs_and_the_noisy_majority(real, tmp_path, monkeypatch):
    seen = []
    judge = pategan.functional.binary_cross_entropy_with_logits

    def watched(scores, labels):
        seen.append(labels.tolist())
        return judge(scores, labels)

    monkeypatch.setattr(pategan.functional, "binary_cross_entropy_with_logits", watched)
    fit(pate(iterations=1), real, tmp_path / "a", Told())
    rng = np.random.default_rng(0)
    assert seen == [(rng.normal(1.5, 1.0, 5) >= 1.5).astype(float).tolist() for _ in range(2)]


def test_the_seed_chooses_no_rows_of_a_private_run(real, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(pategan, "stream", lambda *purpose: asked.append(purpose))
    fit(pate(), real, tmp_path / "a", Told())
    assert asked == []
    with pytest.raises(AttributeError):
        fit(pate(), real, tmp_path / "b")
    assert asked


def test_teachers_tell_real_pairs_from_others_and_an_empty_shard_votes_no():
    real, noise = people(4), torch.zeros(8, 2, 16, 16)
    networks = [torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(512, 1)) for _ in range(2)]
    optimisers = [torch.optim.Adam(T.parameters(), lr=1e-2) for T in networks]
    teachers = Teachers(real, [np.arange(12), np.zeros(0, int)], networks, optimisers, of_its_own)
    for update in range(60):
        teachers.update(noise, update)
    assert not teachers.votes(noise).any()
    assert teachers.votes(torch.from_numpy(real.pairs(np.arange(12)))).sum(axis=1).tolist()[0] == 12
    with torch.no_grad():
        networks[0][1].weight.fill_(float("nan"))
    assert not teachers.votes(noise)[0].any()


def test_relative_votes_are_for_the_better_half_of_each_teacher():
    pairs = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 2, 1, 1)
    up, down, broken = (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(2, 1)) for _ in range(3))
    for T, weight in ((up, 1.0), (down, -1.0), (broken, float("nan"))):
        torch.nn.init.constant_(T[1].weight, weight)
        torch.nn.init.constant_(T[1].bias, -100.0)
    teachers = Teachers(people(1), [], [up, down, broken], [], of_its_own)
    assert not teachers.votes(pairs).any()
    relative = teachers.votes(pairs, relative=True)
    assert relative.dtype == bool
    assert relative.tolist() == [[False] * 3 + [True] * 3, [True] * 3 + [False] * 3, [False] * 6]


def test_noise_for_a_target_is_enough_for_all_steps_together():
    privacy = PrivacySettings(unit="subject", epsilon=3.0, delta=1e-3)
    made = plan_of(privacy, pate().schedule(), patches=24, subjects=2, patches_per_subject=12)
    assert (made.steps, made.sampling_probability) == (8, 1)
    assert 2.95 < made.predicted().subject.epsilon <= 3.0


@pytest.mark.parametrize("unit", ["patch", "subject"])
def test_what_is_foreseen_is_what_is_charged(real, tmp_path, ledger, unit):
    synthesizer = pate(unit=unit, provenance="dp")
    privacy = PrivacySettings(unit=unit, noise_multiplier=5.0, delta=1e-3)
    made = plan_of(privacy, synthesizer.schedule(), patches=24, subjects=2, patches_per_subject=12)
    fit(synthesizer, real, tmp_path / "a", Engines(made, ledger, "run"))
    charged, ahead = ledger.spent_by("run"), foreseen(made, synthesizer.schedule())
    assert {spend.event for spend in charged} == {ahead.event}
    assert sum(spend.steps for spend in charged) == ahead.steps
    source = SourceSettings(name="pate", synthesizer="pate-gan", privacy=privacy)
    statement = predicted(made, ahead, source)
    assert statement == state(charged, 1e-3, statement.released)
    assert math.isinf(statement.subject.epsilon) == (unit == "patch")
    assert 0 < statement.patch.epsilon < math.inf


def test_pairs_without_subjects_cannot_be_dealt_by_subject():
    nobody = PatchSet(image=np.zeros((2, 16, 16), np.float32), label=np.zeros((2, 16, 16), np.uint8))
    with pytest.raises(DataError, match="name no subjects"):
        shards_of(nobody, "subject", 2, 0)
    assert sum(len(rows) for rows in shards_of(nobody, "patch", 2, 0)) == 2


def test_the_curve_holds_released_numbers_alone(real, tmp_path):
    fit(pate(), real, tmp_path / "a", Told())
    rows = json.loads((tmp_path / "a" / "curve.json").read_text())
    assert [sorted(row) for row in rows] == [["iteration", "noisy share of votes for real"]] * 2
