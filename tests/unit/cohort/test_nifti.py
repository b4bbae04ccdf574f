"""Our reader gives what nibabel gives; our writer writes what nibabel reads, and nothing else."""

import gzip
import itertools

import nibabel as nib
import numpy as np
import pytest

from angioshare.cohort.nifti import read_volume, write_volume
from angioshare.cohort.volume import Volume
from angioshare.errors import SettingsError

TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]
ORIENTATIONS = [
    list(zip(axes, flips, strict=True))
    for axes in itertools.permutations(range(3))
    for flips in itertools.product((1, -1), repeat=3)
]


def scan(dtype="i2", shape=(3, 4, 5)):
    return (np.random.default_rng(1).random(shape) * 100).astype(dtype)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", TYPES)
def test_reads_what_nibabel_reads(tmp_path, kind, ending, order, dtype):
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(dtype).newbyteorder(order))
    kind(scan(dtype), np.diag([0.5, 0.6, 0.7, 1]), header).to_filename(tmp_path / f"a{ending}")
    ours, theirs = read_volume(tmp_path / f"a{ending}"), nib.load(tmp_path / f"a{ending}")
    np.testing.assert_allclose(ours.voxels, np.asarray(theirs.dataobj), rtol=1e-6)
    np.testing.assert_allclose(ours.affine, theirs.affine)
    assert ours.spacing_mm == (0.5, 0.6, 0.7)
    assert ours.voxels.dtype.isnative


def test_reads_scaled_voxels_as_nibabel_does(tmp_path):
    image = nib.Nifti1Image(scan("u1"), np.eye(4))
    image.header.set_slope_inter(0.25, -3)
    nib.save(image, tmp_path / "a.nii.gz")
    raw = bytearray(gzip.decompress((tmp_path / "a.nii.gz").read_bytes()))
    raw[112:120] = np.array([0.25, -3], "<f4").tobytes()
    (tmp_path / "b.nii").write_bytes(raw)
    ours = read_volume(tmp_path / "b.nii").voxels
    np.testing.assert_allclose(ours, nib.load(tmp_path / "b.nii").get_fdata(), rtol=1e-6)
    assert ours.dtype == np.float32
    assert ours.min() < 0


@pytest.mark.parametrize("turn", ORIENTATIONS)
def test_every_orientation_is_turned_to_ras_as_nibabel_turns_it(tmp_path, turn):
    image = nib.Nifti1Image(scan(), np.diag([0.5, 0.6, 0.7, 1])).as_reoriented(np.array(turn))
    image.to_filename(tmp_path / "a.nii.gz")
    ours, theirs = read_volume(tmp_path / "a.nii.gz"), nib.as_closest_canonical(nib.load(tmp_path / "a.nii.gz"))
    np.testing.assert_array_equal(ours.voxels, np.asarray(theirs.dataobj))
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-6)
    assert ours.spacing_mm == (0.5, 0.6, 0.7)


def test_a_tilted_scan_keeps_its_affine(tmp_path):
    tilt = np.array([[0.48, -0.14, 0, -5], [0.14, 0.48, 0, 3], [0, 0, 0.7, 1], [0, 0, 0, 1.0]])
    nib.save(nib.Nifti1Image(scan(), tilt), tmp_path / "a.nii.gz")
    volume = read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_allclose(volume.affine, tilt, rtol=1e-6)
    assert volume.spacing_mm == (0.5, 0.5, 0.7)


def test_a_trailing_axis_of_one_is_dropped(tmp_path):
    nib.save(nib.Nifti1Image(scan(shape=(3, 4, 5, 1)), np.eye(4)), tmp_path / "a.nii.gz")
    assert read_volume(tmp_path / "a.nii.gz").voxels.shape == (3, 4, 5)


def test_header_extensions_are_skipped(tmp_path):
    image = nib.Nifti1Image(scan(), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"x" * 1000))
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").voxels, scan())


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "f4", "?"])
def test_what_is_written_is_read_by_nibabel_and_by_us(tmp_path, ending, dtype):
    voxels, affine = scan(dtype), np.diag([0.5, 0.6, 0.7, 1.0])
    affine[:3, 3] = -7, 8, 9
    write_volume(tmp_path / f"a{ending}", Volume(voxels, (0.5, 0.6, 0.7), affine))
    ours, theirs = read_volume(tmp_path / f"a{ending}"), nib.load(tmp_path / f"a{ending}")
    np.testing.assert_array_equal(np.asarray(theirs.dataobj), voxels)
    np.testing.assert_array_equal(ours.voxels, voxels)
    for found in (theirs.affine, theirs.get_qform(), theirs.get_sform(), ours.affine):
        np.testing.assert_allclose(found, affine, rtol=1e-6)


def test_the_same_volume_gives_the_same_bytes_and_no_word_about_its_origin(tmp_path):
    volume = Volume(scan(), (1.0, 1.0, 1.0), np.eye(4))
    write_volume(tmp_path / "sub-secret_angio.nii.gz", volume, private=True)
    write_volume(tmp_path / "b.nii.gz", volume)
    first = (tmp_path / "sub-secret_angio.nii.gz").read_bytes()
    assert first == (tmp_path / "b.nii.gz").read_bytes()
    assert first[3] == 0  # no file name in the gzip header
    assert first[4:8] == bytes(4)  # and no time
    header = nib.load(tmp_path / "b.nii.gz").header
    for field in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
        assert not bytes(header[field]).strip(b"\0")


def test_modes_follow_the_side(tmp_path):
    volume = Volume(scan(), (1.0, 1.0, 1.0), np.eye(4))
    for private, mode in ((True, 0o600), (False, 0o644)):
        write_volume(tmp_path / "a.nii.gz", volume, private=private)
        assert (tmp_path / "a.nii.gz").stat().st_mode & 0o777 == mode


@pytest.mark.parametrize(("name", "dtype"), [("a.nii.gz", "i8"), ("a.nii.gz", "f8"), ("a.img", "u1"), ("a.gz", "u1")])
def test_types_and_names_that_cannot_be_written_are_refused(tmp_path, name, dtype):
    with pytest.raises(SettingsError, match=name):
        write_volume(tmp_path / name, Volume(scan(dtype), (1.0, 1.0, 1.0), np.eye(4)))
    assert not list(tmp_path.iterdir())
