import json

import numpy as np
import pytest

from angioshare.errors import DataError, SettingsError
from angioshare.patches.extract import PatchSettings
from angioshare.patches.patchset import PatchSet
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.release import Release, private_mean
from angioshare.progress import SilentProgress
from angioshare.protocols import EVERY_UNIT, Context
from angioshare.rng import stream
from angioshare.synthesis.calibrated import RELEASE
from angioshare.synthesis.calibration.regression import learn
from angioshare.synthesis.calibration.statistics import NAMES, statistics
from angioshare.synthesis.registry import build

CONTEXT = Context(patches=PatchSettings(size=32, vessel=20, random=10), unit="subject", provenance="dp")
SETTINGS = {"prior": "demo-wide", "lessons": 10, "numbers": 3, "subjects": 2, "measured": 30}


class Engines:
    def __init__(self, ledger, subjects):
        self.ledger, self.calls = ledger, 0
        self.plan = PrivacyPlan(
            unit="subject", n_units=subjects, n_subjects=subjects, patches_per_subject=30, sampling_probability=1.0,
            noise_multiplier=1.0, delta=1e-3,
        )  # fmt: skip

    def mean(self, vectors):
        self.calls += 1
        self.vectors = vectors
        return private_mean(vectors, self.plan, self.ledger, "run")


@pytest.fixture
def engines(tmp_path):
    with Ledger.open(tmp_path / "ledger.jsonl", subjects={"sub-1": "a1", "sub-2": "b2"}) as ledger:
        yield Engines(ledger, 2)


@pytest.fixture(scope="module")
def lessons(tmp_path_factory):
    """A folder in which lessons were simulated once; tests copy it."""
    folder = tmp_path_factory.mktemp("lessons")
    nobody = PatchSet(
        image=np.zeros((2, 32, 32), np.float32), label=np.zeros((2, 32, 32), np.uint8), subject=np.arange(2),
        subjects=("a", "b"),
    )  # fmt: skip
    build("calibrated", SETTINGS, CONTEXT).fit(nobody, None, seed=1, folder=folder, progress=SilentProgress())
    return (folder / "lessons.safetensors").read_bytes()


@pytest.fixture
def fit(real32, engines, lessons, tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "lessons.safetensors").write_bytes(lessons)

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
    assert engines.calls == 1
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
    with pytest.raises(DataError, match="charges a new release"):
        fit(numbers=2)
    content = json.loads((fit.folder / RELEASE).read_text())
    (fit.folder / RELEASE).write_text(json.dumps({**content, "mean": "x"}))
    with pytest.raises(DataError, match="damaged"):
        fit()
    assert engines.calls == 1


def test_patches_that_cannot_be_measured_give_a_finite_vector(fit, engines, real32):
    real32.label[:12] = 0
    real32.image[:12] = 0
    fit()
    assert np.isfinite(engines.vectors).all()


def test_it_plans_one_step_with_everybody_and_protects_subjects_alone():
    made = build("calibrated", SETTINGS, CONTEXT)
    assert (made.schedule().steps, made.schedule().units) == (1, EVERY_UNIT)
    assert made.work() == 12
    with pytest.raises(SettingsError, match="subject"):
        build("calibrated", SETTINGS, Context(patches=CONTEXT.patches, unit="patch", provenance="dp"))
    with pytest.raises(SettingsError, match="choose one of"):
        build("calibrated", {"prior": "mars"}, CONTEXT)


@pytest.fixture(scope="module")
def known():
    """A made-up world: 6 parameters, statistics that are mixtures of 4 of them with noise."""
    rng = np.random.default_rng(2)
    mixing = np.vstack([rng.standard_normal((4, 12)), np.zeros((2, 12))])

    def measure(shares, rng):
        return shares @ mixing + 0.05 * rng.standard_normal((len(shares), 12))

    shares = rng.random((300, 6))
    return learn(shares, measure(shares, rng), 4), measure


def told(calibration, statistics, noise):
    vectors = np.array([calibration.vector(one) for one in statistics])
    return Release(mean=vectors.mean(axis=0), noise_std=noise)


def test_known_parameters_are_found_without_noise_and_the_prior_stays_where_nothing_is_known(known):
    calibration, measure = known
    rng = np.random.default_rng(3)
    shares = np.array([0.7, 0.3, 0.6, 0.4, 0.9, 0.1])
    mean, covariance = calibration.posterior(told(calibration, measure(np.tile(shares, (20, 1)), rng), 0.0))
    assert 0.5 + mean[:4] / np.sqrt(12) == pytest.approx(shares[:4], abs=0.12)
    assert np.all(np.diag(covariance)[:4] < 0.5)
    assert np.all(np.diag(covariance)[4:] > 0.9)


def test_noise_leads_back_to_the_prior(known):
    calibration, measure = known
    found = measure(np.full((5, 6), 0.8), np.random.default_rng(4))
    shift = [np.linalg.norm(calibration.posterior(told(calibration, found, noise))[0]) for noise in (0, 0.3, 1, 100)]
    assert all(np.diff(shift) < 0)
    assert shift[-1] < 0.01
    sites = calibration.sites(told(calibration, found, 100.0), 2_000, np.random.default_rng(0))
    assert sites.min() >= 0
    assert sites.max() <= 1
    assert sites.mean(axis=0) == pytest.approx(np.full(6, 0.5), abs=0.03)


def test_numbers_that_are_released_are_sorted_by_what_they_tell(known):
    calibration, measure = known
    rng = np.random.default_rng(5)
    spread = np.std([calibration.vector(one) for one in measure(rng.random((200, 6)), rng)], axis=0)
    assert np.all(np.diff(spread) < 0.05)


def test_too_few_lessons_are_refused():
    with pytest.raises(SettingsError, match="simulate more"):
        learn(np.zeros((5, 3)), np.zeros((5, 4)), 3)


def patches_with(thick=1, noise=0.1, bright=1.0):
    """Bars of `thick` pixels on noise, labelled."""
    rng = stream(0, "bars")
    label = np.zeros((10, 32, 32), np.uint8)
    label[:, 16 : 16 + thick, 4:28] = 1
    return label * bright - 0.5 + noise * rng.standard_normal(label.shape), label


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("width", {"thick": 2}, {"thick": 6}),
        ("share.vessel", {"thick": 2}, {"thick": 6}),
        ("spread.vessel", {"noise": 0.05}, {"noise": 0.2}),
        ("peak.large", {"bright": 0.5, "thick": 3}, {"bright": 1.0, "thick": 3}),
        ("dim.2", {"bright": 1.0}, {"bright": 0.1}),
    ],
)
def test_statistics_rise_with_what_they_are_named_after(name, low, high):
    measured = [statistics(*patches_with(**how))[NAMES.index(name)] for how in (low, high)]
    assert measured[0] < measured[1]


def test_statistics_do_not_see_scale_and_shift():
    image, label = patches_with()
    assert statistics(0.3 * image - 0.2, label)[9:] == pytest.approx(
        statistics(image, label)[9:], nan_ok=True, abs=0.05
    )


@pytest.mark.parametrize("count", [0, 1])
def test_patches_without_anything_to_measure_give_nan_not_an_error(count):
    empty = np.zeros((count, 32, 32))
    found = statistics(empty, empty.astype(np.uint8))
    assert found.shape == (len(NAMES),)
    assert np.isnan(found[NAMES.index("width")])
