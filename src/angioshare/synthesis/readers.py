"""Readers: U-Nets that label simulated scans. What the synthesizers share that move one towards a cohort.

Scans come from the simulator's prior, labels from a reader that was trained on simulated pairs and has then learnt
something from the cohort. Whoever trains on the pairs learns what the reader has learnt (knowledge distillation, Hinton
et al. 2015, arXiv:1503.02531; from private teachers to public inputs, Papernot et al. 2017, arXiv:1610.05755).
"""

from pathlib import Path

from pydantic import Field

from angioshare.errors import SettingsError
from angioshare.patches.extract import PatchSettings
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_public
from angioshare.progress import Progress, Weighted
from angioshare.protocols import Context
from angioshare.segmentation.fit import Beside, Unet
from angioshare.segmentation.settings import UnetSettings
from angioshare.segmentation.trained import TrainedUnet
from angioshare.synthesis.paces import learning, simulating
from angioshare.synthesis.simulated import ProtocolSettings, simulated_store

READER = "reader.safetensors"
"""File of a U-Net: of simulated pairs alone in a folder of its own, moved towards the cohort beside the pairs."""


class ReaderSettings(ProtocolSettings):
    """Settings of the simulated scans and of the first reader. None may be chosen by a look at the cohort."""

    site: str = Field("wide", description="Parameter set or prior of the simulator.")
    simulated_subjects: int = Field(48, ge=1, le=100_000, description="Simulated subjects whose scans are handed out.")
    extent: float = Field(1.0, gt=0, le=1, description="Share of its slices that is simulated of each of them.")
    workers: int = Field(1, ge=0, le=256, description="Processes that simulate; 0 takes one for each core.")
    channels: tuple[int, ...] = Field(
        (8, 16, 32, 64, 128), min_length=2, description="Width of each level of the reader, from fine to coarse."
    )
    first_iterations: int = Field(1_800, ge=1, description="Steps of the reader on simulated pairs.")
    first_batch: int = Field(16, ge=1, description="Patches in each of them.")
    first_learning_rate: float = Field(1e-3, gt=0, le=1, description="Of Adam, on simulated pairs.")
    public_share: float = Field(
        0.5, gt=0, le=1, description="Share of each first step that a public cohort's patches take, where there is one."
    )
    public_scans: float = Field(
        0.0,
        ge=0,
        le=0.9,
        description="Share of pairs with a public cohort's scans, labelled anew; only where they may be passed on.",
    )
    threshold: float = Field(0.5, gt=0, lt=1, description="A probability above this is labelled as vessel.")
    label_turns: int = Field(1, ge=1, le=8, description="Turns of a scan whose mean probability it is.")


def check_levels(levels: int, channels: tuple[int, ...]) -> None:
    """Refuse to move more levels than the reader has.

    Raises:
        SettingsError: `levels` is above the number of `channels`.
    """
    if levels > len(channels):
        raise SettingsError(
            f"levels={levels} must be at most {len(channels)}, as many as channels has widths: lower levels, or give "
            "channels one width for each"
        )


def scans(path: Path, settings: ReaderSettings, patches: PatchSettings, *, seed: int, progress: Progress) -> PatchSet:
    """Patches of the simulated subjects that are handed out, with the simulator's own labels; see `simulated_store`.

    Progress is told of each subject as of `scanning` steps.
    """
    return simulated_store(
        path,
        settings.site,
        settings.simulated_subjects,
        patches,
        seed=seed,
        progress=Weighted(progress, scanning(settings, patches.size)),
        workers=settings.workers,
        extent=settings.extent,
        known=settings.known,
    )


def first_reader(
    path: Path, settings: ReaderSettings, pairs: PatchSet, context: Context, *, seed: int, progress: Progress
) -> TrainedUnet:
    """Train a reader on simulated pairs, and on those of a public cohort beside; or read the one that stands already.

    Args:
        path: Where it stands, or is to stand.
        settings: Network and training.
        pairs: Simulated pairs.
        context: The device, and where a public cohort's patches stand.
        seed: Of weights and order.
        progress: Told of steps.
    """
    if not path.exists():
        training = UnetSettings(
            channels=settings.channels,
            learning_rate=settings.first_learning_rate,
            batch=settings.first_batch,
            steps=settings.first_iterations,
            ema=0.98,
        )
        beside = None if context.public is None else _of_public(context.public, settings.public_share)
        Unet(training, context.device).fit(pairs, seed=seed, progress=progress, beside=beside).save(path)
    else:
        progress.advance(steps=settings.first_iterations)
    return TrainedUnet.load(path, context.device)


def _of_public(path: Path, share: float) -> Beside:
    """What a public cohort is to the first training."""
    return Beside(patches=open_public(path), share=share)


def in_steps(seconds: float, settings: ReaderSettings, size: int) -> int:
    """Count what takes so many seconds, see `paces`, in steps of the first training, as progress does: at least one."""
    return max(1, round(seconds / learning(settings.first_batch, size, settings.channels[0])))


def scanning(settings: ReaderSettings, size: int) -> int:
    """What the scans of one simulated subject take, in steps of the first training.

    Example:
        >>> scanning(ReaderSettings(extent=0.25), 96)
        12
    """
    return in_steps(simulating(1, settings.extent), settings, size)
