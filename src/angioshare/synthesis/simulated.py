"""Patches cut from simulated subjects, as they are cut from real ones. Public knowledge alone: epsilon 0."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from pydantic import Field

from angioshare.patches.extract import PatchSettings, SubjectPatches, cut_patches
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store, write_store
from angioshare.progress import Progress
from angioshare.settings import Settings
from angioshare.simulator.many import simulate_subjects
from angioshare.simulator.prior import Known
from angioshare.simulator.subject import SimulatedSubject
from angioshare.types import Provenance


class ProtocolSettings(Settings):
    """What sources share that simulate subjects of a prior."""

    known: dict[str, float | tuple[float, float]] = Field(
        {}, description="What the site's protocol says, by parameter of the simulator; never measured on its scans."
    )


def simulated_store(
    path: Path,
    site: str,
    subjects: int,
    settings: PatchSettings,
    *,
    seed: int,
    progress: Progress,
    workers: int = 1,
    extent: float = 1.0,
    known: Known | None = None,
) -> PatchSet:
    """Simulate subjects and cut their patches, one subject in memory at a time.

    Args:
        path: Patch store to make; where it stands already, it is taken as it is.
        site: Parameter set or prior of the simulator.
        subjects: How many subjects, >= 1.
        settings: How patches are cut; where a small subject has fewer places, it gives fewer.
        seed: Seed of subjects and places.
        progress: Told of each subject.
        workers: Processes that simulate; 0 takes one for each core.
        extent: Share of its slices that is simulated of each subject; it gives so many patches the fewer.
        known: What narrows a prior, see `Prior.narrowed`.

    Returns:
        Public pairs on disk, subject by subject, without their names.
    """
    if path.exists():
        progress.advance(steps=subjects)
        return open_store(path)
    progress.start(f"simulate {site}", subjects)
    made = simulate_subjects(site, subjects, seed, workers, extent, known)
    cut = cut_simulated(made, fewer(settings, extent), seed=seed, progress=progress)
    write_store(path, cut, settings, seed=seed, provenance="public")
    progress.finish()
    return open_store(path)


def fewer(settings: PatchSettings, share: float) -> PatchSettings:
    """A share of a subject's patches, vessel and random ones alike; of a kind that is asked for, one at least.

    Example:
        >>> few = fewer(PatchSettings(vessel=30, random=10), 0.5)
        >>> few.vessel, few.random
        (15, 5)
    """
    asked = {"vessel": settings.vessel, "random": settings.random}
    counts = {kind: max(round(count * share), min(count, 1)) for kind, count in asked.items()}
    return settings.model_copy(update=counts)


def cut_simulated(
    made: Iterable[SimulatedSubject], settings: PatchSettings, *, seed: int, progress: Progress
) -> Iterator[SubjectPatches]:
    """Cut the patches of simulated subjects as those of real ones are cut.

    Args:
        made: The subjects.
        settings: How patches are cut; where a small subject has fewer places, it gives fewer.
        seed: Seed of the places.
        progress: Told of each subject.

    Edge cases: a part of a subject that lies wholly above the brain gives no patch, and neither does one without a
        vessel where patches are centred on vessels alone.
    """
    loose = settings.model_copy(update={"allow_fewer": True})
    for index, one in enumerate(made):
        brain, name = one.brain > 0, f"sub-{index:05d}"
        label = (one.label > 0) & brain
        if (settings.random and brain.any()) or (settings.vessel and label.any()):
            angio = np.where(brain, one.angio, 0).astype(np.float32)
            yield cut_patches(angio, label.astype(np.uint8), brain, loose, subject=name, seed=seed)
        else:
            yield _none(name, settings.size)
        progress.advance()


def _none(subject: str, size: int) -> SubjectPatches:
    """No patches of a subject."""
    return SubjectPatches(
        subject=subject,
        image=np.zeros((0, size, size), np.float32),
        label=np.zeros((0, size, size), np.uint8),
        centre=np.zeros((0, 3), np.int32),
        n_vessel=0,
    )


def joined(parts: Iterable[SubjectPatches], provenance: Provenance = "public") -> PatchSet:
    """Put the patches of simulated subjects into one set that names nobody."""
    images, labels = [], []
    for part in parts:
        images.append(part.image.astype(np.float16))
        labels.append(part.label)
    return PatchSet(image=np.concatenate(images), label=np.concatenate(labels), provenance=provenance)
