"""From a trained generator to pairs: threshold the label, rescale the image.

The critic's instance normalisation hides the scale of what it sees, so a generator's image and label may both fade
while they still fit each other. The image is rescaled patch by patch anyway; the label may be measured against the
brightest labels of the same generator (`docs/decisions/0006-label-scale.md`).
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from angioshare.patches.patchset import PatchSet
from angioshare.patches.scale import scale_patch
from angioshare.rng import seed_for
from angioshare.types import FloatArray, Provenance

WEIGHTS = "generator.safetensors"
"""File of the trained generator."""

CHUNK = 256
"""Pairs made at once."""

BRIGHTEST = 0.999
"""Quantile of a generator's label values that stands for a whole vessel.

Of real pairs it is 1: more than one pixel in a thousand is vessel."""


class TrainedGenerator:
    """A generator G whose weights stand in a file."""

    def __init__(
        self,
        G: nn.Module,
        weights: Path,
        z: int,
        threshold: float,
        provenance: Provenance,
        *,
        relative: bool = False,
        background: float = 0.0,
    ) -> None:
        """Load the weights.

        Args:
            G: Takes the weights.
            weights: Their file.
            z: Width of the latent vector.
            threshold: A label at or above it is vessel, where 0 is no vessel and 1 is vessel.
            provenance: What its pairs reveal.
            relative: Take the threshold as a share of the generator's own brightest labels.
            background: Value in channel 1 that stands for no vessel, in [-1, 0]; 1 stands for vessel.
        """
        G.load_state_dict(load_file(weights))
        self._G, self._device = G.eval(), next(G.parameters()).device
        self._z, self._provenance, self._background = z, provenance, background
        self._threshold = threshold * self._brightest() if relative else threshold

    @torch.no_grad()
    def sample(self, n: int, seed: int) -> PatchSet:
        """Draw `n` pairs: label = [channel 1 >= threshold], image = channel 0 rescaled to [-1, 1] patch by patch."""
        generator = torch.Generator().manual_seed(seed_for(seed, "sample", "z"))
        images, labels = [], []
        for start in range(0, n, CHUNK):
            pairs = self._pairs(min(CHUNK, n - start), generator)
            images.append(scale_patch(pairs[:, 0]))
            labels.append((pairs[:, 1] >= self._threshold).astype(np.uint8))
        return PatchSet(image=np.concatenate(images), label=np.concatenate(labels), provenance=self._provenance)

    def _pairs(self, n: int, generator: torch.Generator) -> FloatArray:
        z = torch.randn(n, self._z, 1, 1, generator=generator)
        pairs = np.asarray(self._G(z.to(self._device)).cpu().numpy())
        if self._background:
            pairs[:, 1] = (pairs[:, 1] - self._background) / (1 - self._background)
        return pairs

    @torch.no_grad()
    def _brightest(self) -> float:
        """Top of the label channel over pairs that are drawn for this alone; nothing where there is no vessel."""
        labels = self._pairs(CHUNK, torch.Generator().manual_seed(seed_for(0, "sample", "brightest")))[:, 1]
        top = float(np.quantile(labels, BRIGHTEST))
        return top if top > 0 else np.inf
