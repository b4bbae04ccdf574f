"""Pairs from several trained generators: each pair from one of them, chosen at random."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from angioshare.patches.patchset import PatchSet
from angioshare.protocols import TrainedSynthesizer
from angioshare.rng import seed_for, stream


def weights_of(folder: Path, index: int) -> Path:
    """File of one trained generator.

    Example:
        >>> weights_of(Path("source"), 1).name
        'generator-1.safetensors'
    """
    return folder / f"generator-{index}.safetensors"


class Mixture:
    """Draws from all generators alike, as PrivGAN releases them."""

    def __init__(self, trained: Sequence[TrainedSynthesizer]) -> None:
        """Hold at least one generator."""
        self._trained = trained

    def sample(self, n: int, seed: int) -> PatchSet:
        """Draw `n` pairs; who makes a pair is drawn for each, so that the order tells nothing."""
        makers = stream(seed, "privgan", "makers").integers(0, len(self._trained), n)
        parts = [
            one.sample(int((makers == index).sum()), seed_for(seed, "privgan", "pairs", str(index)))
            for index, one in enumerate(self._trained)
            if (makers == index).any()
        ]
        back = np.argsort(np.argsort(makers, kind="stable"))
        return PatchSet(
            image=np.concatenate([part.image for part in parts])[back],
            label=np.concatenate([part.label for part in parts])[back],
            provenance=parts[0].provenance,
        )
