import json

import numpy as np
import pytest
import torch
from watched import Releases

from angioshare.errors import DataError, SettingsError
from angioshare.models.features_small import PairFeatures
from angioshare.patches.extract import PatchSettings
from angioshare.patches.patchset import PatchSet
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.release import bounded_sum
from angioshare.progress import SilentProgress
from angioshare.protocols import EVERY_UNIT, Context
from angioshare.simulator.subject import SimulatedSubject
from angioshare.synthesis import matching
from angioshare.synthesis.matching import RELEASE
from angioshare.synthesis.matching_features import Features, learn_features, numbers_of
from angioshare.synthesis.matching_generator import as_sampled, described, goal_of, train_generator
from angioshare.synthesis.matching_weights import Weighted, match_weights
from angioshare.synthesis.registry import build

PATCHES = PatchSettings(size=16, vessel=12, random=4)
CONTEXT = Context(patches=PATCHES, unit="subject", provenance="dp")
SETTINGS = {
    "prior": "demo-wide", "lessons": 8, "measured": 16, "feature_steps": 4, "numbers": 3, "features": 2, "z": 4,
    "first_iterations": 2, "steps": 4, "batch": 8, "checkpoint_every": 2, "draws": "generator",
}  # fmt: skip


# Weights


def test_weights_reach_the_target_and_stay_nearest_to_uniform():
    numbers = np.random.default_rng(0).standard_normal((500, 3))
    target = np.array([0.3, -0.2, 0.1])
    weights = match_weights(numbers, target, np.full(3, 1e-9))
    assert weights @ numbers == pytest.approx(target, abs=1e-6)
    other = weights * np.exp(0.3 * np.random.default_rng(1).standard_normal(500))
    for _ in range(200):  # brought back to the same mean, any other weights have less entropy
        gap = target - other @ numbers / other.sum()
        other = other * np.exp(numbers @ gap)
    other /= other.sum()
    assert other @ numbers == pytest.approx(target, abs=1e-4)
    assert -(weights @ np.log(weights)) > -(other @ np.log(other))


def test_the_more_slack_the_less_is_believed():
    numbers = np.random.default_rng(0).standard_normal((500, 2))
    moved = [
        np.linalg.norm(match_weights(numbers, np.array([1.0, 0.0]), np.full(2, slack)) @ numbers - numbers.mean(axis=0))
        for slack in (1e-6, 0.3, 3.0, 1e4)
    ]
    assert np.all(np.diff(moved) < 0)
    assert moved[-1] < 1e-3


@pytest.mark.parametrize("target", [np.array([1e3, -1e3]), np.array([50.0, 0.0])])
def test_a_target_that_no_weights_reach_gives_finite_weights(target):
    weights = match_weights(np.random.default_rng(0).standard_normal((50, 2)), target, np.full(2, 0.1))
    assert np.isfinite(weights).all()
    assert weights.sum() == pytest.approx(1)


def test_weighted_pairs_come_in_proportion():
    label = np.zeros((3, 2, 2), np.uint8)
    label[1] = 1
    pool = PatchSet(image=np.zeros((3, 2, 2), np.float32), label=label)
    drawn = Weighted(pool, np.array([0.5, 0.25, 0.25]), "dp").sample(8, seed=0)
    assert drawn.label.mean() == 0.25
    assert (len(drawn), drawn.provenance) == (8, "dp")


# Features


def sites(subjects=10, each=20, size=16):
    """Pairs whose first parameter is how thick bars are, and whose second one shows nowhere."""
    rng = np.random.default_rng(0)
    shares = rng.random((subjects, 2))
    owner = np.repeat(np.arange(subjects), each)
    label = np.zeros((subjects * each, size, size), np.uint8)
    for index, subject in enumerate(owner):
        label[index, 4 : 5 + round(8 * shares[subject, 0])] = 1
    image = (label - 0.5 + rng.normal(0, 0.1, label.shape)).clip(-1, 1).astype(np.float32)
    names = tuple(f"sub-{index}" for index in range(subjects))
    return PatchSet(image=image, label=label, subject=owner, subjects=names, provenance="public"), shares


def learnt(steps=60, **changes):
    pool, shares = sites()
    settings = {"numbers": 2, "products": 1, "batch": 32, "by_subject": True, "seed": 1, **changes}
    return learn_features(pool, pool.subject, shares, steps=steps, progress=SilentProgress(), **settings), pool, shares


def test_the_first_feature_tells_the_parameter_that_shows():
    features, pool, shares = learnt()
    means = np.array(
        [numbers_of(features, pool, np.flatnonzero(pool.subject == index))[:, 0].mean() for index in range(10)]
    )
    assert abs(np.corrcoef(means, shares[:, 0])[0, 1]) > 0.9


@pytest.mark.parametrize("by_subject", [True, False])
def test_most_units_lie_within_the_public_radius_and_the_mean_is_zero(by_subject):
    features, pool, _ = learnt(steps=10, by_subject=by_subject)
    numbers = numbers_of(features, pool, np.arange(len(pool)))
    means = numbers.reshape(10, 20, -1).mean(axis=1)
    units = means if by_subject else numbers
    assert 0.8 <= np.mean(np.linalg.norm(units, axis=1) <= 1) < 1
    assert means.mean(axis=0) == pytest.approx(np.zeros(3), abs=1e-4)


def test_features_survive_being_stored_and_name_themselves():
    features, pool, _ = learnt(steps=3)
    again = Features.unpacked(features.packed())
    rows = np.arange(5)
    assert np.array_equal(numbers_of(again, pool, rows), numbers_of(features, pool, rows))
    assert again.digest() == features.digest() != learnt(steps=4)[0].digest()


def test_numbers_of_a_pair_do_not_depend_on_the_pairs_beside_it():
    features, pool, _ = learnt(steps=3)
    alone, among = numbers_of(features, pool, np.array([7])), numbers_of(features, pool, np.arange(40))[[7]]
    assert np.abs(alone - among).max() < 1e-12
    pool.image[3] = np.nan
    assert np.array_equal(np.isfinite(numbers_of(features, pool, np.arange(6))).all(axis=1), np.arange(6) != 3)


def test_the_network_draws_its_weights_from_its_seed_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first, same, other = (PairFeatures(2, (3,), seed=seed).read_out.weight for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), before)


# The generator


def test_generated_pairs_are_shown_as_they_are_handed_out_and_can_be_learnt_from():
    made = torch.randn(3, 2, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    shown = as_sampled(made, 0.3)
    assert shown[:, 0].amin().item() == pytest.approx(-1)
    assert shown[:, 0].amax().item() == pytest.approx(1)
    assert set(np.unique(shown[:, 1].detach().numpy().round(6))) == {0.0, 1.0}
    shown[:, 1].sum().backward()
    assert made.grad[:, 1].abs().sum() > 0
    assert torch.isfinite(as_sampled(torch.zeros(1, 2, 8, 8), np.inf)).all()


def test_the_goal_is_the_weighted_mean():
    features, pool, _ = learnt(steps=3)
    weights = np.random.default_rng(0).dirichlet(np.ones(len(pool)))
    goal = goal_of(features, pool, weights)
    slow = weights @ described(features, torch.from_numpy(pool.pairs(np.arange(len(pool))))).double().numpy()
    assert goal.mean.numpy() == pytest.approx(slow, abs=1e-5)


class Bars(torch.nn.Module):
    """A generator with one weight: what share of the rows is bright and labelled."""

    def __init__(self):
        super().__init__()
        self.height = torch.nn.Parameter(torch.tensor(0.2))

    def forward(self, z):
        rows = torch.linspace(0, 1, 16)[None, :, None].expand(len(z), 16, 16)
        bars = 6 * (self.height + 0.02 * z[:, 0, 0, 0, None, None] - rows)
        return torch.stack([torch.tanh(bars), torch.tanh(bars)], dim=1)


def test_a_generator_finds_what_the_goal_looks_like(tmp_path):
    features, pool, _ = learnt()
    weights = (pool.label.mean(axis=(1, 2)) > 0.4).astype(float)
    goal = goal_of(features, pool, weights / weights.sum())
    G = Bars()
    train_generator(
        G, features, goal, threshold=0.0, z=1, steps=60, batch=16, learning_rate=2e-2, every=30, seed=1,
        folder=tmp_path, progress=SilentProgress(),
    )  # fmt: skip
    assert G.height.item() > 0.35


# The synthesizer, over a made-up simulator that takes no time


@pytest.fixture
def engines(tmp_path):
    with Ledger.open(tmp_path / "ledger.jsonl", subjects={"sub-1": "a1", "sub-2": "b2"}) as ledger:
        yield Releases(ledger, 2)


def toy_subject(parameters, seed):
    rng = np.random.default_rng(seed)
    label = np.zeros((24, 24, 4), np.uint8)
    label[8 : 8 + round(3 * parameters.reader.thickness), 4:20] = 1
    angio = (80 + 120 * label + 40 * parameters.acquisition.noise * rng.standard_normal(label.shape)).clip(1, 255)
    return SimulatedSubject(
        angio=angio.astype(np.uint8), label=label, brain=np.ones_like(label), spacing_mm=(1.0, 1.0, 1.0),
        affine=np.eye(4),
    )  # fmt: skip


@pytest.fixture
def toy(monkeypatch):
    made = []

    def simulate(wanted, workers=1):
        made.extend(wanted)
        yield from (toy_subject(parameters, seed) for parameters, seed in wanted)

    monkeypatch.setattr(matching, "simulate_each", simulate)
    return made


@pytest.fixture
def fit(real, engines, toy, tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()

    def run(context=CONTEXT, engine=engines, **changes):
        made = build("feature-matching", {**SETTINGS, **changes}, context)
        made.fit(real, engine, seed=1, folder=folder, progress=SilentProgress())
        return made.load(folder, real)

    run.folder = folder
    return run


@pytest.mark.parametrize("draws", ["generator", "simulated"])
def test_one_release_is_charged_before_its_noise_and_kept_whatever_breaks_after_it(fit, engines, toy, draws):
    first = fit(draws=draws).sample(20, seed=0)
    for name in ("generator", "checkpoint", "weights"):
        (fit.folder / f"{name}.safetensors").unlink(missing_ok=True)
    toy.clear()
    again = fit(draws=draws).sample(20, seed=0)
    assert engines.charged == [1]
    assert toy == []
    assert np.array_equal(first.image, again.image)
    assert (len(first), first.provenance) == (20, "dp")


def test_the_real_patches_enter_through_the_release_alone_and_are_read_once(fit, real, monkeypatch):
    reads, sound = [], PatchSet.pairs

    def counted(patches, indices):
        if patches is real:
            reads.append(len(indices))
        return sound(patches, indices)

    monkeypatch.setattr(PatchSet, "pairs", counted)
    pairs = fit().sample(8, seed=0)
    assert reads == [12, 12]
    for name in ("generator", "checkpoint"):
        (fit.folder / f"{name}.safetensors").unlink()
    real.image[:] = -real.image
    assert np.array_equal(fit().sample(8, seed=0).image, pairs.image)
    assert reads == [12, 12]


def test_a_generator_goes_on_where_it_was_stopped(fit, monkeypatch):
    whole = fit().sample(8, seed=0)
    for name in ("generator", "checkpoint"):
        (fit.folder / f"{name}.safetensors").unlink()

    class Stop(SilentProgress):
        task = ""

        def start(self, task, total, done=0):
            self.task, self.left = task, 3

        def advance(self, note="", steps=1):
            self.left -= 1
            if "generator" in self.task and not self.left:
                raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(globals(), "SilentProgress", Stop)
        with pytest.raises(KeyboardInterrupt):
            fit()
    assert np.allclose(fit().sample(8, seed=0).image, whole.image, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e30])
def test_whatever_a_subject_holds_it_moves_the_sum_by_at_most_c(fit, engines, real, value):
    fit()
    for name in ("generator.safetensors", "checkpoint.safetensors", RELEASE):
        (fit.folder / name).unlink()
    real.image[:12] = value
    fit()
    before, after = engines.vectors
    assert np.array_equal(before[1], after[1])
    assert not np.array_equal(before[0], after[0])
    moved = bounded_sum(after, 1.0) - bounded_sum(after[1:], 1.0)
    assert np.linalg.norm(moved) <= 1
    assert np.isfinite(json.loads((fit.folder / RELEASE).read_text())["mean"]).all()


def test_a_release_of_other_features_or_a_damaged_one_is_refused_not_made_anew(fit, engines):
    fit(draws="simulated")
    (fit.folder / "weights.safetensors").unlink()
    features = (fit.folder / "features.safetensors").read_bytes()
    (fit.folder / "features.safetensors").unlink()
    with pytest.raises(DataError, match="without it a new release would be charged, which a target epsilon forbids"):
        fit(draws="simulated", feature_steps=5)
    (fit.folder / "features.safetensors").write_bytes(features[:50])
    with pytest.raises(DataError, match="damaged"):
        fit(draws="simulated")
    with pytest.raises(DataError, match="other settings"):
        fit(draws="simulated", lessons=9)
    assert engines.charged == [1]


def test_without_noise_thick_labels_give_thick_labels(real, toy, tmp_path):
    """The cohort's readers draw as thick as the prior's thickest; so are the weighted pairs."""
    thick, _ = sites(subjects=2, each=30)
    thick.label[:] = 0
    thick.label[:, 6:12, 2:14] = 1
    made = build(
        "feature-matching",
        {**SETTINGS, "lessons": 30, "feature_steps": 150, "batch": 32, "numbers": 2, "draws": "simulated"},
        Context(patches=PATCHES, unit="subject"),
    )
    made.fit(thick, None, seed=1, folder=tmp_path, progress=SilentProgress())
    trained = made.load(tmp_path, real)
    even = np.full(len(trained._pool), 1 / len(trained._pool))
    alone = Weighted(trained._pool, even, "public").sample(200, seed=0)
    assert trained.sample(200, seed=0).label.mean() > 1.03 * alone.label.mean()


def test_without_privacy_the_unit_may_be_the_patch(fit, real):
    made = fit(Context(patches=PATCHES, unit="patch"), None, products=2, draws="simulated")
    assert len(json.loads((fit.folder / RELEASE).read_text())["mean"]) == 3 + 3
    assert made.sample(8, seed=0).provenance == "unprotected"


def test_each_patch_enters_by_itself_where_the_unit_is_a_patch(fit, real, tmp_path):
    units = len(real)
    with Ledger.open(tmp_path / "patches.jsonl", subjects={"sub-1": "a1", "sub-2": "b2"}) as ledger:
        engines = Releases(ledger, units, unit="patch")
        made = fit(Context(patches=PATCHES, unit="patch", provenance="dp"), engines, draws="simulated")
        assert [spend.steps for spend in ledger.spent_by("run")] == [1]
    assert made.sample(8, seed=0).provenance == "dp"
    assert [vectors.shape for vectors in engines.vectors] == [(units, 3)]


def test_it_plans_one_step_with_everybody_and_refuses_what_cannot_be():
    made = build("feature-matching", SETTINGS, CONTEXT)
    assert (made.schedule().steps, made.schedule().units, made.schedule().patches_per_unit) == (1, EVERY_UNIT, 16)
    assert made.work() == 8 + 4 + 2 + 4
    patch = build("feature-matching", SETTINGS, Context(patches=PATCHES, unit="patch", provenance="dp"))
    assert (patch.schedule().steps, patch.schedule().units, patch.schedule().patches_per_unit) == (1, EVERY_UNIT, 1)
    with pytest.raises(SettingsError, match="choose one of"):
        build("feature-matching", {"prior": "mars"}, CONTEXT)
    with pytest.raises(SettingsError, match="below lessons"):
        build("feature-matching", {"numbers": 48}, CONTEXT)
