import numpy as np
import pytest
import torch

from angioshare.errors import SettingsError
from angioshare.patches.patchset import PatchSet
from angioshare.progress import SilentProgress
from angioshare.segmentation.fit import Unet, digest, finished, soft_dice_loss
from angioshare.segmentation.settings import UnetSettings
from angioshare.segmentation.trained import TrainedUnet

QUICK = UnetSettings(channels=(4, 8), batch=8, steps=3, learning_rate=0.01)


def bars(seed, provenance="unprotected", shift=0.0):
    """Noise with a bright bar that the label marks."""
    rng = np.random.default_rng(seed)
    image = rng.normal(-0.5, 0.1, (12, 16, 16)).astype(np.float32)
    label = np.zeros((12, 16, 16), np.uint8)
    for row, first in enumerate(rng.integers(2, 12, 12)):
        label[row, first : first + 2] = 1
    image[label == 1] = 0.8
    return PatchSet(image=image + np.float32(shift), label=label, provenance=provenance)


def fit(patches, settings=QUICK, seed=1, start=None):
    return Unet(settings).fit(patches, seed=seed, progress=SilentProgress(), start=start)


def weights(trained):
    return torch.cat([value.flatten() for value in trained._network.state_dict().values()])


def loss(trained, patches):
    return float(soft_dice_loss(torch.from_numpy(trained.probability(patches.image)), torch.from_numpy(patches.label)))


@pytest.fixture(scope="module")
def start():
    return fit(bars(0, "public"), QUICK.model_copy(update={"steps": 60, "learning_rate": 0.02}))


def test_a_step_of_no_size_leaves_the_weights_that_it_began_from(start):
    still = fit(bars(1), QUICK.model_copy(update={"learning_rate": 1e-30}), seed=2, start=start)
    assert torch.equal(weights(still), weights(start))


def test_the_start_is_copied_not_changed(start):
    before = weights(start).clone()
    assert not torch.equal(weights(fit(bars(1), start=start)), before)
    assert torch.equal(weights(start), before)


def test_few_steps_from_a_start_do_what_as_few_from_nothing_do_not(start):
    unseen = bars(9)
    assert loss(fit(bars(1), start=start), unseen) < 0.5 < loss(fit(bars(1)), unseen)


def test_inputs_stay_standardised_as_the_start_learnt_them(start):
    tuned = fit(bars(1, shift=0.3), start=start)
    assert (tuned.record.mean, tuned.record.sd) == (start.record.mean, start.record.sd)
    assert fit(bars(1, shift=0.3)).record.mean == pytest.approx(start.record.mean + 0.3, abs=0.05)


@pytest.mark.parametrize(
    ("first", "then", "found"),
    [
        ("public", "public", "public"), ("public", "dp", "dp"), ("dp", "public", "dp"),
        ("dp", "unprotected", "unprotected"), ("unprotected", "public", "unprotected"),
    ],
)  # fmt: skip
def test_it_reveals_as_much_as_the_more_revealing_of_both(first, then, found):
    assert fit(bars(1, then), start=fit(bars(0, first))).record.provenance == found


def test_weights_fine_tuned_on_real_patches_are_for_the_owners_eyes_alone(start, tmp_path):
    fit(bars(1), start=start).save(tmp_path / "tuned.safetensors")
    assert (tmp_path / "tuned.safetensors").stat().st_mode & 0o077 == 0
    assert TrainedUnet.load(tmp_path / "tuned.safetensors").record.provenance == "unprotected"


def test_a_fine_tuned_unet_is_not_taken_for_one_that_began_from_nothing_or_from_another_start(start, tmp_path):
    path, patches = tmp_path / "tuned.safetensors", bars(1)
    fit(patches, start=start).save(path)
    assert finished(path, QUICK, 1, digest(patches, start.record))
    assert not finished(path, QUICK, 1, digest(patches))
    assert not finished(path, QUICK, 1, digest(patches, fit(bars(2)).record))


def test_a_start_of_other_channels_is_refused(start):
    with pytest.raises(SettingsError, match=r"\(4, 8, 8\) do not fit a start of \(4, 8\)"):
        fit(bars(1), QUICK.model_copy(update={"channels": (4, 8, 8)}), start=start)
