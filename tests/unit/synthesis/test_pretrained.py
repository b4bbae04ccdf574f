import numpy as np
import pytest
from watched import Counting, Spies

from angioshare.patches.extract import PatchSettings
from angioshare.protocols import Context
from angioshare.synthesis.paces import criticising, simulating
from angioshare.synthesis.pretrained import PretrainedWgan, PretrainedWganSettings

SETTINGS = {
    "features": 2, "z": 4, "batch": 6, "critic_updates": 2, "iterations": 2, "site": "demo-1", "simulated_subjects": 1,
    "first_iterations": 3, "first_batch": 5, "first_learning_rate": 1e-3,
}  # fmt: skip


def subject(first_batch=5):
    """What one simulated subject counts."""
    return round(simulating(1) / criticising(2 * first_batch, 16, 2))


@pytest.fixture(scope="module")
def synthesizer():
    context = Context(patches=PatchSettings(size=16, vessel=10, random=10), provenance="dp")
    return PretrainedWgan(PretrainedWganSettings(**SETTINGS), context)


def test_real_patches_enter_the_second_training_alone_and_the_first_is_kept(real, tmp_path, synthesizer):
    spies, progress = Spies(len(real)), Counting()
    synthesizer.fit(real, spies, seed=1, folder=tmp_path, progress=progress)
    assert progress.steps == synthesizer.work() == subject() + 3 + 2
    assert synthesizer.schedule().steps == 2 * 2
    assert spies.asked == (6, 0, 1)
    assert all(
        weight.abs().max() <= 0.01 for weight in spies.spy.weights[0]
    )  # clamped: it comes from the first training
    first = (tmp_path / "simulated" / "generator.safetensors").read_bytes()
    (tmp_path / "checkpoint.safetensors").unlink()
    synthesizer.fit(real, Spies(len(real)), seed=1, folder=tmp_path, progress=progress)
    assert (tmp_path / "simulated" / "generator.safetensors").read_bytes() == first
    pairs = synthesizer.load(tmp_path, real).sample(3, seed=0)
    assert pairs.provenance == "dp"
    assert np.isfinite(pairs.image).all()


def test_an_update_of_many_patches_counts_as_many_of_few():
    context = Context(patches=PatchSettings(size=16, vessel=10, random=10))
    many = PretrainedWgan(PretrainedWganSettings(**SETTINGS | {"batch": 50}), context)
    assert many.work() == subject() + 3 + 2 * 10
    few = PretrainedWgan(PretrainedWganSettings(**SETTINGS | {"first_batch": 500}), context)
    assert few.work() == subject(500) + 3 + 2


def test_the_first_training_has_its_own_batch_and_rates():
    first = PretrainedWganSettings(**SETTINGS).first()
    assert (first.iterations, first.batch, first.learning_rate, first.critic_updates) == (3, 5, 1e-3, 2)
