import math
from dataclasses import replace

import pytest

from angioshare.errors import DataError, PrivacyError, SettingsError
from angioshare.privacy.unit import without_privacy
from angioshare.rundir import read_json, write_json
from angioshare.stages.folder import digest_of
from angioshare.stages.report import statement_of
from angioshare.tracking.gather import sides_of
from angioshare.tracking.spent import epsilon_series

from .conftest import SECRET


def numbers(tracks):
    """Every number by track and name."""
    return {
        (track.name, one.name): dict(zip(one.steps, one.values, strict=True))
        for track in tracks
        for one in track.series
    }


@pytest.fixture
def sides(run):
    return sides_of(run.root, state=run.state)


def test_no_unprotected_number_and_no_time_may_be_seen(sides):
    found = numbers(sides.shareable)
    assert ("private", "fidelity/ssim_mean") in found
    assert all(abs(value) != SECRET for values in found.values() for value in values.values())
    assert not [name for _, name in found if "wall_time" in name or "training" in name or "evaluate" in name]


def test_scores_of_a_source_without_guarantee_are_internal(sides):
    assert ("wgan", "fidelity/ssim_mean") not in numbers(sides.shareable)
    assert numbers(sides.internal)["wgan", "fidelity/ssim_mean"] == {0: 0.5}


def test_internal_side_has_everything_that_may_be_seen_and_more(sides):
    seen, internal = numbers(sides.shareable), numbers(sides.internal)
    assert seen.items() <= internal.items()
    assert internal["private", "training/critic_score_real"] == {10: SECRET, 20: -SECRET}
    assert internal["private", "training_on_simulated_patches/critic_score_real"] == {10: SECRET}
    assert (".", "prepare/wall_time") in internal


def test_scores_are_means_over_subjects_that_tell_of_undefined_ones_and_a_grid_stands_side_by_side(sides):
    internal = numbers(sides.internal)
    assert internal["wgan", "evaluate/dice/A/mean_over_subjects"] == {0: pytest.approx(SECRET)}
    assert internal["wgan", "evaluate/dice/A/undefined_for_subjects"] == {0: 1.0}
    assert internal["wgan", "segment/validation_dice"] == {0: SECRET, 1: SECRET}


def test_epsilon_rises_over_the_charged_steps_to_what_the_statement_says(run, sides):
    statement = statement_of(run, run.config.sources[1])
    found = numbers(sides.shareable)
    for unit in ("patch", "subject"):
        spent = found["private", f"privacy/epsilon_{unit}"]
        assert list(spent) == [0, 10, 20, 30, 40]
        assert list(spent.values()) == sorted(set(spent.values()))
        assert spent[0] == 0.0
        assert spent[40] == getattr(statement, unit).epsilon
        assert found["whole cohort", f"privacy/epsilon_{unit}"] == {0: spent[40]}


def test_every_epsilon_stands_beside_its_statement(sides):
    for track in sides.shareable:
        if any("epsilon" in one.name for one in track.series):
            assert "epsilon = " in track.about["statement"]
            assert {one.name for one in track.series} >= {"privacy/epsilon_patch", "privacy/epsilon_subject"}


def test_training_at_work_tells_what_the_ledger_has_charged(begun, run):
    del run
    begun.done("train", "private").unlink()
    at_work = sides_of(begun.root, state=begun.state)
    (track,) = [track for track in at_work.shareable if track.name == "private"]
    assert track.series[0].steps[-1] == 40
    assert "as far as it is trained" in track.about["statement"]


def test_run_that_has_just_begun_has_no_scores_but_spends_already(begun):
    found = numbers(sides_of(begun.root, state=begun.state).shareable)
    assert max(found["private", "privacy/epsilon_patch"]) == 20
    assert not [name for _, name in found if not name.startswith("privacy/")]


def test_run_before_anything_was_charged_shows_words_alone(run):
    for stage in ("prepare", "train"):
        for item in run.items(stage):
            run.done(stage, item).unlink()
    write_json(run.root / "run.json", {"id": "another", "cohort": str(run.cohort), "second_sites": [], "ledger": ""})
    (told,) = [track for track in sides_of(run.root, state=run.state).shareable if track.name == "private"]
    assert "privacy/epsilon_patch" not in {one.name for one in told.series}
    assert told.about["privacy.noise_multiplier"] == "4.0"


def test_statement_without_guarantee_gives_no_epsilon(run):
    assert epsilon_series(without_privacy(("pairs",))) == []
    private = statement_of(run, run.config.sources[1])
    assert epsilon_series(replace(private, caveats=("not private: seeded noise",))) == []


@pytest.mark.parametrize("unit", ["patch", "subject"])
def test_epsilon_of_one_unit_is_not_drawn_where_that_of_the_other_is_infinite(run, unit):
    private = statement_of(run, run.config.sources[1])
    assert len(epsilon_series(private)) == 2
    assert epsilon_series(replace(private, **{unit: replace(getattr(private, unit), epsilon=math.inf)})) == []


def change_settings(run, old, new):
    """Write other settings, as if the run had been made with them."""
    file, identity = run.root / "config.toml", run.root / "run.json"
    file.write_text(file.read_text().replace(old, new))
    write_json(identity, {**read_json(identity), "settings": digest_of(file.read_text())})


def test_settings_are_told_unless_they_could_hold_a_path(run):
    change_settings(run, "critic_updates = 2", 'critic_updates = 2\nmodel = "/srv/clinic/net.ts"')
    sides = sides_of(run.root, state=run.state)
    (told,) = [track.about for track in sides.shareable if track.name == "private"]
    assert told["settings.batch"] == "4"
    assert "clinic" not in str(sides.shareable)


def test_title_that_holds_a_path_is_refused(run):
    change_settings(run, '"Tracked"', '"Scans in /srv/clinic"')
    with pytest.raises(PrivacyError, match="another title"):
        sides_of(run.root, state=run.state)


def test_title_that_names_a_subject_is_refused(run):
    change_settings(run, '"Tracked"', '"Without sub-A1"')
    with pytest.raises(PrivacyError, match="a subject in a title"):
        sides_of(run.root, state=run.state)


@pytest.mark.parametrize("text", ["", "[", "{}", '[{"iteration": 1}, {}]', '[{"loss": 1}]', '[{"iteration": "x"}]'])
def test_damaged_curve_is_told_with_its_name(run, text):
    (run.source("private") / "curve.json").write_text(text)
    with pytest.raises(DataError, match=r"private/curve\.json.*bring back"):
        sides_of(run.root, state=run.state)


@pytest.mark.parametrize(
    ("plan", "points"),
    [
        (b"", {"points": {}}), (b"\xff", {"points": {}}), (b"title = 1", {"points": {}}), (None, {"points": {}}),
        (b"title = 'a'", {}), (b"title = 'a'", {"points": 5}), (b"title = 'a'", {"points": {"../../run": {}}}),
    ],
)  # fmt: skip
def test_damaged_study_is_told(tmp_path, plan, points):
    write_json(tmp_path / "study.json", points)
    if plan is not None:
        (tmp_path / "study.toml").write_bytes(plan)
    with pytest.raises(DataError, match="study"):
        sides_of(tmp_path, state=tmp_path)


def test_folder_that_is_neither_run_nor_study_is_refused(tmp_path):
    with pytest.raises(SettingsError, match="no run folder"):
        sides_of(tmp_path, state=tmp_path)


def test_points_of_a_study_stand_by_their_names(run, tmp_path):
    study = tmp_path / "study"
    (study / "points").mkdir(parents=True)
    run.root.rename(study / "points" / "noise-4-s0")
    write_json(study / "study.json", {"points": {"noise-4-s0": {}}})
    (study / "study.toml").write_text('title = "Noise"\n')
    sides = sides_of(study, state=run.state)
    assert sides.title == "Noise"
    assert {track.name for track in sides.shareable} == {
        "whole cohort", "noise-4-s0/wgan", "noise-4-s0/private", "noise-4-s0/simulator"
    }  # fmt: skip
