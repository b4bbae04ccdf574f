import numpy as np
import pytest

from angioshare.rng import stream
from angioshare.simulator.flow import blood_signal, slab_of, steady_signal, tree_signal
from angioshare.simulator.grid import draw_grid
from angioshare.simulator.parameters import SimulatorParameters, unflatten
from angioshare.simulator.parameters_image import ContrastParameters
from angioshare.simulator.scene import tissue_levels
from angioshare.simulator.stenosis import narrow


def signal_of(person, seed=0, slowing=None, **changes):
    parameters = unflatten({name.replace("__", "."): value for name, value in changes.items()}, SimulatorParameters())
    tree = person.tree
    slowing = np.ones(len(tree.parent)) if slowing is None else slowing
    return tree_signal(parameters, tree, slowing, draw_grid(parameters, stream(seed, "pose")), stream(seed, "flow"))


def test_blood_that_never_leaves_gives_the_signal_of_still_matter():
    contrast = ContrastParameters(flip_ramp=0.0)
    long = blood_signal(contrast, np.array([1e6]))[0]
    assert long == pytest.approx(steady_signal(contrast, contrast.t1_blood_ms, contrast.density_blood, 50.0))


def test_blood_fades_with_every_pulse_as_counting_pulses_says():
    contrast = ContrastParameters(flip_ramp=0.0)
    flip, e1 = np.deg2rad(contrast.flip_deg), np.exp(-contrast.tr_ms / contrast.t1_blood_ms)
    z, counted = 1.0, []
    for _ in range(30):
        counted.append(contrast.density_blood * np.sin(flip) * z * np.exp(-contrast.te_ms / 50))
        z = 1 - (1 - z * np.cos(flip)) * e1
    assert blood_signal(contrast, contrast.tr_ms * np.arange(30)) == pytest.approx(counted)


def test_still_tissue_is_brightest_at_the_ernst_angle():
    t1 = 1000.0
    ernst = np.rad2deg(np.arccos(np.exp(-22.0 / t1)))
    signals = [steady_signal(ContrastParameters(flip_deg=a), t1, 1.0, 50.0) for a in (ernst - 2, ernst, ernst + 2)]
    assert signals[1] == max(signals)


def test_a_larger_flip_angle_raises_fresh_blood_against_tissue():
    ratios = [tissue_levels(unflatten({"contrast.flip_deg": a})).fresh for a in (12.0, 18.0, 25.0)]
    assert ratios == sorted(ratios)


def test_fresh_blood_stands_out_as_published():
    """At 3 T fresh blood gives some 3 to 6 times the signal of grey matter (Bernstein et al. 2001)."""
    levels = tissue_levels(SimulatorParameters())
    assert 3 < levels.fresh / levels.grey < 6
    assert levels.fluid < levels.grey < 1 < levels.fat


def test_thin_arteries_are_dimmer_than_wide_ones(people):
    for person in people[:3]:
        signal = signal_of(person)
        radius = person.tree.radius_mm
        assert np.median(signal[radius < 0.35]) < 0.85 * np.median(signal[(radius > 0.9) & (radius < 1.5)])


def test_slow_flow_slow_branches_and_narrowings_dim_the_arteries(people):
    person = people[0]
    usual = signal_of(person).mean()
    assert signal_of(person, contrast__speed_cm_s=20.0).mean() < usual
    assert signal_of(person, contrast__slow_share=0.6).mean() < usual
    assert signal_of(person, slowing=np.full(len(person.tree.parent), 0.3)).mean() < usual


def test_only_wide_arteries_lose_signal_in_their_bends(people):
    person, radius = people[0], people[0].tree.radius_mm
    lost = 1 - signal_of(person, contrast__dephasing=0.9) / signal_of(person, contrast__dephasing=0.0)
    assert lost[person.tree.of("ICA-left", "ICA-right")].max() > 0.2
    assert lost[radius < 0.7] == pytest.approx(0)


def test_thinner_slabs_keep_blood_fresher(people):
    means = [signal_of(people[0], acquisition__slab_count=n, contrast__flip_ramp=0.0).mean() for n in (1, 3, 6)]
    assert means[0] < 0.97 * means[1] < 0.97 * 0.99 * means[2]


def test_slabs_cover_the_grid_from_below_to_above():
    parameters = SimulatorParameters()
    grid = draw_grid(parameters, stream(0, "pose"))
    slab, share = slab_of(parameters, grid, grid.axes()[2])
    assert sorted(set(slab)) == [0, 1, 2]
    assert np.all(np.diff(slab) >= 0)
    assert np.all((share >= 0) & (share <= 1))


def test_a_narrowing_thins_one_artery_and_slows_what_lies_behind(people):
    parameters = unflatten({"variants.stenosis": 1.0, "variants.stenosis_degree": 0.7})
    tree = people[0].tree
    for seed in range(8):
        narrowed, slowing = narrow(parameters, tree, np.random.default_rng(seed))
        thinner = narrowed.radius_mm / tree.radius_mm
        assert thinner.min() == pytest.approx(0.3)
        assert len(set(tree.name[thinner < 0.999])) == 1
        assert 0.3 < slowing.min() < 0.6
        assert 0 < np.mean(slowing < 1) < 0.9


def test_nobody_has_a_narrowing_if_the_share_is_zero(people):
    narrowed, slowing = narrow(unflatten({"variants.stenosis": 0.0}), people[0].tree, np.random.default_rng(0))
    assert narrowed is people[0].tree
    assert np.all(slowing == 1)
