"""From a trained generator to pairs: threshold the label, rescale the image."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from angioshare.patches.patchset import PatchSet
from angioshare.patches.scale import scale_patch
from angioshare.rng import seed_for
from angioshare.types import Provenance

WEIGHTS = "generator.safetensors"
"""File of the trained generator."""

CHUNK = 256
"""Pairs made at once."""


class TrainedGenerator:
    """A generator G whose weights stand in a file."""

    def __init__(self, G: nn.Module, weights: Path, z: int, threshold: float, provenance: Provenance) -> None:
        G.load_state_dict(load_file(weights))
        self._G, self._device = G.eval(), next(G.parameters()).device
        self._z, self._threshold, self._provenance = z, threshold, provenance

    @torch.no_grad()
    def sample(self, n: int, seed: int) -> PatchSet:
        """Draw `n` pairs: label = [channel 1 >= threshold], image = channel 0 rescaled to [-1, 1] patch by patch."""
        generator = torch.Generator().manual_seed(seed_for(seed, "sample", "z"))
        images, labels = [], []
        for start in range(0, n, CHUNK):
            z = torch.randn(min(CHUNK, n - start), self._z, 1, 1, generator=generator)
            pairs = self._G(z.to(self._device)).cpu().numpy()
            images.append(scale_patch(pairs[:, 0]))
            labels.append((pairs[:, 1] >= self._threshold).astype(np.uint8))
        return PatchSet(image=np.concatenate(images), label=np.concatenate(labels), provenance=self._provenance)
