import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time

import numpy as np
import pytest

from angioshare.cli.main import main
from angioshare.patches.store import open_store
from angioshare.stages.embed import read_embeddings

STAGES = ("prepare", "train", "sample", "segment", "evaluate", "report")


@pytest.fixture(scope="module")
def place(cohorts, tmp_path_factory):
    """A folder of its own for runs, with copies of the cohorts and a state folder."""
    root = tmp_path_factory.mktemp("place")
    shutil.copytree(cohorts / "A", root / "A")
    shutil.copytree(cohorts / "B", root / "B")
    patch = pytest.MonkeyPatch()
    patch.setenv("XDG_STATE_HOME", str(root / "state"))
    yield root
    patch.undo()


@pytest.fixture(scope="module")
def run(place, settings_file):
    out = place / "run"
    code = main(["run", str(place / "A"), str(out), "--second-site", str(place / "B"), "--config", str(settings_file)])
    assert code == 0
    return out


def records(run):
    return json.loads((run / "results.json").read_text())


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


def test_every_source_is_scored_on_every_test_subject_of_both_sites(run):
    scored = {(r["trained_on"], r["site"], r["subject"]) for r in records(run) if r["metric"] == "dice"}
    sources = ("real", "wgan", "wgan-private", "wgan-subject", "simulator", "shuffled")
    subjects = (("A", "sub-A4"), ("A", "sub-A5"), ("B", "sub-B0"), ("B", "sub-B1"))
    assert scored == {(source, *subject) for source in sources for subject in subjects}


def test_how_many_real_patches_there_are_is_told_inside_alone(run):
    """With `allow_fewer` it follows from a subject's labels."""
    told = {r["trained_on"]: r["provenance"] for r in records(run) if r["metric"] == "pairs"}
    assert {name for name, provenance in told.items() if provenance == "unprotected"} == {"real", "shuffled"}


def test_a_second_call_does_nothing(run, place, settings_file, capsys):
    before = files(place)
    main(["run", str(place / "A"), str(run), "--second-site", str(place / "B"), "--config", str(settings_file)])
    main(["run", str(place / "A"), str(run), "--resume"])
    assert files(place) == before
    assert str(run / "private" / "report-internal.html") in capsys.readouterr().out


def test_both_units_stand_beside_every_private_source(run):
    found = {(r["trained_on"], r["metric"]): r["value"] for r in records(run) if r["metric"].startswith("epsilon")}
    assert 0 < found["wgan-private", "epsilon_patch"] < found["wgan-private", "epsilon_subject"]
    assert 0 < found["wgan-subject", "epsilon_subject"] <= 8
    assert found["wgan", "epsilon_patch"] is None
    assert found["simulator", "epsilon_subject"] == 0
    statement = json.loads((run / "public" / "statements" / "wgan-private.json").read_text())
    assert "for one patch" in statement["sentence"]
    assert "for one subject" in statement["sentence"]


def test_only_protected_and_public_pairs_stand_on_the_public_side(run):
    assert {path.name for path in (run / "public" / "synthetic").iterdir()} == {
        "wgan-private", "wgan-subject", "simulator",
    }  # fmt: skip
    assert {path.name for path in (run / "private" / "synthetic").iterdir()} == {"wgan", "shuffled"}
    pairs = open_store(run / "public" / "synthetic" / "wgan-private")
    assert (len(pairs), pairs.provenance, pairs.subjects) == (20, "dp", ())
    assert set(np.unique(pairs.label)) <= {0, 1}


def test_the_private_side_is_closed_to_others(run):
    assert stat.S_IMODE((run / "private").stat().st_mode) == 0o700
    protected = {run / "private" / "unets" / name for name in ("wgan-private", "wgan-subject", "simulator")}
    readable = [
        path for path in [run / "results.json", *(run / "private").rglob("*")]
        if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077 and path.parent not in protected
    ]  # fmt: skip
    assert readable == []


def test_nothing_unprotected_stands_on_the_shareable_page(run):
    page = (run / "public" / "report.html").read_text()
    internal = (run / "private" / "report-internal.html").read_text()
    assert "sub-A4" in internal
    for telltale in ("sub-A", "sub-B", str(run.parent), os.environ["XDG_STATE_HOME"]):
        assert telltale not in page
    dice = {f"{r['value']:.3f}" for r in records(run) if r["metric"] == "dice" and r["value"]}
    assert not [value for value in dice if f">{value}" in page]


def test_every_source_is_compared_with_training_and_test_patches(run):
    found = {(r["trained_on"], r["metric"]): r for r in records(run) if r["stage"] == "fidelity"}
    for source in ("real", "wgan", "wgan-private", "wgan-subject", "simulator", "shuffled"):
        train, test, difference = (
            found[source, f"fd_scattering_{against}"] for against in ("train", "test", "difference")
        )
        assert difference["value"] == pytest.approx(test["value"] - train["value"])
        assert {one["provenance"] for one in (train, test, difference)} == {"unprotected"}
        assert found[source, "ssim_mean"]["value"] <= 1
    assert found["wgan-private", "ssim_mean"]["provenance"] == "dp"
    assert found["wgan", "ssim_mean"]["provenance"] == "unprotected"
    assert 0 < found["real", "fd_scattering_train"]["value"] < found["wgan", "fd_scattering_train"]["value"]


def test_features_are_kept_on_the_private_side_and_any_two_sets_of_a_run_can_be_compared(run, capsys):
    kept = list((run / "private" / "features").glob("*.npy"))
    assert kept
    assert main(["fidelity", f"{run}:wgan-private", f"{run}:test", "--json"]) == 0
    named = json.loads(capsys.readouterr().out)
    assert (named["a"], named["b"], named["provenance"]) == ("wgan-private", "test", "unprotected")
    assert main(["fidelity", str(run), f"{run}:simulator", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["a"] == "wgan-private"
    assert main(["fidelity", f"{run}:mars", str(run)]) == 2
    assert "choose one of train, test, real" in capsys.readouterr().err


def test_real_and_the_best_synthetic_patches_are_placed_on_the_private_side_alone(run):
    placed = read_embeddings(run / "private" / "embedding.npz")
    names = [info.name for info in placed[0].groups]
    assert names[:2] == ["training patches", "wgan"]
    assert names[2] in ("wgan-private", "wgan-subject")
    assert names[3:] == ["simulator"]
    assert np.bincount(placed[0].group).tolist() == [72, 20, 20, 20]
    assert {path.suffix for path in (run / "private" / "figures").iterdir()} == {".png", ".pdf"}
    assert 'id="embedding"' in (run / "private" / "report-internal.html").read_text()
    assert 'id="embedding"' not in (run / "public" / "report.html").read_text()


def test_the_ledger_holds_every_private_step_and_its_chain(run, place, capsys):
    assert main(["ledger", str(run), "--check", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["steps_charged"] == 16
    assert report["chain_ok"]
    assert set(report["epsilon"]) == {"patch", "subject"}
    assert main(["ledger", str(place / "A"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["steps_charged"] == 16


def test_other_settings_are_not_mixed_into_a_run(run, place, settings_file, capsys):
    call = ["run", str(place / "A"), str(run), "--second-site", str(place / "B"), "--config", str(settings_file)]
    assert main([*call, "--set", "seed=5"]) == 2
    assert "other settings" in capsys.readouterr().err
    assert main(["run", str(place / "B"), str(run), "--config", str(settings_file)]) == 2


def test_a_wrong_setting_of_any_source_is_told_before_anything_is_made(place, settings_file, capsys):
    out = place / "wrong"
    call = ["run", str(place / "A"), str(out), "--config", str(settings_file), "--set", "sources.1.settings.z=0"]
    assert main(call) == 2
    said = capsys.readouterr().err
    assert "z=0" in said
    assert "change them in the source's settings" in said
    assert not out.exists()


def test_a_dry_run_writes_nothing_and_names_the_epsilon(place, settings_file, capsys):
    out = place / "dry"
    call = ["run", str(place / "A"), str(out), "--config", str(settings_file), "--dry-run", "--json"]
    assert main(call) == 0
    rows = json.loads(capsys.readouterr().out)["stages"]
    assert not out.exists()
    private = next(row for row in rows if (row["stage"], row["item"]) == ("train", "wgan-private"))
    assert 0 < private["epsilon"]["patch"] < private["epsilon"]["subject"]
    assert {row["stage"] for row in rows} == set(STAGES)


def test_stages_one_by_one_give_what_the_whole_gives(run, place, settings_file):
    out = place / "by-stage"
    call = ["run", str(place / "A"), str(out), "--second-site", str(place / "B"), "--config", str(settings_file)]
    assert main([*call, "--dry-run"]) == 0
    from angioshare.config import load_config
    from angioshare.stages.folder import make_folder, planned_run

    settings = load_config(file=settings_file)
    make_folder(planned_run(out, settings, place / "A", [place / "B"], state=place / "state"))
    (out / "run.json").unlink()  # as if a kill had come before the folder was whole
    make_folder(planned_run(out, settings, place / "A", [place / "B"], state=place / "state"))
    assert main(["sample", str(out)]) == 2
    for stage in STAGES:
        assert main([stage, str(out)]) == 0

    def public_scores(folder):
        return [
            (r["trained_on"], r["subject"], r["value"]) for r in records(folder)
            if r["metric"] == "dice" and r["trained_on"] in ("real", "wgan", "simulator", "shuffled")
        ]  # fmt: skip

    assert public_scores(out) == public_scores(run)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_the_ledger_never_under_counts(place, settings_file):
    out = place / "killed"
    shutil.copytree(place / "A", place / "C", ignore=shutil.ignore_patterns("angioshare"))
    environment = {**os.environ, "XDG_STATE_HOME": str(place / "state-killed"), "OMP_NUM_THREADS": "1"}
    call = [sys.executable, "-m", "angioshare", "run", str(place / "C"), str(out), "--config", str(settings_file)]
    for seconds in (4, 6, 8):
        process = subprocess.Popen(call, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        process.wait()
        left = [path.name for path in out.rglob("*.npy") if ".part" in path.parent.name]
        assert all(name in ("image.npy", "label.npy", "centre.npy") for name in left)
    subprocess.run(call, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    report = subprocess.run(
        [sys.executable, "-m", "angioshare", "ledger", str(place / "C"), "--check", "--json"],
        env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert json.loads(report.stdout)["steps_charged"] >= 16
    assert (out / "private" / "report-internal.html").exists()
