"""A generator that learnt to draw simulated pairs, and is then moved until its mean features match: post-processing.

The first training is the WGAN's on simulated pairs: public, free. In the second one there is no critic and no real
pair. Mean features must come to what the noisy release asks for, and beside them the mean and the mean square of the
feature network's maps to those of the simulated pairs, weighted so that they fit the release (Santos et al. 2019,
Learning implicit generative models by matching perceptual features; the release in place of real data as in Harder et
al. 2023). A batch shows a mean badly, so the gap to the target is averaged over many batches.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from angioshare.models.ema import MovingAverage
from angioshare.patches.patchset import PatchSet
from angioshare.progress import Progress
from angioshare.rng import seed_for
from angioshare.synthesis.checkpoint import CHECKPOINT, Checkpoint
from angioshare.synthesis.matching_features import Features, chunks
from angioshare.synthesis.sampling import WEIGHTS
from angioshare.synthesis.wgan import WganSettings
from angioshare.types import FloatArray

_LABEL_SHARE, _BRIGHTEST = 0.3, 0.999
_GAP_DECAY = 0.95
_EMA = 0.99
_LOOKED_AT = 256
_STEEP = 8.0  # of the sigmoid whose derivative stands for that of the label's step
_FINE = 4  # edge of the squares over which the finest maps are averaged


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What generated pairs must look like on average.

    Attributes:
        mean: Mean (s,) of `described` over weighted simulated pairs.
        scale: What a difference (s,) is measured in.
    """

    mean: Tensor
    scale: Tensor


def first_training(features: int, z: int, iterations: int) -> WganSettings:
    """Settings of the WGAN on simulated pairs: those of short runs, all public."""
    return WganSettings(
        features=features, z=z, iterations=iterations, critic_updates=2, learning_rate=2e-4,
        generator_learning_rate=1e-3, clamp=0.05, ema=0.98,
    )  # fmt: skip


@torch.no_grad()
def label_from(G: nn.Module, z: int) -> float:
    """The value at or above which a generated label is vessel: a share of the brightest that G makes.

    Short trainings leave labels faint (`docs/decisions/0006-label-scale.md`).
    """
    own = torch.Generator().manual_seed(seed_for(0, "matching", "brightest"))
    labels = G(torch.randn(_LOOKED_AT, z, 1, 1, generator=own))[:, 1]
    top = float(np.quantile(labels.numpy(), _BRIGHTEST))
    return _LABEL_SHARE * top if top > 0 else np.inf


def as_sampled(made: Tensor, threshold: float) -> Tensor:
    """Give generated pairs (n, 2, h, w) the form in which they are handed out, with a derivative.

    The image is rescaled to [-1, 1] patch by patch. The label becomes 1 from `threshold` on and 0 below; its
    derivative is that of a steep sigmoid (straight through, Bengio et al. 2013).

    Example:
        >>> as_sampled(torch.tensor([[[[0.0, 0.5]], [[-0.9, 0.2]]]]), 0.1).tolist()
        [[[[-1.0, 1.0]], [[0.0, 1.0]]]]
    """
    image, label = made[:, :1], made[:, 1:] - min(threshold, 1.0)
    low, high = image.amin(dim=(2, 3), keepdim=True), image.amax(dim=(2, 3), keepdim=True)
    scaled = 2 * (image - low) / (high - low).clamp_min(1e-3) - 1
    soft = torch.sigmoid(_STEEP * label)
    hard = (label >= 0).to(soft.dtype)
    return torch.cat([scaled, hard + (soft - soft.detach())], dim=1)


def described(features: Features, pairs: Tensor) -> Tensor:
    """Describe pairs by what is averaged: the released numbers first, then maps and their squares, shape (n, s)."""
    finest, *coarser = features.network.maps(pairs)
    edge = min(_FINE, finest.shape[-1])
    maps = torch.cat([functional.avg_pool2d(finest, edge).flatten(1), *(one.flatten(1) for one in coarser)], dim=1)
    return torch.cat([features(pairs), maps, maps.square(), finest.square().mean(dim=(2, 3))], dim=1)


def goal_of(features: Features, pool: PatchSet, weights: FloatArray) -> Goal:
    """Average what describes simulated pairs, each with its weight (n,); numbers and maps then count alike."""
    numbers = len(features.mean)
    mean = square = torch.zeros(())
    start = 0
    for chunk in chunks(pool, np.arange(len(pool))):
        weight = torch.from_numpy(weights[start : start + len(chunk)])
        found = described(features, chunk).double()
        mean, square = mean + weight @ found, square + weight @ found.square()
        start += len(chunk)
    scale = (square - mean.square()).clamp_min(1e-8).sqrt()
    scale[:numbers] *= numbers**0.5
    scale[numbers:] *= (len(scale) - numbers) ** 0.5
    return Goal(mean=mean.float(), scale=scale.float())


class _Gap(nn.Module):
    """The distance to the goal in units of its scale, averaged over batches; a module, so that checkpoints keep it."""

    gap: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("gap", torch.zeros(size))


def train_generator(
    G: nn.Module, features: Features, goal: Goal, *, threshold: float, z: int, steps: int, batch: int,
    learning_rate: float, every: int, seed: int, folder: Path, progress: Progress,
) -> None:  # fmt: skip
    """Move G towards the goal, or go on where an earlier start ended; averaged weights stand in `folder` afterwards.

    Args:
        G: Generator that draws simulated pairs: (n, z, 1, 1) to pairs.
        features: What describes pairs.
        goal: What they must be like on average.
        threshold: Of generated labels.
        z: Width of the latent vector.
        steps: Updates.
        batch: Pairs of an update.
        learning_rate: Of Adam with beta1 = 0.5.
        every: Updates between two checkpoints.
        seed: Drives z.
        folder: Of checkpoint and weights.
        progress: Told of each update.
    """
    optimiser = torch.optim.Adam(G.parameters(), lr=learning_rate, betas=(0.5, 0.9))
    average, gap = MovingAverage(G, _EMA), _Gap(len(goal.mean))
    checkpoint = Checkpoint(
        folder / CHECKPOINT,
        networks={"generator": G, "average": average.network, "gap": gap},
        optimisers={"generator": optimiser},
    )
    done = checkpoint.load()
    progress.start("match the generator", steps, done)
    for step in range(done, steps):
        own = torch.Generator().manual_seed(seed_for(seed, "matching", "z", str(step)))
        made = as_sampled(G(torch.randn(batch, z, 1, 1, generator=own)), threshold)
        reached = described(features, made).mean(dim=0)
        gap.gap.lerp_((goal.mean - reached.detach()) / goal.scale, 1 - _GAP_DECAY)
        # The gradient of half the squared gap, with the averaged gap in place of this batch's.
        loss = -(gap.gap * (reached / goal.scale)).sum()
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        average.update(G)
        if (step + 1) % every == 0 or step + 1 == steps:
            checkpoint.save(step + 1)
        progress.advance(f"gap {float(gap.gap.norm()):.3g}")
    progress.finish()
    checkpoint.finish(folder / WEIGHTS, "average")
