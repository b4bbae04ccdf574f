"""Processes that train one model together (`torchrun`): who leads, who owns which unit, and sums over all of them.

Alone, a process is the leader, owns everything, and nothing is sent. Only tensors travel, never pickled objects.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import torch
from torch import Tensor
from torch import distributed as dist

from angioshare.types import IntArray


class Team:
    """The processes of this training; made anew where it is needed, since it holds no state.

    Example:
        >>> team = Team()
        >>> team.leads, team.size, team.own(np.array([3, 4]))
        (True, 1, array([3, 4]))
    """

    def __init__(self) -> None:
        active = dist.is_available() and dist.is_initialized() and not _apart
        self.rank: int = dist.get_rank() if active else 0
        self.size: int = dist.get_world_size() if active else 1

    @property
    def leads(self) -> bool:
        """Whether this process keeps the books and writes the files."""
        return self.rank == 0

    def device(self, wanted: str) -> str:
        """Where this process computes: "cuda" means a card of its own to each process of this machine.

        Example:
            >>> Team().device("cuda")
            'cuda'
        """
        return wanted if self.size == 1 or wanted != "cuda" else f"cuda:{os.environ.get('LOCAL_RANK', '0')}"

    def own(self, units: IntArray) -> IntArray:
        """Those of some units that belong to this process; each unit belongs to one process for ever."""
        return units if self.size == 1 else units[units % self.size == self.rank]

    def share(self, rows: Tensor) -> Tensor:
        """This process's share of rows that all processes have alike."""
        return rows if self.size == 1 else rows[self.rank :: self.size]

    def share_of(self, count: int) -> int:
        """How many of `count` rows `share` gives this process."""
        return len(range(self.rank, count, self.size))

    def count(self, mine: int) -> int:
        """Sum of a number over all processes."""
        if self.size == 1:
            return mine
        total = torch.tensor([mine])
        dist.all_reduce(total)
        return int(total)

    def told_by_leader(self, values: IntArray | None) -> IntArray:
        """Give the leader's integers to all; the others pass None."""
        if self.size == 1:
            assert values is not None
            return values
        count = torch.tensor([0 if values is None else len(values)])
        dist.broadcast(count, 0)
        sent = torch.zeros(int(count), dtype=torch.int64)
        if values is not None:
            sent = torch.from_numpy(values.astype(np.int64))
        dist.broadcast(sent, 0)
        return sent.numpy()

    def sum_at_leader(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Sum over all processes, in float64; only the leader's result counts. Alone: the parts themselves."""
        return _through(dist.reduce, parts) if self.size > 1 else list(parts)

    def as_leader_has(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Give the leader's tensors to all, bit for bit."""
        return _through(dist.broadcast, parts) if self.size > 1 else list(parts)

    def sum_over_all(self, parts: Sequence[Tensor]) -> list[Tensor]:
        """Sum over all processes, the same for each of them, bit for bit."""
        return self.as_leader_has(self.sum_at_leader(parts))

    def wait(self) -> None:
        """Go on when all processes have come here: what the leader wrote before stands on disk."""
        if self.size > 1:
            dist.barrier()


def _through(send: Callable[[Tensor, int], object], parts: Sequence[Tensor]) -> list[Tensor]:
    """Send all parts as one float64 tensor on the CPU, from or to the leader."""
    flat = torch.cat([part.detach().reshape(-1).to("cpu", torch.float64) for part in parts])
    send(flat, 0)
    pieces = torch.split(flat, [part.numel() for part in parts])
    return [piece.view(part.shape).to(part.device, part.dtype) for piece, part in zip(pieces, parts, strict=True)]


_apart: list[bool] = []


@contextmanager
def apart() -> Iterator[None]:
    """What this process trains in the block it trains alone: teams that are made there are of one.

    The others take no part in it, so that whatever was sent to them would never be received.
    """
    _apart.append(True)
    try:
        yield
    finally:
        _apart.pop()


def join() -> Team:
    """Join the processes that `torchrun` started, if it did; calling it twice is harmless."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and not dist.is_initialized():
        # Gradients are summed and noised on the CPU, whatever the networks run on.
        dist.init_process_group("gloo", timeout=timedelta(days=1))
    return Team()
