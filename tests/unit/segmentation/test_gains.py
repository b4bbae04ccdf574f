import numpy as np
import pytest
import torch

from angioshare.errors import SettingsError
from angioshare.models.gains import Gains, convolutions, with_gains
from angioshare.models.unet import HalfUnet
from angioshare.segmentation.folded import folded_forward

IMAGE = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))


def unet():
    network = HalfUnet((4, 6, 8), seed=1)
    with torch.no_grad():  # biases that are not zero, so that a gain must reach them
        for name, weight in network.named_parameters():
            if name.endswith("bias"):
                weight.add_(0.1)
    return network


def drawn(gains):
    with torch.no_grad():
        gains.values.normal_(0, 0.3, generator=torch.Generator().manual_seed(0))
    return gains


@pytest.mark.parametrize("levels", [0, 1, 2, 3])
def test_gains_multiply_and_shift_what_a_convolution_gives(levels):
    gains, hooked, first = drawn(Gains(unet(), levels)), unet(), 0
    modules = dict(hooked.named_modules())
    for name in convolutions(hooked, levels):
        gain, shift = gains.values.detach()[:, first : first + modules[name].out_channels, None, None]
        first += modules[name].out_channels
        modules[name].register_forward_hook(lambda _, __, out, gain=gain, shift=shift: out * gain.exp() + shift)
    assert first == gains.values.shape[1]
    with torch.no_grad():
        assert torch.allclose(gains(IMAGE), hooked(IMAGE), atol=1e-5)
        assert not torch.allclose(gains(IMAGE), unet()(IMAGE), atol=1e-3)


@pytest.mark.parametrize("forward", [None, folded_forward])
def test_a_unet_with_gains_is_a_unet_of_other_weights(forward):
    gains = drawn(Gains(unet(), 2, forward))
    folded = with_gains(unet(), 2, gains.flat())
    with torch.no_grad():
        assert torch.allclose(folded(IMAGE), gains(IMAGE), atol=1e-5)


def test_gains_learn_and_weights_stay():
    network = unet()
    gains, before = Gains(network, 1), [weight.clone() for weight in network.parameters()]
    gains(IMAGE).sum().backward()
    assert gains.values.grad.abs().sum(dim=1).min() > 0
    assert all(weight.grad is None for weight in network.parameters())
    torch.optim.SGD([gains.values], lr=1.0).step()
    assert all(torch.equal(now, then) for now, then in zip(network.parameters(), before, strict=True))


def test_levels_and_values_that_do_not_fit_are_refused():
    with pytest.raises(SettingsError, match="levels=4: the U-Net has 3 levels"):
        Gains(unet(), 4)
    with pytest.raises(ValueError, match=r"\(3,\) values for 34 gains and shifts of 1 levels"):
        with_gains(unet(), 1, np.zeros(3, np.float32))
