"""Squares and sums whose rounding stays far below the room that is left under the clip norm."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

CHUNK = 1 << 24  # at most so many elements of single rows' gradients stand in memory at once
_RUN = 128  # so many squares are summed in the tensor's own precision before float64 takes over


def square(rows: Tensor) -> Tensor:
    """Squared norm of each row, shape (n,), float64.

    Runs of 128 elements are summed in their own precision (float32: relative error below 128 * 2^-24 = 8e-6), the runs
    in float64: a sum in one go could lose many small squares beside a large one.

    Example:
        >>> square(torch.tensor([[3.0, 4.0], [0.0, 1.0]]))
        tensor([25.,  1.], dtype=torch.float64)
    """
    flat = rows.flatten(1)
    whole = flat.shape[1] // _RUN * _RUN
    runs: Tensor = torch.linalg.vector_norm(flat[:, :whole].reshape(len(flat), whole // _RUN, _RUN), dim=2)
    rest: Tensor = torch.linalg.vector_norm(flat[:, whole:].to(torch.float64), dim=1)
    return runs.to(torch.float64).square().sum(1) + rest.square()


def in_chunks(per_rows: Callable[[Tensor, Tensor], Tensor], elements: int, a: Tensor, g: Tensor) -> Tensor:
    """One number a row, for as many rows at a time as fit into memory.

    Args:
        per_rows: Maps some rows of `a` and `g` to one number each.
        elements: How much memory one row needs meanwhile, in elements.
        a: Shape (n, ...).
        g: Shape (n, ...).
    """
    rows = max(1, CHUNK // max(elements, 1))
    if len(a) <= rows:
        return per_rows(a, g)
    parts: Sequence[tuple[Tensor, Tensor]] = list(zip(torch.split(a, rows), torch.split(g, rows), strict=True))
    return torch.cat([per_rows(x, y) for x, y in parts])


def weighted_sum(weights: Tensor, rows: Tensor) -> Tensor:
    """Sum over rows of weight times row, in the rows' precision; shape of one row."""
    return (weights.to(rows.dtype) @ rows.flatten(1)).view(rows.shape[1:])
