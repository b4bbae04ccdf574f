"""Scans that a reader labels, as they are handed out: simulated ones and, where they may be, those of a public cohort.

Either kind is labelled by the same reader, so that what it has learnt of the private cohort is in all labels. A public
scan is real: it shows what no simulator draws. It is handed out as it is and mirrored or turned by quarters, so that
few people give many pairs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_public, write_in_parts
from angioshare.progress import Progress
from angioshare.protocols import Context
from angioshare.rng import stream
from angioshare.segmentation.trained import TrainedUnet
from angioshare.segmentation.turns import TURNS, Averaged, turned
from angioshare.synthesis.paces import reading
from angioshare.synthesis.readers import ReaderSettings, in_steps
from angioshare.synthesis.simulated import fewer
from angioshare.types import FloatArray, IntArray, Provenance

_AT_ONCE = 512
"""Patches that are labelled at once."""


@dataclass(frozen=True, kw_only=True)
class Labelling:
    """How a reader's labels are drawn.

    Attributes:
        settings: Of the scans and of the labels.
        context: How patches are cut, and where a public cohort's patches stand.
    """

    settings: ReaderSettings
    context: Context

    def work(self) -> int:
        """What it takes, in steps of the first training.

        Example:
            >>> from angioshare.patches.extract import PatchSettings
            >>> s = ReaderSettings(simulated_subjects=144, extent=0.25, label_turns=4)
            >>> Labelling(settings=s, context=Context(patches=PatchSettings())).work()
            5400
        """
        s, patches = self.settings, self.context.patches
        scans = s.simulated_subjects * fewer(patches, s.extent).per_subject
        return in_steps(reading(scans * s.label_turns, patches.size, s.channels[0]), s, patches.size)

    def write(
        self,
        path: Path,
        reader: TrainedUnet,
        pool: PatchSet,
        *,
        provenance: Provenance,
        seed: int,
        progress: Progress,
    ) -> None:
        """Write as many scans as were simulated with the labels of a reader, some of them public ones if so asked.

        Args:
            path: Where the pairs are to stand.
            reader: Who labels.
            pool: The simulated scans, of which public ones take the places; their own labels are not looked at.
            provenance: What the pairs reveal.
            seed: Which scans are taken, of either kind.
            progress: Told of `work` in all.

        Raises:
            DataError: What stands for the public cohort's patches is something else.
        """
        size = self.context.patches.size
        parts = self._parts(reader, pool, provenance, seed, progress)
        meta = {"site": self.settings.site, "subjects": self.settings.simulated_subjects}
        write_in_parts(path, parts, (size, size), provenance=provenance, meta=meta)

    def _parts(
        self, reader: TrainedUnet, pool: PatchSet, provenance: Provenance, seed: int, progress: Progress
    ) -> Iterator[PatchSet]:
        """Label part by part. Nothing is labelled outside the brain, which is -1 there."""
        asked, work = Averaged(reader, self.settings.label_turns), self.work()
        total, done, told = len(pool), 0, 0
        for image in self._images(pool, seed):
            label = (asked.probability(image) > self.settings.threshold) & (image > -1)
            done += len(image)
            progress.advance(f"label scans: {done:,} of {total:,} patches", work * done // total - told)
            told = work * done // total
            yield PatchSet(image=image, label=label.astype(np.uint8), provenance=provenance)
        if told < work:  # there was nothing to label
            progress.advance(steps=work - told)

    def _images(self, pool: PatchSet, seed: int) -> Iterator[FloatArray]:
        """Simulated scans, then public ones in their turns; shape (n, h, w), n at most `_AT_ONCE`."""
        public, wanted = pool, 0
        if self.context.public is not None and self.settings.public_scans:
            public, wanted = open_public(self.context.public), round(self.settings.public_scans * len(pool))
        chosen = places(len(public), wanted, seed)
        order = stream(seed, "readers", "simulated scans").permutation(len(pool))
        kept = np.sort(order[: len(pool) - len(chosen)])
        for first in range(0, len(kept), _AT_ONCE):
            yield pool.pairs(kept[first : first + _AT_ONCE])[:, 0]
        for first in range(0, len(chosen), _AT_ONCE):
            turn, row = np.divmod(chosen[first : first + _AT_ONCE], len(public))
            image = torch.from_numpy(public.pairs(row)[:, 0])
            yield torch.stack([turned(one, int(n)) for one, n in zip(image, turn, strict=True)]).numpy()


def places(patches: int, wanted: int, seed: int) -> IntArray:
    """Which of so many patches are shown, and how they are turned: row + turn * patches.

    All of them come as they are before any comes turned, and none comes twice in one turn.

    Example:
        >>> found = places(3, 7, seed=1)
        >>> (found // 3).tolist(), len(places(3, 99, seed=1))
        ([0, 0, 0, 1, 1, 1, 2], 24)
    """
    rows = stream(seed, "readers", "public scans")
    return np.concatenate([turn * patches + rows.permutation(patches) for turn in range(TURNS)])[:wanted]
