"""A trained U-Net: its weights, how its input is standardised, what it was trained on; in one safetensors file."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from angioshare.errors import DataError
from angioshare.models.unet import HalfUnet
from angioshare.rundir import atomic_path
from angioshare.segmentation.folded import FoldedUnet
from angioshare.segmentation.settings import UnetSettings
from angioshare.types import FloatArray, Provenance

PIXELS_AT_ONCE = 2**18
"""Pixels in one forward pass; bounds memory (about 0.3 GiB for the published widths)."""


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """Where weights come from; two U-Nets with the same record are the same.

    Attributes:
        settings: Network and training.
        seed: Drove initial weights, order, dropout and augmentation.
        patches: Digest of the patches trained on.
        mean: Mean of their image pixels; inputs are standardised by it.
        sd: Standard deviation of their image pixels, > 0.
        provenance: What the weights reveal: as much as the patches.
        attempts: How often the training began: more than once where it found nothing at first, see `collapse`.
    """

    settings: UnetSettings
    seed: int
    patches: str
    mean: float
    sd: float
    provenance: Provenance
    attempts: int = 1

    def to_json(self) -> str:
        """As one JSON object."""
        return json.dumps({**asdict(self), "settings": self.settings.model_dump()}, sort_keys=True)

    @staticmethod
    def from_json(text: str) -> "TrainingRecord":
        """Read what `to_json` wrote."""
        value: dict[str, Any] = json.loads(text)
        return TrainingRecord(**{**value, "settings": UnetSettings.model_validate(value["settings"])})


class TrainedUnet:
    """Finds vessels in slices; fulfils `protocols.TrainedSegmenter`."""

    def __init__(self, network: HalfUnet, record: TrainingRecord, device: str = "cpu") -> None:
        """Take a trained network; it is put in evaluation mode."""
        self.record = record
        self._device = torch.device(device)
        # channels_last: a training step takes 0.5 to 0.7 of the time on a CPU; torch's annotations do not know it here
        network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._network = network.eval()

    @property
    def network(self) -> HalfUnet:
        """The network itself, on its device."""
        return self._network

    def probability(self, image: FloatArray) -> FloatArray:
        """Vessel probability of slices.

        Args:
            image: Shape (n, h, w), any h and w, scaled to [-1, 1] as the training patches were. May be empty.

        Returns:
            Shape (n, h, w), float32 in [0, 1].
        """
        out = np.zeros(image.shape, np.float32)
        if image.size == 0:
            return out
        at_once = max(1, PIXELS_AT_ONCE // (image.shape[1] * image.shape[2]))
        folded = FoldedUnet(self._network)  # anew each time, since training may have changed the weights
        with torch.inference_mode():
            for first in range(0, len(image), at_once):
                part = np.ascontiguousarray(image[first : first + at_once], np.float32)
                x = self.standardised(torch.from_numpy(part)[:, None].to(self._device))
                out[first : first + at_once] = folded(x)[:, 0].cpu().numpy()
        return out

    def standardised(self, image: Tensor) -> Tensor:
        """Shift and scale images as in training."""
        return (image - self.record.mean) / self.record.sd

    def save(self, path: Path) -> None:
        """Write weights and record atomically; for the owner's eyes alone if they are unprotected.

        Raises:
            DataError: The file cannot be written.
        """
        weights = {name: value.cpu().contiguous() for name, value in self._network.state_dict().items()}
        with atomic_path(path, private=self.record.provenance == "unprotected") as temporary:
            save_file(weights, temporary, {"record": self.record.to_json()})

    @staticmethod
    def load(path: Path, device: str = "cpu") -> "TrainedUnet":
        """Read what `save` wrote.

        Raises:
            DataError: The file is missing, damaged, or no U-Net.
        """
        try:
            record = read_record(path)
            network = HalfUnet(record.settings.channels, record.settings.dropout, seed=0)
            network.load_state_dict(load_file(path))
        except (SafetensorError, RuntimeError, OSError) as error:
            raise DataError(f"{path} holds no trained U-Net ({error}); delete it and train again") from error
        return TrainedUnet(network, record, device)


def read_record(path: Path) -> TrainingRecord:
    """Read the record of a trained U-Net without its weights.

    Raises:
        DataError: The file is missing, damaged, or no U-Net.
    """
    try:
        with safe_open(path, "pt") as handle:
            return TrainingRecord.from_json(handle.metadata()["record"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} holds no trained U-Net ({error}); delete it and train again") from error
