"""Patches cut from simulated subjects, as they are cut from real ones. Public knowledge alone: epsilon 0."""

from collections.abc import Iterator

import numpy as np

from angioshare.patches.extract import PatchSettings, SubjectPatches, cut_patches
from angioshare.patches.patchset import PatchSet
from angioshare.progress import Progress
from angioshare.simulator.many import simulate_subjects


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
    loose = settings.model_copy(update={"allow_fewer": True})
    progress.start(f"simulate {site}", subjects)
    parts = list(_cut(site, subjects, loose, seed, progress))
    progress.finish()
    return PatchSet(
        image=np.concatenate([part.image.astype(np.float16) for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        provenance="public",
    )


def _cut(site: str, subjects: int, settings: PatchSettings, seed: int, progress: Progress) -> Iterator[SubjectPatches]:
    for index, made in enumerate(simulate_subjects(site, subjects, seed)):
        brain = made.brain > 0
        angio = np.where(brain, made.angio, 0).astype(np.float32)
        label = (made.label > 0) & brain
        yield cut_patches(angio, label.astype(np.uint8), brain, settings, subject=f"sub-{index:05d}", seed=seed)
        progress.advance()
