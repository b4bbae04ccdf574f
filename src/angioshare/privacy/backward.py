"""One forward and one backward pass through a critic that keep what single rows' gradients are made of.

Nothing is clipped here and nothing is private by itself: `clipping.py` builds on it, and so does the rival without
privacy, so that the two differ in what privacy costs and in nothing else.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy.branches import Beside
from angioshare.privacy.kernels import Kept, forward, trainable
from angioshare.privacy.layers import LEARNING, allowed_layers, check_rows, learning_layers
from angioshare.privacy.normleaky import fits, norm_then_leaky
from angioshare.privacy.tuning import ways_for

Loss = Callable[[Tensor], Tensor]
"""Maps scores, shape (n,), to one loss each, shape (n,)."""

Piece = tuple[int, Loss, float]
"""So many rows, their loss, and a public factor with which their gradients count."""


class BookKeeping:
    """Runs a critic and keeps each layer's input and output derivative.

    Args:
        critic: A Sequential of allowed layers.
        usual_rows: About how many rows a pass has, >= 1; the fastest ways to work are measured for it. Public. None
            chooses by rule, so that results are the same on all machines to the last digit that a machine gives.

    Raises:
        PrivacyError: The critic has a layer that is not known to be safe, or nothing to train.
    """

    def __init__(self, critic: nn.Module, usual_rows: int | None) -> None:
        self.critic, self._usual_rows = critic, usual_rows
        self.parameters()

    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters, in the order of every sum.

        Raises:
            PrivacyError: There are none, or the critic has a layer that is not known to be safe.
        """
        found = [p for layer in learning_layers(self.critic) for p in trainable(layer)]
        if not found:
            raise PrivacyError("critic has no trainable parameter; switch requires_grad on before its step")
        return found

    def run(self, rows: Tensor, pieces: Sequence[Piece]) -> list[Kept]:
        """Forward and backward; the public factors are not applied.

        Args:
            rows: Shape (n, ...), n >= 1.
            pieces: What to take of each row's score; their counts add up to n.

        Returns:
            One entry for each layer that trains, in order.

        Guarantees:
            Row i of every entry depends on row i of `rows` and the parameters alone: layers come from the allow-list,
            which is checked again at each call, and losses are applied to one score at a time.
        """
        kept, outputs, scores = self._forward(allowed_layers(self.critic), rows)
        derivatives = torch.autograd.grad(scores, outputs, _score_derivatives(scores.detach(), pieces))
        for entry, g in zip(kept, derivatives, strict=True):
            entry.g = g
        return kept

    def _forward(self, layers: list[nn.Module], rows: Tensor) -> tuple[list[Kept], list[Tensor], Tensor]:
        kept: list[Kept] = []
        outputs: list[Tensor] = []
        with torch.enable_grad():
            x = self._chain(layers, rows.detach(), kept, outputs)
            if x.numel() != len(rows):
                shape = tuple(x.shape)
                raise SettingsError(f"critic gives shape {shape} for {len(rows)} rows; it must give one score each")
            return kept, outputs, x.reshape(len(rows))

    def _chain(self, layers: list[nn.Module], x: Tensor, kept: list[Kept], outputs: list[Tensor]) -> Tensor:
        """Run layers one after the other, a branch as a chain of its own; what is kept is appended."""
        left, n = list(reversed(layers)), len(x)
        while left:
            layer = left.pop()
            check_rows(layer, x)
            if isinstance(layer, Beside):
                x = torch.cat((self._chain(allowed_layers(layer.inner), x, kept, outputs), x), 1)
                continue
            if left and fits(layer, left[-1], x):
                x = norm_then_leaky(layer, left.pop(), x)
                continue
            ways = ways_for(layer, tuple(x.shape[1:]), self._usual_rows, x, first=not kept)
            before, x = x, forward(layer, x, ways)
            if isinstance(layer, LEARNING) and trainable(layer):
                kept.append(Kept(layer, before.detach(), before, ways))
                outputs.append(x)
            if len(x) != n:
                raise PrivacyError(f"{type(layer).__name__} makes {len(x)} rows of {n}, so that they are no units")
        return x


def checked(pieces: Sequence[Piece], n: int) -> None:
    """Refuse pieces that speak of more rows than there are.

    Raises:
        SettingsError: They do.
    """
    begin = 0
    for count, _, _ in pieces:
        if count < 0 or begin + count > n:
            raise SettingsError(f"losses speak of {begin + count} rows, but there are {n}")
        begin += count


def factors(pieces: Sequence[Piece], like: Tensor) -> Tensor:
    """The public factor of each row, shape (n,), float64."""
    parts = [torch.full((count,), factor, dtype=torch.float64, device=like.device) for count, _, factor in pieces]
    return torch.cat(parts)


def microbatches(rows: Tensor, pieces: Sequence[Piece], most: int) -> Iterator[tuple[Tensor, list[Piece]]]:
    """Cut rows and their losses into parts of at most `most` rows; no rows give no part."""
    for begin in range(0, sum(count for count, _, _ in pieces), most):
        cut, start = [], 0
        for count, loss, factor in pieces:
            inside = min(start + count, begin + most) - max(start, begin)
            if inside > 0:
                cut.append((inside, loss, factor))
            start += count
        yield rows[begin : begin + sum(piece[0] for piece in cut)], cut


@contextmanager
def full_precision(rows: Tensor) -> Iterator[None]:
    """Compute in the parameters' own precision, whatever the surrounding code has switched on."""
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


def _score_derivatives(scores: Tensor, pieces: Sequence[Piece]) -> Tensor:
    """Derivative d loss / d score of each row, shape (n,), each loss seeing one score alone."""
    parts = torch.split(scores, [count for count, _, _ in pieces])
    found = []
    for part, (_, loss, _) in zip(parts, pieces, strict=True):
        single = torch.func.grad(lambda score, loss=loss: loss(score.reshape(1)).reshape(()))
        found.append(torch.func.vmap(single)(part) if len(part) else part)
    return torch.cat(found)
