"""Where patches are cut, against a slow twin that pads the whole volume."""

import numpy as np
import pytest
from pydantic import ValidationError

from angioshare.errors import DataError
from angioshare.patches.extract import PatchSettings, cut_patches
from angioshare.patches.scale import scale_patch


def phantom(shape=(14, 12, 4), seed=1):
    rng = np.random.default_rng(seed)
    brain = np.zeros(shape, bool)
    brain[1:-1, 1:-1] = True
    label = (brain & (rng.random(shape) < 0.2)).astype(np.uint8)
    return np.where(brain, rng.random(shape) + 1, 0).astype(np.float32), label, brain


def cut(settings, seed=3, subject="sub-1", scan=None):
    return cut_patches(*(phantom() if scan is None else scan), settings, subject=subject, seed=seed)


@pytest.mark.parametrize("size", [8, 9, 12, 40])
def test_patches_equal_those_cut_from_a_padded_volume(size):
    angio, label, _ = phantom()
    patches = cut(PatchSettings(size=size, vessel=20, random=30))
    around = ((size, size), (size, size), (0, 0))
    wide, wide_label = np.pad(angio, around), np.pad(label, around)
    for (i, j, k), image, mask in zip(patches.centre, patches.image, patches.label, strict=True):
        rows, columns = (slice(at + size - size // 2, at + 2 * size - size // 2) for at in (i, j))
        np.testing.assert_array_equal(mask, wide_label[rows, columns, k])
        np.testing.assert_array_equal(image, scale_patch(wide[rows, columns, k]))


def test_vessel_patches_are_centred_on_vessels_and_random_ones_in_the_brain():
    _, label, brain = phantom()
    patches = cut(PatchSettings(size=8, vessel=20, random=30))
    assert (patches.label[:20, 4, 4] == 1).all()
    assert label[tuple(patches.centre[:20].T)].all()
    assert brain[tuple(patches.centre[20:].T)].all()
    assert patches.n_vessel == 20


def test_no_place_is_taken_twice_even_when_every_place_is_taken():
    _, label, brain = phantom()
    everything = PatchSettings(size=8, vessel=int(label.sum()), random=int(brain.sum() - label.sum()))
    assert len(np.unique(cut(everything).centre, axis=0)) == everything.per_subject == brain.sum()


def test_random_places_are_uniform_over_the_brain():
    _, label, brain = phantom()
    counts = np.zeros(brain.shape)
    for seed in range(300):
        counts[tuple(cut(PatchSettings(size=8, vessel=0, random=40), seed=seed).centre.T)] += 1
    expected = 300 * 40 / brain.sum()
    assert abs(counts[label == 1].mean() - expected) < 5 * np.sqrt(expected / label.sum())
    assert counts[brain].var() < 2 * expected


def test_the_seed_and_the_subject_decide_and_nothing_else():
    settings = PatchSettings(size=8, vessel=20, random=30)
    first, again = cut(settings), cut(settings)
    np.testing.assert_array_equal(first.image, again.image)
    for other in (cut(settings, seed=4), cut(settings, subject="sub-2")):
        assert not np.array_equal(first.centre, other.centre)


def test_without_a_mask_random_places_lie_where_the_scan_is_bright():
    angio, label, _ = phantom()
    patches = cut(PatchSettings(size=8, vessel=0, random=50), scan=(angio, label, None))
    assert (angio[tuple(patches.centre.T)] > 0).all()


def test_integer_scans_give_the_same_patches_as_floats():
    angio, label, brain = phantom()
    whole = (angio * 100).astype(np.int16)
    settings = PatchSettings(size=8, vessel=20, random=30)
    np.testing.assert_array_equal(
        cut(settings, scan=(whole, label, brain)).image,
        cut(settings, scan=(whole.astype(np.float32), label, brain)).image,
    )


@pytest.mark.parametrize("kind", ["vessel", "random"])
def test_too_few_places_name_subject_number_and_cure(kind):
    _, label, brain = phantom()
    there = {"vessel": int(label.sum()), "random": int(brain.sum())}[kind]
    settings = PatchSettings(size=8, **{"vessel": 0, "random": 0, kind: there + 1})
    with pytest.raises(DataError, match=rf"sub-1 has {there} places for {there + 1} {kind}.*allow_fewer"):
        cut(settings)


def test_fewer_are_taken_where_allowed():
    _, label, brain = phantom()
    patches = cut(PatchSettings(size=8, vessel=10_000, random=10_000, allow_fewer=True))
    assert patches.n_vessel == label.sum()
    assert len(patches.image) == brain.sum()


def test_no_place_at_all_is_refused_even_then():
    nothing = np.zeros((9, 9, 1), np.uint8)
    with pytest.raises(DataError, match="no place for a patch"):
        cut(PatchSettings(size=8, allow_fewer=True), scan=(nothing, nothing, None))


def test_settings_refuse_to_cut_nothing():
    with pytest.raises(ValidationError, match="must be 1 at least"):
        PatchSettings(vessel=0, random=0)
