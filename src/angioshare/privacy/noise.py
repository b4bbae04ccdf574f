"""Gaussian noise from a cryptographic stream, hardened against floating-point attacks.

Box-Muller turns the key stream into normal numbers: from 63 random bits a radius, from 32 an angle. Logarithm, root,
sine and cosine are those of float32, which are fast and right to seven digits. Radius times sine is multiplied in
float64, so that its digits are not rounded to a grid: an observer could otherwise rule out values of the true sum by
the gaps between the numbers that the noise can take. Each released number is a sum of several such products, is added
to the true sum in float64, and only then rounded to float32.

What remains: each summand's tail ends at 9.4 standard deviations (a chance of 1e-20 a number), and no floating-point
generator is the real Gaussian of the theorem.

References:
    Box & Muller (1958), A note on the generation of random normal deviates.
    Mironov (2012), On significance of the least significant bits for differential privacy.
    Holohan & Braghin (2021), Secure random sampling in differential privacy, arXiv:2107.10138.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy.entropy import KeyStream

_PAIRS = 1 << 15  # as many as keep every intermediate in the processor's cache


class GaussianNoise:
    """Draws independent normal noise.

    Args:
        stream: Where the bits come from; None makes a fresh stream from the operating system.
        summands: How many normal draws make up one number, >= 2.

    Guarantees:
        No number is given out twice, within a run or after a restart: the stream has a fresh key at every start and
        refuses to be stored.

    Example:
        >>> noise = GaussianNoise(KeyStream(test_seed=1))
        >>> noise.normal(3).shape, noise.seeded
        (torch.Size([3]), True)
    """

    def __init__(self, stream: KeyStream | None = None, summands: int = 2) -> None:
        if summands < 2:
            raise SettingsError(f"summands={summands} must be at least 2; one draw is open to floating-point attacks")
        self._stream = stream if stream is not None else KeyStream()
        self._summands = summands

    @property
    def seeded(self) -> bool:
        """Whether the noise can be replayed (tests alone)."""
        return self._stream.seeded

    def normal(self, count: int) -> Tensor:
        """Draw `count` standard normal numbers, shape (count,), float64, on the CPU."""
        out = np.zeros(count, np.float64)
        for begin in range(0, count, 2 * _PAIRS):
            part = out[begin : begin + 2 * _PAIRS]
            for _ in range(self._summands):
                part += self._box_muller((len(part) + 1) // 2)[: len(part)]
            part *= 1 / math.sqrt(self._summands)
        return torch.from_numpy(out)

    def add_to(self, value: Tensor, std: float) -> Tensor:
        """Return `value` plus noise of standard deviation `std` per element, shape and type of `value`.

        Args:
            value: What is to be released, float32 or wider.
            std: Standard deviation of the noise, > 0: noise multiplier times clip norm.

        Raises:
            PrivacyError: `value` is narrower than float32, or `std` is not a positive number.
        """
        if value.dtype not in (torch.float32, torch.float64):
            raise PrivacyError(f"dtype={value.dtype} is too narrow to be noised; sum in float32 or float64")
        if not (math.isfinite(std) and std > 0):
            raise PrivacyError(f"std={std} must be finite and > 0; without noise nothing is private")
        plain = value.detach().to("cpu").contiguous().view(-1).numpy()
        noised = np.empty_like(plain)
        for begin in range(0, len(plain), 2 * _PAIRS):
            part = slice(begin, begin + 2 * _PAIRS)
            wide = self.normal(len(plain[part])).numpy()
            wide *= std
            wide += plain[part]
            noised[part] = wide  # the one rounding
        return torch.from_numpy(noised).view(value.shape).to(value.device)

    def _box_muller(self, pairs: int) -> npt.NDArray[np.float64]:
        """Turn random bits into `2 pairs` standard normal numbers, each a product of two float32 numbers."""
        words = self._stream.words(pairs + (pairs + 1) // 2)
        # Half a unit keeps the logarithm finite; a rounding to 1 gives a radius of 0, which is a number like others.
        radius = np.abs(words[:pairs].view(np.int64).astype(np.float32))
        radius += np.float32(0.5)
        radius *= np.float32(2.0**-63)
        np.log(radius, out=radius)
        radius *= np.float32(-2)
        np.sqrt(radius, out=radius)
        angle = words[pairs:].view(np.int32)[:pairs].astype(np.float32)
        angle *= np.float32(math.pi * 2.0**-31)
        wide = radius.astype(np.float64)
        out = np.empty(2 * pairs, np.float64)
        np.multiply(np.cos(angle).astype(np.float64), wide, out=out[:pairs])
        np.multiply(np.sin(angle).astype(np.float64), wide, out=out[pairs:])
        return out
