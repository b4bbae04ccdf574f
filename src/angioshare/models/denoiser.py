"""The denoiser of a diffusion model, as formulas: what surrounds its network, and how images are drawn with it.

Source: Karras, Aittala, Aila & Laine (2022), Elucidating the design space of diffusion-based generative models
("EDM"), arXiv:2206.00364: Table 1 and equations 5, 7 and 8. The network F itself is somebody else's matter.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from angioshare.errors import SettingsError

Denoise = Callable[[Tensor, float], Tensor]
"""Maps noisy pairs (n, c, h, w) and their noise level sigma to clean ones."""


@dataclass(frozen=True)
class Preconditioning:
    """D(x; sigma) = c_skip(sigma) x + c_out(sigma) F(c_in(sigma) x, c_noise(sigma)), equation 7.

    Input and target of F have about unit variance at every noise level. The loss weight lambda = 1 / c_out^2 makes the
    weighted loss of D the plain squared error of F against its target:

        lambda(sigma) |D(y + n; sigma) - y|^2 = |F(c_in (y + n), c_noise) - (y - c_skip (y + n)) / c_out|^2

    Attributes:
        sigma_data: Standard deviation of the data that is assumed, > 0. A public constant, never measured on a cohort.

    Example:
        >>> c, sigma = Preconditioning(sigma_data=0.5), torch.tensor(0.5)
        >>> [round(float(part), 4) for part in (c.skip(sigma), c.out(sigma), c.scale_in(sigma), c.weight(sigma))]
        [0.5, 0.3536, 1.4142, 8.0]
    """

    sigma_data: float = 0.5

    def skip(self, sigma: Tensor) -> Tensor:
        """c_skip = sigma_data^2 / (sigma^2 + sigma_data^2)."""
        return self.sigma_data**2 / (sigma**2 + self.sigma_data**2)

    def out(self, sigma: Tensor) -> Tensor:
        """c_out = sigma sigma_data / sqrt(sigma^2 + sigma_data^2)."""
        return sigma * self.sigma_data / (sigma**2 + self.sigma_data**2).sqrt()

    def scale_in(self, sigma: Tensor) -> Tensor:
        """c_in = 1 / sqrt(sigma^2 + sigma_data^2)."""
        return 1 / (sigma**2 + self.sigma_data**2).sqrt()

    def noise(self, sigma: Tensor) -> Tensor:
        """c_noise = ln(sigma) / 4."""
        return sigma.log() / 4

    def weight(self, sigma: Tensor) -> Tensor:
        """Lambda = (sigma^2 + sigma_data^2) / (sigma sigma_data)^2."""
        return (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2

    def inputs(self, noisy: Tensor, sigma: Tensor) -> Tensor:
        """What F reads: c_in x, and c_noise as one more channel that is the same everywhere.

        Args:
            noisy: x, shape (n, c, h, w).
            sigma: Noise level of each, shape (n,).

        Returns:
            Shape (n, c + 1, h, w).
        """
        level = _wide(self.noise(sigma)).expand(len(noisy), 1, *noisy.shape[2:])
        return torch.cat((_wide(self.scale_in(sigma)) * noisy, level), 1)

    def target(self, clean: Tensor, noisy: Tensor, sigma: Tensor) -> Tensor:
        """What F should give: (y - c_skip x) / c_out, shape of `clean`."""
        return (clean - _wide(self.skip(sigma)) * noisy) / _wide(self.out(sigma))

    def denoise(self, network: Callable[[Tensor], Tensor], noisy: Tensor, sigma: Tensor) -> Tensor:
        """D(x; sigma), shape of `noisy`."""
        return _wide(self.skip(sigma)) * noisy + _wide(self.out(sigma)) * network(self.inputs(noisy, sigma))


def _wide(values: Tensor) -> Tensor:
    """One number a row, against maps."""
    return values.view(-1, 1, 1, 1)


def noise_levels(steps: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> list[float]:
    """Noise levels of the sampler, falling, with 0 at the end: equation 5.

    Args:
        steps: How many levels above 0, >= 2.
        sigma_min: The last level above 0.
        sigma_max: The first level, far above the data's standard deviation.
        rho: How much denser low levels lie.

    Returns:
        `steps + 1` numbers.

    Example:
        >>> [round(sigma, 3) for sigma in noise_levels(3)]
        [80.0, 2.515, 0.002, 0.0]
    """
    high, low = sigma_max ** (1 / rho), sigma_min ** (1 / rho)
    return [(high + index / (steps - 1) * (low - high)) ** rho for index in range(steps)] + [0.0]


def draw_by_heun(denoise: Denoise, start: Tensor, levels: list[float]) -> Tensor:
    """Follow the probability-flow equation from noise to data: Algorithm 1, deterministic, second order.

    Args:
        denoise: D; called twice for each level but the last, where once is enough.
        start: Standard normal numbers, shape (n, c, h, w).
        levels: From `noise_levels`.

    Returns:
        Pairs, shape of `start`.

    Raises:
        SettingsError: The levels do not end at 0.

    Example:
        >>> to_zero = lambda x, sigma: torch.zeros_like(x)  # data that is zero everywhere
        >>> draw_by_heun(to_zero, torch.ones(1, 1, 1, 1), noise_levels(18)).item()
        0.0
    """
    if not math.isclose(levels[-1], 0):
        raise SettingsError(f"the last noise level is {levels[-1]} and must be 0; take them from noise_levels")
    x = start * levels[0]
    for sigma, following in pairwise(levels):
        slope = (x - denoise(x, sigma)) / sigma
        moved = x + (following - sigma) * slope
        if following > 0:
            slope = (slope + (moved - denoise(moved, following)) / following) / 2
            moved = x + (following - sigma) * slope
        x = moved
    return x
