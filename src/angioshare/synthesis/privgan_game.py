"""Who plays in PrivGAN: the split of the subjects, the networks, and what a generator pays for being recognised."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from angioshare.errors import SettingsError
from angioshare.models.critic import convolution_critic
from angioshare.models.ema import MovingAverage
from angioshare.models.generator import initialise, transposed_generator
from angioshare.patches.patchset import PatchSet
from angioshare.rng import stream
from angioshare.synthesis.checkpoint import Checkpoint
from angioshare.types import IntArray


def splits_of(patches: PatchSet, pairs: int, seed: int) -> list[IntArray]:
    """Deal the subjects at random to `pairs` disjoint sets of nearly equal size, and give the rows of each.

    Raises:
        SettingsError: There are fewer subjects than pairs.

    Example:
        >>> real = PatchSet(image=np.zeros((4, 2, 2)), label=np.zeros((4, 2, 2), np.uint8),
        ...                 subject=np.array([0, 1, 0, 1]), subjects=("a", "b"))
        >>> sorted(rows.tolist() for rows in splits_of(real, 2, seed=0))
        [[0, 2], [1, 3]]
    """
    present = np.unique(patches.subject)
    if len(present) < pairs:
        raise SettingsError(f"pairs={pairs} must be at most {len(present)}, the subjects that have patches")
    dealt = np.array_split(stream(seed, "privgan", "splits").permutation(present), pairs)
    return [np.flatnonzero(np.isin(patches.subject, subjects)) for subjects in dealt]


def adversary(size: int, features: int, pairs: int) -> nn.Sequential:
    """The inner adversary D_p: the critic's layers, with a logit for each generator instead of one score.

    Example:
        >>> adversary(32, 2, 3)(torch.zeros(5, 2, 32, 32)).shape
        torch.Size([5, 3])
    """
    *body, last, flatten = convolution_critic(size, features)
    assert isinstance(last, nn.Conv2d)
    return nn.Sequential(*body, nn.Conv2d(last.in_channels, pairs, 4, 2, 1, bias=False), flatten)


def success(logits: Tensor, maker: int) -> Tensor:
    """What a generator pays for being recognised: -mean log(1 - p_i), p_i the chance that the adversary gives to it.

    The paper writes mean log p_i, which has no lower bound. This has the same aim and the bound 0; for two generators
    it is the cross-entropy towards the other one, as in the authors' code.

    Args:
        logits: Of the adversary, shape (n, N).
        maker: Which generator i made all of these pairs.

    Example:
        >>> round(success(torch.zeros(1, 2), 0).item(), 3)  # log 2
        0.693
    """
    others = torch.cat((logits[:, :maker], logits[:, maker + 1 :]), dim=1)
    return (logits.logsumexp(1) - others.logsumexp(1)).mean()


@dataclass
class Game:
    """Networks in the order generators, critics, adversary; their optimisers in the same order."""

    networks: list[nn.Sequential]
    optimisers: Sequence[torch.optim.Optimizer]
    averages: Sequence[MovingAverage]

    def __post_init__(self) -> None:
        n = len(self.averages)
        self.generators, self.critics, self.adversary = self.networks[:n], self.networks[n:-1], self.networks[-1]
        self.generator_optimisers, self.critic_optimisers = self.optimisers[:n], self.optimisers[n:-1]
        self.adversary_optimiser = self.optimisers[-1]

    def checkpoint(self, path: Path) -> Checkpoint:
        """All of it as one file."""
        n = len(self.averages)
        names = [f"generator-{i}" for i in range(n)] + [f"critic-{i}" for i in range(n)] + ["adversary"]
        averages = {f"average-{i}": average.network for i, average in enumerate(self.averages)}
        return Checkpoint(
            path,
            networks={**dict(zip(names, self.networks, strict=True)), **averages},
            optimisers=dict(zip(names, self.optimisers, strict=True)),
        )


def game_of(
    pairs: int,
    size: int,
    features: int,
    z: int,
    *,
    rate: float,
    ema: float,
    weights: torch.Generator,
    device: torch.device,
) -> Game:
    """Build all networks of a game.

    Args:
        pairs: Pairs N of generator and critic.
        size: Edge of a patch in pixels.
        features: Base width of every network.
        z: Width of the latent vector.
        rate: Learning rate of Adam.
        ema: Decay of the generators' moving averages.
        weights: Stream of initial weights.
        device: Where the networks run.
    """
    networks = [transposed_generator(size, features, z) for _ in range(pairs)]
    networks += [convolution_critic(size, features) for _ in range(pairs)]
    networks.append(adversary(size, features, pairs))
    for network in networks:
        initialise(network, weights)
        network.to(device)
    optimisers = [torch.optim.Adam(network.parameters(), lr=rate, betas=(0.5, 0.999)) for network in networks]
    return Game(networks, optimisers, [MovingAverage(G, ema) for G in networks[:pairs]])
