import json
import shutil

import pytest

from angioshare.cli.main import main


@pytest.fixture
def place(cohorts, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    shutil.copytree(cohorts / "A", tmp_path / "A")
    return tmp_path


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


def test_a_copied_cohort_does_not_start_at_zero(place, settings_file, capsys):
    stop_early = ["--set", "sources.wgan-subject.settings.iterations=1"]
    assert call(place, settings_file, *stop_early) == 0
    shutil.copytree(place / "A", place / "moved", ignore=shutil.ignore_patterns("angioshare"))
    out = place / "other"
    code = main(["run", str(place / "moved"), str(out), "--config", str(settings_file), *stop_early])
    assert code == 4
    assert "already have a ledger" in capsys.readouterr().err


def test_an_edited_ledger_is_refused_and_told(place, settings_file, capsys):
    assert call(place, settings_file) == 0
    path = place / "A" / "derivatives" / "angioshare" / "ledger.jsonl"
    path.write_text(path.read_text().replace('"steps":8', '"steps":1', 1))
    capsys.readouterr()
    assert main(["ledger", str(place / "A"), "--check"]) in (1, 4)
    assert "chain" in (spoken := capsys.readouterr()).err + spoken.out
    shutil.rmtree(place / "run")
    assert call(place, settings_file) == 4


def test_a_folder_that_holds_something_else_is_left_alone(place, settings_file, capsys):
    (place / "run").mkdir()
    (place / "run" / "thesis.txt").write_text("mine")
    assert call(place, settings_file) == 2
    assert "choose another folder" in capsys.readouterr().err
    assert [path.name for path in (place / "run").iterdir()] == ["thesis.txt"]


def test_privacy_cannot_be_claimed_for_copies_of_real_patches(place, settings_file, capsys):
    for source in ("shuffled", "real"):
        code = call(place, settings_file, "--set", f"sources.{source}.privacy={{noise_multiplier=1.0}}")
        assert code == 2
        assert "no private step" in capsys.readouterr().err
        assert not (place / "run" / "public" / "synthetic" / source).exists()
        shutil.rmtree(place / "run")
