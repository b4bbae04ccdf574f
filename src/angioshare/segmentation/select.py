"""The grid of U-Nets on one set of patches, and the choice of the best by Dice on validation subjects.

Choosing on real validation subjects is not covered by any guarantee on the training subjects: the choice, and every
Dice here, is unprotected and stays on the private side. Each U-Net and its scores are files of their own, so an
interrupted grid goes on where it stopped.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Protocol

from angioshare.cohort.subject import LoadedSubject
from angioshare.errors import DataError
from angioshare.metrics.overlap import dice
from angioshare.parallel import StepsOnly, run_jobs
from angioshare.patches.patchset import PatchSet
from angioshare.progress import Progress
from angioshare.rundir import read_json, write_json
from angioshare.segmentation.fit import Unet, digest, finished
from angioshare.segmentation.infer import segment_volume
from angioshare.segmentation.settings import InferenceMode, SegmentationSettings, UnetSettings
from angioshare.segmentation.sharing import MappedPatches, mapped
from angioshare.segmentation.trained import TrainedUnet
from angioshare.types import Json


class ValidationSubject(Protocol):
    """Someone with a scan and a label, read when needed; `cohort.Subject` is one."""

    @property
    def id(self) -> str:
        """BIDS id."""

    def load(self) -> LoadedSubject:
        """Read scan, label and brain mask."""


@dataclass(frozen=True, kw_only=True)
class GridScore:
    """One U-Net of the grid.

    Attributes:
        settings: Its network and training.
        weights: Its file.
        dice: Dice of the whole volume of each validation subject, by id. Unprotected.
    """

    settings: UnetSettings
    weights: Path
    dice: dict[str, float]

    @property
    def mean_dice(self) -> float:
        """What the choice goes by."""
        return fmean(self.dice.values())


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The grid with its scores.

    Attributes:
        best: The highest mean Dice; of equal ones, the first in the grid.
        scores: All of them in the grid's order.
    """

    best: GridScore
    scores: tuple[GridScore, ...]


@dataclass(frozen=True, kw_only=True)
class UnetJob:
    """Train one U-Net, then score it; each only where its file does not stand yet (see `parallel.Job`)."""

    settings: UnetSettings
    patches: MappedPatches
    patches_digest: str
    weights: Path
    subjects: tuple[ValidationSubject, ...]
    size: int
    mode: InferenceMode
    turns: int
    seed: int
    device: str

    def steps(self) -> int:
        """Training steps, and one for each validation subject."""
        return self.settings.total_steps(self.patches.count) + len(self.subjects)

    def done(self) -> bool:
        """Whether weights and scores stand."""
        return self._trained() and self.scores() is not None

    def run(self, progress: Progress) -> None:
        """Do what is missing."""
        if self._trained():
            progress.advance(steps=self.settings.total_steps(self.patches.count))
        else:
            unet = Unet(self.settings, self.device)
            trained = unet.fit(self.patches.open(), seed=self.seed, progress=StepsOnly(progress))
            self._scores_path.unlink(missing_ok=True)  # of earlier weights
            trained.save(self.weights)
        trained = TrainedUnet.load(self.weights, self.device)
        scores = {}
        for subject in self.subjects:
            volume = subject.load()
            found = segment_volume(
                trained, volume.angio, volume.brain, size=self.size, mode=self.mode, turns=self.turns
            )
            scores[subject.id] = dice(volume.label, found)
            progress.advance()
        write_json(self._scores_path, {"measured": self._measured(), "dice": scores}, private=True)

    def scores(self) -> dict[str, float] | None:
        """Dice by subject, if they were measured on these subjects in this way."""
        try:
            value = read_json(self._scores_path)
        except DataError:
            return None
        return value["dice"] if value.get("measured") == self._measured() else None

    def _trained(self) -> bool:
        return finished(self.weights, self.settings, self.seed, self.patches_digest)

    @property
    def _scores_path(self) -> Path:
        return self.weights.with_suffix(".scores.json")

    def _measured(self) -> Json:
        return {
            "subjects": [subject.id for subject in self.subjects],
            "size": self.size,
            "mode": self.mode,
            "turns": self.turns,
        }


def select_unet(
    patches: PatchSet,
    subjects: Sequence[ValidationSubject],
    settings: SegmentationSettings,
    *,
    folder: Path,
    seed: int,
    progress: Progress,
    workers: int = 1,
    device: str = "cpu",
) -> Selection:
    """Train every U-Net of the grid on `patches` and choose the one with the best mean Dice on whole volumes.

    Args:
        patches: Pairs, real or synthetic.
        subjects: Validation subjects, at least one, none of them trained on.
        settings: The grid, and how volumes are read.
        folder: Private side; holds `unet-<n>.safetensors` and `unet-<n>.scores.json` for each U-Net of the grid.
        seed: The same for every U-Net, so that they differ in their settings alone.
        progress: Told of steps.
        workers: U-Nets at a time, each in a process of one thread; 1 stays in this process with its threads.
        device: Where to compute; with several workers they share it.

    Returns:
        The best and all scores. All unprotected.

    Raises:
        DataError: There is no validation subject, or patches or volumes cannot be used.
        AngioShareError: A training diverged, or a worker died; finished U-Nets are kept.
    """
    if not subjects:
        raise DataError("no validation subject to choose a U-Net by; put one or more into the split's validation part")
    folder.mkdir(parents=True, exist_ok=True)
    patches_digest = digest(patches)
    with mapped(patches, folder / ".patches") as shared:
        jobs = [
            UnetJob(
                settings=point,
                patches=shared,
                patches_digest=patches_digest,
                weights=folder / f"unet-{index}.safetensors",
                subjects=tuple(subjects),
                size=patches.image.shape[1],
                mode=settings.inference,
                turns=settings.turns,
                seed=seed,
                device=device,
            )
            for index, point in enumerate(settings.grid())
        ]
        run_jobs(jobs, task="U-Nets", workers=workers, progress=progress)
    scores = tuple(GridScore(settings=job.settings, weights=job.weights, dice=job.scores() or {}) for job in jobs)
    return Selection(best=max(scores, key=lambda score: score.mean_dice), scores=scores)
