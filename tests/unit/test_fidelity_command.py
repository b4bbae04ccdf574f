import json

import numpy as np
import pytest

from angioshare.cli.main import main
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import write_patchset


@pytest.fixture(autouse=True)
def _own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def npz(path, seed, **more):
    image = np.random.default_rng(seed).uniform(-1, 1, (12, 16, 16)).astype(np.float32)
    np.savez(path, **{"image": image, **more})
    return str(path)


def measured(capsys, *call):
    assert main(["fidelity", *call, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_two_files_give_the_named_keys(tmp_path, capsys):
    label = np.zeros((12, 16, 16), np.uint8)
    label[:, :4] = 1
    found = measured(capsys, npz(tmp_path / "a.npz", 1, label=label), npz(tmp_path / "b.npz", 2))
    assert {"fid", "kid", "features", "n_a", "n_b", "ssim_a", "ssim_b", "coverage", "density"} <= set(found)
    assert (found["n_a"], found["features"], found["distance"]) == (12, "scattering", "FD-scattering")
    assert (found["vessel_share_a"], found["vessel_share_b"]) == (0.25, None)
    assert found["provenance"] == "unprotected"


def test_a_set_has_no_distance_to_itself(tmp_path, capsys):
    a = npz(tmp_path / "a.npz", 1)
    assert measured(capsys, a, a)["fid"] == pytest.approx(0, abs=1e-6)


def test_a_folder_of_patches_and_a_bundle_are_read(tmp_path, capsys):
    image = np.random.default_rng(1).uniform(-1, 1, (12, 16, 16))
    made = PatchSet(image=image, label=np.ones((12, 16, 16), np.uint8), provenance="public")
    write_patchset(tmp_path / "made", made, {})
    (tmp_path / "bundle").mkdir()
    npz(tmp_path / "bundle" / "patches.npz", 2)
    found = measured(capsys, str(tmp_path / "made"), str(tmp_path / "bundle"))
    assert (found["a"], found["b"]) == ("made", "patches")
    assert measured(capsys, str(tmp_path / "made"), str(tmp_path / "made"))["provenance"] == "public"


def test_other_ranges_are_scaled_and_it_is_said(tmp_path, capsys):
    bytes_ = np.random.default_rng(3).integers(0, 256, (12, 16, 16)).astype(np.uint8)
    assert main(["fidelity", npz(tmp_path / "a.npz", 1, image=bytes_), npz(tmp_path / "b.npz", 2), "--json"]) == 0
    spoken = capsys.readouterr()
    assert "each patch was scaled" in spoken.err
    assert json.loads(spoken.out)["scaled_a"] is True


def test_a_table_never_says_fid_for_another_network(tmp_path, capsys):
    assert main(["fidelity", npz(tmp_path / "a.npz", 1), npz(tmp_path / "b.npz", 2)]) == 0
    shown = capsys.readouterr().out
    assert "FD-scattering" in shown
    assert "fid" not in shown.lower()
    assert "KID" not in shown


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((3, 16)), "(n, h, w)"),
        (np.full((3, 16, 16), np.nan), "finite"),
        (np.zeros((3, 16, 16), "U3"), "numbers"),
        (np.zeros((3, 20, 20)), "one size"),
        (np.array([None]), "no .npz"),
    ],
)
def test_hostile_files_are_refused(tmp_path, capsys, image, said):
    np.savez(tmp_path / "bad.npz", image=image)
    assert main(["fidelity", str(tmp_path / "bad.npz"), npz(tmp_path / "b.npz", 2)]) == 3
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_truncated_file_is_refused(tmp_path, capsys, share):
    whole = (tmp_path / "a.npz", tmp_path / "cut.npz")
    npz(whole[0], 1)
    held = whole[0].read_bytes()
    whole[1].write_bytes(held[: int(len(held) * share)])
    assert main(["fidelity", str(whole[1]), str(whole[0])]) == 3
    assert "cut.npz" in capsys.readouterr().err


def test_what_is_not_there_is_refused(tmp_path, capsys):
    assert main(["fidelity", str(tmp_path / "none"), str(tmp_path)]) == 2
    assert "holds no patches" in capsys.readouterr().err
