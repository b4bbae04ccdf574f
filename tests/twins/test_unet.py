"""The U-Net against its slow obvious twin, the loss and the windows against MONAI's."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from angioshare.errors import SettingsError
from angioshare.models.unet import PUBLISHED, HalfUnet
from angioshare.patches.scale import scale_patch
from angioshare.segmentation.fit import soft_dice_loss
from angioshare.segmentation.infer import probability_volume

MONAI_WARNS = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def written_out(network: HalfUnet, image: torch.Tensor) -> torch.Tensor:
    """Three levels, every operation by itself, for sides that are multiples of 4."""
    w = network.state_dict()

    def two(x: torch.Tensor, name: str) -> torch.Tensor:
        for layer in (0, 3):
            x = functional.conv2d(x, w[f"{name}.{layer}.weight"], w[f"{name}.{layer}.bias"], padding=1).clamp(min=0)
        return x

    def half(x: torch.Tensor) -> torch.Tensor:
        return x.unfold(2, 2, 2).unfold(3, 2, 2).amax(dim=(4, 5))

    def double(x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    fine = two(image, "down.0")
    middle = two(half(fine), "down.1")
    coarse = two(half(middle), "down.2")
    middle = two(torch.cat((double(coarse), middle), 1), "up.1")
    fine = two(torch.cat((double(middle), fine), 1), "up.0")
    return 1 / (1 + torch.exp(-functional.conv2d(fine, w["last.weight"], w["last.bias"])))


def test_the_network_equals_its_written_out_twin():
    network = HalfUnet((3, 5, 7), 0.4, seed=1).double().eval()
    image = torch.randn(2, 1, 12, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(network(image), written_out(network, image))


def test_odd_sizes_are_padded_by_repeating_the_edge_and_cut_again():
    network = HalfUnet((3, 5, 7), seed=1).eval()
    image = torch.randn(2, 1, 9, 11, generator=torch.Generator().manual_seed(1))
    padded = np.pad(image.numpy(), ((0, 0), (0, 0), (0, 3), (0, 1)), mode="edge")
    torch.testing.assert_close(network(image), network(torch.from_numpy(padded))[:, :, :9, :11])


def test_the_published_network_has_its_published_shape():
    network = HalfUnet(seed=1)
    assert PUBLISHED == (32, 64, 128, 256, 512)
    assert [level[3].weight.shape[:2] for level in network.down] == [(c, c) for c in PUBLISHED]
    assert [level[0].weight.shape[1] for level in network.up] == [32 + 64, 64 + 128, 128 + 256, 256 + 512]
    assert not [m for m in network.modules() if "Norm" in type(m).__name__]
    assert sum(p.numel() for p in network.parameters()) == 7_846_081  # counted by hand


def test_dropout_acts_in_training_alone():
    network, image = HalfUnet((4, 4), 0.5, seed=1), torch.ones(1, 1, 8, 8)
    assert not torch.equal(network(image), network(image))
    assert torch.equal(network.eval()(image), network(image))


def test_initial_weights_come_from_the_seed_alone():
    torch.manual_seed(1)
    one = HalfUnet((4, 8), seed=3)
    torch.manual_seed(2)
    other = HalfUnet((4, 8), seed=3)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    assert not torch.equal(one.last.weight, HalfUnet((4, 8), seed=4).last.weight)


@pytest.mark.parametrize(("channels", "dropout"), [((8,), 0.0), ((8, 0), 0.0), ((8, 8), 1.0), ((8, 8), -0.1)])
def test_impossible_networks_are_refused(channels, dropout):
    with pytest.raises(SettingsError, match="published"):
        HalfUnet(channels, dropout, seed=1)


@MONAI_WARNS
def test_the_loss_equals_monais_soft_dice_over_the_batch():
    from monai.losses import DiceLoss

    rng = torch.Generator().manual_seed(1)
    probability = torch.rand(4, 1, 6, 6, generator=rng)
    label = (torch.rand(4, 1, 6, 6, generator=rng) > 0.8).float()
    theirs = DiceLoss(batch=True, smooth_nr=1.0, smooth_dr=1.0)(probability, label)
    torch.testing.assert_close(soft_dice_loss(probability, label), theirs)


@MONAI_WARNS
@pytest.mark.parametrize("shape", [(20, 31), (8, 8), (9, 40)])
def test_windows_equal_monais_sliding_window(shape):
    from monai.inferers import sliding_window_inference

    class Edges:
        def probability(self, image: np.ndarray) -> np.ndarray:
            return np.abs(np.diff(image, axis=1, prepend=image[:, :1])) / 2

    scan = np.random.default_rng(1).random((*shape, 3)).astype(np.float32)
    theirs = sliding_window_inference(
        torch.from_numpy(np.moveaxis(scan, 2, 0))[:, None],
        roi_size=(8, 8),
        sw_batch_size=1,
        predictor=lambda window: torch.from_numpy(Edges().probability(scale_patch(window[:, 0].numpy())))[:, None],
        overlap=0.5,
        mode="constant",
    )
    found = probability_volume(Edges(), scan, size=8, mode="window")
    np.testing.assert_allclose(np.moveaxis(found, 2, 0), theirs[:, 0].numpy(), atol=1e-5)
