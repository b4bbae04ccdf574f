"""Claim: a training step of the half U-Net is faster where convolutions multiply in bfloat16, if the CPU has AMX.

The same network and batch (16 patches of 96 x 96, channels 8 to 128), forward, backward and Adam, as trainings take it.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from angioshare.heap import keep_freed_memory
from angioshare.models.unet import HalfUnet
from angioshare.segmentation.fit import flushed_denormals, soft_dice_loss
from angioshare.segmentation.folded import folded_forward
from timing import arguments, interleaved, tell

CHANNELS = (8, 16, 32, 64, 128)
PRECISIONS = {"float32": False, "bfloat16": True}


def step_of(lower: bool, image: Tensor, label: Tensor) -> Callable[[], object]:
    """One step of training in float32, or with convolutions in bfloat16."""
    network = HalfUnet(CHANNELS, 0.0, seed=1)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    forward = partial(folded_forward, network)

    def step() -> None:
        with flushed_denormals():
            with torch.autocast("cpu", torch.bfloat16, enabled=lower):
                probability = forward(image)
            loss = soft_dice_loss(probability, label)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()

    return step


def main() -> None:
    """Print the median step in both precisions and their ratio."""
    options = arguments(__doc__ or "", rounds=15)
    torch.set_num_threads(1)
    keep_freed_memory()
    image, label = torch.randn(16, 1, 96, 96), (torch.rand(16, 1, 96, 96) > 0.95).float()
    steps = {name: step_of(lower, image, label) for name, lower in PRECISIONS.items()}
    tell("U-Net training step", interleaved(steps, options.rounds), "float32", options.json)


if __name__ == "__main__":
    main()
