import json

import numpy as np
import pytest
import torch
from watched import Counting, Spies

from angioshare.errors import BudgetExceeded
from angioshare.patches.patchset import PatchSet
from angioshare.synthesis.checkpoint import Checkpoint, Curve
from angioshare.synthesis.loop import Drawing, Loop
from angioshare.synthesis.plain import PlainEngine

LOOP = Loop(task="train", iterations=5, checkpoint_every=2, unit="patch")


class Spender:
    """Counts how often it was closed; the budget is spent after so many steps."""

    def __init__(self, affordable=99):
        self.left, self.closed = affordable, 0

    def spend(self):
        if self.left == 0:
            raise BudgetExceeded("epsilon would pass 1")
        self.left -= 1

    def epsilon_so_far(self):
        return 0.5

    def close(self):
        self.closed += 1


class Notes(Counting):
    """Keeps where progress starts and that it is over, too."""

    def __init__(self):
        super().__init__()
        self.started, self.finished = None, False

    def start(self, task, total, done=0):
        self.started = (task, total, done)

    def finish(self):
        self.finished = True


@pytest.fixture
def weight():
    return torch.nn.Linear(1, 1, bias=False)


def stand(weight, folder):
    return Checkpoint(folder / "checkpoint.safetensors", networks={"one": weight}, optimisers={})


def run(weight, folder, source, *, does=None, progress=None):
    """A training whose weight is the number of its last step."""
    checkpoint = stand(weight, folder)
    curve = Curve(folder / "curve.json", checkpoint.load())

    def step(iteration):
        source.spend()
        if does is not None:
            does(iteration)
        weight.weight.data.fill_(iteration + 1)

    def look():
        return {"weight": weight.weight.item()}

    LOOP.run(step, source, checkpoint, progress=progress or Notes(), curve=curve, look=look)


def test_it_saves_at_its_pace_and_at_the_end_and_says_what_was_spent(weight, tmp_path):
    source, progress = Spender(), Notes()
    run(weight, tmp_path, source, progress=progress)
    assert progress.started == ("train", 5, 0)
    assert progress.notes == ["epsilon 0.5 per patch so far"] * 5
    assert progress.finished
    assert source.closed == 1
    rows = json.loads((tmp_path / "curve.json").read_text())
    assert rows == [{"iteration": i, "weight": float(i)} for i in (2, 4, 5)]
    assert stand(weight, tmp_path).load() == 5


def test_it_goes_on_after_the_checkpoint(weight, tmp_path):
    def stops(iteration):
        if iteration == 3:
            raise KeyboardInterrupt

    broken, done = Spender(), []
    with pytest.raises(KeyboardInterrupt):
        run(weight, tmp_path, broken, does=stops)
    assert broken.closed == 1
    assert stand(weight, tmp_path).load() == 2
    progress = Notes()
    run(weight, tmp_path, Spender(), does=done.append, progress=progress)
    assert progress.started == ("train", 5, 2)
    assert done == [2, 3, 4]


@pytest.mark.parametrize("affordable", [1, 2, 3])
def test_a_spent_budget_ends_it_says_so_and_keeps_what_was_done(weight, tmp_path, caplog, affordable):
    source, progress = Spender(affordable), Notes()
    run(weight, tmp_path, source, progress=progress)
    assert source.closed == 1
    assert progress.finished
    assert progress.steps == affordable
    assert caplog.messages == [f"train ended after {affordable} of 5 updates: epsilon would pass 1"]
    assert stand(weight, tmp_path).load() == affordable
    assert weight.weight.item() == affordable


def test_a_budget_that_bears_no_step_is_an_error_and_leaves_nothing(weight, tmp_path):
    source = Spender(0)
    with pytest.raises(BudgetExceeded):
        run(weight, tmp_path, source)
    assert source.closed == 1
    assert list(tmp_path.iterdir()) == []


def drawing(engine, seed=1):
    pairs = PatchSet(
        image=np.zeros((4, 2, 2), np.float32), label=np.zeros((4, 2, 2), np.uint8),
        subject=np.array([0, 0, 1, 1]), subjects=("a", "b"),
    )  # fmt: skip
    return Drawing(patches=pairs, engine=engine, unit="subject", patches_per_unit=1, seed=seed, name="test")


def test_a_seed_selects_without_privacy_alone():
    plain = [drawing(None, seed).choosing(0).random(4).tolist() for seed in (1, 1, 2)]
    assert plain[0] == plain[1] != plain[2]
    assert drawing(None).choosing(1).random(4).tolist() != plain[0]
    private = [drawing(Spies(4)).choosing(0).random(4).tolist() for _ in range(2)]
    assert private[0] != private[1]


def test_the_engine_is_told_of_steps_and_rows():
    critic = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 1))
    spies = Spies(4)
    assert drawing(spies).source(critic, batch=2, synthetic=3, steps_done=7, rows_per_patch=5) is spies.spy
    assert spies.asked == (3, 7, 5)
    plain = drawing(None).source(critic, batch=2)
    assert isinstance(plain, PlainEngine)
    assert plain.epsilon_so_far() == float("inf")
