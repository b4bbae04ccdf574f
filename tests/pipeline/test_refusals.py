import json
import shutil

import pytest

from angioshare.cli.main import main
from angioshare.stages.folder import make_folder, planned_run


def call(place, settings_file, *more):
    return main(["run", str(place / "A"), str(place / "run"), "--config", str(settings_file), *map(str, more)])


def test_a_second_site_that_holds_the_same_people_is_refused(place, settings_file, capsys):
    shutil.copytree(place / "A", place / "copy")
    assert call(place, settings_file, "--second-site", place / "copy") == 3
    said = capsys.readouterr().err
    assert "is the same scan as sub-A0" in said
    assert not (place / "run" / "private" / "patches").exists()


def test_a_budget_that_has_no_room_stops_before_the_first_step(place, settings_file, capsys):
    assert call(place, settings_file, "--set", "sources.wgan-private.privacy.budget=0.01") == 4
    assert "epsilon_budget=0.01" in capsys.readouterr().err
    assert main(["ledger", str(place / "A"), "--json"]) == 0
    spent = [event["run"] for event in json.loads(capsys.readouterr().out)["events"]]
    assert not [run for run in spent if run.endswith("wgan-private")]


def test_delta_at_one_over_the_units_is_refused(place, settings_file, capsys):
    assert call(place, settings_file, "--set", "sources.wgan-private.privacy.delta=0.5") == 4
    assert "delta" in capsys.readouterr().err


def test_privacy_cannot_be_claimed_for_copies_of_real_patches(place, settings_file, capsys):
    for source in ("shuffled", "real"):
        code = call(place, settings_file, "--set", f"sources.{source}.privacy={{noise_multiplier=1.0}}")
        assert code == 2
        assert "no private step" in capsys.readouterr().err
        assert not (place / "run").exists()


def test_a_folder_that_holds_something_else_is_left_alone(place, settings_file, capsys):
    (place / "run").mkdir()
    (place / "run" / "thesis.txt").write_text("mine")
    assert call(place, settings_file) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert [path.name for path in (place / "run").iterdir()] == ["thesis.txt"]


def test_resume_takes_up_the_named_run_and_no_other(place, begun, cohorts, capsys):
    resumed = ["run", str(place / "A"), str(place / "run"), "--resume", "--dry-run"]
    assert main(resumed) == 2  # a typing error must not begin a run that spends
    assert "run.json is missing" in capsys.readouterr().err
    begun()
    assert main(resumed) == 0
    second = ["--second-site", str(cohorts / "B")]
    for wrong in ([*second], ["--ledger", str(place / "other.jsonl")]):
        assert main([*resumed, *wrong]) == 2
        assert f"was begun with {wrong[0]}" in capsys.readouterr().err
    assert main(["run", str(cohorts / "B"), *resumed[2:]]) == 2
    assert "was begun with COHORT" in capsys.readouterr().err


def test_a_clip_norm_that_would_falsify_a_release_is_refused_before_anything_is_made(place, settings_file, capsys):
    source = ["--set", "sources.wgan-private.synthesizer='calibrated'", "--set", "sources.wgan-private.settings={}"]
    assert call(place, settings_file, *source, "--set", "sources.wgan-private.privacy.clip_norm=0.1") == 2
    assert "bounds what each unit gives to 1 itself" in capsys.readouterr().err
    assert not (place / "run").exists()


def test_a_copied_cohort_does_not_start_at_zero(place, unfinished, capsys):
    shutil.copytree(place / "A", place / "moved", ignore=shutil.ignore_patterns("angioshare"))
    other = make_folder(planned_run(place / "other", unfinished.config, place / "moved", state=place / "state"))
    assert main(["prepare", str(other.root)]) == 0
    assert main(["train", str(other.root)]) == 4
    assert "already have a ledger" in capsys.readouterr().err


@pytest.mark.parametrize(("sources", "says"), [(1, "was seen before"), (2, "chain")])
def test_an_edited_ledger_is_refused_and_told(place, begun, unfinished, capsys, sources, says):
    """Its last line, too, which no later line holds to its word."""
    if sources == 2:
        more = str(begun("more").root)
        assert [main([stage, more]) for stage in ("prepare", "train")] == [0, 0]
    path = place / "A" / "derivatives" / "angioshare" / "ledger.jsonl"
    path.write_text(path.read_text().replace('"steps":8', '"steps":1', 1))
    capsys.readouterr()
    assert main(["ledger", str(place / "A"), "--check"]) == 1
    assert says in capsys.readouterr().out
    other = str(begun("other").root)
    assert main(["prepare", other]) == 0
    assert main(["train", other]) == 4
