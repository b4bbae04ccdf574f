import numpy as np
import torch

from angioshare.segmentation import augment as augment_module
from angioshare.segmentation.augment import augment, random_affine


def blob(size: int = 48) -> torch.Tensor:
    """A smooth bump off the centre, in [0, 1]."""
    y, x = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return torch.exp(-((y - 18.0) ** 2 + (x - 30.0) ** 2) / 40)[None, None]


def draw(image: torch.Tensor, label: torch.Tensor, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    return augment(image, label, np.random.default_rng(seed))


def without(monkeypatch, *names: str) -> None:
    for name in names:
        monkeypatch.setattr(augment_module, name, 0.0)


def test_image_and_label_move_together():
    image = blob().repeat(20, 1, 1, 1)
    moved, label = draw(image, (image > 0.5).float())
    overlap = ((moved > 0.5) == (label > 0.5)).float().mean()
    assert overlap > 0.99
    assert (moved - image).abs().amax(dim=(1, 2, 3)).min() > 0.1


def test_labels_stay_binary_and_images_stay_in_range():
    noise = torch.rand(20, 1, 32, 32) * 2 - 1
    image, label = draw(noise, (noise > 0).float())
    assert set(label.unique().tolist()) == {0.0, 1.0}
    assert image.min() >= noise.min()
    assert image.max() <= noise.max()


def test_without_rotation_and_shear_a_copy_is_the_patch_or_its_vertical_flip(monkeypatch):
    without(monkeypatch, "ROTATION_DEG", "SHEAR_DEG")
    image = blob().repeat(20, 1, 1, 1)
    moved, _ = draw(image, image)
    flipped = [torch.allclose(one, image[0].flip(1), atol=1e-5) for one in moved]
    same = [torch.allclose(one, image[0], atol=1e-5) for one in moved]
    assert all(a != b for a, b in zip(flipped, same, strict=True))
    assert 0 < sum(flipped) < 20


def test_rotation_keeps_area_and_the_distance_to_the_centre(monkeypatch):
    without(monkeypatch, "SHEAR_DEG")
    image = blob().repeat(20, 1, 1, 1)
    moved, _ = draw(image, image)
    torch.testing.assert_close(moved.sum(dim=(1, 2, 3)), image.sum(dim=(1, 2, 3)), rtol=0.02, atol=0)
    y, x = torch.meshgrid(*[torch.arange(48) - 23.5] * 2, indexing="ij")
    radius = [((one * y).sum() / one.sum()).hypot((one * x).sum() / one.sum()) for one in (image[0], *moved)]
    torch.testing.assert_close(torch.stack(radius[1:]), radius[0].expand(20), rtol=0.03, atol=0)


def test_angles_keep_to_the_published_ranges_and_fill_them(monkeypatch):
    without(monkeypatch, "SHEAR_DEG")
    turns = random_affine(2000, 8, 8, np.random.default_rng(0))
    degrees = torch.rad2deg(torch.atan2(turns[:, 1, 0], turns[:, 0, 0]))
    assert 28 < degrees.max() <= 30
    assert -30 <= degrees.min() < -28
    assert torch.isclose(turns[:, :, :2].det().abs(), torch.ones(2000)).all()


def test_shear_keeps_to_the_published_range(monkeypatch):
    without(monkeypatch, "ROTATION_DEG")
    shears = random_affine(2000, 8, 8, np.random.default_rng(0))[:, 0, 1].abs()
    assert np.tan(np.deg2rad(19)) < shears.max() <= np.tan(np.deg2rad(20))


def test_in_an_oblong_patch_a_circle_stays_a_circle(monkeypatch):
    without(monkeypatch, "SHEAR_DEG")
    y, x = torch.meshgrid(torch.arange(40) - 19.5, torch.arange(80) - 39.5, indexing="ij")
    disc = (y**2 + x**2 < 100).float()[None, None].repeat(10, 1, 1, 1)
    moved, _ = draw(disc, disc)
    assert (moved - disc).abs().mean() < 0.01


def test_amounts_come_from_the_generator_alone():
    image = blob().repeat(4, 1, 1, 1)
    assert torch.equal(draw(image, image)[0], draw(image, image)[0])
    assert not torch.equal(draw(image, image)[0], draw(image, image, seed=2)[0])


def test_no_patch_gives_no_patch():
    assert draw(blob()[:0], blob()[:0])[0].shape == (0, 1, 48, 48)
