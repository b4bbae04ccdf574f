"""Settings of one U-Net, and of the grid of U-Nets of which the best is kept (no torch)."""

import math
from itertools import product
from typing import Literal, TypeAlias

from pydantic import Field

from angioshare.settings import Settings

InferenceMode: TypeAlias = Literal["slice", "window"]
"""How volumes are read, see `infer`."""

Precision: TypeAlias = Literal["float32", "bfloat16"]
"""What convolutions of a training multiply in; weights, loss and steps are float32 always."""

_PRECISION = (
    "Multiply in training in float32, or in bfloat16: 0.6 of the time on a CPU with AMX; not measured elsewhere."
)


class UnetSettings(Settings):
    """One U-Net and its training."""

    channels: tuple[int, ...] = Field(
        (32, 64, 128, 256, 512), min_length=2, description="Width of each level, from fine to coarse."
    )
    learning_rate: float = Field(1e-4, gt=0, le=1, description="Learning rate of Adam.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Chance that an activation between two convolutions is zeroed.")
    augmentation: bool = Field(False, description="Append a flipped, rotated and sheared copy of every patch.")
    batch: int = Field(64, ge=1, description="Patches in one step.")
    epochs: int = Field(15, ge=1, description="How often every patch (and augmented copy) is seen; see `steps`.")
    steps: int | None = Field(None, ge=1, description="Training steps; set, it stands in place of `epochs`.")
    ema: float = Field(0.0, ge=0, lt=1, description="Decay of the weights' moving average, which is kept; 0: the last.")
    precision: Precision = Field("float32", description=_PRECISION)

    def total_steps(self, n_patches: int) -> int:
        """Steps of the whole training on `n_patches` patches.

        Example:
            >>> UnetSettings(epochs=2, batch=10).total_steps(100), UnetSettings(steps=7).total_steps(100)
            (20, 7)
        """
        if self.steps is not None:
            return self.steps
        return math.ceil(self.epochs * n_patches * (1 + self.augmentation) / self.batch)


class SegmentationSettings(Settings):
    """The grid of U-Nets; every combination is trained once for each set of patches."""

    channels: tuple[int, ...] = Field(
        (32, 64, 128, 256, 512), min_length=2, description="Width of each level of every U-Net, from fine to coarse."
    )
    learning_rates: tuple[float, ...] = Field(
        (1e-4, 8e-5),
        min_length=1,
        description="Learning rates of Adam to try; from 0.001 on a training may die, and begins anew.",
    )
    dropouts: tuple[float, ...] = Field((0.0, 0.1), min_length=1, description="Dropout chances to try.")
    augmentations: tuple[bool, ...] = Field((False, True), min_length=1, description="With or without augmentation.")
    batch: int = Field(64, ge=1, description="Patches in one step.")
    epochs: int = Field(15, ge=1, description="How often every patch (and augmented copy) is seen; see `steps`.")
    steps: int | None = Field(None, ge=1, description="Training steps; set, it stands in place of `epochs`.")
    ema: float = Field(0.0, ge=0, lt=1, description="Decay of the weights' moving average, which is kept; 0: the last.")
    precision: Precision = Field("float32", description=_PRECISION)
    inference: InferenceMode = Field(
        "slice", description="Read volumes by whole slices, or by half-overlapping windows (slower)."
    )
    turns: int = Field(
        1,
        ge=1,
        le=8,
        description="Turns of a slice (mirrored, by quarters) whose mean is taken as found. Time x turns.",
    )

    def grid(self) -> list[UnetSettings]:
        """Every combination of learning rate, dropout and augmentation.

        Example:
            >>> len(SegmentationSettings().grid())
            8
        """
        return [
            UnetSettings(
                channels=self.channels,
                learning_rate=learning_rate,
                dropout=dropout,
                augmentation=augmentation,
                batch=self.batch,
                epochs=self.epochs,
                steps=self.steps,
                ema=self.ema,
                precision=self.precision,
            )
            for learning_rate, dropout, augmentation in product(self.learning_rates, self.dropouts, self.augmentations)
        ]
