"""A small network that turns a pair of image and label into features.

Convolutions of kernel 3 and stride 2 see texture, edges and vessels at growing scale; the mean of each map over the
patch is a feature, so that it does not matter where in a patch something lies. A linear read-out of the features is
what the network is trained on.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

WIDTHS = (16, 32, 64)
"""Maps of each scale, from fine to coarse."""


class PairFeatures(nn.Module):
    """Features of pairs, and a linear read-out.

    Example:
        >>> network = PairFeatures(5, (4, 8), seed=1)
        >>> network(torch.zeros(3, 2, 32, 32)).shape
        torch.Size([3, 5])
    """

    def __init__(self, outputs: int, widths: Sequence[int] = WIDTHS, *, seed: int) -> None:
        """Build it with weights drawn from `seed` alone.

        Args:
            outputs: Numbers that are read out, >= 1.
            widths: Maps of each scale, at least one.
            seed: Drives the initial weights.
        """
        super().__init__()
        with torch.random.fork_rng([]):  # the caller's stream stays where it was
            torch.manual_seed(seed)
            before = [2, *widths[:-1]]
            self.scales = nn.ModuleList(
                nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.ReLU()) for a, b in zip(before, widths, strict=True)
            )
            self.read_out = nn.Linear(sum(widths), outputs)

    def maps(self, pairs: Tensor) -> list[Tensor]:
        """Maps (n, width, h', w') of each scale, h' and w' half of those before."""
        found = []
        for scale in self.scales:
            pairs = scale(pairs)
            found.append(pairs)
        return found

    def forward(self, pairs: Tensor) -> Tensor:
        """Read out (n, outputs) from pairs (n, 2, h, w), channel 0 the image and channel 1 the label."""
        means = torch.cat([maps.mean(dim=(2, 3)) for maps in self.maps(pairs)], dim=1)
        read: Tensor = self.read_out(means)
        return read
