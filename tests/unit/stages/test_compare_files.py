"""Two files that `angioshare compare` takes for masks, or does not."""

import numpy as np
import pytest

from angioshare.cohort.nifti import write_volume
from angioshare.cohort.volume import Volume
from angioshare.errors import DataError
from angioshare.stages.compare import compare_files


def write(path, voxels, side=1.0):
    write_volume(path, Volume(voxels, (side,) * 3, np.diag([side] * 3 + [1])))
    return path


def halves(value, dtype):
    """Two masks that share no voxel."""
    one, other = np.zeros((2, 4, 4, 4), dtype)
    one[:2], other[2:] = value, value
    return one, other


def test_masks_of_0_and_1_and_of_0_and_255_are_compared(tmp_path):
    reference = write(tmp_path / "a.nii.gz", halves(1, np.uint8)[0])
    assert compare_files(reference, write(tmp_path / "b.nii.gz", halves(255, np.uint8)[0]))["dice"] == 1
    assert compare_files(reference, write(tmp_path / "c.nii.gz", halves(255, np.uint8)[1]))["dice"] == 0
    assert compare_files(reference, write(tmp_path / "d.nii.gz", np.zeros((4, 4, 4), np.uint8)))["dice"] == 0


def test_what_is_no_mask_is_refused_on_either_side(tmp_path):
    good = write(tmp_path / "good.nii.gz", halves(1, np.uint8)[0])
    below = write(tmp_path / "below.nii.gz", halves(-1, np.int16)[1])  # 255, once stored in a type that ends at 127
    chances = write(tmp_path / "chances.nii.gz", np.linspace(0, 1, 64, dtype=np.float32).reshape(4, 4, 4))
    for wrong, values in ((below, "-1, 0"), (chances, "0, 0.01")):
        for pair in ((good, wrong), (wrong, good)):
            with pytest.raises(DataError, match=rf"{wrong.name} holds the values {values}.*write those as 1"):
                compare_files(*pair)


def test_another_grid_is_refused(tmp_path):
    first = write(tmp_path / "a.nii.gz", halves(1, np.uint8)[0])
    with pytest.raises(DataError, match="resample"):
        compare_files(first, write(tmp_path / "b.nii.gz", halves(1, np.uint8)[0], side=1.2))
