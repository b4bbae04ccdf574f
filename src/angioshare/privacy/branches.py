"""Three layers that let a network branch and be compared with a target, each treating every row by itself.

A Sequential is a chain, and a private network must be one. Two things are more than a chain: a path around the layers
that see a coarse map, and a loss that needs a target beside the network's output. Both are had by letting what goes in
stand beside what comes out, along the channels. None of the three layers has parameters, buffers or randomness of its
own; axis 0, the rows, is never touched.
"""

import torch
from torch import Tensor, nn


class Beside(nn.Module):
    """A branch: x becomes (inner(x), x) along the channels.

    What it holds is checked layer by layer as if it stood in the chain (`layers.py`), and is run by the book-keeping
    layer by layer (`backward.py`).

    Example:
        >>> Beside(nn.Conv2d(3, 4, 1), nn.SiLU())(torch.zeros(2, 3, 8, 8)).shape
        torch.Size([2, 7, 8, 8])
    """

    def __init__(self, *layers: nn.Module) -> None:
        """Branch around these layers, which must keep the size of a map."""
        super().__init__()
        self.inner = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, c, ...) to (n, inner channels + c, ...)."""
        return torch.cat((self.inner(x), x), 1)


class FirstChannels(nn.Module):
    """Lets the first channels through: what stands behind them, a target for example, stays unseen.

    Example:
        >>> FirstChannels(2)(torch.zeros(1, 5, 4, 4)).shape
        torch.Size([1, 2, 4, 4])
    """

    def __init__(self, count: int) -> None:
        """Let `count` channels through."""
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, c, ...) to (n, count, ...)."""
        return x[:, : self.count]


class SquaredError(nn.Module):
    """Squared L2 distance between the first and the last channels of each row.

    Example:
        >>> SquaredError(1)(torch.tensor([[[1.0, 2.0], [0.0, 0.0], [1.0, 5.0]]]))
        tensor([[9.]])
    """

    def __init__(self, count: int) -> None:
        """Compare `count` channels at either end."""
        super().__init__()
        self.count = count

    def forward(self, x: Tensor) -> Tensor:
        """Shape (n, c, ...), c >= 2 count, to one number a row, (n, 1)."""
        return (x[:, : self.count] - x[:, -self.count :]).square().flatten(1).sum(1, keepdim=True)
