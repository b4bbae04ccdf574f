import numpy as np
import pytest

from angioshare.errors import SettingsError
from angioshare.rng import stream
from angioshare.simulator.many import check_site, simulate_each, simulate_subjects
from angioshare.simulator.parameters import describe, flatten
from angioshare.simulator.prior import DEMO_WIDE, PRIORS, Span


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_every_span_lies_within_the_published_range(prior):
    known = describe()
    for name, span in prior.spans.items():
        assert known[name].low <= span.low < span.high <= known[name].high


@pytest.mark.parametrize("prior", PRIORS.values(), ids=PRIORS)
def test_the_ends_and_anything_between_are_sites_that_cover_the_field(prior):
    for shares in (np.zeros(len(prior)), np.ones(len(prior)), stream(0, "any").random(len(prior))):
        acquisition = prior.site(shares).acquisition
        assert acquisition.matrix_i * acquisition.voxel_i_mm == pytest.approx(prior.field_mm[0], rel=0.02)
        assert acquisition.voxel_i_mm == acquisition.voxel_j_mm


def test_shares_beyond_the_ends_are_clipped_and_too_few_refused():
    assert DEMO_WIDE.site(np.full(len(DEMO_WIDE), 9.0)) == DEMO_WIDE.site(np.ones(len(DEMO_WIDE)))
    with pytest.raises(SettingsError, match="one for each"):
        DEMO_WIDE.site(np.ones(3))


@pytest.mark.parametrize("even", ["log", "linear"])
def test_a_span_rises_from_end_to_end(even):
    values = [Span(0.5, 8.0, even).at(share) for share in np.linspace(0, 1, 9)]
    assert values[0] == pytest.approx(0.5)
    assert values[-1] == pytest.approx(8.0)
    assert np.all(np.diff(values) > 0)


def test_drawn_sites_differ_in_every_parameter():
    first, second = (flatten(DEMO_WIDE.draw(stream(seed, "site"))) for seed in (1, 2))
    whole = {"acquisition.slab_count"}
    assert all(first[name] != second[name] for name in DEMO_WIDE.spans if name not in whole)


def test_a_prior_is_a_site_whose_subjects_differ_and_can_be_drawn_again():
    check_site("demo-wide")
    once, again = (list(simulate_subjects("demo-wide", 2, seed=3)) for _ in range(2))
    assert once[0].spacing_mm != once[1].spacing_mm
    assert np.array_equal(once[1].angio, again[1].angio)
    assert all(0 < one.label.sum() < 0.2 * one.brain.sum() for one in once)


def test_processes_change_nothing():
    wanted = [(DEMO_WIDE.draw(stream(seed, "site")), seed) for seed in (4, 5)]
    alone, beside = list(simulate_each(wanted)), list(simulate_each(wanted, workers=2))
    assert all(np.array_equal(a.angio, b.angio) for a, b in zip(alone, beside, strict=True))


def test_unknown_sites_are_refused_with_the_names_of_all():
    with pytest.raises(SettingsError, match=r"demo-wide.*wide"):
        check_site("mars")


def test_what_a_protocol_says_narrows_its_parameters_and_leaves_the_others():
    """The same shares give the same site but for what is known, and what follows from it."""
    known = {"acquisition.voxel_i_mm": 0.82, "reader.thickness": (1.1, 1.2), "anatomy.sulcus_depth_mm": 20.0}
    left = DEMO_WIDE.narrowed(known)
    before, after = (flatten(one.draw(stream(1, "site"))) for one in (DEMO_WIDE, left))
    changed = {name for name in before if before[name] != after[name]}
    follow = {"acquisition.voxel_j_mm", "acquisition.matrix_i", "acquisition.matrix_j"}
    assert set(known) <= changed <= set(known) | follow
    assert after["acquisition.voxel_i_mm"] == after["acquisition.voxel_j_mm"] == 0.82
    assert after["anatomy.sulcus_depth_mm"] == 20.0
    assert 1.1 <= after["reader.thickness"] <= 1.2


@pytest.mark.parametrize(
    ("known", "word"),
    [
        ({"reader.colour": 1.0}, "'reader.colour' does not exist"),
        ({"acquisition.voxel_j_mm": 0.7}, "follows from other"),
        ({"reader.thickness": 9.0}, r"reader.thickness from 9 to 9 must lie in \[0.5, 2.5\]"),
        ({"reader.thickness": (1.2, 1.1)}, "lower value first"),
        ({"reader.thickness": float("nan")}, "must lie in"),
    ],
)
def test_what_does_not_narrow_a_prior_is_refused(known, word):
    with pytest.raises(SettingsError, match=word):
        check_site("wide", known)


def test_a_single_site_cannot_be_narrowed():
    with pytest.raises(SettingsError, match="'site-1' is a single site; choose wide or demo-wide"):
        check_site("site-1", {"reader.thickness": 1.0})
