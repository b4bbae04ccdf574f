import numpy as np
import pytest

from angioshare.segmentation import infer
from angioshare.segmentation.infer import probability_volume, segment_volume

MODES = ["slice", "window"]


class Brightness:
    """A segmenter whose probability is the scaled brightness; remembers what it was shown."""

    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def probability(self, image: np.ndarray) -> np.ndarray:
        self.seen.extend(image)
        return ((image + 1) / 2).astype(np.float32)


def volume(shape: tuple[int, int, int] = (13, 17, 5), seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(2.0, 10.0, shape).astype(np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("shape", [(13, 17, 5), (4, 30, 1), (3, 3, 2), (8, 8, 3)])
def test_the_result_has_the_volumes_shape_and_is_a_probability(mode, shape):
    found = probability_volume(Brightness(), volume(shape), size=8, mode=mode)
    assert found.shape == shape
    assert found.dtype == np.float32
    assert ((found >= 0) & (found <= 1)).all()


def test_windows_show_the_segmenter_patches_of_the_trained_size_and_scale():
    segmenter = Brightness()
    probability_volume(segmenter, volume(), size=8, mode="window")
    assert {one.shape for one in segmenter.seen} == {(8, 8)}
    assert all(one.min() == -1 and one.max() == 1 for one in segmenter.seen)


def test_whole_slices_are_shown_once_each():
    segmenter = Brightness()
    probability_volume(segmenter, volume(), size=8, mode="slice")
    assert [one.shape for one in segmenter.seen] == [(13, 17)] * 5


@pytest.mark.parametrize("mode", MODES)
def test_slices_are_judged_one_by_one(mode):
    whole = probability_volume(Brightness(), volume(), size=8, mode=mode)
    alone = probability_volume(Brightness(), volume()[:, :, 2:3], size=8, mode=mode)
    np.testing.assert_allclose(whole[:, :, 2:3], alone)


@pytest.mark.parametrize("mode", MODES)
def test_brightness_and_contrast_of_the_scan_do_not_matter(mode):
    one = probability_volume(Brightness(), volume(), size=8, mode=mode)
    other = probability_volume(Brightness(), volume() * 37 + 11, size=8, mode=mode)
    np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_nothing_is_found_outside_the_brain_and_the_brain_is_cut_out_first(mode):
    brain = np.zeros((13, 17, 5), bool)
    brain[2:12, 3:14, 1:4] = True
    brain[5, 5, 2] = False
    segmenter = Brightness()
    found = probability_volume(segmenter, volume(), brain, size=8, mode=mode)
    assert not found[~brain].any()
    assert (found[brain] > 0).mean() > 0.9
    assert max(one.shape[0] for one in segmenter.seen) <= 10


@pytest.mark.parametrize("mode", MODES)
def test_an_empty_brain_mask_and_constant_slices_give_zeros_without_asking(mode):
    segmenter = Brightness()
    assert not probability_volume(segmenter, volume(), np.zeros((13, 17, 5), bool), size=8, mode=mode).any()
    assert not probability_volume(segmenter, np.full((9, 9, 3), 5.0), size=4, mode=mode).any()
    assert segmenter.seen == []


@pytest.mark.parametrize("mode", MODES)
def test_memory_is_bounded_by_slices_not_by_the_volume(mode, monkeypatch):
    monkeypatch.setattr(infer, "SLICES_AT_ONCE", 2)
    few = probability_volume(Brightness(), volume(), size=8, mode=mode)
    monkeypatch.undo()
    np.testing.assert_array_equal(few, probability_volume(Brightness(), volume(), size=8, mode=mode))


@pytest.mark.parametrize("mode", MODES)
def test_the_volume_itself_is_not_changed(mode):
    scan = volume()
    segment_volume(Brightness(), scan, np.ones(scan.shape, bool), size=8, mode=mode)
    np.testing.assert_array_equal(scan, volume())


def test_vessel_is_above_one_half():
    scan = np.array([0.0, 49.0, 51.0, 100.0]).reshape(2, 2, 1)
    assert segment_volume(Brightness(), scan, size=8).ravel().tolist() == [0, 0, 1, 1]


def test_whole_slices_are_scaled_each_by_itself():
    segmenter = Brightness()
    probability_volume(segmenter, volume(), size=8, mode="slice")
    assert all(one.min() == -1 and one.max() == 1 for one in segmenter.seen)


def test_where_a_slice_is_no_larger_than_a_patch_both_modes_agree():
    scan = volume((8, 8, 5))
    by_slice, by_window = (probability_volume(Brightness(), scan, size=8, mode=mode) for mode in MODES)
    np.testing.assert_array_equal(by_slice, by_window)


class TopLeft(Brightness):
    """Finds one pixel of what it is shown: row 1, column 0."""

    def probability(self, image: np.ndarray) -> np.ndarray:
        self.seen.extend(image)
        found = np.zeros(image.shape, np.float32)
        found[:, 1, 0] = 1
        return found


@pytest.mark.parametrize("mode", MODES)
def test_turns_are_averaged_and_put_back_where_they_were(mode):
    segmenter = TopLeft()
    found = probability_volume(segmenter, volume((8, 8, 2)), size=8, mode=mode, turns=8)[:, :, 0]
    assert len(segmenter.seen) == 16
    wanted = np.zeros((8, 8))
    for i, j in [(1, 0), (0, 1)]:
        wanted[[i, 7 - i, i, 7 - i], [j, j, 7 - j, 7 - j]] += 1 / 8
    np.testing.assert_allclose(found, wanted)
    few = probability_volume(TopLeft(), volume((8, 8, 2)), size=8, mode=mode, turns=2)[:, :, 0]
    assert {(i, j): few[i, j] for i, j in zip(*np.nonzero(few), strict=True)} == {(1, 0): 0.5, (6, 0): 0.5}
    assert segment_volume(TopLeft(), volume((8, 8, 2)), size=8, mode=mode, turns=1)[1, 0].all()
    assert not segment_volume(TopLeft(), volume((8, 8, 2)), size=8, mode=mode, turns=4).any()
