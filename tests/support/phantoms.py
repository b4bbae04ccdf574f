"""Subjects in miniature, for tests of whole runs."""

import numpy as np

from angioshare.cohort.writer import WrittenSubject


def phantom(rng, name):
    """A brain of 28 x 30 x 5 voxels with bright tubes that are labelled."""
    label = np.zeros((28, 30, 5), np.uint8)
    for _ in range(4):
        i, j = rng.integers(5, 22, 2)
        label[i : i + 2, j : j + 2] = 1
    brain = np.zeros_like(label)
    brain[2:-2, 2:-2] = 1
    angio = (60 + 140 * label + rng.normal(0, 8, label.shape)).clip(1, 255) * brain
    affine = np.diag([0.8, 0.8, 1.2, 1.0])
    return WrittenSubject(
        id=name, angio=angio.astype(np.uint8), label=label, brain=brain, spacing_mm=(0.8, 0.8, 1.2), affine=affine
    )
