"""Scattering features: a feature network that needs no download, no training and no licence.

A natural-image network is a poor judge of angiograms and must be fetched first. This one is fixed mathematics: a
patch goes through a bank of small oriented wavelets at several scales, the modulus of each answer is averaged over the
patch (how much fine or coarse structure in which direction there is), and the moduli go through the bank once more at
coarser scales (how that structure is arranged: noise fills a patch evenly, vessels do not). Averages are taken as
``log(1 + value / 0.01)``, since they span decades.

It sees texture, sharpness, contrast and density of vessels; it does not know what an angiogram is. Distances by it are
called "FD-scattering" and may be compared with each other for patches of one size, with nothing else.
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from angioshare.errors import DataError
from angioshare.types import FloatArray

DIRECTIONS = 4
SCALES = 4
"""At most; fewer where a patch is small."""

WIDTH = 7
"""Pixels along a wavelet."""

FLOOR = 0.01
"""Where the logarithm begins to bend: a hundredth of half the range of a patch."""

PATCHES_AT_ONCE = 64


class Scattering:
    """Fulfils `features.FeatureNetwork`.

    References:
        Bruna & Mallat (2013), Invariant scattering convolution networks, IEEE TPAMI 35:1872. Here each scale is a
        patch halved by averages in place of a wavelet twice as long.

    Example:
        >>> Scattering()(np.zeros((2, 96, 96))).shape
        (2, 113)
    """

    name = "scattering"
    title = "FD-scattering"
    identity = "scattering-1"
    preparation = "patches at their own size, in [-1, 1]"

    def __call__(self, image: FloatArray) -> npt.NDArray[np.float32]:
        """Features of patches.

        Args:
            image: Shape (n, h, w), in [-1, 1], h and w >= 8. n may be 0.

        Returns:
            Shape (n, d), float32; d = 113 from 64 pixels on, 61 from 32, 25 from 16, 5 below.

        Raises:
            DataError: The patches are too small.
        """
        if image.ndim != 3 or min(image.shape[1:]) < WIDTH + 1:
            raise DataError(
                f"patches of shape {image.shape} have no scattering features; give (n, h, w), 8 x 8 or more"
            )
        scales = min(SCALES, int(np.log2(min(image.shape[1:]) / (WIDTH + 1))) + 1)
        parts = [np.zeros((0, n_features(scales)), np.float32)]
        with torch.inference_mode():
            for first in range(0, len(image), PATCHES_AT_ONCE):
                part = np.ascontiguousarray(image[first : first + PATCHES_AT_ONCE], np.float32)
                parts.append(_features(torch.from_numpy(part)[:, None] + 1, scales).numpy())
        return np.concatenate(parts)


def n_features(scales: int) -> int:
    """Length of a feature vector.

    Example:
        >>> n_features(4)
        113
    """
    return 1 + DIRECTIONS * scales + DIRECTIONS**2 * scales * (scales - 1) // 2


def _features(x: Tensor, scales: int) -> Tensor:
    """Averages of x, of its moduli, and of the moduli of these; x has shape (n, 1, h, w)."""
    found = [x.mean(dim=(2, 3))]
    for fine in range(scales):
        first = _moduli(_halved(x, fine))
        found.append(first.mean(dim=(2, 3)))
        found += [_moduli(_halved(first, step)).mean(dim=(2, 3)) for step in range(1, scales - fine)]
    return torch.log1p(torch.cat(found, dim=1) / FLOOR)


def _halved(x: Tensor, times: int) -> Tensor:
    """Averages over squares of 2^times pixels."""
    return functional.avg_pool2d(x, 2**times) if times else x


def _moduli(x: Tensor) -> Tensor:
    """Modulus of every wavelet's answer to every channel, mirrored at the edge; (n, c, h, w) to (n, 4 c, h, w)."""
    n, channels, height, width = x.shape
    mirrored = functional.pad(x.reshape(-1, 1, height, width), (WIDTH // 2,) * 4, mode="reflect")
    answer = torch.conv2d(mirrored, _bank())
    modulus = torch.hypot(answer[:, :DIRECTIONS], answer[:, DIRECTIONS:])
    return modulus.reshape(n, channels * DIRECTIONS, height, width)


def _bank() -> Tensor:
    """Morlet wavelets of four directions, shape (8, 1, 7, 7): real parts, then imaginary ones.

    A wave of 3/4 pi per pixel under a Gaussian of 0.8 pixels along it and 1.6 across; a constant gives no answer, a
    wave of the wavelet's own an answer of 1.
    """
    steps = np.arange(WIDTH) - WIDTH // 2
    waves = []
    for angle in np.arange(DIRECTIONS) * np.pi / DIRECTIONS:
        along = steps[:, None] * np.cos(angle) + steps[None] * np.sin(angle)
        across = steps[None] * np.cos(angle) - steps[:, None] * np.sin(angle)
        envelope = np.exp(-(along**2 + across**2 / 4) / (2 * 0.8**2))
        envelope /= envelope.sum()
        wave = np.exp(0.75j * np.pi * along)
        waves.append(envelope * (wave - (envelope * wave).sum()))
    bank = np.stack(waves)
    return torch.from_numpy(np.concatenate([bank.real, bank.imag])[:, None].astype(np.float32))
