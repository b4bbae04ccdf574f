import itertools
import json

import numpy as np
import pytest
from watched import Releases

from angioshare.errors import DataError, SettingsError
from angioshare.patches.extract import PatchSettings
from angioshare.patches.patchset import PatchSet
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.release import Release
from angioshare.progress import SilentProgress
from angioshare.protocols import EVERY_UNIT, Context
from angioshare.simulator.subject import SimulatedSubject
from angioshare.synthesis import evolution_population
from angioshare.synthesis.evolution_votes import offspring, votes, weights
from angioshare.synthesis.registry import build

CONTEXT = Context(patches=PatchSettings(size=16, vessel=20, random=10), unit="subject", provenance="dp")
REHEARSAL = Context(patches=CONTEXT.patches, unit="subject")
"""Several rounds are refused in a private run as long as the core releases one mean; their order is tested anyway."""
SETTINGS = {"prior": "demo-wide", "prototypes": 12, "numbers": 3, "subjects": 4, "measured": 30}


# The formulas


PROTOTYPES = np.random.default_rng(0).standard_normal((9, 3))
SEEN = {
    "near": PROTOTYPES[4] + 0.01,
    "between": PROTOTYPES.mean(axis=0),
    "far": np.full(3, 50.0),
    "huge": np.array([1e308, -1e308, 1e308]),
    "nan": np.array([np.nan, 0.0, 0.0]),
    "infinite": np.array([np.inf, 0.0, 0.0]),
}


def check_one_subject_moves_the_histogram_by_at_most_one(cast):
    for row, others, temperature in itertools.product(SEEN.values(), (0, 1, 5), (1e-3, 0.2, 100.0)):
        rest = np.random.default_rng(1).standard_normal((others, 3))
        with np.errstate(all="ignore"):
            moved = cast(np.vstack([rest, row]), PROTOTYPES, temperature).sum(axis=0)
            moved = moved - cast(rest, PROTOTYPES, temperature).sum(axis=0)
        assert np.linalg.norm(moved) <= 1 + 1e-9


def test_one_subject_moves_the_histogram_by_at_most_one():
    check_one_subject_moves_the_histogram_by_at_most_one(votes)


def without_norm(seen, prototypes, temperature):
    """Three votes for each subject."""
    cast = np.zeros((len(seen), len(prototypes)))
    distance = np.nan_to_num(((seen[:, None] - prototypes[None]) ** 2).sum(axis=-1))
    np.put_along_axis(cast, np.argsort(distance, axis=1)[:, :3], 1.0, axis=1)
    return cast


def letting_nan_through(seen, prototypes, temperature):
    cast = votes(np.nan_to_num(seen), prototypes, temperature)
    return np.where(np.isfinite(seen).all(axis=1, keepdims=True), cast, np.nan)


def scaled_by_the_cohort(seen, prototypes, temperature):
    """Sets the spread by the subjects that are there: another one moves everybody's votes."""
    return votes(seen, prototypes, temperature * (1 + np.nanmax(np.abs(seen), initial=0.0)))


@pytest.mark.parametrize("mutant", [without_norm, letting_nan_through, scaled_by_the_cohort])
def test_check_of_the_bound_catches(mutant):
    with pytest.raises(AssertionError):
        check_one_subject_moves_the_histogram_by_at_most_one(mutant)


def test_a_subject_votes_most_for_what_it_resembles_and_spreads_with_temperature():
    cold, warm = (votes(PROTOTYPES[[4]] + 0.01, PROTOTYPES, temperature)[0] for temperature in (0.01, 1.0))
    assert cold.argmax() == warm.argmax() == 4
    assert cold.max() > warm.max()
    assert cold.sum() == pytest.approx(0, abs=1e-12)


def test_weights_find_the_prototype_without_noise_and_stay_alike_where_none_stands_out():
    mean = votes(np.tile(PROTOTYPES[4], (6, 1)), PROTOTYPES, 0.2).mean(axis=0)
    assert weights(Release(mean=mean, noise_std=0.0), PROTOTYPES, 0.2, 1.0).argmax() == 4
    drowned = weights(Release(mean=mean, noise_std=100.0), PROTOTYPES, 0.2, 1.0)
    assert drowned == pytest.approx(np.full(9, 1 / 9))


def test_children_follow_the_weights_and_stay_within_the_prior():
    rng = np.random.default_rng(0)
    parents = rng.random((3, 5))
    children = offspring(parents, np.array([0.5, 0.0, 0.5]), 40, 0.0, rng)
    assert [int((children == parent).all(axis=1).sum()) for parent in parents] == [20, 0, 20]
    mutated = offspring(parents, np.array([0.5, 0.0, 0.5]), 400, 0.4, rng)
    assert mutated.min() >= 0
    assert mutated.max() <= 1
    assert mutated.std(axis=0).min() > 0.1


# The synthesizer, over a made-up simulator that takes no time


@pytest.fixture
def engines(tmp_path):
    with Ledger.open(tmp_path / "ledger.jsonl", subjects={"sub-1": "a1", "sub-2": "b2"}) as ledger:
        yield Releases(ledger, 2, patches_per_subject=30)


def toy_subject(parameters, seed):
    """A slice stack with bars as thick as the readers draw, and the site's noise."""
    rng = np.random.default_rng(seed)
    label = np.zeros((32, 32, 6), np.uint8)
    width = round(3 * parameters.reader.thickness)
    label[10 : 10 + width, 4:28] = 1
    label[20 : 20 + width, 4:28] = 1
    noise = 40 * parameters.acquisition.noise * rng.standard_normal(label.shape)
    angio = (80 + 120 * label + noise).clip(1, 255).astype(np.uint8)
    return SimulatedSubject(
        angio=angio, label=label, brain=np.ones_like(label), spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4)
    )


@pytest.fixture
def toy(monkeypatch):
    made = []

    def simulate(wanted, workers=1):
        made.extend(wanted)
        yield from (toy_subject(parameters, seed) for parameters, seed in wanted)

    monkeypatch.setattr(evolution_population, "simulate_each", simulate)
    return made


@pytest.fixture
def real16():
    rng = np.random.default_rng(0)
    label = np.zeros((24, 16, 16), np.uint8)
    label[:, 6:9, 2:14] = 1
    image = (label - 0.5 + rng.normal(0, 0.1, label.shape)).clip(-1, 1).astype(np.float32)
    return PatchSet(image=image, label=label, subject=np.repeat([0, 1], 12), subjects=("sub-1", "sub-2"))


@pytest.fixture
def fit(real16, engines, toy, tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()

    def run(**changes):
        made = build("evolution", {**SETTINGS, **changes}, REHEARSAL if changes.get("rounds", 1) > 1 else CONTEXT)
        made.fit(real16, engines, seed=1, folder=folder, progress=SilentProgress())
        return made.load(folder, real16)

    run.folder = folder
    return run


def lose_patches(folder):
    """As after a crash before the last generation was written."""
    (folder / "patches").rename(folder / f"lost-{len(list(folder.glob('lost-*')))}")


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_each_round_is_charged_before_its_only_noise_is_drawn(fit, engines, rounds):
    pairs = fit(rounds=rounds).sample(8, seed=0)
    assert engines.charged == list(range(1, rounds + 1))
    assert pairs.provenance == ("dp" if rounds == 1 else "unprotected")
    assert pairs.label.any()


def test_votes_and_prototypes_are_kept_whatever_breaks_after_them(fit, engines, toy):
    first = fit(rounds=2).sample(8, seed=0)
    lose_patches(fit.folder)
    toy.clear()
    again = fit(rounds=2).sample(8, seed=0)
    assert len(engines.charged) == 2
    assert len(toy) == SETTINGS["subjects"]
    assert np.array_equal(first.image, again.image)


def test_a_crash_between_rounds_repeats_no_round(fit, engines, monkeypatch):
    sound = engines.mean

    def broken(vectors):
        if len(engines.charged) == 1:
            raise OSError("the machine stops")
        return sound(vectors)

    monkeypatch.setattr(engines, "mean", broken)
    with pytest.raises(OSError, match="stops"):
        fit(rounds=2)
    first = (fit.folder / "votes-1.json").read_bytes()
    monkeypatch.setattr(engines, "mean", sound)
    fit(rounds=2)
    assert engines.charged == [1, 2]
    assert (fit.folder / "votes-1.json").read_bytes() == first


def test_the_real_patches_enter_through_the_votes_alone_and_are_read_once(fit, real16, monkeypatch):
    reads, sound = [], PatchSet.pairs

    def counted(patches, indices):
        reads.append(len(indices))
        return sound(patches, indices)

    monkeypatch.setattr(PatchSet, "pairs", counted)
    pairs = fit(rounds=2).sample(8, seed=0)
    assert reads == [12, 12]
    lose_patches(fit.folder)
    real16.image[:] = -real16.image
    real16.label[:] = 1
    assert np.array_equal(fit(rounds=2).sample(8, seed=0).image, pairs.image)
    assert reads == [12, 12]


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 1e30])
def test_whatever_a_subject_holds_it_moves_its_own_votes_alone(fit, engines, real16, value):
    fit()
    lose_patches(fit.folder)
    (fit.folder / "votes-1.json").unlink()
    real16.image[:12] = value
    real16.label[:12] = 0
    fit()
    before, after = engines.vectors
    assert np.linalg.norm(before, axis=1) == pytest.approx(np.ones(2))
    assert np.linalg.norm(after, axis=1).max() <= 1 + 1e-9
    assert np.array_equal(before[1], after[1])
    assert not np.array_equal(before[0], after[0])


def test_stored_votes_of_other_settings_or_damaged_ones_are_refused_not_cast_anew(fit, engines):
    fit()
    lose_patches(fit.folder)
    with pytest.raises(DataError, match="without it a new release would be charged, which a target epsilon forbids"):
        fit(temperature=0.5)
    content = json.loads((fit.folder / "votes-1.json").read_text())
    (fit.folder / "votes-1.json").write_text(json.dumps({**content, "mean": "x"}))
    with pytest.raises(DataError, match="damaged"):
        fit()
    with pytest.raises(DataError, match="other settings"):
        fit(prototypes=13)
    assert len(engines.charged) == 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_without_noise_the_last_generation_is_nearer_to_the_cohort_than_the_first(toy, tmp_path, seed):
    """Six thick readers vote: what is drawn has thick labels, though the prior has thin ones, too."""
    made = build("evolution", {**SETTINGS, "prototypes": 60, "rounds": 2, "mutation": 0.05, "subjects": 24}, REHEARSAL)
    thick = evolution_population.Breeder(
        prior=made._breeder.prior, each=1, patches=CONTEXT.patches, workers=1
    )  # the same toy draws the cohort
    at, span = list(thick.prior.spans).index("reader.thickness"), thick.prior.spans["reader.thickness"]
    shares = np.random.default_rng(5).random((6, len(thick.prior)))
    shares[:, at] = 0.95
    parts = thick.subjects(shares, list(range(6)), CONTEXT.patches, 0, SilentProgress())
    cohort = PatchSet(
        image=np.concatenate([part.image for part in parts]),
        label=np.concatenate([part.label for part in parts]),
        subject=np.repeat(np.arange(6), [len(part.image) for part in parts]),
        subjects=tuple(f"sub-{n}" for n in range(6)),
    )
    toy.clear()
    made.fit(cohort, None, seed=seed, folder=tmp_path, progress=SilentProgress())
    drawn = [parameters.reader.thickness for parameters, _ in toy]
    assert np.mean(drawn[-24:]) > span.at(0.7) > span.at(0.59) > np.mean(drawn[:60])


def test_it_plans_a_step_a_round_with_everybody_and_protects_subjects_alone():
    made = build("evolution", {**SETTINGS, "rounds": 2, "each": 2}, REHEARSAL)
    assert (made.schedule().steps, made.schedule().units) == (2, EVERY_UNIT)
    assert made.work() == 2 * 12 * 2 + 4
    with pytest.raises(SettingsError, match="subject"):
        build("evolution", SETTINGS, Context(patches=CONTEXT.patches, unit="patch", provenance="dp"))
    with pytest.raises(SettingsError, match="rounds=1"):
        build("evolution", {**SETTINGS, "rounds": 2}, CONTEXT)
    with pytest.raises(SettingsError, match="choose one of"):
        build("evolution", {"prior": "mars"}, CONTEXT)
    with pytest.raises(SettingsError, match="at least 24"):
        build("evolution", {"prototypes": 8}, CONTEXT)


@pytest.mark.slow
def test_it_runs_on_the_simulator_itself(engines, real16, tmp_path):
    made = build("evolution", {**SETTINGS, "prototypes": 4, "numbers": 1, "subjects": 1}, CONTEXT)
    made.fit(real16, engines, seed=1, folder=tmp_path, progress=SilentProgress())
    pairs = made.load(tmp_path, real16).sample(30, seed=0)
    assert len(pairs) == 30
    assert pairs.label.any()
