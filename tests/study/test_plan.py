import pytest

from angioshare.errors import SettingsError
from angioshare.study.plan import PlanSettings, load_plan, plan_names, to_toml
from angioshare.study.points import expand

BASE = {"preset": "kossen2022-small", "baselines": ["real"]}


def points(**changes):
    return expand(PlanSettings.model_validate(BASE | changes))


@pytest.mark.parametrize("name", plan_names())
def test_every_shipped_plan_expands_with_names_that_differ(name):
    found = [point.name for point in expand(load_plan(name))]
    assert len(set(found)) == len(found) > 10


def test_the_published_grid_has_36_gans_and_288_unets():
    gans = [point for point in expand(load_plan("kossen2022")) if point.source.synthesizer == "wgan"]
    assert len(gans) == 36
    assert sum(len(point.config.segmentation.grid()) for point in gans) == 288
    noise = {point.source.privacy.noise_multiplier for point in gans if point.source.privacy}
    assert noise == {2.0, 1.5, 1.2, 1.0, 0.8, 0.725, 0.65}
    assert {point.source.settings.get("iterations", 64050) for point in gans} == {64050}


def test_the_grid_is_every_combination_with_every_seed():
    grid = [{"source": "wgan-private", "epsilons": [1, 8], "vary": {"settings.batch": [8, 16]}}]
    found = points(seed=5, seeds=2, grid=grid)[2:]
    values = {(p.source.privacy.epsilon, p.source.settings["batch"], p.source.seed) for p in found}
    assert values == {(epsilon, batch, seed) for epsilon in (1, 8) for batch in (8, 16) for seed in (5, 6)}
    assert all(p.source.privacy.noise_multiplier is None for p in found)


def test_one_point_of_each_seed_keeps_the_patches():
    found = points(seeds=2, grid=[{"source": "wgan"}])
    assert {point.keeper for point in found if point.config.seed == 0} == {"real-seed0"}
    assert {point.keeper for point in found if point.config.seed == 1} == {"real-seed1"}


def test_unets_and_set_reach_every_point():
    found = points(unets={"steps": 7}, set=["patches.vessel=9"], grid=[{"source": "wgan"}])
    assert {(p.config.segmentation.steps, p.config.patches.vessel) for p in found} == {(7, 9)}


def test_more_seeds_and_values_at_the_end_rename_nothing():
    first = points(seeds=1, grid=[{"source": "wgan-private", "noise_multipliers": [1.0, 2.0]}])
    more = points(seeds=3, grid=[{"source": "wgan-private", "noise_multipliers": [1.0, 2.0, 4.0]}])
    longer = {point.name: point.config for point in more}
    assert all(longer[point.name] == point.config for point in first)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("preset: demo\nsedes: 3\nbaselines: [real]", "sedes.*unknown key; known are .*seeds"),
        ("preset: demo", "grid entry or a baseline"),
        ("baselines: [real]", "exactly one of preset and config"),
        ("preset: demo\ngrid: [{source: wgan, vary: {seed: [1]}}]", "pairs, settings.KEY or privacy.KEY"),
        ("preset: demo\ngrid: [{source: wgan, epsilons: [1], noise_multipliers: [1]}]", "not both"),
        ("a: [", "is no YAML"),
    ],
)
def test_a_wrong_plan_is_told_with_file_key_and_cure(tmp_path, text, said):
    (tmp_path / "plan.yaml").write_text(text)
    with pytest.raises(SettingsError, match=said):
        load_plan(str(tmp_path / "plan.yaml"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"grid": [{"source": "gan"}]}, "'gan' is none of the base; choose one of real, wgan"),
        ({"unets": {"stepz": 3}}, "stepz"),
        ({"grid": [{"source": "wgan-private", "noise_multipliers": [-1]}]}, "noise_multiplier"),
    ],
)
def test_a_plan_that_does_not_fit_its_base_is_refused(changes, said):
    with pytest.raises(SettingsError, match=said):
        points(**changes)


def test_a_missing_plan_names_the_shipped_ones():
    with pytest.raises(SettingsError, match="kossen2022-small"):
        load_plan("kossen1999")


def test_paths_of_a_plan_are_relative_to_it_and_never_in_the_resolved_plan(tmp_path):
    (tmp_path / "plan.toml").write_text('preset = "demo"\nbaselines = ["real"]\ncohort = "c"\nsecond_sites = ["d"]')
    plan = load_plan(str(tmp_path / "plan.toml"))
    assert (plan.cohort, plan.second_sites) == (tmp_path / "c", (tmp_path / "d",))
    assert str(tmp_path) not in to_toml(plan)


def test_the_published_plan_asks_for_the_gpus_that_it_computes_on():
    plan = load_plan("kossen2022")
    assert {point.config.device for point in expand(plan)} == {"cuda"}
    assert (plan.learn.gpus, plan.measure.gpus) == (1, 1)
