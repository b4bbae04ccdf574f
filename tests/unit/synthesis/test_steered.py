import json
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch
from watched import Counting, Releases, Stop, StopAfter

from angioshare.errors import DataError, SettingsError
from angioshare.models.gains import with_gains
from angioshare.models.unet import HalfUnet
from angioshare.patches.extract import PatchSettings
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store, write_patchset
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.release import Release
from angioshare.progress import SilentProgress
from angioshare.protocols import EVERY_UNIT, Context
from angioshare.segmentation.fit import soft_dice_loss
from angioshare.segmentation.settings import UnetSettings
from angioshare.segmentation.trained import TrainedUnet, TrainingRecord
from angioshare.simulator.subject import SimulatedSubject
from angioshare.synthesis import readers, simulated, steered, steered_lessons
from angioshare.synthesis.labelled import Labelling
from angioshare.synthesis.paces import simulating
from angioshare.synthesis.readers import READER, in_steps, scanning, scans
from angioshare.synthesis.registry import build
from angioshare.synthesis.steered import RELEASE, SteeredReaderSettings
from angioshare.synthesis.steered_directions import Directions, learn_directions
from angioshare.synthesis.steered_lessons import DIRECTIONS, Moving

SETTINGS = {
    "simulated_subjects": 2, "lessons": 5, "lesson_extent": 1.0, "numbers": 2, "channels": (4, 6, 8),
    "first_iterations": 30, "first_batch": 8, "move_iterations": 6, "move_batch": 6, "move_crop": 16,
}  # fmt: skip
PATCHES = PatchSettings(size=16, vessel=6, random=6)
CONTEXT = Context(patches=PATCHES, unit="subject", provenance="dp")
MOVING = Moving(steps=6, batch=6, crop=16, learning_rate=3e-2, levels=1)


# Directions


def moves_around(axes, lengths, sites=60, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.standard_normal((sites, len(lengths))) * lengths @ axes).astype(np.float32)


def test_directions_are_those_in_which_moves_differ_most():
    truth = np.linalg.qr(np.random.default_rng(1).standard_normal((300, 3)))[0].T
    learned = learn_directions(moves_around(truth, [5.0, 2.0, 0.1]), 2)
    assert learned.axes @ learned.axes.T == pytest.approx(np.eye(2), abs=1e-4)
    assert np.linalg.norm(truth[:2] @ learned.axes.T, axis=1) == pytest.approx([1, 1], abs=1e-2)
    assert learned.spread == pytest.approx([5, 2], rel=0.25)
    assert learned.first(1).axes.shape == (1, 300)
    assert learned.first(1).radius < learned.radius


def test_a_move_that_all_sites_share_is_no_direction_and_needs_no_release():
    moves = np.zeros((8, 50), np.float32)
    moves[:, 7] = 3.0
    moves[:, 9] = np.linspace(-1, 1, 8)
    learned = learn_directions(moves, 1)
    assert abs(learned.axes[0, 9]) == pytest.approx(1, abs=1e-5)
    assert learned.vector(moves.mean(axis=0)) == pytest.approx([0], abs=1e-6)
    assert learned.move(Release(mean=np.zeros(1), noise_std=1.0))[7] == pytest.approx(3)


def test_half_of_the_simulated_sites_are_within_the_bound():
    learned = learn_directions(moves_around(np.eye(40)[:4], [4.0, 3.0, 2.0, 1.0]), 3)
    norms = [np.linalg.norm(learned.vector(learned.mean + place @ learned.axes)) for place in learned.places]
    assert np.mean(np.array(norms) <= 1) == 0.5


def test_without_noise_a_place_is_found_again_and_under_noise_it_shrinks_to_the_mean_move():
    learned = learn_directions(moves_around(np.eye(40)[:3], [4.0, 2.0, 1.0]) + np.float32(0.5), 2)
    truth = learned.mean + np.array([1.5, -1.0]) @ learned.axes
    vector = learned.vector(truth)
    assert learned.move(Release(mean=vector, noise_std=0.0)) == pytest.approx(truth, abs=1e-5)
    noisy = [learned.move(Release(mean=vector, noise_std=noise)) for noise in (0.0, 0.3, 1.0, 1e3)]
    lengths = [np.linalg.norm(move - learned.mean) for move in noisy]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[-1] < 1e-4
    half = Release(mean=np.array([1.0, 0.0]), noise_std=learned.spread[0] / learned.radius)
    assert np.linalg.norm(learned.move(half) - learned.mean) == pytest.approx(learned.radius / 2, rel=1e-4)


def test_more_directions_than_sites_can_teach_are_refused():
    with pytest.raises(SettingsError, match="numbers=4 must be below the 4 simulated sites"):
        learn_directions(np.eye(4, 9, dtype=np.float32), 4)


# The move of one subject


def reader_of(seed=1):
    record = TrainingRecord(
        settings=UnetSettings(channels=(4, 6, 8)), seed=1, patches="", mean=0.1, sd=0.5, provenance="public"
    )
    return TrainedUnet(HalfUnet((4, 6, 8), seed=seed), record)


def rows_of(real, subject):
    pairs = real.pairs(np.flatnonzero(real.subject == subject))
    return PatchSet(image=pairs[:, 0], label=pairs[:, 1].astype(np.uint8))


def test_a_move_changes_the_finest_level_alone_and_leaves_the_reader_as_it_was(real):
    reader = reader_of()
    before = [weight.clone() for weight in reader.network.parameters()]
    move = MOVING.move(reader, rows_of(real, 0))
    assert all(torch.equal(now, then) for now, then in zip(reader.network.parameters(), before, strict=True))
    assert move.shape == (2 * (4 * 4 + 1),)  # four convolutions of four channels, and the last layer
    assert np.linalg.norm(move) > 1e-3
    assert float(torch.tensor(1e-39) * 1) > 0  # what accounts for privacy afterwards keeps its small numbers
    moved = MOVING.moved(reader, move)
    changed = {
        name
        for (name, new), (_, old) in zip(
            moved.network.named_parameters(), reader_of().network.named_parameters(), strict=True
        )
        if not torch.equal(new, old)
    }
    assert changed == {
        name for name, _ in reader.network.named_parameters() if name.startswith(("down.0", "up.0", "la"))
    }


@pytest.mark.parametrize("crop", [8, 16, 99])
def test_a_move_lowers_the_loss_of_its_subject_whatever_the_window(real, crop):
    reader, rows = reader_of(), rows_of(real, 0)
    image, label = torch.from_numpy(rows.image)[:, None], torch.from_numpy(rows.label)[:, None].float()

    def loss():
        with torch.no_grad():
            return float(soft_dice_loss(reader.network(reader.standardised(image)), label))

    before = loss()
    moving = Moving(steps=60, batch=6, crop=crop, learning_rate=3e-2, levels=2)
    moving.moved(reader, moving.move(reader, rows))
    assert loss() < before - 0.05


def test_a_subject_without_patches_does_not_move_and_one_that_breaks_down_raises_nothing(real):
    reader, rows = reader_of(), rows_of(real, 0)
    assert not MOVING.move(reader, PatchSet(image=rows.image[:0], label=rows.label[:0])).any()
    broken = PatchSet(image=np.full_like(rows.image, np.nan), label=rows.label)
    assert not np.isfinite(MOVING.move(reader, broken)).any()


# The synthesizer, over a made-up simulator that takes no time


def toy_subject(parameters, seed, extent=1.0):
    rng = np.random.default_rng(seed)
    label = np.zeros((24, 24, 4), np.uint8)
    label[8 : 8 + round(3 * parameters.reader.thickness), 4:20] = 1
    angio = (80 + 120 * label + 40 * parameters.acquisition.noise * rng.standard_normal(label.shape)).clip(1, 255)
    return SimulatedSubject(
        angio=angio.astype(np.uint8), label=label, brain=np.ones_like(label), spacing_mm=(1.0, 1.0, 1.0),
        affine=np.eye(4),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def toy(monkeypatch, tmp_path):
    """Subjects that take no time; their cache is the test's own."""
    made = []

    def simulate(wanted, workers=1, extent=1.0):
        made.extend(wanted)
        yield from (toy_subject(parameters, seed) for parameters, seed in wanted)

    monkeypatch.setattr(steered_lessons, "simulate_each", simulate)
    monkeypatch.setattr("angioshare.simulator.many.simulate_each", simulate)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return made


@pytest.fixture
def engines(tmp_path):
    with Ledger.open(tmp_path / "ledger.jsonl", subjects={"sub-1": "a1", "sub-2": "b2"}) as ledger:
        yield Releases(ledger, 2)


def fit(real, folder, engine=None, progress=None, context=CONTEXT, **changes):
    folder.mkdir(exist_ok=True)
    made = build("steered-reader", {**SETTINGS, **changes}, context)
    made.fit(real, engine, seed=1, folder=folder, progress=progress or SilentProgress())
    return made.load(folder, real)


def test_one_release_is_charged_before_its_noise_and_kept_whatever_breaks_after_it(real, engines, tmp_path):
    first = fit(real, tmp_path / "a", engines).sample(99, seed=0)
    assert first.provenance == open_store(tmp_path / "a" / "patches").provenance == "dp"
    assert TrainedUnet.load(tmp_path / "a" / READER).record.provenance == "dp"
    assert engines.charged == [1]
    assert [vectors.shape for vectors in engines.vectors] == [(2, 2)]
    stored = json.loads((tmp_path / "a" / RELEASE).read_text())
    assert stored["noise_std"] == engines.plan.noise_std / 2
    (tmp_path / "a" / "patches").rename(tmp_path / "lost")
    again = fit(real, tmp_path / "a", engines).sample(99, seed=0)
    assert engines.charged == [1]
    assert np.array_equal(first.label, again.label)


def test_a_subjects_numbers_follow_from_its_own_patches(real, engines, tmp_path):
    fit(real, tmp_path / "a", engines, move_crop=8)
    label = real.label.copy()
    label[real.subject == 1] = 0
    other = PatchSet(image=real.image, label=label, subject=real.subject, subjects=real.subjects)
    fit(other, tmp_path / "b", engines, move_crop=8)
    first, second = engines.vectors
    assert np.array_equal(first[0], second[0])
    assert not np.allclose(first[1], second[1])
    turned = real.subject == 0  # the order in which subjects stand changes nobody's numbers
    mirrored = PatchSet(
        image=real.image, label=real.label, subject=turned.astype(np.int64), subjects=tuple(reversed(real.subjects))
    )
    fit(mirrored, tmp_path / "c", engines, move_crop=8)
    assert np.array_equal(engines.vectors[2], first[::-1])


def test_a_subject_whose_training_breaks_down_counts_as_zero_and_stops_nothing(real, engines, tmp_path):
    image = real.image.copy()
    image[real.subject == 1] = np.nan
    broken = PatchSet(image=image, label=real.label, subject=real.subject, subjects=real.subjects)
    fit(broken, tmp_path / "a", engines)
    assert np.isfinite(engines.vectors[0]).all(axis=1).tolist() == [True, False]
    stored = json.loads((tmp_path / "a" / RELEASE).read_text())
    assert np.isfinite(stored["mean"]).all()
    assert engines.charged == [1]


def test_labels_are_those_of_the_reader_that_the_release_moved(real, engines, tmp_path, monkeypatch):
    pools = []

    def kept(*given, **more):
        found = scans(*given, **more)
        pools.append((np.array(found.image), np.array(found.label)))
        return found

    monkeypatch.setattr(steered, "scans", kept)
    pairs = fit(real, tmp_path / "a", engines, threshold=0.3).sample(999, seed=0)
    image, label = pools[0]
    assert np.array_equal(pairs.image, image)
    reader, before = (TrainedUnet.load(tmp_path / "a" / part / READER) for part in ("", "simulated"))
    wanted = reader.probability(image.astype(np.float32)) > 0.3
    assert np.array_equal(pairs.label, (wanted & (image > -1)).astype(np.uint8))
    assert not np.array_equal(pairs.label, label)
    stored = json.loads((tmp_path / "a" / RELEASE).read_text())
    directions = steered_lessons._read(tmp_path / "a" / "simulated" / DIRECTIONS).first(2)
    move = directions.move(Release(mean=np.array(stored["mean"]), noise_std=stored["noise_std"]))
    expected = with_gains(before.network, 1, move).state_dict()
    assert all(torch.allclose(now, expected[name], atol=1e-6) for name, now in reader.network.state_dict().items())
    assert not (tmp_path / "a" / "simulated" / "patches").exists()


def test_numbers_without_noise_bring_the_reader_nearer_to_the_cohort_than_the_mean_move(real, tmp_path):
    more = {"lessons": 24, "numbers": 12, "first_iterations": 60, "move_iterations": 20}
    fit(real, tmp_path / "a", context=Context(patches=PATCHES, unit="subject"), **more)
    image, label = torch.from_numpy(real.image)[:, None], torch.from_numpy(real.label)[:, None].float()

    def loss(reader):
        with torch.no_grad():
            return float(soft_dice_loss(reader.network(reader.standardised(image)), label))

    first, moved = (TrainedUnet.load(tmp_path / "a" / part / READER) for part in ("simulated", ""))
    mean = steered_lessons._read(tmp_path / "a" / "simulated" / DIRECTIONS).mean
    assert (
        loss(moved) < loss(Moving(steps=20, batch=6, crop=16, learning_rate=1e-2, levels=1).moved(first, mean)) - 0.003
    )


def test_lessons_are_made_once_for_all_runs_where_there_is_a_cache(real, toy, tmp_path, monkeypatch):
    fit(real, tmp_path / "a")
    assert len(toy) == 5 + 2
    fit(real, tmp_path / "b", simulated_subjects=1)
    assert len(toy) == 5 + 2 + 1  # the lessons of the first
    fit(real, tmp_path / "c", move_iterations=5)
    assert len(toy) == 5 + 2 + 1 + 5 + 2
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    found = fit(real, tmp_path / "d").sample(99, seed=0)
    assert len(toy) == 5 + 2 + 1 + 5 + 2 + 5 + 2
    assert np.array_equal(found.label, fit(real, tmp_path / "a").sample(99, seed=0).label)


def test_lessons_and_scans_come_from_what_the_protocol_says(real, toy, tmp_path):
    fit(real, tmp_path / "a", known={"acquisition.voxel_k_mm": 1.25})
    assert {parameters.acquisition.voxel_k_mm for parameters, _ in toy} == {1.25}
    fit(real, tmp_path / "b", known={"acquisition.voxel_k_mm": 1.3})
    assert len(toy) == 2 * (5 + 2)  # other lessons for another protocol
    assert len({parameters.tree.density for parameters, _ in toy[:7]}) == 7  # each subject from a site of its own


def test_a_public_cohort_teaches_the_first_reader_and_has_lessons_of_its_own(real, toy, tmp_path):
    beside = replace(CONTEXT, public=tmp_path / "public")
    rng = np.random.default_rng(0)
    image, label = rng.uniform(-1, 1, (4, 16, 16)), np.ones((4, 16, 16), np.uint8)
    write_patchset(tmp_path / "public", PatchSet(image=image, label=label, provenance="public"), {})
    firsts = []
    for name, context, changes in (
        ("a", CONTEXT, {}),
        ("b", beside, {}),
        ("c", beside, {"public_share": 0.25}),
        ("d", beside, {}),
    ):
        fit(real, tmp_path / name, context=context, **changes)
        firsts.append(TrainedUnet.load(tmp_path / name / "simulated" / READER).record.patches)
    assert len(toy) == 3 * (5 + 2) + 2  # the last run finds the lessons of the second
    assert firsts[1] == firsts[3]
    assert len(set(firsts)) == 3


@pytest.mark.parametrize("steps_before", [1, 5, 20, 36, 39, 41, 43])
def test_a_resumed_run_ends_as_an_uninterrupted_one(real, tmp_path, monkeypatch, steps_before):
    whole = fit(real, tmp_path / "whole").sample(99, seed=0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "other"))
    with pytest.raises(Stop):
        fit(real, tmp_path / "broken", progress=StopAfter(steps_before))
    resumed = fit(real, tmp_path / "broken").sample(99, seed=0)
    assert np.array_equal(whole.image, resumed.image)
    assert np.array_equal(whole.label, resumed.label)


def test_progress_is_told_of_as_much_work_whether_lessons_are_there_or_not(real, tmp_path):
    s = SteeredReaderSettings(**SETTINGS)
    move = in_steps(MOVING.seconds(16, 4), s, 16)
    lessons = 5 * (in_steps(simulating(1, 1.0), s, 16) + move) + 30
    pairs = 2 * scanning(s, 16) + Labelling(settings=s, context=CONTEXT).work()
    for name in ("a", "b"):
        progress = Counting()
        fit(real, tmp_path / name, progress=progress)
        assert progress.steps == build("steered-reader", SETTINGS, CONTEXT).work() == lessons + pairs


def test_everybody_takes_part_in_the_one_step():
    schedule = build("steered-reader", SETTINGS, CONTEXT).schedule()
    assert (schedule.steps, schedule.units, schedule.patches_per_unit) == (1, EVERY_UNIT, 12)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"numbers": 5}, "numbers=5 must be below lessons=5"),
        ({"site": "site-1"}, "'site-1' does not exist"),
        ({"known": {"tree.nothing": 1.0}}, r"'tree\.nothing' does not exist"),
        ({"levels": 4}, "levels=4 must be at most 3.*lower levels"),
    ],
)
def test_what_cannot_be_is_refused(changes, words):
    with pytest.raises(SettingsError, match=words):
        build("steered-reader", {**SETTINGS, **changes}, CONTEXT)


def test_patches_as_the_unit_are_refused_where_there_is_a_guarantee():
    with pytest.raises(SettingsError, match="take taught-reader"):
        build("steered-reader", SETTINGS, Context(patches=PATCHES, unit="patch", provenance="dp"))
    build("steered-reader", SETTINGS, Context(patches=PATCHES, unit="patch"))


@pytest.mark.parametrize(
    ("broken", "words"),
    [(3, "numbers=2 must be at most 1, the directions that lessons=5 gave.*lower numbers"),
     (4, "move of 4 of 5 simulated sites is no number.*lower move_learning_rate")],
)  # fmt: skip
def test_lessons_that_give_fewer_directions_than_numbers_stop_it_before_anything_is_charged(
    real, engines, tmp_path, monkeypatch, broken, words
):
    calls, move = count(), Moving.move
    monkeypatch.setattr(Moving, "move", lambda *given: move(*given) * np.float32(np.nan if next(calls) < broken else 1))
    for _ in range(2):
        calls = count()
        with pytest.raises(SettingsError, match=words):
            fit(real, tmp_path / "a", engines)
    assert engines.charged == engines.vectors == []


@pytest.mark.parametrize("module", [simulated, readers])
def test_lessons_are_made_anew_where_the_code_that_makes_them_is_another(module, tmp_path, monkeypatch):
    lessons = build("steered-reader", SETTINGS, CONTEXT)._lessons()
    before = lessons.key()
    other = tmp_path / "other.py"
    other.write_text("changed")
    monkeypatch.setattr(module, "__file__", str(other))
    assert lessons.key() != before


def test_directions_that_are_damaged_are_not_taken(real, tmp_path):
    fit(real, tmp_path / "a")
    (tmp_path / "a" / "patches").rename(tmp_path / "lost")
    (tmp_path / "a" / "simulated" / DIRECTIONS).write_bytes(b"no")
    with pytest.raises(DataError, match="is damaged"):
        fit(real, tmp_path / "a")


def test_a_damaged_cache_is_named_and_made_anew_once_it_is_deleted(real, tmp_path):
    fit(real, tmp_path / "a")
    kept = next((tmp_path / "cache").rglob(DIRECTIONS))
    kept.write_bytes(b"no")
    with pytest.raises(DataError, match=r"cache.*is damaged.*delete it"):
        fit(real, tmp_path / "b")
    kept.unlink()
    found = fit(real, tmp_path / "b").sample(99, seed=0)
    assert np.array_equal(found.label, fit(real, tmp_path / "a").sample(99, seed=0).label)


def test_numbers_of_other_directions_are_not_taken_for_these(real, engines, tmp_path):
    fit(real, tmp_path / "a", engines)
    (tmp_path / "a" / "patches").rename(tmp_path / "lost")
    fit(real, tmp_path / "b", move_iterations=5)
    directions = "simulated", DIRECTIONS
    tmp_path.joinpath("b", *directions).replace(tmp_path.joinpath("a", *directions))
    with pytest.raises(DataError, match="of other settings"):
        fit(real, tmp_path / "a", engines)
    assert engines.charged == [1]


def test_a_digest_names_axes_and_bound():
    one = Directions(mean=np.zeros(5), axes=np.eye(2, 5, dtype=np.float32), places=np.ones((4, 2)))
    assert one.digest() == replace(one, axes=one.axes.copy()).digest()
    assert one.digest() != replace(one, places=2 * one.places).digest()
    assert one.digest() != replace(one, axes=-one.axes).digest()
    assert one.digest() != replace(one, mean=one.mean + 1).digest()
