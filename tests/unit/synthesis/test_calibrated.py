import json
import shutil
from contextlib import ExitStack

import numpy as np
import pytest
from scipy import ndimage
from watched import Releases

from angioshare.errors import DataError, SettingsError
from angioshare.patches.extract import PatchSettings
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store, write_store
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.release import Release
from angioshare.progress import SilentProgress
from angioshare.protocols import EVERY_UNIT, Context
from angioshare.rng import stream
from angioshare.rundir import locked
from angioshare.simulator.prior import DEMO_WIDE
from angioshare.synthesis import calibrated
from angioshare.synthesis import simulated as cutting
from angioshare.synthesis.calibrated import POOL, RELEASE
from angioshare.synthesis.calibration import features as measuring
from angioshare.synthesis.calibration import lessons as lessons_module
from angioshare.synthesis.calibration.features import GROUPS, NAMES, features
from angioshare.synthesis.calibration.lessons import FILE, lessons
from angioshare.synthesis.calibration.summary import feature_weights, learn
from angioshare.synthesis.calibration.tilting import evenly, hedged, tilted
from angioshare.synthesis.registry import build

CONTEXT = Context(patches=PatchSettings(size=32, vessel=20, random=10), unit="subject", provenance="dp")
BY_PATCH = Context(patches=CONTEXT.patches, unit="patch", provenance="dp")
SETTINGS = {
    "prior": "demo-wide", "lessons": 10, "numbers": 3, "subjects": 2, "sharp_factor": 1, "measured": 30, "pairs": 40,
}  # fmt: skip


@pytest.fixture
def engines(tmp_path):
    with Ledger.open(tmp_path / "ledger.jsonl", subjects={"sub-1": "a1", "sub-2": "b2"}) as ledger:
        yield Releases(ledger, 2, patches_per_subject=30)


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A folder in which lessons were simulated once; tests copy it."""
    folder = tmp_path_factory.mktemp("lessons")
    nobody = PatchSet(
        image=np.zeros((2, 32, 32), np.float32), label=np.zeros((2, 32, 32), np.uint8), subject=np.arange(2),
        subjects=("a", "b"),
    )  # fmt: skip
    build("calibrated", SETTINGS, CONTEXT).fit(nobody, None, seed=1, folder=folder, progress=SilentProgress())
    return (folder / FILE).read_bytes()


@pytest.mark.parametrize(("lessons", "numbers", "unit"), [(4, 3, "subject"), (9, None, "subject"), (24, None, "patch")])
def test_too_few_lessons_are_refused_before_any_is_simulated(lessons, numbers, unit):
    context = CONTEXT if unit == "subject" else BY_PATCH
    with pytest.raises(SettingsError, match=f"lessons={lessons}: .*raise lessons or lower numbers"):
        build("calibrated", {**SETTINGS, "lessons": lessons, "numbers": numbers}, context)


@pytest.fixture
def fit(real32, engines, simulated, tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / FILE).write_bytes(simulated)

    def run(**changes):
        made = build("calibrated", {**SETTINGS, **changes}, CONTEXT)
        made.fit(real32, engines, seed=1, folder=folder, progress=SilentProgress())
        return made.load(folder, real32)

    run.folder = folder
    return run


@pytest.fixture
def real32():
    rng = np.random.default_rng(0)
    label = (rng.random((24, 32, 32)) < 0.02).astype(np.uint8)
    image = (label - 0.5 + rng.normal(0, 0.1, label.shape)).clip(-1, 1).astype(np.float32)
    return PatchSet(image=image, label=label, subject=np.repeat([0, 1], 12), subjects=("sub-1", "sub-2"))


def test_one_release_is_charged_and_kept_whatever_breaks_after_it(fit, engines):
    first = fit().sample(8, seed=0)
    release = (fit.folder / RELEASE).read_bytes()
    (fit.folder / "patches" / "manifest.json").rename(fit.folder / "gone")
    (fit.folder / "patches").rename(fit.folder / "lost")
    again = fit().sample(8, seed=0)
    assert len(engines.vectors) == 1
    assert [spend.steps for spend in engines.ledger.spent_by("run")] == [1]
    assert (fit.folder / RELEASE).read_bytes() == release
    assert np.array_equal(first.image, again.image)
    assert first.provenance == "dp"
    assert first.label.any()


def test_the_real_patches_enter_through_the_release_alone(fit, engines, real32):
    pairs = fit().sample(8, seed=0)
    (fit.folder / "patches").rename(fit.folder / "lost")
    real32.image[:] = -real32.image
    real32.label[:] = 1
    assert np.array_equal(fit().sample(8, seed=0).image, pairs.image)


def test_a_release_of_other_settings_or_a_damaged_one_is_refused_not_made_anew(fit, engines):
    fit()
    (fit.folder / "patches").rename(fit.folder / "lost")
    with pytest.raises(DataError, match="without it a new release would be charged, which a target epsilon forbids"):
        fit(numbers=2)
    content = json.loads((fit.folder / RELEASE).read_text())
    (fit.folder / RELEASE).write_text(json.dumps({**content, "mean": "x"}))
    with pytest.raises(DataError, match="damaged"):
        fit()
    assert len(engines.vectors) == 1


def test_patches_that_cannot_be_measured_give_a_finite_vector(fit, engines, real32):
    real32.label[:12] = 0
    real32.image[:12] = 0
    fit()
    assert np.isfinite(engines.vectors[0]).all()


def test_a_pool_that_a_killed_run_left_is_taken_and_removed_at_the_end(fit, monkeypatch):
    kept = fit.folder / "kept"

    def killed(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(calibrated, "write_patchset", killed)
    with pytest.raises(KeyboardInterrupt):
        fit()
    shutil.copytree(fit.folder / POOL, kept)
    monkeypatch.undo()
    monkeypatch.setattr(calibrated, "cut_simulated", lambda *_, **__: pytest.fail("simulated again"))
    pairs = fit().sample(8, seed=0)
    assert not (fit.folder / POOL).exists()
    shutil.copytree(kept, fit.folder / POOL)  # killed between writing the pairs and removing the pool
    assert np.array_equal(fit().sample(8, seed=0).image, pairs.image)
    assert not (fit.folder / POOL).exists()


def test_features_of_a_pool_do_not_depend_on_how_many_are_read_at_once(real32, monkeypatch):
    whole = features(real32.image, real32.label)
    monkeypatch.setattr(calibrated, "_AT_ONCE", 7)
    assert np.array_equal(calibrated._features_of(real32), whole)


def test_a_pool_of_another_run_is_refused(fit, monkeypatch):
    monkeypatch.setattr(calibrated, "write_patchset", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fit()
    monkeypatch.undo()
    with pytest.raises(DataError, match="holds 2 subjects of another run, not 3; delete it"):
        fit(subjects=3)


def test_a_part_of_a_subject_gives_so_many_patches_the_fewer(fit, monkeypatch):
    monkeypatch.setattr(calibrated, "write_patchset", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fit(extent=0.4)
    assert np.bincount(open_store(fit.folder / POOL).subject).tolist() == [12, 12]


def test_lessons_and_fitted_sites_are_what_the_protocol_says(fit, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (fit.folder / FILE).unlink()
    seen = {}
    for module in (lessons_module, calibrated):
        sites, plain = seen.setdefault(module, []), module.simulate_each
        monkeypatch.setattr(
            module, "simulate_each", lambda wanted, *rest, s=sites, f=plain: s.extend(wanted) or f(wanted, *rest)
        )
    fit(known={"acquisition.voxel_k_mm": 1.25})
    for sites in seen.values():
        assert {parameters.acquisition.voxel_k_mm for parameters, _ in sites} == {1.25}


def test_more_subjects_are_simulated_where_hardly_any_noise_is_left():
    settings = {**SETTINGS, "sharp_factor": 4}
    bare = Context(patches=CONTEXT.patches)
    assert [build("calibrated", settings, one).work() for one in (CONTEXT, BY_PATCH, bare)] == [12, 18, 18]


def test_it_plans_one_step_with_everybody():
    made = build("calibrated", SETTINGS, CONTEXT)
    assert (made.schedule().steps, made.schedule().units, made.schedule().patches_per_unit) == (1, EVERY_UNIT, 30)
    assert made.work() == 12
    patch = build("calibrated", SETTINGS, BY_PATCH)
    assert (patch.schedule().steps, patch.schedule().units, patch.schedule().patches_per_unit) == (1, EVERY_UNIT, 1)
    with pytest.raises(SettingsError, match="choose one of"):
        build("calibrated", {"prior": "mars"}, CONTEXT)


def test_each_patch_enters_by_itself_where_the_unit_is_a_patch(real32, simulated, tmp_path):
    """One vector a patch, from that patch alone: a patch that is exchanged changes no other row."""
    vectors = []
    for number in range(2):
        folder = tmp_path / str(number)
        (folder / "source").mkdir(parents=True)
        (folder / "source" / FILE).write_bytes(simulated)
        with Ledger.open(folder / "ledger.jsonl", subjects={"sub-1": "a1", "sub-2": "b2"}) as ledger:
            engines = Releases(ledger, 24, unit="patch")
            made = build("calibrated", SETTINGS, BY_PATCH)
            made.fit(real32, engines, seed=1, folder=folder / "source", progress=SilentProgress())
            vectors.append(engines.vectors[0])
            assert [spend.steps for spend in ledger.spent_by("run")] == [1]
        real32.image[5], real32.label[5] = -real32.image[5], 1
    assert vectors[0].shape == (24, 3)
    changed = (vectors[0] != vectors[1]).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [5]


def test_all_numbers_are_released_where_noise_is_small():
    assert [build("calibrated", {}, one)._numbers for one in (CONTEXT, BY_PATCH, Context(patches=CONTEXT.patches))] == [
        8,
        len(NAMES),
        len(NAMES),
    ]


def test_lessons_are_simulated_once_and_a_longer_list_goes_on_from_a_shorter_one(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cut = PatchSettings(size=32, vessel=6, random=3, allow_fewer=True)
    counted = Counted()
    few = lessons(DEMO_WIDE, 2, cut, folder=tmp_path / "a", workers=1, progress=counted)
    assert counted.steps == 2
    more = lessons(DEMO_WIDE, 3, cut, folder=tmp_path / "b", workers=1, progress=counted)
    assert counted.steps == 3
    assert np.array_equal(more[:2], few, equal_nan=True)
    again = lessons(DEMO_WIDE, 2, cut, folder=tmp_path / "c", workers=1, progress=counted)
    assert counted.steps == 3
    assert np.array_equal(again, few, equal_nan=True)
    lessons(DEMO_WIDE, 1, cut.model_copy(update={"vessel": 5}), folder=tmp_path / "d", workers=1, progress=counted)
    assert counted.steps == 4
    lessons(DEMO_WIDE, 2, cut, folder=tmp_path / "c", workers=1, progress=counted)  # the source's own copy
    assert counted.steps == 4
    assert counted.starts == [(2, 0), (3, 2), (2, 2), (1, 0), (2, 2)]
    with pytest.raises(DataError, match="another run"):
        lessons(DEMO_WIDE, 3, cut, folder=tmp_path / "a", workers=1, progress=counted)


@pytest.mark.parametrize("module", [cutting, measuring])
def test_lessons_are_simulated_anew_where_the_code_that_makes_them_is_another(module, tmp_path, monkeypatch):
    before = lessons_module._key(DEMO_WIDE, PatchSettings())
    other = tmp_path / "other.py"
    other.write_text("changed")
    monkeypatch.setattr(module, "__file__", str(other))
    assert lessons_module._key(DEMO_WIDE, PatchSettings()) != before


def test_lessons_that_another_process_simulates_are_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(lessons_module, "_WAIT_S", 0.05)
    cut = PatchSettings(size=32, vessel=6, random=3, allow_fewer=True)

    def simulate(cache, name, progress):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
        return lessons(DEMO_WIDE, 2, cut, folder=tmp_path / name, workers=1, progress=progress)

    first = simulate("cache", "a", SilentProgress())
    (kept,) = (tmp_path / "cache").rglob("*.safetensors")
    other = tmp_path / "other" / kept.relative_to(tmp_path / "cache")
    other.parent.mkdir(parents=True)
    waits = []

    def wait(_seconds):
        """The other process, which holds the lock, finishes while we wait for the second time."""
        waits.append(len(waits))
        if len(waits) == 2:
            shutil.copy(kept, other)
            held.close()

    monkeypatch.setattr(lessons_module, "sleep", wait)
    monkeypatch.setattr(lessons_module, "simulate_each", lambda *_: pytest.fail("simulated as well"))
    with ExitStack() as held:
        held.enter_context(locked(other.with_suffix(".lock")))
        counted = Counted()
        assert np.array_equal(simulate("other", "b", counted), first, equal_nan=True)
    assert len(waits) == 2
    assert counted.steps == 2


def test_nobody_waits_for_ever_for_lessons(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(lessons_module, "_PATIENCE_S", 0.0)
    cut = PatchSettings(size=32, vessel=4, random=2, allow_fewer=True)
    lock = lessons_module.cache_folder({"XDG_CACHE_HOME": str(tmp_path / "cache")}) / (
        lessons_module._key(DEMO_WIDE, cut) + ".lock"
    )
    with locked(lock):
        made = lessons(DEMO_WIDE, 1, cut, folder=tmp_path / "a", workers=1, progress=SilentProgress())
    assert made.shape == (1, 6, len(NAMES))


class Counted(SilentProgress):
    steps = 0

    def __init__(self):
        self.starts = []

    def start(self, task, total, done=0):
        self.starts.append((total, done))

    def advance(self, note="", steps=1):
        self.steps += steps


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    cut = PatchSettings(size=32, vessel=4, random=2, allow_fewer=True)
    made = lessons(DEMO_WIDE, 1, cut, folder=tmp_path / "a", workers=1, progress=SilentProgress())
    assert made.shape == (1, 6, len(NAMES))
    assert (tmp_path / "a" / FILE).exists()


def world(rng, subjects, shift=0.0):
    """Features of made-up subjects: each has its own mean, patches scatter around it."""
    means = rng.standard_normal((subjects, 1, len(NAMES))) + shift
    return means + 2 * rng.standard_normal((subjects, 40, len(NAMES)))


def told(summary, subjects, noise):
    return Release(mean=np.mean([summary.vector(one) for one in subjects], axis=0), noise_std=noise)


def test_the_weighted_pool_has_the_features_of_the_site():
    rng = np.random.default_rng(0)
    lessons_, site = world(rng, 60), world(rng, 12, shift=0.9)
    summary = learn(lessons_, 4)
    target = summary.targets(told(summary, site, 0.0), 1, rng)[0]
    pool = summary.standard(lessons_.reshape(-1, len(NAMES)))
    weights = tilted(pool, target, 1e-6)
    assert weights @ pool == pytest.approx(target, abs=1e-3)
    assert target == pytest.approx(summary.standard(site.reshape(-1, len(NAMES))).mean(axis=0), rel=1e-6)
    assert np.abs(pool.mean(axis=0) - target).max() > 1


def test_doubt_rises_with_noise_alone_from_nothing_to_everything():
    summary = learn(world(np.random.default_rng(4), 60), 5)
    doubts = [
        summary.doubt(Release(mean=np.full(5, value), noise_std=noise))
        for value in (0.0, 9.0)
        for noise in (0, 0.3, 1e3)
    ]
    assert doubts[:3] == doubts[3:]
    assert doubts[0] == 0
    assert 0.02 < doubts[1] < 0.6
    assert doubts[2] == pytest.approx(1)


def test_hedged_weights_give_the_doubtful_share_to_subjects_from_anywhere():
    weights, anywhere = np.random.default_rng(0).dirichlet(np.ones(50)), np.arange(50) < 10
    found = hedged(weights, anywhere, 0.3)
    assert found.sum() == pytest.approx(1)
    assert found[~anywhere] == pytest.approx(0.7 * weights[~anywhere])
    assert found[anywhere] - 0.7 * weights[anywhere] == pytest.approx(0.03)
    assert np.array_equal(hedged(weights, np.zeros(50, bool), 0.3), weights)


def test_a_wider_tolerance_keeps_the_weights_more_even():
    rng = np.random.default_rng(1)
    pool = rng.standard_normal((500, 3))
    size = [1 / np.sum(tilted(pool, np.array([1.5, 0, 0]), tolerance) ** 2) for tolerance in (1e-6, 1, 10)]
    assert size[0] < size[1] < size[2] < 500
    assert tilted(pool, np.array([1.5, 0, 0]), 1e6) == pytest.approx(np.full(500, 1 / 500), rel=0.01)


def test_noise_leads_back_to_the_prior_and_leaves_targets_apart():
    rng = np.random.default_rng(2)
    summary = learn(world(rng, 60), 4)
    site = world(rng, 12, shift=1.0)
    means, spreads = [], []
    for noise in (0.0, 0.2, 1.0, 100.0):
        targets = summary.targets(told(summary, site, noise), 4_000, np.random.default_rng(0))
        means.append(np.linalg.norm(targets.mean(axis=0)))
        spreads.append(targets.std(axis=0).mean())
    assert all(np.diff(means) < 0)
    assert all(np.diff(spreads) > 0)
    assert spreads[0] < 1e-9
    assert spreads[-1] == pytest.approx(np.sqrt(summary.variance).mean(), rel=0.05)


def test_most_patches_lie_within_the_bound_of_a_patch():
    lessons_ = world(np.random.default_rng(8), 60)
    summary = learn(lessons_, 5, "patch")
    norms = np.array([np.linalg.norm(summary.vector(one[None])) for one in lessons_.reshape(-1, len(NAMES))])
    assert np.mean(norms <= 1) == pytest.approx(0.995, abs=0.003)
    assert learn(lessons_, 5).radius < summary.radius


def test_half_of_the_subjects_lie_within_the_bound_and_a_hostile_one_gives_finite_numbers():
    rng = np.random.default_rng(3)
    lessons_ = world(rng, 80)
    summary = learn(lessons_, 5)
    norms = np.array([np.linalg.norm(summary.vector(one)) for one in lessons_])
    assert np.mean(norms <= 1) == pytest.approx(0.5, abs=0.02)
    for hostile in (
        np.full((3, len(NAMES)), np.nan),
        np.full((3, len(NAMES)), np.inf),
        np.full((3, len(NAMES)), 1e300),
    ):
        assert np.isfinite(summary.vector(hostile)).all()


def test_a_group_that_weighs_more_is_told_first():
    rng = np.random.default_rng(4)
    axes = np.abs(learn(world(rng, 400), 3).axes)
    heavy = feature_weights() > 1
    assert axes[heavy].sum() > 3 * axes[~heavy].sum()


def test_too_few_lessons_are_refused():
    with pytest.raises(SettingsError, match="raise lessons"):
        learn(np.zeros((5, 3, len(NAMES))), 4)


def test_drawing_evenly_keeps_to_the_weights():
    weights = np.random.default_rng(5).dirichlet(np.ones(20))
    counts = np.bincount(evenly(weights, 1_000, np.random.default_rng(6)), minlength=20)
    assert np.abs(counts - 1_000 * weights).max() <= 1


def bars(thick=3, noise=0.1, bright=1.0, count=1):
    """Bars of `thick` pixels on noise, labelled."""
    rng = stream(0, "bars")
    label = np.zeros((10, 32, 32), np.uint8)
    for one in range(count):
        label[:, 4 + 10 * one : 4 + 10 * one + thick, 4:28] = 1
    return np.clip(label * bright - 0.5 + noise * rng.standard_normal(label.shape), -1, 1), label


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("share", {}, {"count": 3}),
        ("width", {"thick": 2}, {"thick": 6}),
        ("area", {"thick": 2}, {"thick": 6}),
        ("spread", {"noise": 0.05}, {"noise": 0.2}),
        ("inside", {"bright": 0.5}, {"bright": 1.0}),
        ("peak", {"bright": 0.5}, {"bright": 1.0}),
        ("dim.2", {"bright": 1.0}, {"bright": 0.1}),
    ],
)
def test_features_rise_with_what_they_are_named_after(name, low, high):
    place = NAMES.index(name)
    assert features(*bars(**low))[:, place].mean() < features(*bars(**high))[:, place].mean()


def test_a_rim_that_readers_left_out_is_seen():
    image, label = bars(thick=6)
    inner = np.zeros_like(label)
    inner[:, 5:9] = label[:, 5:9]
    place = NAMES.index("ring.1")
    assert features(image, inner)[:, place].mean() > features(image, label)[:, place].mean() + 0.5


@pytest.mark.parametrize(("drawn", "low", "high"), [("as seen", 0.4, 0.6), ("thick", 0.1, 0.3), ("thin", 0.7, 0.9)])
def test_where_readers_stop_is_seen(drawn, low, high):
    label = bars(thick=5)[1]
    signal = ndimage.gaussian_filter(label.astype(np.float64), (0, 1, 1))
    image = signal - 0.5 + 0.05 * stream(0, "noise").standard_normal(label.shape)
    reader = {"as seen": lambda one: one, "thick": ndimage.binary_dilation, "thin": ndimage.binary_erosion}[drawn]
    label = np.stack([np.asarray(reader(one), np.uint8) for one in label])
    edge = features(image, label)[:, NAMES.index("edge")]
    assert (edge > low).all()
    assert (edge < high).all()


def test_without_a_label_readers_stop_nowhere():
    image, label = bars()
    assert (features(image, np.zeros_like(label))[:, NAMES.index("edge")] == 0).all()


def test_what_is_bright_and_no_artery_is_seen():
    """Two bars of 5 x 24 pixels: both labelled, or one of them a vein; dim ones count for nothing."""
    image, both = bars(thick=5, noise=0.02, count=2)
    one = bars(thick=5, count=1)[1]
    place = [NAMES.index(name) for name in GROUPS["clutter"]]
    taken, missed = (features(image, label)[:, place] for label in (both, one))
    assert taken[:, :2] == pytest.approx(241 / 242)
    assert missed[:, :2] == pytest.approx(121 / 242)
    assert (taken[:, 2] == 0).all()
    assert (missed[:, 2] > 2.5).all()
    dim = features(*bars(thick=5, noise=0.2, bright=0.2, count=2))[:, place]
    assert dim[:, 0] == pytest.approx(0.5, abs=0.3)
    assert (dim[:, 1] == 0.5).all()


def test_brightness_and_its_unit_do_not_matter_to_contrast():
    image, label = bars()
    for name in GROUPS["contrast"]:
        place = NAMES.index(name)
        assert features(0.5 * image - 0.2, label)[:, place] == pytest.approx(features(image, label)[:, place], abs=1e-5)


def test_patches_without_tissue_say_nothing():
    assert np.isnan(features(np.zeros((2, 16, 16)), np.zeros((2, 16, 16), np.uint8))).all()


def test_a_pool_without_any_patch_says_what_to_change(tmp_path):
    made = build("calibrated", SETTINGS, CONTEXT)
    empty = (cutting._none(f"sub-{index:05d}", 32) for index in range(2))
    write_store(tmp_path / POOL, empty, CONTEXT.patches, seed=1)
    with pytest.raises(DataError, match=r"none of 2 simulated subjects has a place.*larger extent"):
        made._simulate(np.zeros((2, len(DEMO_WIDE))), 1, tmp_path / POOL, SilentProgress())
