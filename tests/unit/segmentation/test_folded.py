from functools import partial

import pytest
import torch

from angioshare.models.unet import HalfUnet, probability_of
from angioshare.segmentation import folded
from angioshare.segmentation.folded import FoldedUnet, folded_forward


def with_biases(network: HalfUnet) -> HalfUnet:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter.normal_(0, 0.3, generator=generator)
    return network.eval()


@pytest.mark.parametrize("channels", [(3, 5), (2, 4, 8), (4, 4, 6, 6, 9)])
@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (3, 1, 33, 20), (2, 1, 1, 7)])
def test_the_folded_network_is_the_same_function(channels, shape):
    network = with_biases(HalfUnet(channels, dropout=0.3, seed=1))
    image = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(FoldedUnet(network.double())(image), network(image), rtol=0, atol=1e-12)


def test_a_sure_pixel_keeps_its_gradient_in_bfloat16():
    logit = torch.tensor([9.0], dtype=torch.bfloat16, requires_grad=True)
    probability_of(logit).sum().backward()
    assert logit.grad.item() == pytest.approx(1.23e-4, rel=0.01)


@pytest.mark.parametrize("forward", [HalfUnet.__call__, folded_forward])
def test_bfloat16_gives_nearly_the_same_probabilities_in_float32(forward):
    network = with_biases(HalfUnet((4, 8, 8), seed=1))
    image = torch.randn((2, 1, 32, 20), generator=torch.Generator().manual_seed(2))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = forward(network, image)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, network(image).detach(), rtol=0, atol=0.02)


@pytest.mark.parametrize("channels", [(3, 5), (2, 4, 8), (4, 4, 6, 6, 9)])
@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (3, 1, 33, 20), (2, 1, 1, 7)])
def test_folded_training_has_the_same_function_dropout_and_gradients(channels, shape):
    network = with_biases(HalfUnet(channels, dropout=0.3, seed=1)).double().train()
    network.to(memory_format=torch.channels_last)  # as in training: masks of dropout are drawn in the order of memory
    image = torch.randn(shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = []
    for forward in (network, partial(folded_forward, network)):
        network.zero_grad()
        torch.manual_seed(4)  # the same pixels are dropped
        probability = forward(image)
        probability.square().sum().backward()
        found.append([probability.detach(), *(weight.grad for weight in network.parameters())])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("fused", [True, False])
def test_sum_and_relu_behind_a_convolution_change_nothing(fused, monkeypatch):
    if not fused:
        monkeypatch.setattr(folded, "_fused", lambda x: False)
    network = with_biases(HalfUnet((4, 4, 6, 6, 9), seed=1))
    image = torch.randn((3, 1, 33, 20), generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(FoldedUnet(network)(image), network(image), rtol=0, atol=1e-5)


def test_later_changes_of_the_network_do_not_show():
    network = HalfUnet((2, 3), seed=1).eval()
    image = torch.ones(1, 1, 8, 8)
    folded = FoldedUnet(network)
    before = folded(image)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    assert torch.equal(folded(image), before)


def test_the_image_is_not_changed():
    image = torch.rand(1, 1, 16, 16)
    kept = image.clone()
    FoldedUnet(HalfUnet((2, 3), seed=1).eval())(image)
    assert torch.equal(image, kept)
