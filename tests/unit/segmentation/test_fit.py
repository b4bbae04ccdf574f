import dataclasses
import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from angioshare.errors import AngioShareError, DataError
from angioshare.models.unet import HalfUnet
from angioshare.patches.patchset import PatchSet
from angioshare.progress import SilentProgress
from angioshare.rng import seed_for
from angioshare.segmentation import augment as augment_module
from angioshare.segmentation import fit
from angioshare.segmentation.fit import Beside, Unet, batches, digest, finished, mean_and_sd, soft_dice_loss
from angioshare.segmentation.settings import UnetSettings
from angioshare.segmentation.trained import TrainedUnet

QUICK = UnetSettings(channels=(4, 8), batch=8, steps=3, learning_rate=0.01)


def bright_lines(n: int = 12, size: int = 16, seed: int = 0, **more: object) -> PatchSet:
    """Noise with a bright bar that the label marks."""
    rng = np.random.default_rng(seed)
    image = rng.normal(-0.5, 0.1, (n, size, size)).astype(np.float32)
    label = np.zeros((n, size, size), np.uint8)
    for row, start in enumerate(rng.integers(2, size - 4, n)):
        label[row, start : start + 2] = 1
    image[label == 1] = 0.8
    return PatchSet(image=image, label=label, **more)


def train(settings: UnetSettings = QUICK, patches: PatchSet | None = None, seed: int = 1) -> TrainedUnet:
    return Unet(settings).fit(bright_lines() if patches is None else patches, seed=seed, progress=SilentProgress())


def weights(trained: TrainedUnet) -> torch.Tensor:
    return torch.cat([value.flatten() for value in trained._network.state_dict().values()])


def test_loss_of_a_hand_calculated_batch():
    probability = torch.tensor([[0.5, 1.0], [0.0, 0.5]])
    label = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    assert soft_dice_loss(probability, label) == pytest.approx(1 - (2 * 1.5 + 1) / (2 + 2 + 1))


def test_loss_pools_the_batch_in_place_of_averaging_patches():
    label = torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    false_positive = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]])
    assert soft_dice_loss(false_positive, label) == pytest.approx(1 - 9 / 10)


def test_an_empty_batch_that_is_predicted_empty_has_no_loss():
    assert soft_dice_loss(torch.zeros(3), torch.zeros(3)) == 0


def test_a_short_training_finds_bright_lines():
    trained = train(UnetSettings(channels=(4, 8), batch=12, steps=60, learning_rate=0.02))
    unseen = bright_lines(seed=9)
    assert ((trained.probability(unseen.image) > 0.5) == (unseen.label == 1)).mean() > 0.99


def test_the_same_seed_gives_the_same_weights_and_another_seed_others():
    settings = QUICK.model_copy(update={"dropout": 0.3, "augmentation": True})
    first = weights(train(settings))
    torch.manual_seed(12345)  # the caller's stream plays no part
    assert torch.equal(first, weights(train(settings)))
    assert not torch.equal(weights(train(settings)), weights(train(settings, seed=2)))


def test_training_leaves_the_callers_random_stream_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    train(QUICK.model_copy(update={"dropout": 0.5}))
    assert torch.equal(torch.rand(3), expected)


def flushed() -> bool:
    return float(torch.tensor(1e-39) * 1) == 0


@pytest.mark.parametrize("breaks", [False, True])
def test_denormals_are_taken_for_0_while_training_and_only_then(monkeypatch, breaks):
    """What accounts for privacy in this process later must have its smallest numbers."""
    seen = []

    def watched(probability, label):
        seen.append(flushed())
        if breaks:
            raise AngioShareError("stop")
        return soft_dice_loss(probability, label)

    monkeypatch.setattr(fit, "soft_dice_loss", watched)
    assert not flushed()
    if breaks:
        with pytest.raises(AngioShareError, match="stop"):
            train()
    else:
        train()
    assert seen
    assert all(seen)
    assert not flushed()


def seen_while_training(monkeypatch, precision: str) -> tuple[TrainedUnet, set[torch.dtype], set[torch.dtype]]:
    """A U-Net trained in this precision, what its convolutions gave meanwhile, and what the loss was made of."""
    convolved, judged, loss, plain = set(), set(), fit.soft_dice_loss, torch.conv2d

    def conv2d(*arguments, **more):
        given = plain(*arguments, **more)
        convolved.add(given.dtype)
        return given

    def soft_dice(probability, label):
        judged.update((probability.dtype, label.dtype))
        return loss(probability, label)

    monkeypatch.setattr(torch, "conv2d", conv2d)
    monkeypatch.setattr(fit, "soft_dice_loss", soft_dice)
    return train(QUICK.model_copy(update={"precision": precision})), convolved, judged


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_convolutions_multiply_in_the_chosen_precision_and_losses_in_float32(monkeypatch, precision, dtype):
    trained, convolved, judged = seen_while_training(monkeypatch, precision)
    assert (convolved, judged) == ({dtype}, {torch.float32})
    assert {weight.dtype for weight in trained.network.parameters()} == {torch.float32}


def test_bfloat16_trains_to_nearly_the_same_weights_and_finds_the_same():
    settings = UnetSettings(channels=(4, 8), batch=12, steps=60, learning_rate=0.02, precision="bfloat16")
    fine, coarse = train(settings.model_copy(update={"precision": "float32"})), train(settings)
    assert not torch.equal(weights(fine), weights(coarse))
    unseen = bright_lines(seed=9)
    assert ((coarse.probability(unseen.image) > 0.5) == (unseen.label == 1)).mean() > 0.99


def test_a_record_of_before_precisions_is_of_float32(tmp_path):
    trained = train()
    told = json.loads(trained.record.to_json())
    del told["settings"]["precision"]
    assert type(trained.record).from_json(json.dumps(told)) == trained.record


def test_dropout_is_off_after_training():
    trained = train(QUICK.model_copy(update={"dropout": 0.5}))
    image = bright_lines().image
    np.testing.assert_array_equal(trained.probability(image), trained.probability(image))


def test_training_reads_images_of_any_brightness_alike():
    patches = bright_lines()
    shifted = PatchSet(image=patches.image / 4 + 0.5, label=patches.label)
    one, other = train(patches=patches), train(patches=shifted)
    np.testing.assert_allclose(one.probability(patches.image), other.probability(shifted.image), atol=1e-3)


def test_mean_and_sd_are_those_of_all_pixels_in_parts_and_in_half_precision(monkeypatch):
    monkeypatch.setattr(fit, "ROWS_AT_ONCE", 5)
    half = PatchSet(image=bright_lines().image.astype(np.float16), label=bright_lines().label)
    wide = half.image.astype(np.float64)
    assert mean_and_sd(half) == pytest.approx((wide.mean(), wide.std()))


def test_every_patch_comes_once_before_any_comes_again():
    patches = PatchSet(image=np.arange(10.0).reshape(10, 1, 1), label=np.zeros((10, 1, 1), np.uint8))
    seen = torch.cat([image.flatten() for image, _ in batches(patches, UnetSettings(batch=5), 1, 4)]).tolist()
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]


def test_with_augmentation_half_of_an_epoch_are_untouched_patches():
    patches = bright_lines(n=16)
    settings = UnetSettings(batch=8, augmentation=True)
    images = torch.cat([image for image, _ in batches(patches, settings, 1, 4)])[:, 0].numpy()
    untouched = sum(any(np.array_equal(one, original) for original in patches.image) for one in images)
    assert 16 <= untouched <= 18


def test_every_patch_has_its_own_copy(monkeypatch):
    for name in ("ROTATION_DEG", "SHEAR_DEG"):
        monkeypatch.setattr(augment_module, name, 0.0)
    levels = np.arange(16.0).reshape(16, 1, 1).repeat(4, 1).repeat(4, 2)
    patches = PatchSet(image=levels, label=levels.astype(np.uint8) % 2)
    pairs = list(batches(patches, UnetSettings(batch=8, augmentation=True), 1, 4))
    image, label = (torch.cat(parts)[:, 0, 1, 1] for parts in zip(*pairs, strict=True))
    assert sorted(image.round().tolist()) == sorted([*range(16), *range(16)])
    assert torch.equal(label, image.round() % 2)


def test_batches_larger_than_the_set_repeat_patches():
    (image, label), *_ = batches(bright_lines(n=3), UnetSettings(batch=8), 1, 1)
    assert image.shape == label.shape == (8, 1, 16, 16)


def test_nothing_to_train_on_and_broken_images_are_refused():
    with pytest.raises(DataError, match="no pixel to train on"):
        train(patches=bright_lines(n=0))
    broken = bright_lines()
    broken.image[3, 2, 2] = np.nan
    with pytest.raises(DataError, match="NaN or infinity"):
        train(patches=broken)


def test_a_constant_patch_set_trains_without_dividing_by_zero():
    flat = PatchSet(image=np.zeros((4, 8, 8), np.float32), label=np.zeros((4, 8, 8), np.uint8))
    assert np.isfinite(train(patches=flat).probability(flat.image)).all()


def test_a_training_that_diverges_says_which_learning_rate_to_lower(monkeypatch):
    monkeypatch.setattr(fit, "soft_dice_loss", lambda probability, label: (probability * torch.nan).sum())
    with pytest.raises(AngioShareError, match=r"learning_rate=0\.01; lower it"):
        train()


def test_a_saved_u_net_is_the_same_when_loaded(tmp_path):
    trained, path = train(), tmp_path / "unet.safetensors"
    trained.save(path)
    loaded = TrainedUnet.load(path)
    assert loaded.record == trained.record
    np.testing.assert_array_equal(loaded.probability(bright_lines().image), trained.probability(bright_lines().image))


@pytest.mark.parametrize(("provenance", "mode"), [("unprotected", 0o600), ("dp", 0o644), ("public", 0o644)])
def test_weights_are_as_private_as_their_patches(tmp_path, provenance, mode):
    path = tmp_path / "unet.safetensors"
    train(patches=bright_lines(provenance=provenance)).save(path)
    assert path.stat().st_mode & 0o777 == mode
    assert TrainedUnet.load(path).record.provenance == provenance


def test_a_file_is_finished_only_for_its_own_settings_seed_and_patches(tmp_path):
    path, patches = tmp_path / "unet.safetensors", bright_lines()
    assert not finished(path, QUICK, 1, digest(patches))
    train(patches=patches).save(path)
    assert finished(path, QUICK, 1, digest(patches))
    assert not finished(path, QUICK, 2, digest(patches))
    assert not finished(path, QUICK.model_copy(update={"steps": 4}), 1, digest(patches))
    assert not finished(path, QUICK, 1, digest(bright_lines(seed=5)))


def test_the_digest_sees_a_changed_label():
    changed = bright_lines()
    changed.label[5, 5, 5] ^= 1
    assert digest(changed) != digest(bright_lines())


@pytest.mark.parametrize("damage", ["truncated", "no record", "other weights", "text"])
def test_a_damaged_file_is_an_error_that_names_it_and_is_not_finished(tmp_path, damage):
    path = tmp_path / "unet.safetensors"
    train().save(path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:200])
    if damage == "no record":
        save_file(load_file(path), path)
    if damage == "other weights":
        save_file({"a": torch.zeros(2)}, path, {"record": train().record.to_json()})
    if damage == "text":
        path.write_text(json.dumps({"no": "weights"}))
    with pytest.raises(DataError, match=r"unet\.safetensors holds no trained U-Net"):
        TrainedUnet.load(path)
    assert not finished(path, QUICK, 1, digest(bright_lines())) or damage == "other weights"


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 17, 5), (2, 1, 1), (0, 16, 16)])
def test_slices_of_any_size_give_probabilities_of_the_same_size(shape):
    found = train().probability(np.zeros(shape))
    assert found.shape == shape
    assert ((found >= 0) & (found <= 1)).all()


def test_a_slice_does_not_depend_on_what_it_is_batched_with(monkeypatch):
    trained, image = train(), bright_lines().image
    together = trained.probability(image)
    monkeypatch.setattr("angioshare.segmentation.trained.PIXELS_AT_ONCE", 1)
    np.testing.assert_allclose(trained.probability(image), together, atol=1e-6)


def test_the_weights_that_are_kept_are_the_moving_average_of_all_steps():
    def after(steps, ema=0.0):
        return weights(train(QUICK.model_copy(update={"steps": steps, "ema": ema}), bright_lines(n=24)))

    first = HalfUnet(QUICK.channels, 0.0, seed=seed_for(1, "unet", "weights"))
    expected = torch.cat([value.flatten() for value in first.state_dict().values()])
    for step in (1, 2, 3):
        decay = min(0.15, step / (step + 9))
        expected = decay * expected + (1 - decay) * after(step)
    torch.testing.assert_close(after(3, ema=0.15), expected)
    assert not torch.allclose(after(3, ema=0.15), after(3))


def of_one_value(value, count):
    """Pairs whose pixels all have one value, with a vessel so that something can be found."""
    image = np.full((count, 8, 8), value, np.float32)
    label = np.zeros((count, 8, 8), np.uint8)
    label[:, 2:4] = 1
    return PatchSet(image=image, label=label, provenance="public")


@pytest.mark.parametrize(("share", "others"), [(0.5, 4), (0.25, 2), (1.0, 8), (0.01, 1)])
def test_pairs_beside_take_their_share_of_every_batch_whatever_their_number(share, others):
    beside = Beside(patches=of_one_value(1.0, 3), share=share)
    drawn = list(batches(of_one_value(-1.0, 50), UnetSettings(batch=8), 1, 20, beside))
    assert [int((image[:, 0, 0, 0] == 1).sum()) for image, _ in drawn] == [others] * 20
    assert all(image.shape == label.shape == (8, 1, 8, 8) for image, label in drawn)


def test_a_training_with_pairs_beside_has_a_record_of_its_own():
    own, other = bright_lines(8, provenance="public"), of_one_value(0.5, 8)
    other.image[:, 0] = -0.5
    own = dataclasses.replace(own, image=own.image[:, :8, :8], label=own.label[:, :8, :8])
    settings = UnetSettings(channels=(2, 4), batch=4, steps=2)
    alone = Unet(settings).fit(own, seed=1, progress=SilentProgress()).record
    for share in (0.25, 0.5):
        beside = Beside(patches=other, share=share)
        record = Unet(settings).fit(own, seed=1, progress=SilentProgress(), beside=beside).record
        assert record.patches != alone.patches
        pixels = np.concatenate([own.image] * round(8 * (1 - share)) + [other.image] * round(8 * share))
        assert (record.mean, record.sd) == pytest.approx((pixels.mean(), pixels.std()))
    secret = Beside(patches=dataclasses.replace(other, provenance="unprotected"), share=0.5)
    assert Unet(settings).fit(own, seed=1, progress=SilentProgress(), beside=secret).record.provenance == "unprotected"
