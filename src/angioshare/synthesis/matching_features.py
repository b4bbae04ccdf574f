"""What is matched: a few numbers of a pair, learnt on simulated pairs to tell sites apart. All of it is public.

A small network learns to read a site's parameters from one of its pairs. What it cannot tell, it reads as the mean, so
its read-outs vary most where sites differ visibly; their principal directions over simulated subjects are the features
u, and products of the first ones say how u varies within a site.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from angioshare.models.features_small import PairFeatures
from angioshare.patches.patchset import PatchSet
from angioshare.progress import Progress
from angioshare.rng import seed_for, stream
from angioshare.types import FloatArray, IntArray

CHUNK = 256
"""Pairs that go through the network at once."""

_RADIUS_QUANTILE = 0.9
_LEAST = 1e-9


@dataclass(frozen=True, kw_only=True)
class Features:
    """Turns pairs into the numbers that are matched. Public.

    Attributes:
        network: Reads parameters (p,) from pairs.
        centre: Mean read-out (p,) of simulated subjects.
        axes: Principal directions (p, k), scaled so that the first feature has variance 1 over subjects.
        first, second: Which features are multiplied with which, each shape (m,).
        mean: Mean (k + m,) of features and products over simulated subjects.
        radius: Norm below which most units' numbers lie.
    """

    network: PairFeatures
    centre: Tensor
    axes: Tensor
    first: Tensor
    second: Tensor
    mean: Tensor
    radius: Tensor

    def __call__(self, pairs: Tensor) -> Tensor:
        """Numbers (n, k + m) of pairs (n, 2, h, w); derivatives reach the pairs. Norms are not bounded here."""
        u = (self.network(pairs) - self.centre) @ self.axes
        numbers = torch.cat([u, u[:, self.first] * u[:, self.second]], dim=1)
        return (numbers - self.mean) / self.radius

    def double(self) -> "Features":
        """The same in double precision: what one private unit gives then depends on no other unit's rounding."""
        return _unpacked({name: tensor.double() for name, tensor in self._tensors().items()})

    def digest(self) -> str:
        """Name what a released list of numbers means."""
        state = hashlib.sha256()
        for name, tensor in sorted(self._tensors().items()):
            state.update(name.encode() + tensor.contiguous().numpy().tobytes())
        return state.hexdigest()[:16]

    def packed(self) -> bytes:
        """As the content of a safetensors file."""
        return save({name: tensor.contiguous() for name, tensor in self._tensors().items()})

    @staticmethod
    def unpacked(content: bytes) -> "Features":
        """Undo `packed`."""
        return _unpacked(load(content))

    def _tensors(self) -> dict[str, Tensor]:
        own = {name: getattr(self, name) for name in ("centre", "axes", "first", "second", "mean", "radius")}
        return own | {f"network.{name}": value for name, value in self.network.state_dict().items()}


def learn_features(
    pairs: PatchSet,
    subject: IntArray,
    shares: FloatArray,
    *,
    numbers: int,
    products: int,
    steps: int,
    batch: int,
    by_subject: bool,
    seed: int,
    progress: Progress,
) -> Features:
    """Train the network on simulated pairs, and find the directions in which subjects differ.

    Args:
        pairs: Simulated pairs.
        subject: Whose each is, shape (n,), index into `shares`.
        shares: Where each subject's parameters lie in the prior's range, shape (s, p), in [0, 1].
        numbers: Features k; at most p and s - 1 are kept.
        products: The first so many features are multiplied with each other.
        steps: Updates of the network.
        batch: Pairs of an update.
        by_subject: A unit is a subject, so the public radius is that of subjects' means; else that of pairs.
        seed: Drives weights and batches.
        progress: Told of each update.
    """
    network = PairFeatures(shares.shape[1], seed=seed_for(seed, "matching", "network"))
    target = torch.from_numpy(((shares - 0.5) * np.sqrt(12)).astype(np.float32))
    _train(network, pairs, subject, target, steps, batch, stream(seed, "matching", "batches"), progress)
    network.requires_grad_(False)
    read = torch.cat([network(chunk) for chunk in chunks(pairs, np.arange(len(pairs)))])
    means = _by_subject(read, subject, len(shares))
    centre = means.mean(dim=0)
    _, spread, directions = torch.linalg.svd(means - centre, full_matrices=False)
    axes = directions[: min(numbers, len(shares) - 1)].T * (len(shares) ** 0.5 / max(float(spread[0]), _LEAST))
    first, second = torch.triu_indices(min(products, axes.shape[1]), min(products, axes.shape[1]))
    size = axes.shape[1] + len(first)
    features = Features(
        network=network, centre=centre, axes=axes, first=first, second=second, mean=torch.zeros(size),
        radius=torch.ones(()),
    )  # fmt: skip
    found = torch.cat([features(chunk) for chunk in chunks(pairs, np.arange(len(pairs)))])
    means = _by_subject(found, subject, len(shares))
    units = (means if by_subject else found) - means.mean(dim=0)
    radius = torch.quantile(units.norm(dim=1)[: 1 << 20], _RADIUS_QUANTILE).clamp_min(_LEAST)
    return _unpacked(features._tensors() | {"mean": means.mean(dim=0), "radius": radius})


def numbers_of(features: Features, pairs: PatchSet, rows: IntArray) -> FloatArray:
    """Numbers (len(rows), k + m) of some pairs, in double precision; not finite where a pair is not."""
    wide = features.double()
    found = [wide(chunk.double()).numpy() for chunk in chunks(pairs, rows)]
    return np.concatenate(found) if found else np.zeros((0, len(features.mean)))


def chunks(pairs: PatchSet, rows: IntArray) -> Iterator[Tensor]:
    """Read pairs a part at a time, each (m, 2, h, w)."""
    for start in range(0, len(rows), CHUNK):
        yield torch.from_numpy(pairs.pairs(rows[start : start + CHUNK]))


def _train(
    network: PairFeatures, pairs: PatchSet, subject: IntArray, target: Tensor, steps: int, batch: int,
    rng: np.random.Generator, progress: Progress,
) -> None:  # fmt: skip
    """Least squares from pairs to their site's parameters; Adam (Kingma & Ba 2015), the rate falling to zero."""
    optimiser = torch.optim.Adam(network.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    progress.start("learn features", steps)
    for _ in range(steps):
        rows = rng.integers(0, len(pairs), batch)
        loss = nn.functional.mse_loss(network(torch.from_numpy(pairs.pairs(rows))), target[subject[rows]])
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
        progress.advance()
    progress.finish()


def _by_subject(values: Tensor, subject: IntArray, subjects: int) -> Tensor:
    """Mean (subjects, d) over each subject's rows."""
    owner = torch.from_numpy(np.asarray(subject, np.int64))
    total = torch.zeros(subjects, values.shape[1]).index_add_(0, owner, values)
    return total / torch.bincount(owner, minlength=subjects).clamp_min(1)[:, None]


def _unpacked(tensors: dict[str, Tensor]) -> Features:
    weights = {name.removeprefix("network."): value for name, value in tensors.items() if name.startswith("network.")}
    widths = [len(weights[name]) for name in sorted(weights) if name.startswith("scales.") and name.endswith("bias")]
    network = PairFeatures(len(weights["read_out.bias"]), widths, seed=0).to(weights["read_out.bias"].dtype)
    network.load_state_dict(weights)
    index = {name: tensors[name].long() for name in ("first", "second")}
    rest = {name: tensors[name] for name in ("centre", "axes", "mean", "radius")}
    return Features(network=network.requires_grad_(False), **index, **rest)
