import numpy as np
import pytest

from angioshare.patches.patchset import PatchSet


@pytest.fixture
def real():
    """Two subjects, 12 patches each of 16 x 16: a bright bar on noise, its label on it."""
    rng = np.random.default_rng(0)
    label = np.zeros((24, 16, 16), np.uint8)
    for index, row in enumerate(rng.integers(2, 12, 24)):
        label[index, row : row + 2] = 1
    image = (label * 1.5 - 0.75 + rng.normal(0, 0.05, label.shape)).clip(-1, 1)
    return PatchSet(
        image=image.astype(np.float32), label=label, subject=np.repeat([0, 1], 12), subjects=("sub-1", "sub-2")
    )
