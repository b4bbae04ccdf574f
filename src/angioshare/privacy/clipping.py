"""The clipped sum of unit gradients: what one unit adds to it is at most C, whatever the unit holds.

Two ways, the same numbers. `clipped_sum` (a unit is a row) keeps, in one forward and one backward pass, each layer's
input and output derivative, finds each row's gradient norm from them, and then makes one weighted product per layer;
no row's gradient outlives its layer. `clipped_sum_by_loop` takes one ordinary backward pass per unit: the obvious twin,
and the way to go when a unit has many rows, as a subject has patches.

Three details carry the bound:

- Losses are applied to one score at a time (vmap), so that no loss can couple two units.
- A gradient that is not finite counts as zero. An error would tell that such a unit was drawn.
- Norms are bounded by C (1 - 1e-5), which leaves room for rounding in float32.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy.kernels import squared_norms, trainable, weighted_gradients
from angioshare.privacy.layers import LEARNING, allowed_layers

Loss = Callable[[Tensor], Tensor]
"""Maps scores, shape (n,), to one loss each, shape (n,)."""

ROUNDING = 1e-5
"""Share of C that is left for rounding errors."""


class ClippedGradients:
    """Sums the gradients of a critic's loss over units, each clipped to one L2 norm.

    Args:
        critic: A Sequential of allowed layers.
        clip_norm: Bound C on the L2 norm of one unit's gradient over all parameters together, > 0. Public.
        most_rows: So many rows go through the critic at once, >= 1; larger draws are cut, never truncated.

    Raises:
        PrivacyError: The critic has a layer that is not known to be safe.
        SettingsError: A number is out of range.

    Guarantees:
        Adding or removing one unit moves a sum by at most `clip_norm` in L2, replacing one by at most twice that,
        for any content: NaN, infinity, huge or zero.
    """

    def __init__(self, critic: nn.Module, clip_norm: float, most_rows: int = 256) -> None:
        if not (math.isfinite(clip_norm) and clip_norm > 0):
            raise SettingsError(f"clip_norm={clip_norm} must be finite and > 0")
        if most_rows < 1:
            raise SettingsError(f"most_rows={most_rows} must be at least 1")
        self._critic, self._bound, self._most_rows = critic, clip_norm * (1 - ROUNDING), most_rows
        self.parameters()

    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters, in the order of every sum.

        Raises:
            PrivacyError: There are none, or the critic has a layer that is not known to be safe.
        """
        found = self._parameters(allowed_layers(self._critic))
        if not found:
            raise PrivacyError("critic has no trainable parameter; switch requires_grad on before its step")
        return found

    def clipped_sum(self, rows: Tensor, losses: Sequence[tuple[int, Loss, float]]) -> list[Tensor]:
        """Sum over rows, each a unit, by one book-keeping pass.

        Args:
            rows: Shape (n, ...). May be empty.
            losses: For consecutive parts of the rows: how many, their loss, and a public factor (its clipped gradients
                count so often). One pass takes real and synthetic rows together.

        Returns:
            One tensor per trainable parameter.

        Example:
            >>> critic = nn.Sequential(nn.Linear(2, 1, bias=False))
            >>> clipped = ClippedGradients(critic, clip_norm=1.0)
            >>> clipped.clipped_sum(torch.tensor([[3.0, 4.0]]), [(1, lambda s: s, 1.0)])[0].round(decimals=3)
            tensor([[0.6000, 0.8000]])
        """
        layers = allowed_layers(self._critic)  # again at each step: a layer may have been exchanged meanwhile
        sums = [torch.zeros_like(parameter) for parameter in self._parameters(layers)]
        begin = 0
        for count, _, _ in losses:
            if count < 0 or begin + count > len(rows):
                raise SettingsError(f"losses speak of {begin + count} rows, but there are {len(rows)}")
            begin += count
        with _full_precision(rows):
            for part, pieces in _microbatches(rows, losses, self._most_rows):
                for total, added in zip(sums, self._one_pass(layers, part, pieces), strict=True):
                    total += added
        return sums

    def clipped_sum_by_loop(self, rows: Tensor, groups: Tensor, loss: Loss) -> list[Tensor]:
        """Sum over units by one backward pass each; a unit's gradient is the mean over its rows.

        Args:
            rows: Shape (n, ...). May be empty.
            groups: To which unit each row belongs, shape (n,), integers >= 0. A unit without rows adds nothing.
            loss: As in `clipped_sum`.

        Returns:
            One tensor per trainable parameter.
        """
        layers = allowed_layers(self._critic)
        parameters = self._parameters(layers)
        sums = [torch.zeros_like(parameter) for parameter in parameters]
        with _full_precision(rows):
            for unit in torch.unique(groups).tolist():
                gradients = self._mean_gradient(layers, parameters, rows[groups == unit], loss)
                squared = torch.stack([gradient.double().square().sum() for gradient in gradients]).sum()
                factor = self._factors(squared).item()
                if factor > 0:
                    for total, gradient in zip(sums, gradients, strict=True):
                        total.add_(gradient, alpha=factor)
        return sums

    def _one_pass(self, layers: list[nn.Module], rows: Tensor, pieces: list[tuple[int, Loss, float]]) -> list[Tensor]:
        """Forward and backward with book-keeping, then norms, then one weighted product per layer."""
        inputs, outputs, scores = _forward(layers, rows)
        wanted = [z for z in outputs if z.requires_grad]
        derivatives = torch.autograd.grad(scores, wanted, _score_derivatives(scores.detach(), pieces))
        kept = [(layer, a, g) for layer, a, g in zip(_learning(layers), inputs, derivatives, strict=True)]
        norms = sum((squared_norms(layer, a, g) for layer, a, g in kept), torch.zeros(len(rows), dtype=torch.float64))
        public = torch.cat([torch.full((count,), factor, dtype=torch.float64) for count, _, factor in pieces])
        weights = self._factors(norms) * public.to(norms.device)
        return [sums for layer, a, g in kept for sums in weighted_gradients(layer, a, g, weights)]

    def _mean_gradient(
        self, layers: list[nn.Module], parameters: list[nn.Parameter], rows: Tensor, loss: Loss
    ) -> list[Tensor]:
        """The gradient of the mean loss over rows, in as many passes as memory asks for."""
        mean = [torch.zeros_like(parameter) for parameter in parameters]
        for part in torch.split(rows, self._most_rows):
            _, _, scores = _forward(layers, part)
            outward = _score_derivatives(scores.detach(), [(len(part), loss, 1.0)]) / len(rows)
            for total, added in zip(mean, torch.autograd.grad(scores, parameters, outward), strict=True):
                total += added
        return mean

    def _factors(self, squared: Tensor) -> Tensor:
        """min(1, C / norm) of each unit, shape (n,); zero where the norm is not finite.

        A norm of more than 1e30 C counts as not finite: scaled down in float32 it would not keep its digits.
        """
        factors = (self._bound / squared.sqrt().clamp_min(1e-300)).clamp_max(1.0)
        return torch.where(squared <= (1e30 * self._bound) ** 2, factors, 0.0)

    @staticmethod
    def _parameters(layers: list[nn.Module]) -> list[nn.Parameter]:
        return [parameter for layer in _learning(layers) for parameter in trainable(layer)]


def _learning(layers: list[nn.Module]) -> list[nn.Module]:
    """The layers that have something to train."""
    return [layer for layer in layers if isinstance(layer, LEARNING) and trainable(layer)]


def _forward(layers: list[nn.Module], rows: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Run the critic and keep input and output of each layer that trains; scores have shape (n,)."""
    inputs, outputs, learning = [], [], set(map(id, _learning(layers)))
    x = rows.detach()
    with torch.enable_grad():
        for layer in layers:
            before, x = x, layer(x)
            if id(layer) in learning:
                inputs.append(before.detach())
                outputs.append(x)
        if x.numel() != len(rows):
            shape = tuple(x.shape)
            raise SettingsError(f"critic gives shape {shape} for {len(rows)} rows; it must give one score each")
        return inputs, outputs, x.reshape(len(rows))


@contextmanager
def _full_precision(rows: Tensor) -> Iterator[None]:
    """Compute in the parameters' own precision, whatever the surrounding code has switched on."""
    convolutions, products = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = convolutions, products


def _score_derivatives(scores: Tensor, pieces: list[tuple[int, Loss, float]]) -> Tensor:
    """Derivative d loss / d score of each row, shape (n,), each loss seeing one score alone."""
    parts = torch.split(scores, [count for count, _, _ in pieces])
    found = []
    for part, (_, loss, _) in zip(parts, pieces, strict=True):
        single = torch.func.grad(lambda score, loss=loss: loss(score.reshape(1)).reshape(()))
        found.append(torch.func.vmap(single)(part) if len(part) else part)
    return torch.cat(found)


def _microbatches(
    rows: Tensor, losses: Sequence[tuple[int, Loss, float]], most: int
) -> list[tuple[Tensor, list[tuple[int, Loss, float]]]]:
    """Cut rows and their losses into parts of at most `most` rows; no rows give no part."""
    cut = []
    for begin in range(0, sum(count for count, _, _ in losses), most):
        pieces, start = [], 0
        for count, loss, factor in losses:
            inside = min(start + count, begin + most) - max(start, begin)
            if inside > 0:
                pieces.append((inside, loss, factor))
            start += count
        cut.append((rows[begin : begin + sum(piece[0] for piece in pieces)], pieces))
    return cut
