"""Patches cut from simulated subjects, as they are cut from real ones. Public knowledge alone: epsilon 0."""

from collections.abc import Iterable, Iterator

import numpy as np

from angioshare.patches.extract import PatchSettings, SubjectPatches, cut_patches
from angioshare.patches.patchset import PatchSet
from angioshare.progress import Progress
from angioshare.simulator.many import simulate_subjects
from angioshare.simulator.subject import SimulatedSubject
from angioshare.types import Provenance


def simulated_patches(site: str, subjects: int, settings: PatchSettings, *, seed: int, progress: Progress) -> PatchSet:
    """Simulate subjects and cut their patches.

    Args:
        site: Parameter set of the simulator.
        subjects: How many subjects, >= 1.
        settings: How patches are cut; where a small subject has fewer places, it gives fewer.
        seed: Seed of subjects and places.
        progress: Told of each subject.

    Returns:
        Public pairs, subject by subject, without their names.
    """
    progress.start(f"simulate {site}", subjects)
    made = joined(cut_simulated(simulate_subjects(site, subjects, seed), settings, seed=seed, progress=progress))
    progress.finish()
    return made


def cut_simulated(
    made: Iterable[SimulatedSubject], settings: PatchSettings, *, seed: int, progress: Progress
) -> Iterator[SubjectPatches]:
    """Cut the patches of simulated subjects as those of real ones are cut.

    Args:
        made: The subjects.
        settings: How patches are cut; where a small subject has fewer places, it gives fewer.
        seed: Seed of the places.
        progress: Told of each subject.
    """
    loose = settings.model_copy(update={"allow_fewer": True})
    for index, one in enumerate(made):
        brain = one.brain > 0
        angio = np.where(brain, one.angio, 0).astype(np.float32)
        label = (one.label > 0) & brain
        yield cut_patches(angio, label.astype(np.uint8), brain, loose, subject=f"sub-{index:05d}", seed=seed)
        progress.advance()


def joined(parts: Iterable[SubjectPatches], provenance: Provenance = "public") -> PatchSet:
    """Put the patches of simulated subjects into one set that names nobody."""
    images, labels = [], []
    for part in parts:
        images.append(part.image.astype(np.float16))
        labels.append(part.label)
    return PatchSet(image=np.concatenate(images), label=np.concatenate(labels), provenance=provenance)
