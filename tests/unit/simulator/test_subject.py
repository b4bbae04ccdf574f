from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from angioshare.simulator.parameters import unflatten
from angioshare.simulator.reader import erase_specks
from angioshare.simulator.sites import SITES
from angioshare.simulator.subject import _some_slices, simulate_subject


@cache
def demo(seed=3, **changes):
    return simulate_subject(unflatten({n.replace("__", "."): v for n, v in changes.items()}, SITES["demo-1"]), seed)


@pytest.fixture(scope="module")
def usual():
    return demo()


@pytest.fixture(scope="module", params=["site-1", "site-2"])
def full(request):
    return simulate_subject(SITES[request.param], 5)


def contrast(subject):
    """Mean of vessels against the median of the tissue."""
    tissue = (subject.brain > 0) & (subject.label == 0)
    return subject.angio[subject.label > 0].mean() / np.median(subject.angio[tissue])


@pytest.mark.parametrize("site", SITES)
def test_volumes_share_a_grid_and_nothing_lies_outside_the_brain(site):
    subject, acquisition = simulate_subject(SITES[site], 1), SITES[site].acquisition
    shape = (acquisition.matrix_i, acquisition.matrix_j, acquisition.matrix_k)
    for volume in (subject.angio, subject.label, subject.brain):
        assert volume.shape == shape
        assert volume.dtype == np.uint8
    assert set(np.unique(subject.label)) == {0, 1}
    assert np.all(subject.label <= subject.brain)
    assert np.array_equal(subject.angio > 0, subject.brain > 0)
    assert np.diag(subject.affine)[:3] == pytest.approx(subject.spacing_mm)


def test_the_seed_decides_everything(usual):
    again, other = demo.__wrapped__(), demo(seed=4)
    for name in ("angio", "label", "brain"):
        assert np.array_equal(getattr(usual, name), getattr(again, name))
        assert not np.array_equal(getattr(usual, name), getattr(other, name))


def test_some_slices_of_a_subject_are_those_of_the_whole_one(usual):
    some = simulate_subject(SITES["demo-1"], 3, extent=0.25)
    first = round((some.affine[2, 3] - usual.affine[2, 3]) / usual.spacing_mm[2])
    same = slice(first, first + some.label.shape[2])
    assert some.label.shape == (*usual.label.shape[:2], usual.label.shape[2] // 4)
    assert np.array_equal(some.brain, usual.brain[..., same])
    # Pieces that the border cuts off may be too small for the readers.
    assert (some.label <= usual.label[..., same]).all()
    assert some.label.sum() > 0.95 * usual.label[..., same].sum() > 0
    assert contrast(some) == pytest.approx(contrast(replace(some, angio=usual.angio[..., same])), rel=0.05)


def test_every_height_is_simulated_and_two_slices_at_least():
    rng = np.random.default_rng(0)
    found = {_some_slices(9, 0.34, rng) for _ in range(200)}
    assert found == {(first, first + 3) for first in range(7)}
    assert _some_slices(9, 1.0, rng) == (0, 9)
    assert np.diff(_some_slices(9, 0.01, rng)) == 2


def test_visible_arteries_fill_the_published_share_of_the_brain(full):
    """Arteries hold 1.5 % of the cortex (Ito et al. 2005); not all are seen, and readers draw a margin."""
    assert 0.003 < full.label.sum() / full.brain.sum() < 0.025


def test_vessels_stand_out_from_tissue_as_published(full):
    """Time of flight at 3 T: arteries at about twice the tissue, partial volume included (Bernstein et al. 2001)."""
    assert 1.5 < contrast(full) < 3.5


def test_most_slices_hold_several_arteries(full):
    pieces = [ndimage.label(full.label[:, :, k])[1] for k in range(full.label.shape[2])]
    assert np.mean(np.array(pieces) >= 5) > 0.8


def test_the_label_is_mostly_one_tree(full):
    pieces, count = ndimage.label(full.label, structure=np.ones((3, 3, 3)))
    largest = np.sort(np.bincount(pieces.ravel())[1:])[::-1]
    assert largest[:6].sum() > 0.6 * full.label.sum()
    assert count < 200


def test_something_bright_is_no_artery(full):
    tissue = (full.brain > 0) & (ndimage.binary_dilation(full.label, iterations=2) == 0)
    assert np.sum(full.angio[tissue] > 1.6 * np.median(full.angio[tissue])) > 500


def test_noise_and_readers_leave_the_anatomy_alone(usual):
    louder = demo(acquisition__noise=0.3)
    assert np.array_equal(louder.label, usual.label)
    assert np.array_equal(louder.brain, usual.brain)
    careful = {"reader__smallest_contrast": 0.0, "reader__smallest_cnr": 3.0}
    quiet, loud = (demo(**careful, acquisition__noise=noise).label.sum() for noise in (0.02, 0.3))
    assert loud < 0.9 * quiet
    thicker = demo(reader__thickness=2.0)
    assert np.array_equal(thicker.angio, usual.angio)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("reader__thickness", (0.8, 2.0)),
        ("reader__least_width_voxel", (0.5, 2.5)),
        ("reader__smallest_radius_mm", (0.9, 0.2)),
        ("reader__smallest_contrast", (2.0, 0.2)),
        ("reader__smallest_cnr", (8.0, 0.0)),
        ("reader__coverage", (0.8, 0.2)),
        ("reader__continuity", (0.0, 1.0)),
        ("reader__speck_voxels", (200, 0)),
        ("tree__radius_scale", (1.0, 2.0)),
    ],
)
def test_readers_and_radii_change_the_label_as_they_claim(name, values):
    less, more = (int(demo(**{name: value}).label.sum()) for value in values)
    assert more > 1.01 * less


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("acquisition__noise", 0.02, 0.3),
        ("acquisition__bias", 0.0, 0.4),
        ("bright__sinus_level", 0.0, 1.0),
        ("bright__vein_level", 0.0, 0.8),
        ("bright__fat_share", 0.0, 0.4),
        ("bright__choroid_level", 0.0, 1.0),
        ("contrast__texture", 0.0, 0.25),
    ],
)
def test_what_disturbs_widens_the_tissue(name, low, high):
    spread = []
    for value in (low, high):
        subject = demo(**{name: value})
        tissue = (subject.brain > 0) & (subject.label == 0)
        spread.append(subject.angio[tissue].std() / subject.angio[tissue].mean())
    assert spread[1] > 1.01 * spread[0]


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [("contrast__speed_cm_s", 15, 80), ("contrast__flip_deg", 12, 24), ("contrast__magnetisation_transfer", 0, 0.4)],
)
def test_flow_and_sequence_raise_the_contrast(name, low, high):
    # The label itself depends on the contrast, so readers that see everything draw both.
    seen = {"reader__smallest_contrast": 0.0}
    assert contrast(demo(**seen, **{name: high})) > 1.03 * contrast(demo(**seen, **{name: low}))


def test_people_of_a_site_differ_in_vessel_volume_and_brightness():
    people = [demo(seed=seed) for seed in range(3, 6)]
    shares = [p.label.sum() / p.brain.sum() for p in people]
    levels = [np.median(p.angio[p.brain > 0]) for p in people]
    assert np.std(np.log(shares)) > 0.05
    assert np.std(np.log(levels)) > 0.03


def test_branches_that_readers_overlook_are_missing_in_the_label():
    # Only thin branches are overlooked, thin being told by the smallest radius that is drawn.
    less, more = (
        int(demo(reader__missed_share=share, reader__smallest_radius_mm=0.4).label.sum()) for share in (0.5, 0.0)
    )
    assert more > 1.01 * less


def test_erasing_specks_keeps_large_pieces_whole():
    label = np.zeros((10, 10, 10), dtype=bool)
    label[1:4, 1, 1] = label[6:9, 6:9, 6] = True
    assert erase_specks(label, 4).sum() == 9
    assert np.array_equal(erase_specks(label, 0), label)
