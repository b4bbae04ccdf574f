import copy

import numpy as np
import pytest
import torch
from watched import Spies, Stop, StopAfter

from angioshare.errors import BudgetExceeded, DataError, SettingsError
from angioshare.models.doubling import Doubling
from angioshare.patches.extract import PatchSettings
from angioshare.progress import SilentProgress
from angioshare.protocols import Context
from angioshare.synthesis import losses
from angioshare.synthesis.plain import PlainEngine
from angioshare.synthesis.registry import SYNTHESIZERS, build
from angioshare.synthesis.wgan import Wgan, WganSettings

SMALL = {"features": 2, "z": 4, "batch": 6, "critic_updates": 2, "checkpoint_every": 2}


def wgan(unit="patch", provenance="unprotected", **changes):
    settings = WganSettings(**{**SMALL, "iterations": 6, **changes})
    return Wgan(settings, Context(patches=PatchSettings(size=16), unit=unit, provenance=provenance))


def fit(synthesizer, real, folder, engine=None, seed=1):
    folder.mkdir(exist_ok=True)
    synthesizer.fit(real, engine, seed=seed, folder=folder, progress=SilentProgress())
    return synthesizer.load(folder, real)


def test_the_published_networks_have_the_published_shapes():
    G, D = Wgan(WganSettings(), Context(patches=PatchSettings())).networks(0)
    transposed = [layer for layer in G if isinstance(layer, Doubling)]
    assert [layer.weight.shape[1] for layer in transposed] == [1536, 768, 384, 192, 96, 2]
    convolutions = [layer for layer in D if isinstance(layer, torch.nn.Conv2d)]
    assert [layer.out_channels for layer in convolutions] == [96, 192, 384, 768, 1536, 1]
    assert all(layer.kernel_size == (4, 4) and layer.stride == (2, 2) and layer.bias is None for layer in convolutions)
    assert abs(convolutions[3].weight.std().item() - 0.05) < 1e-3
    assert sum(isinstance(layer, torch.nn.InstanceNorm2d) for layer in D) == 5


def test_the_default_settings_are_the_published_ones():
    s = WganSettings()
    assert (s.z, s.features, s.critic_updates, s.batch, s.learning_rate, s.clamp) == (128, 96, 5, 32, 5e-5, 0.01)
    assert s.iterations == 50 * 1281
    assert Wgan(s, Context(patches=PatchSettings())).schedule().steps == 5 * 64_050


@pytest.mark.parametrize("architecture", ["transposed", "upsampling"])
def test_samples_are_scaled_pairs(real, tmp_path, architecture):
    pairs = fit(wgan(architecture=architecture), real, tmp_path / "a").sample(7, seed=3)
    assert pairs.image.shape == pairs.label.shape == (7, 16, 16)
    assert np.allclose(pairs.image.min((1, 2)), -1)
    assert np.allclose(pairs.image.max((1, 2)), 1)
    assert set(np.unique(pairs.label)) <= {0, 1}
    assert pairs.subjects == ()


def test_the_same_seeds_give_the_same_pairs_and_others_do_not(real, tmp_path):
    first = fit(wgan(), real, tmp_path / "a").sample(4, seed=3)
    again = fit(wgan(), real, tmp_path / "b").sample(4, seed=3)
    other = fit(wgan(), real, tmp_path / "c", seed=2).sample(4, seed=3)
    assert np.array_equal(first.image, again.image)
    assert not np.array_equal(first.image, other.image)


@pytest.mark.parametrize("iterations_before", [1, 3, 5])
def test_a_resumed_run_ends_as_an_uninterrupted_one(real, tmp_path, iterations_before):
    whole = fit(wgan(ema=0.5), real, tmp_path / "whole").sample(3, seed=0)
    folder = tmp_path / "broken"
    folder.mkdir()
    with pytest.raises(Stop):
        wgan(ema=0.5).fit(real, None, seed=1, folder=folder, progress=StopAfter(iterations_before))
    assert not (folder / "generator.safetensors").exists()
    resumed = fit(wgan(ema=0.5), real, folder).sample(3, seed=0)
    assert np.array_equal(whole.image, resumed.image)


def test_a_damaged_checkpoint_is_named(real, tmp_path):
    fit(wgan(), real, tmp_path / "a")
    path = tmp_path / "a" / "checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"checkpoint\.safetensors"):
        fit(wgan(), real, tmp_path / "a")


def test_every_critic_update_has_a_fresh_draw_a_constant_synthetic_count_and_clamped_weights(real, tmp_path):
    spies = Spies(len(real))
    fit(wgan(), real, tmp_path / "a", spies)
    assert spies.asked == (6, 0, 1)
    spy = spies.spy
    assert len(spy.draws) == 6 * 2
    assert len({id(draw) for draw in spy.draws}) == 12
    assert set(spy.synthetic) == {6}
    assert all(weight.abs().max() <= 0.01 for weights in spy.weights[1:] for weight in weights)
    assert spy.closed


def test_the_critic_goes_down_the_wasserstein_loss():
    torch.manual_seed(0)
    D = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(8, 1, bias=False))
    x, y = torch.randn(5, 2, 2, 2), torch.randn(3, 2, 2, 2)
    twin = copy.deepcopy(D)
    (twin(y).mean() - twin(x).mean()).backward()
    engine = PlainEngine(D, 5, 2, seed=0)
    engine.step_gradient(engine.draw(), x, None, y, losses.critic_real, losses.critic_synthetic)
    assert torch.allclose(D[1].weight.grad, twin[1].weight.grad)


def test_a_spent_budget_stops_the_run_and_keeps_what_was_trained(real, tmp_path):
    spies = Spies(len(real), affordable=7)
    assert len(fit(wgan(), real, tmp_path / "a", spies).sample(2, seed=0)) == 2
    assert len(spies.spy.draws) == 7
    assert spies.spy.closed


def test_a_budget_spent_before_the_first_step_is_an_error(real, tmp_path):
    spies = Spies(len(real), affordable=0)
    with pytest.raises(BudgetExceeded):
        fit(wgan(), real, tmp_path / "a", spies)
    assert spies.spy.closed


def test_for_subjects_a_draw_becomes_several_rows_of_each():
    synthesizer = wgan(unit="subject", subjects=2, batch=6)
    assert (synthesizer.schedule().units, synthesizer.schedule().patches_per_unit) == (2, 3)


def test_a_synthesizer_that_is_not_there_and_a_wrong_setting_are_refused():
    context = Context(patches=PatchSettings(size=16))
    with pytest.raises(SettingsError, match="choose one of"):
        build("nix", {}, context)
    with pytest.raises(SettingsError, match="features"):
        build("wgan", {"features": 0}, context)
    for name in SYNTHESIZERS:
        assert build(name, {}, context)
    with pytest.raises(SettingsError, match=r"patches\.size=20"):
        build("wgan", SMALL, Context(patches=PatchSettings(size=20))).networks(0)


def test_the_seed_chooses_no_patches_of_a_subject_in_a_private_run(real, tmp_path):
    seen = []
    for name in ("a", "b"):
        spies = Spies(2, 2, units=[0, 1])
        fit(wgan(unit="subject", subjects=2), real, tmp_path / name, spies)
        seen.append([rows.numpy().tobytes() for rows in spies.spy.real])
    assert seen[0] != seen[1]


@pytest.mark.parametrize("background", [0.0, -1.0])
def test_the_critic_meets_labels_between_their_background_and_one(real, tmp_path, background):
    spies = Spies(len(real))
    trained = fit(wgan(label_background=background), real, tmp_path / "a", spies)
    label = torch.cat(spies.spy.real)[:, 1]
    assert label.unique().tolist() == [background, 1.0]
    assert (label == 1).float().mean().item() == pytest.approx(2 / 16)
    assert set(np.unique(trained.sample(4, seed=0).label)) <= {0, 1}
