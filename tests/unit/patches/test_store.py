"""Stores: whole or absent, private, checked when opened, and larger than memory."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest

from angioshare.errors import DataError, SettingsError
from angioshare.patches.extract import PatchSettings, SubjectPatches
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import (
    export_npz,
    open_public,
    open_store,
    read_manifest,
    write_in_parts,
    write_patchset,
    write_store,
)

SETTINGS = PatchSettings(size=8, vessel=2, random=3)


def cuts(*names, count=5, size=8):
    for seed, name in enumerate(names):
        rng = np.random.default_rng(seed)
        yield SubjectPatches(
            subject=name,
            image=rng.uniform(-1, 1, (count, size, size)).astype(np.float32),
            label=rng.integers(0, 2, (count, size, size), dtype=np.uint8),
            centre=rng.integers(0, 9, (count, 3), dtype=np.int32),
            n_vessel=2,
        )


def synthetic(count=4):
    rng = np.random.default_rng(9)
    image = rng.uniform(-1, 1, (count, 8, 8)).astype(np.float32)
    return PatchSet(image=image, label=rng.integers(0, 2, image.shape, dtype=np.uint8), provenance="dp")


@pytest.fixture
def store(tmp_path):
    write_store(tmp_path / "patches", cuts("sub-b", "sub-a"), SETTINGS, seed=4)
    return tmp_path / "patches"


def test_what_was_cut_is_read_back_by_subject(store):
    patches = open_store(store, verify=True)
    assert patches.subjects == ("sub-b", "sub-a")
    assert patches.provenance == "unprotected"
    for number, cut in enumerate(cuts("sub-b", "sub-a")):
        mine = patches.subject == number
        np.testing.assert_allclose(patches.image[mine], cut.image, atol=2**-12)
        np.testing.assert_array_equal(patches.label[mine], cut.label)


def test_the_manifest_says_what_it_is_and_where_patches_were_cut(store):
    manifest = read_manifest(store)
    assert (manifest["count"], manifest["size"], manifest["seed"]) == (10, [8, 8], 4)
    assert manifest["settings"] == SETTINGS.model_dump()
    assert manifest["subjects"][0] == {"id": "sub-b", "count": 5, "vessel": 2}
    centre = np.load(store / "centre.npy", allow_pickle=False)
    np.testing.assert_array_equal(centre, np.concatenate([cut.centre for cut in cuts("sub-b", "sub-a")]))


def test_arrays_are_mapped_and_cannot_be_written(store):
    patches = open_store(store)
    assert isinstance(patches.image, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        patches.label[0, 0, 0] = 1


def test_folder_and_files_are_for_the_owner_alone(store):
    assert store.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in store.iterdir()} == {0o600}


def test_a_synthetic_set_names_nobody_and_keeps_its_provenance(tmp_path):
    write_patchset(tmp_path / "s", synthetic(), {"synthesizer": "wgan"})
    patches = open_store(tmp_path / "s")
    assert (patches.subjects, patches.provenance, len(patches.subject)) == ((), "dp", 0)
    np.testing.assert_allclose(patches.image, synthetic().image, atol=2**-12)
    assert read_manifest(tmp_path / "s")["meta"] == {"synthesizer": "wgan"}


def test_a_real_set_written_again_keeps_its_subjects(store, tmp_path):
    patches = open_store(store)
    write_patchset(tmp_path / "again", patches, {})
    again = open_store(tmp_path / "again", verify=True)
    assert again.subjects == patches.subjects
    np.testing.assert_array_equal(again.subject, patches.subject)
    np.testing.assert_array_equal(again.image, patches.image)


def test_mixed_subjects_are_refused(tmp_path):
    mixed = PatchSet(
        image=synthetic(3).image, label=synthetic(3).label, subject=np.array([0, 1, 0]), subjects=("sub-a", "sub-b")
    )
    with pytest.raises(DataError, match="blocks"):
        write_patchset(tmp_path / "s", mixed, {})


def test_an_empty_set_is_written_and_read(tmp_path):
    write_patchset(tmp_path / "s", synthetic(0), {})
    assert open_store(tmp_path / "s", verify=True).image.shape == (0, 8, 8)


@pytest.mark.parametrize("parts", [0, 1, 3])
def test_a_set_that_is_made_part_by_part_is_the_parts_together(tmp_path, parts):
    made = [synthetic(count) for count in (4, 0, 3)[:parts]]
    write_in_parts(tmp_path / "s", made, (8, 8), provenance="public", meta={"site": "wide"})
    found = open_store(tmp_path / "s", verify=True)
    assert (len(found), found.provenance, found.subjects) == (sum(map(len, made)), "public", ())
    label = [one.label for one in made] or [np.zeros((0, 8, 8))]
    np.testing.assert_array_equal(found.label, np.concatenate(label))
    assert read_manifest(tmp_path / "s")["meta"] == {"site": "wide"}


def test_a_set_whose_parts_break_off_is_not_there(tmp_path):
    def broken():
        yield synthetic(4)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_in_parts(tmp_path / "s", broken(), (8, 8), provenance="public", meta={})
    assert list(tmp_path.iterdir()) == []


def test_private_patches_are_no_public_ones(store):
    with pytest.raises(DataError, match="holds patches that are unprotected, not public"):
        open_public(store)


def test_an_existing_store_is_never_overwritten(store):
    before = (store / "manifest.json").read_bytes()
    with pytest.raises(SettingsError, match="exists"):
        write_store(store, cuts("sub-c"), SETTINGS, seed=4)
    assert (store / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("names", "size", "says"),
    [([], 8, "0 subjects"), (["sub-a", "sub-a"], 8, "sub-a more than once"), (["sub-a"], 9, "do not fit")],
)
def test_what_cannot_be_stored_leaves_nothing(tmp_path, names, size, says):
    with pytest.raises(DataError, match=says):
        write_store(tmp_path / "p", cuts(*names, size=size), SETTINGS, seed=1)
    assert not list(tmp_path.iterdir())


def test_an_error_while_cutting_leaves_nothing(tmp_path):
    def failing():
        yield from cuts("sub-a")
        raise DataError("the second scan is damaged")

    with pytest.raises(DataError, match="second scan"):
        write_store(tmp_path / "p", failing(), SETTINGS, seed=1)
    assert not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from angioshare.patches.extract import PatchSettings, SubjectPatches
from angioshare.patches.store import write_store
def cuts():
    for name in "ab":
        yield SubjectPatches(subject=f"sub-{name}", image=np.zeros((2000, 8, 8), np.float32),
                             label=np.ones((2000, 8, 8), np.uint8), centre=np.zeros((2000, 3), np.int32), n_vessel=1)
    os.kill(os.getpid(), signal.SIGKILL)
write_store(Path(sys.argv[1]), cuts(), PatchSettings(size=8), seed=1)
"""


def test_a_kill_leaves_no_store_and_the_next_writer_starts_over(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "p"], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "p").exists()
    write_store(tmp_path / "p", cuts("sub-c"), SETTINGS, seed=1)
    assert open_store(tmp_path / "p", verify=True).subjects == ("sub-c",)
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_a_second_writer_is_refused_and_the_first_goes_on(tmp_path):
    def meanwhile():
        yield from cuts("sub-a")
        with pytest.raises(SettingsError, match="in use"):
            write_store(tmp_path / "p", cuts("sub-b"), SETTINGS, seed=1)

    write_store(tmp_path / "p", meanwhile(), SETTINGS, seed=1)
    assert open_store(tmp_path / "p", verify=True).subjects == ("sub-a",)


def change(store, **values):
    manifest = json.loads((store / "manifest.json").read_text())
    (store / "manifest.json").write_text(json.dumps({**manifest, **values}))


@pytest.mark.parametrize(
    "values",
    [
        {"version": 2},
        {"count": 11},
        {"count": -1},
        {"count": "10"},
        {"count": True},
        {"size": [8]},
        {"size": [9, 8]},
        {"provenance": "trust me"},
        {"subjects": [{"id": "../x", "count": 10}]},
        {"subjects": [{"id": "sub-a", "count": 5}, {"id": "sub-a", "count": 5}]},
        {"subjects": [{"count": 10}]},
        {"subjects": 3},
        {"sha256": {}},
        {"sha256": {"image": "", "label": "", "../x": ""}},
    ],
)
def test_a_garbled_manifest_is_refused(store, values):
    change(store, **values)
    with pytest.raises(DataError, match=r"manifest|rename it"):
        open_store(store)


@pytest.mark.parametrize("damage", [lambda raw: raw[:-1], lambda raw: raw[:20], lambda raw: b"", lambda raw: b"x" * 99])
def test_a_damaged_array_is_refused(store, damage):
    file = store / "image.npy"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError, match=r"image.npy"):
        open_store(store)


def test_a_missing_store_or_array_is_refused(store):
    with pytest.raises(DataError, match="cannot read"):
        open_store(store / "nowhere")
    (store / "label.npy").unlink()
    with pytest.raises(DataError, match=r"label.npy is missing"):
        open_store(store)


def test_a_pickle_in_place_of_an_array_is_never_read(store):
    np.save(store / "image.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(DataError, match=r"image.npy"):
        open_store(store)


def test_a_flipped_bit_shows_when_verified(store):
    raw = bytearray((store / "label.npy").read_bytes())
    raw[-1] ^= 1
    (store / "label.npy").write_bytes(raw)
    open_store(store)
    with pytest.raises(DataError, match=r"label.npy differs from its checksum"):
        open_store(store, verify=True)


@pytest.mark.parametrize(("provenance", "mode"), [("dp", 0o644), ("unprotected", 0o600)])
def test_an_npz_holds_image_and_label_alone(tmp_path, provenance, mode):
    patches = PatchSet(image=synthetic().image, label=synthetic().label, provenance=provenance)
    export_npz(tmp_path / "a.npz", patches)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as read:
        assert sorted(read) == ["image", "label"]
        np.testing.assert_array_equal(read["image"], patches.image)
    assert (tmp_path / "a.npz").stat().st_mode & 0o777 == mode
    with pytest.raises(SettingsError, match=r".npz"):
        export_npz(tmp_path / "a.zip", patches)


MEASURED = """
import resource, sys
from pathlib import Path
import numpy as np
from angioshare.patches.extract import PatchSettings, SubjectPatches
from angioshare.patches.store import open_store, write_store
path, pairs = Path(sys.argv[1]), int(sys.argv[2])
def cuts():
    rng = np.random.default_rng(1)
    image = rng.uniform(-1, 1, (200, 96, 96)).astype(np.float32)
    for at in range(pairs // 200):
        yield SubjectPatches(subject=f"sub-{at}", image=image, label=(image > 0).astype(np.uint8),
                             centre=np.zeros((200, 3), np.int32), n_vessel=1)
write_store(path, cuts(), PatchSettings(), seed=1)
patches = open_store(path)
order = np.random.default_rng(2).permutation(len(patches))
for at in range(0, len(patches), 32):
    patches.pairs(order[at:at + 32])
status = Path("/proc/self/status")
if status.exists():  # what getrusage tells of a child begins with its parent's peak
    peak = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak / 1024)
"""


def peak_mib(path, pairs):
    """Peak resident memory of a process that writes so many pairs and reads them all at random."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, path, str(pairs)], check=True, capture_output=True, text=True
    )
    return float(done.stdout)


def test_memory_does_not_grow_with_the_number_of_pairs(tmp_path):
    few, many = peak_mib(tmp_path / "few", 1_000), peak_mib(tmp_path / "many", 5_000)
    on_disk_mib = (5_000 - 1_000) * 96 * 96 * 3 / 2**20
    assert many - few < on_disk_mib / 2


@pytest.mark.slow
def test_the_published_number_of_pairs_stays_far_below_a_gigabyte(tmp_path):
    assert peak_mib(tmp_path / "all", 41_000) < 400
