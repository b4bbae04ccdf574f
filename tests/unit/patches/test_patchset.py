"""PatchSets: pairs in two channels, from memory or from a map, whose pages are given back."""

import numpy as np
import pytest

from angioshare.errors import DataError
from angioshare.patches.patchset import PatchSet


def arrays(count=6):
    rng = np.random.default_rng(1)
    return rng.random((count, 4, 4)).astype(np.float16), rng.integers(0, 2, (count, 4, 4), dtype=np.uint8)


def mapped(path, mode):
    image, label = arrays()
    np.save(path / "i.npy", image)
    np.save(path / "l.npy", label)
    return PatchSet(image=np.load(path / "i.npy", mmap_mode=mode), label=np.load(path / "l.npy", mmap_mode=mode))


@pytest.mark.parametrize("indices", [[], [2], [5, 0, 5]])
def test_pairs_hold_image_and_label_in_that_order(indices):
    image, label = arrays()
    pairs = PatchSet(image=image, label=label).pairs(np.array(indices, np.int64))
    assert pairs.dtype == np.float32
    np.testing.assert_array_equal(pairs, np.stack([image[indices], label[indices]], axis=1))


def test_pairs_read_twice_from_a_map_are_the_same(tmp_path):
    patches = mapped(tmp_path, "r")
    first = patches.pairs(np.arange(6))
    np.testing.assert_array_equal(patches.pairs(np.arange(6)), first)
    np.testing.assert_array_equal(first[:, 0], arrays()[0])


def test_changes_in_a_private_map_survive_reading(tmp_path):
    patches = mapped(tmp_path, "c")
    patches.label[:] = 1 - patches.label
    patches.pairs(np.arange(6))
    np.testing.assert_array_equal(patches.label, 1 - arrays()[1])


def test_shapes_that_do_not_fit_are_refused():
    image, label = arrays()
    with pytest.raises(DataError, match="cut them together"):
        PatchSet(image=image, label=label[:3])
    with pytest.raises(DataError, match="one for each"):
        PatchSet(image=image, label=label, subject=np.zeros(3, int), subjects=("sub-a",))
