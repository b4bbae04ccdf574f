"""The teachers of PATE-GAN: critics on disjoint shards of the real pairs, who vote on generated ones.

Everything here is on the private side: teachers are trained without noise. What the guarantee rests on (see
`privacy/votes.py`) is kept by construction: which shard a unit is in follows from this unit alone, and each teacher has
weights, optimiser and choice of rows of its own, so that a unit reaches one teacher and no other.
"""

import hashlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from angioshare.errors import DataError
from angioshare.patches.patchset import PatchSet
from angioshare.privacy.unit import PrivacyUnit
from angioshare.rng import seed_for
from angioshare.types import BoolArray, FloatArray, IntArray

Rows = Callable[[int, int], np.random.Generator]
"""Teacher and update to the generator that chooses this update's rows: one for each teacher, never a shared one."""


_AT_ONCE = 256


def teacher_of(unit: bytes, teachers: int, seed: int) -> int:
    """Which teacher learns from a unit: a public hash of the unit alone.

    Who else is in the data does not matter, so that removing one unit moves no other to another teacher. Hence shards
    are of unequal size, and one may be empty.

    Args:
        unit: What the unit is, as bytes.
        teachers: How many teachers, >= 1.
        seed: Public; another one deals anew.

    Example:
        >>> [teacher_of(name, 3, seed=0) for name in (b"sub-1", b"sub-2", b"sub-3", b"sub-4")]
        [1, 2, 1, 0]
    """
    return seed_for(seed, "pate-gan", "teacher", hashlib.sha256(unit).hexdigest()) % teachers


def shards_of(patches: PatchSet, unit: PrivacyUnit, teachers: int, seed: int) -> list[IntArray]:
    """Rows of each teacher: disjoint, together all rows.

    Args:
        patches: Real pairs.
        unit: What is kept together: a subject by its name, or a patch by its content.
        teachers: How many shards, >= 1.
        seed: See `teacher_of`.

    Raises:
        DataError: The unit is the subject, and the pairs name none.

    Example:
        >>> real = PatchSet(image=np.zeros((4, 2, 2)), label=np.zeros((4, 2, 2), np.uint8),
        ...                 subject=np.array([0, 1, 0, 1]), subjects=("sub-1", "sub-2"))
        >>> [rows.tolist() for rows in shards_of(real, "subject", 3, seed=0)]
        [[], [0, 2], [1, 3]]
    """
    if unit == "subject":
        if not patches.subjects:
            raise DataError("these pairs name no subjects, which unit='subject' deals to teachers; take real pairs")
        dealt = np.array([teacher_of(name.encode(), teachers, seed) for name in patches.subjects])
        owner = dealt[patches.subject]
    else:
        owner = np.array([teacher_of(content, teachers, seed) for content in _contents(patches)], np.int64)
    return [np.flatnonzero(owner == teacher) for teacher in range(teachers)]


def _contents(patches: PatchSet) -> Iterator[bytes]:
    """What each pair holds, read in pieces, since the set may be larger than memory."""
    for start in range(0, len(patches), _AT_ONCE):
        for pair in patches.pairs(np.arange(start, min(start + _AT_ONCE, len(patches)))):
            yield pair.tobytes()


@dataclass
class Teachers:
    """k teacher critics T, each with its shard.

    Attributes:
        patches: Real pairs.
        shards: Rows of each teacher.
        networks: Critics, whose scores are logits of "real".
        optimisers: One for each critic.
        rows: Chooses rows.
    """

    patches: PatchSet
    shards: Sequence[IntArray]
    networks: Sequence[nn.Module]
    optimisers: Sequence[torch.optim.Optimizer]
    rows: Rows

    def update(self, synthetic: Tensor, update: int) -> None:
        """Train each teacher once: L_T = -sum log T(x) - sum log(1 - T(u)) (Jordon et al. 2019).

        Args:
            synthetic: Generated pairs u, shape (n, 2, h, w). As many real pairs x are read from each shard.
            update: Number of this update in the whole training.
        """
        for teacher, (T, optimiser) in enumerate(zip(self.networks, self.optimisers, strict=True)):
            real = self._real(teacher, len(synthetic), update).to(synthetic.device)
            scores = T(torch.cat((real, synthetic)))
            # -log sigmoid(s) is softplus(-s), -log(1 - sigmoid(s)) is softplus(s).
            loss = functional.softplus(-scores[: len(real)]).sum() + functional.softplus(scores[len(real) :]).sum()
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss / len(synthetic))
            optimiser.step()

    @torch.no_grad()
    def votes(self, pairs: Tensor, *, relative: bool = False) -> BoolArray:
        """Whether each teacher votes real on each pair u: shape (teachers, n). A score that is no number votes no.

        Args:
            pairs: Generated pairs, shape (n, 2, h, w).
            relative: Vote real on the half of the pairs that this teacher likes best, instead of where T(u) > 1/2.
        """
        said = []
        for T in self.networks:
            scores = T(pairs).flatten()
            said.append((scores > (scores.median() if relative else 0)).cpu().numpy())
        return np.stack(said)

    def _real(self, teacher: int, count: int, update: int) -> Tensor:
        """Rows of a teacher's shard, drawn with repeats; none from an empty shard."""
        shard = self.shards[teacher]
        if not len(shard):
            return torch.from_numpy(self.patches.pairs(shard))
        return torch.from_numpy(self.patches.pairs(self.rows(teacher, update).choice(shard, count)))

    def named_networks(self) -> Mapping[str, nn.Module]:
        """For a checkpoint."""
        return {f"teacher-{index}": T for index, T in enumerate(self.networks)}

    def named_optimisers(self) -> Mapping[str, torch.optim.Optimizer]:
        """For a checkpoint."""
        return {f"teacher-{index}": optimiser for index, optimiser in enumerate(self.optimisers)}


class PlainVotes:
    """Counts without noise, the non-private rival: see `protocols.VoteEngine`."""

    def release(self, ask: Callable[[], BoolArray]) -> FloatArray:
        """Count the votes for real."""
        return np.asarray(ask().sum(axis=0, dtype=np.float64))

    def epsilon_so_far(self) -> float:
        """Infinity: there is no guarantee."""
        return math.inf

    def close(self) -> None:
        """Nothing to settle."""
