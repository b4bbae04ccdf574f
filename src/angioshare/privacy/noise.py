"""Gaussian noise from a cryptographic stream, hardened against floating-point attacks.

Box-Muller in float64 turns the key stream into normal numbers. Each released number is a sum of several of them, and is
added and rounded in float64 before it becomes float32: an observer who wants to rule out values of the true sum by the
gaps that floating-point arithmetic leaves would have to find all of the summands from digits that were rounded off.

What remains: the tail ends at 8.5 standard deviations (a chance of 1e-17 a number), and no floating-point generator
is the real Gaussian of the theorem.

References:
    Mironov (2012), On significance of the least significant bits for differential privacy.
    Holohan & Braghin (2021), Secure random sampling in differential privacy, arXiv:2107.10138.
"""

import math

import torch
from torch import Tensor

from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy.entropy import KeyStream

_PAIRS = 1 << 17  # as many as keep every intermediate in the processor's cache


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
        out = torch.zeros(count, dtype=torch.float64)
        for begin in range(0, count, 2 * _PAIRS):
            part = out[begin : begin + 2 * _PAIRS]
            for _ in range(self._summands):
                part += self._box_muller((len(part) + 1) // 2)[: len(part)]
        return out.mul_(1 / math.sqrt(self._summands))

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
        wide = value.detach().to("cpu", torch.float64)
        noised = wide + self.normal(value.numel()).mul_(std).view(value.shape)
        return noised.to(value.device, value.dtype)

    def _box_muller(self, pairs: int) -> Tensor:
        """Turn `2 pairs` uniform words into as many standard normal numbers."""
        words = self._stream.words(2 * pairs)
        # 53 random bits and a half: uniform on an even grid inside (0, 1), so that the logarithm stays finite.
        uniform = torch.from_numpy((words >> 11).astype("float64")).add_(0.5).mul_(2.0**-53)
        radius = uniform[:pairs].log_().mul_(-2).sqrt_()
        angle = uniform[pairs:].mul_(2 * math.pi)
        return torch.cat((torch.cos(angle).mul_(radius), torch.sin(angle).mul_(radius)))
