import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from angioshare.cli.main import main
from angioshare.cli.output import clean
from angioshare.cohort.nifti import write_volume
from angioshare.cohort.volume import Volume


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def mask(path, rows, shape=(8, 8, 8), spacing=(0.5, 0.5, 0.7)):
    voxels = np.zeros(shape, np.uint8)
    voxels[rows] = 1
    write_volume(path, Volume(voxels=voxels, spacing_mm=spacing, affine=np.diag([*spacing, 1.0])))
    return str(path)


def out_json(capsys):
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize(
    ("call", "code", "said"),
    [
        (["bogus"], 2, "No such command"),
        (["run"], 2, "Missing argument"),
        (["run", "nowhere", "out"], 3, "nowhere"),
        (["run", "nowhere", "out", "--preset", "nix"], 2, "choose one of"),
        (["run", "nowhere", "out", "--preset", "demo", "--device", "cuda:99"], 2, "choose cpu"),
        (["run", "nowhere", "out", "--preset", "demo", "--config", "x.toml"], 2, "exclude each other"),
        (["train", "nowhere"], 2, "no run folder"),
        (["compare", "a.nii.gz", "b.nii.gz"], 3, "a.nii.gz"),
        (["simulate", "out", "--site", "mars"], 2, "choose one of"),
        (["budget", "--delta", "x"], 2, "is no number"),
        (["config", "show", "--preset", "nix"], 2, "choose one of"),
        (["ledger", "nowhere"], 3, "nowhere"),
    ],
)
def test_a_wrong_call_is_one_line_and_an_exit_code(call, code, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(call) == code
    spoken = capsys.readouterr()
    assert said in spoken.err
    assert spoken.out == ""
    assert list(tmp_path.glob("out*")) == []


def test_compare_gives_the_named_keys(tmp_path, capsys):
    a, b = mask(tmp_path / "a.nii.gz", np.s_[2:5, 2:5]), mask(tmp_path / "b.nii.gz", np.s_[2:5, 2:4])
    assert main(["compare", a, b, "--json"]) == 0
    found = out_json(capsys)
    assert {"dice", "cldice", "bahd_voxel", "bahd_mm", "ahd_voxel", "hd95_mm", "assd_mm"} <= set(found)
    assert found["dice"] == pytest.approx(0.8)


def test_compare_of_other_grids_is_refused(tmp_path, capsys):
    a = mask(tmp_path / "a.nii.gz", np.s_[2:5, 2:5])
    b = mask(tmp_path / "b.nii.gz", np.s_[2:5, 2:4], spacing=(0.6, 0.5, 0.7))
    assert main(["compare", a, b]) == 3
    assert "grid" in capsys.readouterr().err


def test_budget_reads_fractions_and_gives_both_units(capsys):
    call = ["budget", "--sampling-probability", "32/41000", "--steps", "1281", "--noise-multiplier", "1"]
    assert main([*call, "--delta", "1/41000", "--records-per-subject", "1000", "--json"]) == 0
    found = out_json(capsys)
    assert 0 < found["epsilon_pld"] < found["epsilon_rdp"] < found["subject_epsilon_pld"]
    assert {"delta", "noise_multiplier", "sampling_probability", "steps", "unit", "verdict"} <= set(found)


def test_budget_plans_noise_that_keeps_the_target(capsys):
    call = ["budget", "--units", "41000", "--batch", "32", "--steps", "500", "--delta", "1e-5", "--json"]
    assert main([*call, "--epsilon", "2"]) == 0
    planned = out_json(capsys)
    assert planned["epsilon_pld"] <= 2
    assert main([*call, "--noise-multiplier", str(planned["noise_multiplier"])]) == 0
    assert out_json(capsys)["epsilon_pld"] == pytest.approx(planned["epsilon_pld"])


def test_presets_and_settings_explain_themselves(capsys):
    assert main(["presets", "--json"]) == 0
    assert {"demo", "kossen2022", "kossen2022-small"} <= set(out_json(capsys))
    assert main(["config", "show", "--json"]) == 0
    rows = out_json(capsys)
    assert all(row["description"] for row in rows.values())
    assert "sources.[wgan].settings.critic_updates" in rows


def test_simulate_writes_a_cohort_once(tmp_path, capsys):
    out = tmp_path / "cohort"
    call = ["simulate", str(out), "--subjects", "1", "--site", "demo-1", "--jobs", "1", "--json"]
    assert main(call) == 0
    assert out_json(capsys) == {"cohort": str(out), "subjects": 1, "site": "demo-1", "seed": 0, "known": {}}
    assert (out / "sub-001" / "anat" / "sub-001_angio.nii.gz").exists()
    assert main(call) == 2


def test_a_simulated_cohort_has_the_voxel_that_is_known(tmp_path, capsys):
    out = tmp_path / "cohort"
    call = ["simulate", str(out), "--subjects", "1", "--site", "demo-wide", "--jobs", "1", "--json"]
    assert main([*call, "--known", "acquisition.voxel_k_mm=1.25", "--known", "contrast.te_ms=[3, 4]"]) == 0
    assert out_json(capsys)["known"] == {"acquisition.voxel_k_mm": 1.25, "contrast.te_ms": [3.0, 4.0]}
    assert nib.load(out / "sub-001" / "anat" / "sub-001_angio.nii.gz").header.get_zooms()[2] == pytest.approx(1.25)


@pytest.mark.parametrize(
    ("known", "reason"),
    [
        ("acquisition.voxel_k_mm", "each must read parameter=value"),
        ("=1", "parameter '' does not exist"),
        ("contrast.te_ms=3]", "each must read parameter=value"),
        ("contrast.te_ms=3,4", "each must read parameter=value"),
        ("contrast.te_ms=[3]", "each must read parameter=value"),
        ("contrast.te_ms=long", "each must read parameter=value"),
        ("tree.nothing=1", "does not exist"),
        ("acquisition.voxel_k_mm=1000", "must lie in"),
    ],
)
def test_what_is_no_knowledge_of_a_protocol_is_refused(tmp_path, capsys, known, reason):
    assert main(["simulate", str(tmp_path / "cohort"), "--site", "demo-wide", "--known", known]) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "cohort").exists()


def test_a_name_cannot_drive_the_terminal():
    assert clean("a\x1b[2J\x07\nb") == "a[2J\nb"


def test_an_interrupt_is_exit_code_130():
    code = (
        "import sys; from angioshare.cli import data, main\n"
        "import angioshare.stages.compare as c\n"
        "def stop(*_): raise KeyboardInterrupt\n"
        "c.compare_files = stop\n"
        "sys.exit(main(['compare', 'a', 'b']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130
    assert "goes on where it stopped" in done.stderr
