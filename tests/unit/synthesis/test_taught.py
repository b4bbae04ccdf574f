import numpy as np
import pytest
import torch
from watched import Counting, Spies, Stop, StopAfter

from angioshare.errors import BudgetExceeded, SettingsError
from angioshare.models.unet import HalfUnet, open_levels
from angioshare.patches.extract import PatchSettings
from angioshare.patches.store import open_store
from angioshare.privacy.engine import PrivateEngine
from angioshare.privacy.layers import allowed_layers
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.plan import PrivacyPlan
from angioshare.progress import SilentProgress
from angioshare.protocols import Context
from angioshare.segmentation.trained import TrainedUnet
from angioshare.synthesis import taught as taught_module
from angioshare.synthesis.labelled import Labelling
from angioshare.synthesis.readers import READER, scanning, scans
from angioshare.synthesis.taught import TaughtReader, TaughtReaderSettings
from angioshare.synthesis.taught_network import as_chain, with_loss

SMALL = {
    "site": "demo-1", "simulated_subjects": 1, "channels": (4, 6, 8), "first_iterations": 6, "first_batch": 5,
    "iterations": 6, "batch": 6, "levels": 1, "crop": 12, "ema": 0.5, "checkpoint_every": 2,
    "label_turns": 2,
}  # fmt: skip
PATCHES = PatchSettings(size=16, vessel=10, random=10)


def taught(unit="patch", provenance="unprotected", **changes):
    settings = TaughtReaderSettings(**{**SMALL, **changes})
    return TaughtReader(settings, Context(patches=PATCHES, unit=unit, provenance=provenance))


def fit(synthesizer, real, folder, engine=None, seed=1, progress=None):
    folder.mkdir(exist_ok=True)
    synthesizer.fit(real, engine, seed=seed, folder=folder, progress=progress or SilentProgress())
    return synthesizer.load(folder, real)


def weights(path):
    return dict(TrainedUnet.load(path).network.named_parameters())


# The chain


@pytest.mark.parametrize("channels", [(2, 3), (3, 5, 4), (8, 16, 32, 64, 128)])
def test_the_chain_is_the_unet_with_its_own_weights(channels):
    unet = HalfUnet(channels, seed=3)
    image = torch.randn(2, 1, 32, 48, generator=torch.Generator().manual_seed(1))
    chain = as_chain(unet)
    assert torch.equal(chain(image), unet(image))
    assert {id(p) for p in chain.parameters()} == {id(p) for p in unet.parameters()}
    with torch.no_grad():
        unet.up[0][0].weight.mul_(0.5)
    assert torch.equal(chain(image), unet(image))


def test_the_chain_and_its_loss_are_allowed_in_the_private_core():
    assert allowed_layers(with_loss(HalfUnet((2, 3, 4), seed=1)))


def test_the_score_of_a_pair_is_its_brier_score():
    unet, rng = HalfUnet((2, 3, 4), seed=1), torch.Generator().manual_seed(2)
    image, label = torch.randn(5, 1, 8, 8, generator=rng), (torch.rand(5, 1, 8, 8, generator=rng) > 0.7).float()
    found = with_loss(unet)(torch.cat((image, label), 1))
    assert torch.allclose(found, (unet(image) - label).square().sum((1, 2, 3))[:, None])


@pytest.mark.parametrize("levels", [0, 1, 2, 3])
def test_only_the_finest_levels_learn(levels):
    unet = HalfUnet((2, 3, 4), seed=1)
    count = open_levels(unet, levels)
    open_ = {name.split(".")[0] + name.split(".")[1] for name, p in unet.named_parameters() if p.requires_grad}
    ways = [f"{way}{level}" for way, n in (("down", 3), ("up", 2)) for level in range(min(levels, n))]
    assert open_ - {"lastweight", "lastbias"} == set(ways)
    assert {"lastweight", "lastbias"} <= open_
    assert count == sum(p.numel() for p in unet.parameters() if p.requires_grad)
    with pytest.raises(SettingsError, match="has 3 levels"):
        open_levels(unet, 4)


# Teaching


def spied(synthesizer, real, folder, units=None, seed=1):
    spies = Spies(len(real), units=units)
    fit(synthesizer, real, folder, spies, seed)
    assert spies.asked == (0, 0, 1)
    assert set(spies.spy.synthetic) == {0}
    return spies.spy


def windows_of(rows, real, indices):
    """Where in their patches the labels of these rows lie: every place that fits all of them."""
    found = set()
    for i in range(5):
        for j in range(5):
            there = real.label[indices, i : i + 12, j : j + 12].astype(np.float32)
            if np.array_equal(there, rows[:, 1].numpy()):
                found.add((i, j))
    return found


def test_each_step_sees_the_same_window_of_the_patches_that_were_drawn_for_it(real, tmp_path):
    spy = spied(taught(), real, tmp_path / "a")
    assert len(spy.draws) == len({id(draw) for draw in spy.draws}) == taught().schedule().steps == 6
    assert spy.closed
    reader = TrainedUnet.load(tmp_path / "a" / "simulated" / READER)
    rows_seen = set()
    for draw, rows, groups in zip(spy.draws, spy.real, spy.groups, strict=True):
        assert groups is None
        assert rows.shape == (len(draw.indices), 2, 12, 12)
        window = windows_of(rows, real, draw.indices)
        assert window
        image = torch.from_numpy(real.image[draw.indices])
        shown = [reader.standardised(image[:, i : i + 12, j : j + 12]) for i, j in window]
        assert sum(torch.allclose(rows[:, 0], one, atol=1e-5) for one in shown) == 1
        rows_seen.add(frozenset(window))
    assert len(rows_seen) > 1
    again = spied(taught(), real, tmp_path / "b")
    assert all(torch.equal(a, b) for a, b in zip(spy.real, again.real, strict=True))


def test_rows_of_a_subject_keep_its_group_and_do_not_follow_the_seed(real, tmp_path):
    seen = [
        spied(taught(unit="subject", subjects=2, batch=12, crop=None), real, tmp_path / name, units=[0, 1])
        for name in "ab"
    ]
    reader = TrainedUnet.load(tmp_path / "a" / "simulated" / READER)
    known = reader.standardised(torch.from_numpy(real.image))
    chosen = []
    for spy in seen:
        assert spy.groups[0].tolist() == [0] * 6 + [1] * 6
        nearest = [int((known - row[0]).square().sum((1, 2)).argmin()) for row in spy.real[0]]
        assert real.subject[nearest].tolist() == spy.groups[0].tolist()
        chosen.append(nearest)
    assert chosen[0] != chosen[1]  # the same 12 of 24, in order, by chance once in 4e11


def private(real, folder, **changes):
    """Train with the real engine; gives the pairs, the statement and what the ledger says."""
    folder.mkdir()
    plan = PrivacyPlan(
        unit="patch", n_units=24, n_subjects=2, patches_per_subject=12, sampling_probability=6 / 24,
        noise_multiplier=2.0, steps=6, delta=1e-3, **changes,
    )  # fmt: skip
    ledger = Ledger.open(folder / "ledger.jsonl", subjects={"sub-1": "a1", "sub-2": "b2"})
    engines = []

    def factory(critic, synthetic, steps_done, rows_per_patch=1):
        engines.append(
            PrivateEngine(
                plan=plan, critic=critic, synthetic_rows=synthetic, ledger=ledger, run="r",
                steps=plan.steps - steps_done, rows_per_patch=rows_per_patch,
            )
        )  # fmt: skip
        return engines[0]

    with ledger:
        pairs = fit(taught(provenance="dp"), real, folder, factory).sample(50, seed=0)
        return pairs, engines[0].statement(), sum(spend.steps for spend in ledger.spends()), plan


def test_a_private_teaching_charges_each_step_once_and_moves_the_open_weights_alone(real, tmp_path):
    pairs, statement, steps, plan = private(real, tmp_path / "a")
    assert steps == plan.steps == 6
    assert statement.private
    assert statement.patch.epsilon == pytest.approx(plan.predicted().patch.epsilon)
    assert pairs.provenance == "dp"
    assert TrainedUnet.load(tmp_path / "a" / READER).record.provenance == "dp"
    before, after = weights(tmp_path / "a" / "simulated" / READER), weights(tmp_path / "a" / READER)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if name.startswith(("down.0.", "up.0.", "last."))}


def test_a_spent_budget_stops_the_teaching_and_keeps_what_was_learned(real, tmp_path):
    whole = private(real, tmp_path / "a")[1].patch.epsilon
    pairs, statement, steps, plan = private(real, tmp_path / "b", epsilon_budget=0.8 * whole)
    assert 0 < steps < plan.steps
    assert statement.patch.epsilon <= 0.8 * whole
    assert len(pairs) > 0
    with pytest.raises(BudgetExceeded):
        private(real, tmp_path / "c", epsilon_budget=1e-3 * whole)


def test_teaching_lowers_the_error_on_what_it_is_taught(real, tmp_path):
    fit(taught(first_iterations=40, iterations=60, batch=24, learning_rate=3e-3, levels=3), real, tmp_path / "a")
    image, label = torch.from_numpy(real.image)[:, None], torch.from_numpy(real.label)[:, None].float()

    def error(path):
        reader = TrainedUnet.load(path)
        with torch.no_grad():
            return float((reader.network(reader.standardised(image)) - label).square().mean())

    before, after = error(tmp_path / "a" / "simulated" / READER), error(tmp_path / "a" / READER)
    assert after < 0.06  # where nothing is found, an eighth
    assert after < 0.7 * before


# What comes out


def test_images_are_the_simulators_and_labels_the_readers(real, tmp_path, monkeypatch):
    pools = []

    def kept(*given, **more):
        found = scans(*given, **more)
        pools.append((np.array(found.image), np.array(found.label)))
        return found

    monkeypatch.setattr(taught_module, "scans", kept)
    synthesizer, progress = taught(iterations=30, learning_rate=1e-2, threshold=0.3), Counting()
    pairs = fit(synthesizer, real, tmp_path / "a", progress=progress).sample(1000, seed=0)
    s, taught_step = synthesizer._settings, synthesizer._step()
    labels = Labelling(settings=s, context=Context(patches=PATCHES)).work()
    assert progress.steps == synthesizer.work() == scanning(s, 16) + 6 + 30 * taught_step + labels
    assert taught_step > 1
    image, label = pools[0]
    assert progress.notes[-1] == f"label scans: {len(image)} of {len(image)} patches"
    assert np.array_equal(pairs.image, image)
    reader, shown = TrainedUnet.load(tmp_path / "a" / READER), image.astype(np.float32)
    mirrored = reader.probability(np.ascontiguousarray(shown[:, ::-1]))[:, ::-1]
    wanted = (reader.probability(shown) + mirrored) / 2 > 0.3
    assert np.array_equal(pairs.label, (wanted & (image > -1)).astype(np.uint8))
    assert not np.array_equal(pairs.label, label)
    assert not (pairs.label[np.asarray(pairs.image) == -1]).any()
    assert not (tmp_path / "a" / "simulated" / "patches").exists()  # the simulator's own labels are not wanted any more
    made = (tmp_path / "a" / "patches" / "label.npy").stat().st_mtime_ns
    fit(synthesizer, real, tmp_path / "a")
    assert (tmp_path / "a" / "patches" / "label.npy").stat().st_mtime_ns == made


@pytest.mark.parametrize("steps_before", [1, 4, 8, 10, 12, 14])
def test_a_resumed_training_ends_as_an_uninterrupted_one(real, tmp_path, steps_before):
    whole = fit(taught(), real, tmp_path / "whole")
    folder = tmp_path / "broken"
    with pytest.raises(Stop):
        fit(taught(), real, folder, progress=StopAfter(steps_before))
    assert not (folder / "patches").exists()
    resumed = fit(taught(), real, folder)
    assert np.array_equal(whole.sample(99, 0).image, resumed.sample(99, 0).image)
    assert np.array_equal(whole.sample(99, 0).label, resumed.sample(99, 0).label)
    first, second = weights(tmp_path / "whole" / READER), weights(folder / READER)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_store_of_pairs_says_that_they_are_private(real, tmp_path):
    private(real, tmp_path / "a")
    assert open_store(tmp_path / "a" / "patches").provenance == "dp"


def test_the_schedule_is_what_is_charged():
    assert (taught().schedule().steps, taught().schedule().units) == (6, 6)
    of_subjects = taught(unit="subject", subjects=2, batch=12).schedule()
    assert (of_subjects.steps, of_subjects.units, of_subjects.patches_per_unit) == (6, 2, 6)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crop": 10}, r"crop=10 of patches\.size=16.*multiple of 4"),
        ({"channels": (2,) * 6, "crop": None}, "multiple of 32"),
        ({"levels": 4}, "levels=4 must be at most 3.*lower levels"),
        ({"site": "nowhere"}, "site 'nowhere'"),
        ({"site": "demo-wide", "known": {"tree.nothing": 1.0}}, r"'tree\.nothing' does not exist"),
    ],
)
def test_what_cannot_be_is_refused(changes, words):
    with pytest.raises(SettingsError, match=words):
        taught(**changes)
