"""A training that finds nothing begins anew, and only such a one."""

import numpy as np
import pytest
import torch

from angioshare.patches.patchset import PatchSet
from angioshare.progress import SilentProgress
from angioshare.segmentation import fit as fit_module
from angioshare.segmentation.collapse import ATTEMPTS, DEAD, MARGIN, WINDOW, Furthest, Watch
from angioshare.segmentation.fit import Unet
from angioshare.segmentation.settings import UnetSettings
from angioshare.segmentation.trained import TrainedUnet

SETTINGS = UnetSettings(channels=(4, 8), batch=12, steps=2 * WINDOW, learning_rate=0.02)


def bars(n: int = 12) -> PatchSet:
    """Noise with a bright bar that the label marks."""
    rng = np.random.default_rng(0)
    image = rng.normal(-0.5, 0.1, (n, 16, 16)).astype(np.float32)
    label = np.zeros((n, 16, 16), np.uint8)
    for row, start in enumerate(rng.integers(2, 12, n)):
        label[row, start : start + 2] = 1
    image[label == 1] = 0.8
    return PatchSet(image=image, label=label, provenance="public")


def found(trained: TrainedUnet) -> float:
    patches = bars()
    return float(((trained.probability(patches.image) > 0.5) == (patches.label == 1)).mean())


class Counted(SilentProgress):
    def __init__(self) -> None:
        self.steps, self.notes = 0, []

    def advance(self, note: str = "", steps: int = 1) -> None:
        self.steps += steps
        self.notes.append(note)


@pytest.fixture
def dead_at_first(monkeypatch):
    """Make the weights of the first so many networks call no pixel vessel, without a gradient left."""

    def begin_dead(attempts: int) -> None:
        whole, made = fit_module.HalfUnet, []

        def build(*settings: object, **more: object) -> torch.nn.Module:
            network = whole(*settings, **more)
            made.append(network)
            if len(made) <= attempts:
                torch.nn.init.constant_(network.last.bias, -200.0)
            return network

        monkeypatch.setattr(fit_module, "HalfUnet", build)

    return begin_dead


@pytest.mark.parametrize("dead", range(ATTEMPTS))
def test_a_training_that_found_nothing_begins_anew_and_finds_vessels(dead_at_first, dead):
    dead_at_first(dead)
    trained = Unet(SETTINGS).fit(bars(), seed=1, progress=SilentProgress())
    assert trained.record.attempts == dead + 1
    assert found(trained) > 0.99


def test_the_last_attempt_stands_whatever_it_found(dead_at_first):
    dead_at_first(ATTEMPTS)
    trained = Unet(SETTINGS).fit(bars(), seed=1, progress=SilentProgress())
    assert trained.record.attempts == ATTEMPTS
    assert (trained.probability(bars().image) < 0.5).all()


def test_a_training_that_finds_vessels_is_not_touched(monkeypatch):
    watched = Unet(SETTINGS).fit(bars(), seed=1, progress=SilentProgress())
    monkeypatch.setattr(fit_module, "ATTEMPTS", 1)
    plain = Unet(SETTINGS).fit(bars(), seed=1, progress=SilentProgress())
    assert watched.record == plain.record
    for name, value in plain.network.state_dict().items():
        assert torch.equal(watched.network.state_dict()[name], value)


def test_another_attempt_is_the_same_each_time(dead_at_first):
    dead_at_first(1)
    one = Unet(SETTINGS).fit(bars(), seed=1, progress=SilentProgress())
    dead_at_first(1)
    other = Unet(SETTINGS).fit(bars(), seed=1, progress=SilentProgress())
    assert torch.equal(one.network.last.weight, other.network.last.weight)
    assert one.record == other.record


def test_steps_are_told_once_however_often_a_training_begins(dead_at_first):
    dead_at_first(1)
    told = Counted()
    Unet(SETTINGS).fit(bars(), seed=1, progress=told)
    assert told.steps == SETTINGS.steps
    assert told.notes == [""] * WINDOW + ["attempt 2"] * WINDOW


def test_the_number_of_attempts_is_kept_with_the_weights(dead_at_first, tmp_path):
    dead_at_first(1)
    Unet(SETTINGS).fit(bars(), seed=1, progress=SilentProgress()).save(tmp_path / "unet.safetensors")
    assert TrainedUnet.load(tmp_path / "unet.safetensors").record.attempts == 2


def judged(losses: list[float], shares: list[float]) -> list[int]:
    watch = Watch(len(losses))
    return [
        step
        for step, (loss, share) in enumerate(zip(losses, shares, strict=True), start=1)
        if watch.failed(loss, share)
    ]


def test_it_is_judged_after_a_quarter_and_at_the_end():
    assert judged([0.97] * 400, [0.02] * 400) == [100, 400]


def test_a_dead_one_is_given_up_after_a_twentieth():
    assert judged([0.999] * 4000, [0.02] * 4000) == [200, 1000, 4000]
    assert judged([0.999] * 400, [0.02] * 400) == [50, 100, 400]
    blind = 2 * 0.02 / 1.02
    assert judged([1 - DEAD * blind - 1e-6] * 4000, [0.02] * 4000) == [1000, 4000]
    assert judged([1 - DEAD * blind + 1e-6] * 4000, [0.02] * 4000) == [200, 1000, 4000]


def test_one_that_calls_every_pixel_a_little_is_not_dead():
    dice = 2 * 0.3 * 0.02 / (0.3 + 0.02)
    assert judged([1 - dice] * 190 + [0.5] * 3810, [0.02] * 4000) == []


def test_a_training_that_loses_what_it_found_is_given_up_at_the_end():
    assert judged([0.3] * 300 + [0.999] * 100, [0.02] * 400) == [400]


def test_what_was_found_before_the_last_steps_does_not_count():
    assert judged([0.3] * 50 + [0.999] * 350, [0.02] * 400) == [100, 400]
    assert judged([0.97] * 50 + [0.3] * 350, [0.02] * 400) == []


@pytest.mark.parametrize("share", [0.008, 0.3])
def test_calling_nearly_all_pixels_vessel_is_nothing_found(share):
    for called in (1.0, 0.9999, 0.99):  # the share of other pixels that is called vessel as well
        dice = 2 * share / (share + called * (1 - share) + share)
        assert judged([1 - dice] * 200, [share] * 200) == [50, 200]
    blind = 2 * share / (1 + share)
    asked = blind + MARGIN * blind * (1 - blind)
    assert judged([1 - asked + 1e-6] * 200, [share] * 200) == [50, 200]
    assert judged([1 - asked - 1e-6] * 200, [share] * 200) == []


def test_batches_without_a_label_do_not_count():
    assert judged([0.0, 0.999] * 100, [0.0, 0.02] * 100) == [50, 200]
    assert judged([0.5] * 200, [0.0] * 200) == []


def test_a_short_training_is_never_judged():
    assert judged([0.999] * (2 * WINDOW - 1), [0.02] * (2 * WINDOW - 1)) == []


def test_a_step_that_was_told_is_not_told_again():
    told = Counted()
    furthest = Furthest(told)
    for step, attempt in ((1, 1), (2, 1), (1, 2), (2, 2), (3, 2)):
        furthest.at(step, attempt)
    assert told.notes == ["", "", "attempt 2"]
