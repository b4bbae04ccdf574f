"""The clipped sum of unit gradients: what one unit adds to it is at most C, whatever the unit holds.

One forward and one backward pass keep each layer's input and output derivative (`backward.py`). Where a unit is a row,
the norms of all rows' gradients come from these, then one weighted product per layer gives the sum; no row's gradient
outlives its layer unless it is small. Where a unit has many rows, as a subject has patches, the pass is shared by
several units and each unit's mean gradient is made from its share, clipped and added.

Three details carry the bound:

- Losses are applied to one score at a time (vmap), so that no loss can couple two units.
- A gradient that is not finite counts as zero. An error would tell that such a unit was drawn.
- Norms are bounded by a little less than C, which leaves room for rounding in float32: a share of 1e-5, and 2.4e-7 for
  each unit that a sum usually holds. A sum is rounded in proportion to its own size, which is largest where units are
  alike. There one unit was seen to move it by up to 2.1 x 2^-24 C more than the bound for each unit in it.
"""

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from angioshare.errors import SettingsError
from angioshare.privacy.backward import BookKeeping, Loss, Piece, checked, factors, full_precision, microbatches
from angioshare.privacy.kernels import squared_norms, weighted_gradients
from angioshare.privacy.summation import square

ROUNDING = 1e-5
"""Share of C that is left for rounding errors, however few units a sum holds."""

ROUNDING_PER_UNIT = 4 * 2.0**-24
"""Share of C that is left besides for each unit that a sum usually holds; enough for twice as many."""

_MOST_ROUNDING = 0.1


class ClippedGradients:
    """Sums the gradients of a critic's loss over units, each clipped to one L2 norm.

    Args:
        critic: A Sequential of allowed layers.
        clip_norm: Bound C on the L2 norm of one unit's gradient over all parameters together, > 0. Public.
        most_rows: So many rows go through the critic at once, >= 1; larger draws are cut, never truncated.
        usual_rows: About how many rows a pass has, >= 1; for speed alone. Public.
        usual_units: About how many clipped gradients a sum holds, synthetic ones counted by their factor, >= 0;
            rounding has room for about twice as many. Public: with the number that was drawn, one unit more would
            change the bound of all others.

    Raises:
        PrivacyError: The critic has a layer that is not known to be safe.
        SettingsError: A number is out of range.

    Guarantees:
        Adding or removing one unit moves a sum by at most `clip_norm` in L2, replacing one by at most twice that,
        for any content: NaN, infinity, huge or zero. In float32 this holds for sums of up to about 80 units, and of
        twice `usual_units`.
    """

    def __init__(
        self,
        critic: nn.Module,
        clip_norm: float,
        most_rows: int = 256,
        usual_rows: int = 32,
        usual_units: float = 0.0,
    ) -> None:
        if not (math.isfinite(clip_norm) and clip_norm > 0):
            raise SettingsError(f"clip_norm={clip_norm} must be finite and > 0")
        if most_rows < 1:
            raise SettingsError(f"most_rows={most_rows} must be at least 1")
        room = ROUNDING + ROUNDING_PER_UNIT * usual_units
        if not ROUNDING <= room <= _MOST_ROUNDING:
            raise SettingsError(
                f"usual_units={usual_units:g}: float32 cannot sum so many with a bound on each; take a smaller draw"
            )
        self._bound, self._most_rows = clip_norm * (1 - room), most_rows
        self._passes = BookKeeping(critic, max(1, min(most_rows, usual_rows)))

    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters, in the order of every sum.

        Raises:
            PrivacyError: There are none, or the critic has a layer that is not known to be safe.
        """
        return self._passes.parameters()

    def clipped_sum(self, rows: Tensor, losses: Sequence[Piece]) -> list[Tensor]:
        """Sum over rows, each a unit.

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
        checked(losses, len(rows))
        parameters = self.parameters()
        with full_precision(rows):
            parts = [self._one_pass(part, pieces) for part, pieces in microbatches(rows, losses, self._most_rows)]
            return _added(parts, parameters)

    def clipped_sum_of_units(self, rows: Tensor, groups: Tensor, loss: Loss) -> list[Tensor]:
        """Sum over units that have several rows each; a unit's gradient is the mean over its rows.

        Args:
            rows: Shape (n, ...). May be empty.
            groups: To which unit each row belongs, shape (n,), integers >= 0. A unit without rows adds nothing.
            loss: As in `clipped_sum`.

        Returns:
            One tensor per trainable parameter.
        """
        parameters = self.parameters()
        sums = [torch.zeros_like(parameter) for parameter in parameters]
        with full_precision(rows):
            for gradient in self._mean_gradients(rows, groups, loss):
                squared = torch.stack([square(part.reshape(1, -1))[0] for part in gradient]).sum()
                factor = self._factors(squared).item()
                if factor > 0:
                    for total, part in zip(sums, gradient, strict=True):
                        total.add_(part, alpha=factor)
        return sums

    def _one_pass(self, rows: Tensor, pieces: list[Piece]) -> list[Tensor]:
        """Book-keeping, then norms, then one weighted product per layer."""
        kept = self._passes.run(rows, pieces)
        norms = torch.stack([squared_norms(entry) for entry in kept]).sum(0)
        weights = self._factors(norms) * factors(pieces, rows)
        return [total for entry in kept for total in weighted_gradients(entry, weights)]

    def _mean_gradients(self, rows: Tensor, groups: Tensor, loss: Loss) -> Iterator[list[Tensor]]:
        """The gradient of the mean loss over the rows of each unit, one unit after the other."""
        order = torch.argsort(groups, stable=True)
        _, counts = torch.unique(groups, return_counts=True)
        for units in _packed(counts.tolist(), self._most_rows):
            mine, order = order[: sum(units)], order[sum(units) :]
            if len(units) == 1:
                parts = [self._unclipped(part, pieces, 1 / len(mine)) for part, pieces in
                         microbatches(rows[mine], [(len(mine), loss, 1.0)], self._most_rows)]  # fmt: skip
                yield _added(parts, [])
                continue
            kept = self._passes.run(rows[mine], [(len(mine), loss, 1.0)])
            begin = 0
            for count in units:
                weights = torch.full((count,), 1 / count, dtype=torch.float64, device=rows.device)
                shares = [entry.part(begin, begin + count) for entry in kept]
                yield [total for share in shares for total in weighted_gradients(share, weights)]
                begin += count

    def _unclipped(self, rows: Tensor, pieces: list[Piece], weight: float) -> list[Tensor]:
        """Sum over rows of weight times gradient."""
        weights = torch.full((len(rows),), weight, dtype=torch.float64, device=rows.device)
        return [total for entry in self._passes.run(rows, pieces) for total in weighted_gradients(entry, weights)]

    def _factors(self, squared: Tensor) -> Tensor:
        """min(1, C / norm) of each unit, shape (n,); zero where the norm is not finite.

        A norm of more than 1e30 C counts as not finite: scaled down in float32 it would not keep its digits.
        """
        found = (self._bound / squared.sqrt().clamp_min(1e-300)).clamp_max(1.0)
        return torch.where(squared <= (1e30 * self._bound) ** 2, found, 0.0)


def _added(parts: list[list[Tensor]], parameters: list[nn.Parameter]) -> list[Tensor]:
    """Sum of the parts, each a tensor per parameter; zeros if there is none."""
    if not parts:
        return [torch.zeros_like(parameter) for parameter in parameters]
    for part in parts[1:]:
        torch._foreach_add_(parts[0], part)
    return parts[0]


def _packed(counts: list[int], most: int) -> Iterator[list[int]]:
    """Bring units together, in order, whose rows fit into one pass; a unit that is larger stands alone."""
    pack: list[int] = []
    for count in counts:
        if pack and sum(pack) + count > most:
            yield pack
            pack = []
        pack.append(count)
    if pack:
        yield pack
