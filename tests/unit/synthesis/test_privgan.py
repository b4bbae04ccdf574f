import json
import math

import numpy as np
import pytest
import torch

from angioshare.config import PrivacySettings
from angioshare.errors import SettingsError
from angioshare.patches.extract import PatchSettings
from angioshare.patches.patchset import PatchSet
from angioshare.progress import SilentProgress
from angioshare.protocols import Context
from angioshare.stages.planning import plan_of
from angioshare.synthesis.privgan import PrivGan, PrivGanSettings
from angioshare.synthesis.privgan_game import splits_of, success
from angioshare.synthesis.privgan_mixture import Mixture, weights_of

FAILED = (AssertionError, pytest.fail.Exception)
SMALL = {
    "pairs": 2, "warm_up": 3, "delay": 1, "features": 2, "z": 4, "iterations": 4, "batch": 4, "learning_rate": 1e-2,
    "checkpoint_every": 2,
}  # fmt: skip


def privgan(kind=PrivGan, **changes):
    return kind(PrivGanSettings(**{**SMALL, **changes}), Context(patches=PatchSettings(size=16)))


def fit(synthesizer, real, folder, seed=1, progress=None):
    folder.mkdir(exist_ok=True)
    synthesizer.fit(real, None, seed=seed, folder=folder, progress=progress or SilentProgress())
    return synthesizer.load(folder, real)


class Counting(SilentProgress):
    def __init__(self, stop=0):
        self.steps, self.stop = 0, stop

    def start(self, task, total, done=0):
        self.total, self.steps = total, done

    def advance(self, note="", steps=1):
        self.steps += steps
        if self.steps == self.stop:
            raise Stop


class Stop(Exception):
    pass


def test_pairs_are_scaled_and_come_from_every_generator(real, tmp_path):
    progress = Counting()
    synthesizer = privgan()
    pairs = fit(synthesizer, real, tmp_path, progress=progress).sample(9, seed=3)
    assert pairs.image.shape == pairs.label.shape == (9, 16, 16)
    assert np.allclose(pairs.image.min((1, 2)), -1)
    assert np.allclose(pairs.image.max((1, 2)), 1)
    assert set(np.unique(pairs.label)) <= {0, 1}
    assert (pairs.provenance, pairs.subjects) == ("unprotected", ())
    assert progress.steps == progress.total == synthesizer.work() == 3 + 4
    assert weights_of(tmp_path, 0).read_bytes() != weights_of(tmp_path, 1).read_bytes()
    assert weights_of(tmp_path, 1).stat().st_mode & 0o777 == 0o600


def test_the_same_seeds_give_the_same_pairs_and_others_do_not(real, tmp_path):
    first, again = (fit(privgan(), real, tmp_path / name).sample(4, seed=3) for name in "ab")
    other = fit(privgan(), real, tmp_path / "c", seed=2).sample(4, seed=3)
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("steps_before", [2, 4, 6])
def test_a_resumed_run_ends_as_an_uninterrupted_one(real, tmp_path, steps_before):
    whole = fit(privgan(ema=0.5), real, tmp_path / "whole").sample(3, seed=0)
    folder = tmp_path / "broken"
    with pytest.raises(Stop):
        fit(privgan(ema=0.5), real, folder, progress=Counting(stop=steps_before))
    assert not weights_of(folder, 0).exists()
    resumed = fit(privgan(ema=0.5), real, folder).sample(3, seed=0)
    assert np.array_equal(whole.image, resumed.image)


def test_it_refuses_whatever_promises_privacy(real, tmp_path):
    with pytest.raises(SettingsError, match="no differential privacy"):
        privgan().fit(real, lambda *a: None, seed=1, folder=tmp_path, progress=SilentProgress())  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="no private step"):
        plan_of(
            PrivacySettings(noise_multiplier=1.0), privgan().schedule(), patches=24, subjects=2, patches_per_subject=12
        )
    assert list(tmp_path.iterdir()) == []


def people(count, each=3):
    image = np.zeros((count * each, 16, 16), np.float32)
    names = tuple(f"sub-{index}" for index in range(count))
    subject = np.tile(np.arange(count), each)
    return PatchSet(image=image, label=np.zeros(image.shape, np.uint8), subject=subject, subjects=names)


def by_patch(patches, pairs, seed):
    return np.array_split(np.random.default_rng(seed).permutation(len(patches)), pairs)


def check_each_subject_belongs_to_one_pair(split):
    patches = people(7)
    parts = split(patches, 3, seed=1)
    owners = [set(patches.subject[rows]) for rows in parts]
    assert sum(map(len, owners)) == len(set().union(*owners)) == 7
    assert sorted(np.concatenate(parts)) == list(range(21))
    assert sorted(map(len, owners)) == [2, 2, 3]


def test_each_subject_belongs_to_one_pair():
    check_each_subject_belongs_to_one_pair(splits_of)


def test_check_of_splits_catches_a_split_of_patches():
    with pytest.raises(FAILED):
        check_each_subject_belongs_to_one_pair(by_patch)


def test_more_pairs_than_subjects_are_refused(real):
    with pytest.raises(SettingsError, match="pairs=3 must be at most 2"):
        splits_of(real, 3, seed=0)


def test_a_generator_pays_most_for_what_betrays_it():
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    chances = logits.softmax(1)[0]
    for maker in range(3):
        assert success(logits, maker).item() == pytest.approx(-math.log(1 - chances[maker].item()), rel=1e-5)
    assert success(torch.tensor([[-1e4, 0.0]]), 0).item() == 0
    assert math.isfinite(success(torch.tensor([[1e4, 0.0]]), 0).item())


class Watching(PrivGan):
    """Keeps what the adversary was taught, and how its weights moved."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.taught, self.weights = [], []

    def _teach(self, game, pairs):
        self.taught.append(pairs.clone())
        super()._teach(game, pairs)

    def _update_generators(self, game, z):
        self.weights.append([p.detach().clone() for p in game.adversary.parameters()])
        super()._update_generators(game, z)
        assert all(torch.equal(a, b) for a, b in zip(self.weights[-1], game.adversary.parameters(), strict=True)), (
            "the generators' update moved the adversary"
        )


def test_the_adversary_warms_up_on_real_pairs_waits_and_then_sees_generated_ones(real, tmp_path):
    synthesizer = privgan(Watching, warm_up=3, delay=2, iterations=4)
    fit(synthesizer, real, tmp_path)
    warm, later = synthesizer.taught[:3], synthesizer.taught[3:]
    contents = {pair.tobytes() for pair in real.pairs(np.arange(24))}
    halves = [{real.pairs(rows)[i].tobytes() for i in range(len(rows))} for rows in splits_of(real, 2, seed=1)]
    for taught in warm:
        assert {pair.numpy().tobytes() for pair in taught[:4]} <= halves[0]
        assert {pair.numpy().tobytes() for pair in taught[4:]} <= halves[1]
    assert len(later) == 2
    assert not any(pair.numpy().tobytes() in contents for taught in later for pair in taught)
    moved = [not torch.equal(a[0], b[0]) for a, b in zip(synthesizer.weights, synthesizer.weights[1:], strict=False)]
    assert moved == [False, True, True]  # untouched while it waits


def named(synthesizer, folder, real):
    fit(synthesizer, real, folder)
    return json.loads((folder / "curve.json").read_text())[-1]["adversary guesses right"]


def test_a_generator_that_pays_hides_better_than_one_that_does_not(real, tmp_path):
    # Two subjects that anybody can tell apart: bright and dark.
    real.image[:12] = real.image[:12] * 0.1 + 0.8
    real.image[12:] = real.image[12:] * 0.1 - 0.8
    settings = {"warm_up": 20, "delay": 0, "iterations": 25, "batch": 16, "checkpoint_every": 25}
    free = named(privgan(privacy_weight=0.0, **settings), tmp_path / "free", real)
    paying = named(privgan(privacy_weight=5.0, **settings), tmp_path / "paying", real)
    assert paying <= 0.75 < free


class One:
    def __init__(self, value):
        self.value = value

    def sample(self, n, seed):
        image = np.full((n, 2, 2), self.value, np.float32)
        image[:, 0, 0] = np.arange(n)
        return PatchSet(image=image, label=np.full((n, 2, 2), self.value, np.uint8), provenance="unprotected")


def test_a_mixture_draws_from_all_and_its_order_tells_nothing():
    pairs = Mixture([One(0), One(1), One(2)]).sample(300, seed=0)
    makers = pairs.image[:, 1, 1]
    assert np.array_equal(pairs.label[:, 1, 1], makers)
    assert all(70 < (makers == value).sum() < 130 for value in range(3))
    assert (np.diff(makers) != 0).sum() > 150
    for value in range(3):
        assert sorted(pairs.image[makers == value, 0, 0]) == list(range((makers == value).sum()))
    assert len(Mixture([One(0), One(1)]).sample(1, seed=0)) == 1
