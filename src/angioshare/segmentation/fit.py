"""Training one U-Net on any set of patches, real or synthetic, by the same call.

Soft-Dice loss over the whole batch, Adam, inputs standardised with the training mean and standard deviation. These two
numbers and the weights reveal whatever the patches reveal: from real patches they are unprotected and stay on the
private side. No loss is shown or logged. A training that finds nothing begins anew, see `collapse`.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from angioshare.errors import AngioShareError, DataError, SettingsError
from angioshare.models.ema import MovingAverage
from angioshare.models.unet import HalfUnet
from angioshare.patches.patchset import PatchSet
from angioshare.progress import Progress
from angioshare.rng import seed_for, stream
from angioshare.segmentation.augment import augment
from angioshare.segmentation.collapse import ATTEMPTS, Furthest, Watch
from angioshare.segmentation.folded import folded_forward
from angioshare.segmentation.settings import UnetSettings
from angioshare.segmentation.trained import TrainedUnet, TrainingRecord, read_record
from angioshare.types import REVEALING, IntArray

SMOOTH = 1.0
"""Added above and below in the soft Dice, as published: an empty batch that is predicted empty has loss 0."""

ROWS_AT_ONCE = 1024
"""Patches read at once where all are read."""


def soft_dice_loss(probability: Tensor, label: Tensor) -> Tensor:
    """One minus the soft Dice of all pixels of a batch together.

    Pooled over the batch, not averaged over patches: a patch without vessels then adds its false positives to the
    common sum instead of jumping between 0 and 1.

    Args:
        probability: Any shape, in [0, 1].
        label: The same shape, in {0, 1}.

    Returns:
        A scalar in [0, 1).

    References:
        Milletari et al. (2016), V-Net, arXiv:1606.04797; smooth 1 as in Livne et al. (2019).

    Example:
        >>> soft_dice_loss(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1.0]))   # 1 - (2 + 1) / (1 + 2 + 1)
        tensor(0.2500)
    """
    common = (probability * label).sum()
    return 1 - (2 * common + SMOOTH) / (probability.sum() + label.sum() + SMOOTH)


@dataclass(frozen=True, kw_only=True)
class Beside:
    """Further pairs that a U-Net learns from, of another kind and perhaps of another number.

    Attributes:
        patches: The pairs, at least one, of the same size.
        share: Of every batch, in (0, 1]; rounded to whole pairs, one at least.

    Example:
        >>> few = PatchSet(image=np.zeros((1, 4, 4)), label=np.zeros((1, 4, 4), np.uint8), provenance="public")
        >>> Beside(patches=few, share=0.5).of_batch(16)
        8
    """

    patches: PatchSet
    share: float

    def of_batch(self, batch: int) -> int:
        """How many pairs of a batch they are."""
        return max(1, round(self.share * batch))


class Unet:
    """A U-Net before training; fulfils `protocols.Segmenter`."""

    def __init__(self, settings: UnetSettings, device: str = "cpu") -> None:
        """Choose network, training and device (`"cpu"`, `"cuda"`, ...)."""
        self.settings, self.device = settings, device

    def fit(
        self,
        patches: PatchSet,
        *,
        seed: int,
        progress: Progress,
        start: TrainedUnet | None = None,
        beside: Beside | None = None,
    ) -> TrainedUnet:
        """Train on pairs, from fresh weights or from those of a trained U-Net (fine-tuning).

        Args:
            patches: Pairs, at least one; read batch by batch, so they may be mapped from disk.
            seed: Drives initial weights, order, dropout and augmentation; the same seed and number of threads give the
                same weights on a CPU.
            progress: Told of steps.
            start: Begin from its weights, which are copied. Inputs stay standardised as it learnt them: with the mean
                and standard deviation of a few new pairs, its first layer would see images that it does not know.
            beside: Further pairs, which take a share of every batch; each kind is shuffled by itself.

        Returns:
            The trained U-Net. It reveals what `patches`, `beside` or `start` reveal, whichever is most: fine-tuned on
            real patches, it is unprotected, whatever it began from.

        Raises:
            DataError: No pairs, or an image that is not finite.
            SettingsError: `start` has other channels than the settings.
            AngioShareError: The training diverged.
        """
        record = _record(self.settings, patches, seed, start.record if start else None, beside)
        steps = self.settings.total_steps(len(patches))
        progress.start("U-Net", steps)
        told = Furthest(progress)
        for attempt in range(1, ATTEMPTS + 1):
            own = seed if attempt == 1 else seed_for(seed, "unet", "attempt", str(attempt))
            trained = self._untrained(replace(record, attempts=attempt), own, start)
            if self._train(trained, batches(patches, self.settings, own, steps, beside), own, steps, told):
                break
        progress.finish()
        if not all(bool(torch.isfinite(weight).all()) for weight in trained.network.parameters()):
            raise AngioShareError(
                f"the U-Net's weights are no longer finite at learning_rate={self.settings.learning_rate}; lower it"
            )
        return trained

    def _untrained(self, record: TrainingRecord, seed: int, start: TrainedUnet | None) -> TrainedUnet:
        """Fresh weights, or those of a start."""
        network = HalfUnet(self.settings.channels, self.settings.dropout, seed=seed_for(seed, "unet", "weights"))
        if start is not None:
            network.load_state_dict(start.network.state_dict())
        return TrainedUnet(network, record, self.device)

    def _train(
        self, trained: TrainedUnet, pairs: Iterator[tuple[Tensor, Tensor]], seed: int, steps: int, told: Furthest
    ) -> bool:
        """Make one attempt, and return whether it is to be kept: the last one always is."""
        network, device, attempt = trained.network, torch.device(self.device), trained.record.attempts
        optimiser = torch.optim.Adam(network.parameters(), lr=self.settings.learning_rate)
        forward = partial(folded_forward, network) if device.type == "cpu" else network
        average, watch = MovingAverage(network, self.settings.ema), Watch(steps)
        lower = torch.autocast(device.type, torch.bfloat16, enabled=self.settings.precision == "bfloat16")
        with flushed_denormals(), torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed_for(seed, "unet", "dropout"))
            network.train()
            for step, (image, label) in enumerate(pairs, start=1):
                with lower:
                    probability = forward(trained.standardised(image.to(device)))
                loss = soft_dice_loss(probability, label.to(device))
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
                average.decay = min(self.settings.ema, step / (step + 9))  # close behind at first
                average.update(network)
                told.at(step, attempt)
                if watch.failed(loss.item(), label.mean().item()) and attempt < ATTEMPTS:
                    return False
            network.load_state_dict(average.network.state_dict())
            network.eval()
        return True


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Take numbers below 1e-38 (denormals) for 0 meanwhile, in this thread and in those that it starts.

    Where a U-Net is sure, gradients through its sigmoid are as small as that, and a CPU needs many times as long for
    them. Only here: what accounts for privacy must not lose its smallest probabilities.

    References:
        Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, 10.2.3 (flush-to-zero).

    Example:
        >>> with flushed_denormals():
        ...     float(torch.tensor(1e-39) * 1)
        0.0
        >>> float(torch.tensor(1e-39) * 1) > 0
        True
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def _record(
    settings: UnetSettings, patches: PatchSet, seed: int, start: TrainingRecord | None, beside: Beside | None
) -> TrainingRecord:
    """What the weights of a training will come from."""
    if start is not None and start.settings.channels != settings.channels:
        raise SettingsError(
            f"channels={settings.channels} do not fit a start of {start.settings.channels}; fine-tune with its channels"
        )
    mean, sd = mean_and_sd(patches)  # also refuses what cannot be trained on
    seen, revealed = digest(patches, start), [patches.provenance, start.provenance if start else "public"]
    if beside is not None:
        mean, sd = _together((mean, sd), mean_and_sd(beside.patches), beside.of_batch(settings.batch) / settings.batch)
        seen = hashlib.blake2b(f"{seen} {digest(beside.patches)} {beside.share}".encode(), digest_size=16).hexdigest()
        revealed.append(beside.patches.provenance)
    return TrainingRecord(
        settings=settings,
        seed=seed,
        patches=seen,
        mean=start.mean if start else mean,
        sd=start.sd if start else sd,
        provenance=max(revealed, key=REVEALING.index),
    )


def _together(one: tuple[float, float], other: tuple[float, float], share: float) -> tuple[float, float]:
    """Mean and standard deviation of pixels of which a share is of the other kind.

    Example:
        >>> _together((0.0, 1.0), (2.0, 1.0), 0.5)   # half of them 1 below the mean, half 1 above
        (1.0, 1.4142135623730951)
    """
    mean = (1 - share) * one[0] + share * other[0]
    square = (1 - share) * (one[1] ** 2 + one[0] ** 2) + share * (other[1] ** 2 + other[0] ** 2)
    return mean, float(np.sqrt(max(square - mean**2, 1e-12)))


def batches(
    patches: PatchSet, settings: UnetSettings, seed: int, steps: int, beside: Beside | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Give `steps` batches of images and labels, each of shape (batch, 1, h, w), float32.

    Every patch (and, with augmentation, its copy) comes once before any comes again, among those of its kind.
    """
    others = beside.of_batch(settings.batch) if beside is not None else 0
    amounts = stream(seed, "unet", "augmentation")
    own = _order(len(patches), settings, settings.batch - others, stream(seed, "unet", "order"))
    if beside is None:
        for _ in range(steps):
            yield _batch(patches, next(own), amounts)
        return
    theirs = _order(len(beside.patches), settings, others, stream(seed, "unet", "order beside"))
    for _ in range(steps):
        parts = (_batch(patches, next(own), amounts), _batch(beside.patches, next(theirs), amounts))
        image, label = (torch.cat(kind) for kind in zip(*parts, strict=True))
        yield image, label


def _order(n: int, settings: UnetSettings, batch: int, order: np.random.Generator) -> Iterator[IntArray]:
    """Rows of one batch after the other, in order; those from `n` on stand for augmented copies."""
    waiting = np.zeros(0, np.int64)
    while True:
        while len(waiting) < batch:
            waiting = np.concatenate([waiting, order.permutation(n * (1 + settings.augmentation))])
        chosen, waiting = waiting[:batch], waiting[batch:]
        yield np.sort(chosen)


def _batch(patches: PatchSet, chosen: IntArray, amounts: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Read pairs in order of rows; indices from `len(patches)` on stand for augmented copies."""
    pairs = torch.from_numpy(patches.pairs(chosen % len(patches)))
    image, label = pairs[:, :1], pairs[:, 1:]
    copies = torch.from_numpy(chosen >= len(patches))
    if copies.any():
        image[copies], label[copies] = augment(image[copies], label[copies], amounts)
    return image, label


def mean_and_sd(patches: PatchSet) -> tuple[float, float]:
    """Mean and standard deviation of all image pixels, read in parts.

    Raises:
        DataError: No pairs, or an image that is not finite.

    Edge cases: all pixels alike -> standard deviation 1.

    Example:
        >>> pair = PatchSet(image=np.array([[[-1.0, 1.0]]]), label=np.zeros((1, 1, 2), np.uint8))
        >>> mean_and_sd(pair)
        (0.0, 1.0)
    """
    if patches.image.size == 0:
        raise DataError(f"patches of shape {patches.image.shape} hold no pixel to train on; give one pair or more")
    total = squares = 0.0
    for first in range(0, len(patches), ROWS_AT_ONCE):
        part = np.asarray(patches.image[first : first + ROWS_AT_ONCE], np.float64)
        total, squares = total + part.sum(), squares + np.square(part).sum()
    mean = total / patches.image.size
    variance = squares / patches.image.size - mean**2
    if not np.isfinite(variance):
        raise DataError("an image patch holds NaN or infinity; scale patches to [-1, 1] before training")
    return float(mean), float(np.sqrt(variance)) if variance > 1e-12 else 1.0


def digest(patches: PatchSet, start: TrainingRecord | None = None) -> str:
    """Digest of all pairs, and of the record of what a training began from, to see whether a U-Net is finished."""
    state = hashlib.blake2b(f"{patches.image.shape} {patches.image.dtype}".encode(), digest_size=16)
    if start is not None:
        state.update(start.to_json().encode())
    for first in range(0, len(patches), ROWS_AT_ONCE):
        for array in (patches.image, patches.label):
            state.update(array[first : first + ROWS_AT_ONCE].tobytes())
    return state.hexdigest()


def finished(path: Path, settings: UnetSettings, seed: int, patches: str) -> bool:
    """Whether `path` holds the U-Net of these settings, seed and patches (their digest)."""
    if not path.exists():
        return False
    try:
        record = read_record(path)
    except DataError:
        return False
    return (record.settings, record.seed, record.patches) == (settings, seed, patches)
