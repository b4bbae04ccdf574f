"""Claim: a training step of the half U-Net is faster where one transposed convolution doubles, joins and convolves.

The same network and batch (32 patches of 96 x 96, channels 8 to 128, channels-last), forward, backward and Adam.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from angioshare.heap import keep_freed_memory
from angioshare.models.unet import HalfUnet
from angioshare.segmentation.fit import soft_dice_loss
from angioshare.segmentation.folded import folded_forward
from timing import arguments, interleaved, tell

CHANNELS = (8, 16, 32, 64, 128)
PLAIN, FOLDED = "as written: repeat, join, convolve", "folded"


def batch() -> tuple[Tensor, Tensor]:
    """Images and labels of 32 patches."""
    return torch.randn(32, 1, 96, 96), (torch.rand(32, 1, 96, 96) > 0.95).float()


def step_of(forward: Callable[[HalfUnet, Tensor], Tensor], image: Tensor, label: Tensor) -> Callable[[], object]:
    """One step of training with a way forward."""
    network = HalfUnet(CHANNELS, 0.0, seed=1)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    run = partial(forward, network)

    def step() -> None:
        loss = soft_dice_loss(run(image), label)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()

    return step


def main() -> None:
    """Print the median step of both ways and their ratio."""
    options = arguments(__doc__ or "", rounds=15)
    torch.set_num_threads(1)
    keep_freed_memory()
    image, label = batch()
    ways = {PLAIN: HalfUnet.__call__, FOLDED: folded_forward}
    steps = {name: step_of(forward, image, label) for name, forward in ways.items()}
    tell("U-Net training step", interleaved(steps, options.rounds), PLAIN, options.json)


if __name__ == "__main__":
    main()
