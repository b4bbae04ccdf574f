"""From a trained denoiser to pairs: noise is followed down to data, the label is cut at a threshold."""

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from angioshare.errors import DataError
from angioshare.models.denoiser import Preconditioning, draw_by_heun, noise_levels
from angioshare.patches.patchset import PatchSet
from angioshare.patches.scale import scale_patch
from angioshare.rng import seed_for
from angioshare.synthesis.diffusion_network import PAIR
from angioshare.types import FloatArray, Provenance

CHUNK = 64
"""Pairs made at once."""


class TrainedDiffusion:
    """A denoiser whose network's weights stand in a file."""

    def __init__(
        self,
        network: nn.Module,
        weights: Path,
        *,
        about: Preconditioning,
        size: int,
        steps: int,
        threshold: float,
        provenance: Provenance,
    ) -> None:
        """Load the weights; patches have edge `size` and are made in `steps` noise levels."""
        network.load_state_dict(load_file(weights))
        self._network, self._device = network.eval(), next(network.parameters()).device
        self._weights, self._about, self._size, self._levels = weights, about, size, noise_levels(steps)
        self._threshold, self._provenance = threshold, provenance

    @torch.no_grad()
    def sample(self, n: int, seed: int) -> PatchSet:
        """Draw `n` pairs.

        Label = [(channel 1 + 1) / 2 >= threshold]; image = channel 0, cut to [-1, 1] and rescaled to it patch by patch.

        Raises:
            DataError: The network gives no numbers.
        """
        generator = torch.Generator().manual_seed(seed_for(seed, "sample", "z"))
        images, labels = [], []
        for start in range(0, n, CHUNK):
            pairs = self._pairs(min(CHUNK, n - start), generator)
            images.append(scale_patch(pairs[:, 0].clip(-1, 1)))
            labels.append(((pairs[:, 1] + 1) / 2 >= self._threshold).astype(np.uint8))
        return PatchSet(image=np.concatenate(images), label=np.concatenate(labels), provenance=self._provenance)

    def _pairs(self, n: int, generator: torch.Generator) -> FloatArray:
        start = torch.randn(n, PAIR, self._size, self._size, generator=generator).to(self._device)
        pairs = np.asarray(draw_by_heun(self._denoise, start, self._levels).cpu().numpy())
        if not np.isfinite(pairs).all():
            raise DataError(f"{self._weights} draws NaN or infinity: its training diverged; lower learning_rate")
        return pairs

    def _denoise(self, noisy: Tensor, sigma: float) -> Tensor:
        return self._about.denoise(self._network, noisy, torch.tensor([sigma], device=self._device))
