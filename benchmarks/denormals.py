"""Claim: a training step of a U-Net that has learnt something is faster where denormal numbers are taken for 0.

The half U-Net (16 patches of 96 x 96, channels 8 to 128) after 600 steps on simulated patches, then the same step, in
turns, as trainings take it and with denormals kept. Gradients through a sigmoid that is sure are as small as that.
"""

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from functools import partial
from itertools import cycle
from pathlib import Path

import torch
from torch import Tensor

from angioshare.heap import keep_freed_memory
from angioshare.patches.extract import PatchSettings
from angioshare.progress import SilentProgress
from angioshare.segmentation.fit import Unet, batches, flushed_denormals, soft_dice_loss
from angioshare.segmentation.folded import folded_forward
from angioshare.segmentation.settings import UnetSettings
from angioshare.segmentation.trained import TrainedUnet
from angioshare.synthesis.simulated import simulated_store
from timing import arguments, interleaved, tell

SETTINGS = UnetSettings(channels=(8, 16, 32, 64, 128), learning_rate=1e-3, batch=16, steps=600, ema=0.98)
KEPT, FLUSHED = "denormals kept", "denormals taken for 0"


def learnt(folder: Path) -> tuple[TrainedUnet, list[tuple[Tensor, Tensor]]]:
    """A U-Net after some hundred steps, and the batches of some more."""
    cut = PatchSettings(size=96, vessel=200, random=200)
    pairs = simulated_store(folder / "patches", "site-1", 3, cut, seed=1, progress=SilentProgress())
    trained = Unet(SETTINGS).fit(pairs, seed=1, progress=SilentProgress())
    return trained, list(batches(pairs, SETTINGS, 2, 20))


def step_of(
    trained: TrainedUnet, shown: list[tuple[Tensor, Tensor]], how: Callable[[], AbstractContextManager[None]]
) -> Callable[[], object]:
    """The next step of the training, on a batch of its own."""
    network, waiting = trained.network.train(), cycle(shown)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    forward = partial(folded_forward, network)

    def step() -> None:
        image, label = next(waiting)
        with how():
            loss = soft_dice_loss(forward(trained.standardised(image)), label)
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()

    return step


def main() -> None:
    """Print the median step of both ways and their ratio."""
    options = arguments(__doc__ or "", rounds=40)
    torch.set_num_threads(1)
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        ways = {KEPT: nullcontext, FLUSHED: flushed_denormals}
        trained, shown = learnt(Path(folder))
        steps = {name: step_of(deepcopy(trained), shown, how) for name, how in ways.items()}
        tell("U-Net training step", interleaved(steps, options.rounds), KEPT, options.json)


if __name__ == "__main__":
    main()
