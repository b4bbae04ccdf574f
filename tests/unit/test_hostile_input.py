"""Bad input of each kind is refused in words that name file, value and cure, and leaves nothing half-written."""

import gzip
import os
import resource
import shutil
import struct
from contextlib import contextmanager

import nibabel as nib
import numpy as np
import pytest

from angioshare.cohort.cohort import open_cohort
from angioshare.cohort.nifti import MAX_VOXELS, SLACK_BYTES, read_volume, write_volume
from angioshare.cohort.split import SplitSettings, make_split
from angioshare.cohort.volume import Volume
from angioshare.cohort.writer import WrittenSubject, write_bids_cohort
from angioshare.errors import AngioShareError, DataError
from angioshare.patches.extract import PatchSettings, SubjectPatches
from angioshare.patches.store import write_store

GRID = ((1.0, 1.0, 1.0), np.eye(4))
SHAPE = (6, 5, 4)


def subject(name, seed=1):
    label = np.zeros(SHAPE, np.uint8)
    label[2:4, 2:4] = 1
    angio = np.random.default_rng(seed).integers(1, 99, SHAPE).astype(np.uint8)
    return WrittenSubject(
        id=name, angio=angio, label=label, brain=np.ones(SHAPE, np.uint8), spacing_mm=GRID[0], affine=GRID[1]
    )


@pytest.fixture
def root(tmp_path):
    write_bids_cohort(tmp_path / "c", "one", [subject(f"A{number}", number) for number in range(4)])
    return tmp_path / "c"


@pytest.fixture
def first(root):
    return open_cohort(root).subjects[0]


def refused(call, *says, code=3):
    """The call raises an error of ours with this exit code that says all of this, and nothing unprintable."""
    with pytest.raises(AngioShareError) as caught:
        call()
    message = str(caught.value)
    assert caught.value.exit_code == code
    assert message.isprintable()
    for part in says:
        assert part in message


# Headers ---------------------------------------------------------------------------------------------------------

HEADERS = {  # offset in the header of version 1, how it is packed, hostile value, what the message says
    "header size": (0, "<i", 1234, "1234 must be 348 or 540"),
    "pair of files": (344, "4s", b"ni1\0", "single NIfTI file"),
    "no magic": (344, "4s", b"\x1b[2J", "magic"),
    "no dimension": (40, "<h", 0, "dimensions"),
    "negative dimensions": (40, "<h", -3, "dimensions"),
    "eight dimensions": (40, "<h", 8, "dimensions"),
    "a flat scan": (40, "<h", 2, "dimensions"),
    "an empty axis": (42, "<h", 0, "dimensions"),
    "a negative axis": (42, "<h", -6, "dimensions"),
    "a time series": (40, "<5h", (4, 6, 5, 4, 2), "split it"),
    "absurdly many voxels": (40, "<4h", (3, 32767, 32767, 32767), f"more than {MAX_VOXELS}"),
    "more voxels than the file holds": (40, "<4h", (3, 600, 600, 600), "truncated"),
    "a few voxels too many": (40, "<4h", (3, 7, 5, 4), "truncated"),
    "colours": (70, "<h", 128, "data type 128"),
    "complex numbers": (70, "<h", 32, "data type 32"),
    "an unknown type": (70, "<h", 9999, "data type 9999"),
    "bits that contradict the type": (72, "<h", 64, "64 bits"),
    "no voxel size": (80, "<f", 0.0, "voxel size"),
    "a negative voxel size": (80, "<f", -1.0, "voxel size"),
    "voxels of 21 mm": (80, "<f", 21.0, "(0, 20]"),
    "an infinite voxel size": (80, "<f", np.inf, "voxel size"),
    "a voxel size that is no number": (80, "<f", np.nan, "voxel size"),
    "a voxel size that contradicts the affine": (80, "<f", 1.5, "contradicts"),
    "an image before the header's end": (108, "<f", 100.0, "starts at byte 100"),
    "an image behind the moon": (108, "<f", 1e30, "starts at byte 1e+30"),
    "an image that starts nowhere": (108, "<f", np.nan, "starts at byte nan"),
    "an infinite slope": (112, "<f", np.inf, "scaling inf"),
    "a slope that is no number": (112, "<f", np.nan, "scaling nan"),
    "an infinite intercept": (116, "<f", -np.inf, "scaling"),
    "metres": (123, "B", 1, "unit of length 1"),
    "an affine that is no number": (280, "<f", np.nan, "affine"),
    "an infinite affine": (292, "<f", np.inf, "affine"),
    "a far-off affine": (292, "<f", 1e9, "affine"),
    "an affine that contradicts the voxel size": (280, "<f", 2.0, "contradicts"),
    "an affine without a third axis": (280, "<12f", (1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0), "contradicts"),
    "axes in one plane": (280, "<12f", (1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0), "one plane"),
    "a quaternion that is none": (252, "<2h3f", (1, 0, 9.0, 9.0, 9.0), "orientation cannot be read"),
}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("case", HEADERS.values(), ids=HEADERS.keys())
def test_a_hostile_header_is_refused(tmp_path, case, packed):
    offset, form, value, says = case
    raw = bytearray(nib.Nifti1Image(np.ones(SHAPE, np.int16), np.eye(4)).to_bytes())
    struct.pack_into(form, raw, offset, *(value if isinstance(value, tuple) else (value,)))
    file = tmp_path / ("bad.nii.gz" if packed else "bad.nii")
    file.write_bytes(gzip.compress(raw) if packed else raw)
    refused(lambda: read_volume(file), says, file.name)


@pytest.mark.parametrize("size", [0, 3, 200, 347, 351, 400])
@pytest.mark.parametrize("packed", [False, True])
def test_a_truncated_scan_is_refused(tmp_path, size, packed):
    raw = nib.Nifti1Image(np.ones(SHAPE, np.int16), np.eye(4)).to_bytes()[:size]
    file = tmp_path / ("cut.nii.gz" if packed else "cut.nii")
    file.write_bytes(gzip.compress(raw) if packed else raw)
    refused(lambda: read_volume(file), file.name)


@pytest.mark.parametrize(
    "damage", [lambda raw: raw[:-9], lambda raw: raw[:-5] + b"xxxxx", lambda raw: b"no gzip at all"]
)
def test_a_damaged_gzip_stream_is_refused(tmp_path, damage):
    raw = nib.Nifti1Image(np.random.default_rng(1).random(SHAPE), np.eye(4)).to_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(damage(gzip.compress(raw)))
    refused(lambda: read_volume(tmp_path / "cut.nii.gz"), "cut.nii.gz is damaged or truncated", "copy it again")


@pytest.mark.parametrize("at", range(0, 348, 7))
def test_random_headers_never_raise_anything_but_our_errors(tmp_path, at):
    rng = np.random.default_rng(at)
    good = nib.Nifti1Image(np.ones(SHAPE, np.int16), np.eye(4)).to_bytes()
    for _ in range(20):
        raw = bytearray(good)
        raw[at : at + 7] = rng.bytes(min(7, 348 - at))
        (tmp_path / "fuzz.nii").write_bytes(raw)
        try:
            read_volume(tmp_path / "fuzz.nii")
        except DataError as error:
            assert str(error).isprintable()  # noqa: PT017 - most inputs are refused, a few are harmless


# Bombs -----------------------------------------------------------------------------------------------------------


def test_a_stream_that_goes_on_behind_its_image_is_not_unpacked(tmp_path):
    raw = nib.Nifti1Image(np.ones(SHAPE, np.int16), np.eye(4)).to_bytes()
    (tmp_path / "bomb.nii.gz").write_bytes(gzip.compress(raw + bytes(SLACK_BYTES)) + gzip.compress(bytes(2**26)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(lambda: read_volume(tmp_path / "bomb.nii.gz"), "goes on for more than", "bomb.nii.gz")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB, of the 65,536 in the stream


def test_a_small_file_that_promises_much_allocates_nothing(tmp_path):
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float64)
    header.set_data_shape((645, 645, 645))
    header["magic"], header["vox_offset"] = b"n+1", 352
    (tmp_path / "big.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(2**20)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused(lambda: read_volume(tmp_path / "big.nii.gz"), "cannot hold", "big.nii.gz")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


# Voxels and masks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_voxels_that_are_not_finite_are_refused(first, value):
    angio = np.ones(SHAPE, np.float32)
    angio[1, 2, 3] = value
    write_volume(first.angio_path, Volume(angio, *GRID))
    refused(first.load, "sub-A0_angio.nii.gz: 1 of 120 voxels are not finite", "replace")


def test_voxels_too_large_for_float32_are_refused(tmp_path):
    nib.save(nib.Nifti1Image(np.full(SHAPE, 1e300), np.eye(4)), tmp_path / "a.nii")
    refused(lambda: read_volume(tmp_path / "a.nii"), "not finite as float32")


def put(path, voxels, affine=GRID[1], spacing=GRID[0]):
    write_volume(path, Volume(voxels, spacing, affine))


def moved(mm):
    affine = np.eye(4)
    affine[0, 3] = mm
    return affine


def test_a_label_of_another_shape_is_refused(first):
    put(first.label_path, np.ones((6, 5, 5), np.uint8))
    refused(first.load, "label-vessel_mask.nii.gz has 6 x 5 x 5", "6 x 5 x 4", "resample")


@pytest.mark.parametrize("which", ["label_path", "brain_path"])
def test_a_mask_that_lies_elsewhere_is_refused_and_rounding_is_not(first, which):
    mask = np.ones(SHAPE, np.uint8)
    put(getattr(first, which), mask, moved(0.05))
    first.load()
    put(getattr(first, which), mask, moved(0.2))
    refused(first.load, getattr(first, which).name, "0.2 mm off", "more than 0.1 mm", "resample")


def test_a_label_with_other_voxel_sizes_is_refused(first):
    put(first.label_path, np.ones(SHAPE, np.uint8), np.diag([1, 1, 1.2, 1]), (1.0, 1.0, 1.2))
    refused(first.load, "mm off the grid")


@pytest.mark.parametrize("which", ["label_path", "brain_path"])
def test_an_empty_mask_is_refused(first, which):
    put(getattr(first, which), np.zeros(SHAPE, np.uint8))
    refused(first.load, getattr(first, which).name, "empty", "drop sub-A0")


def test_a_label_outside_the_brain_alone_is_refused(first):
    brain = np.zeros(SHAPE, np.uint8)
    brain[0] = 1
    put(first.brain_path, brain)
    refused(first.load, "label-vessel_mask", "no vessel voxel within the brain mask")


@pytest.mark.parametrize("values", [(0, 1, 2), (0, 3), (0, 1, 255), (0, -1), (0, 0.5)])
def test_a_label_that_is_not_binary_is_refused_with_its_values(first, values):
    label = np.resize(np.array(values), SHAPE).astype(np.float32)
    put(first.label_path, label)
    refused(first.load, "label-vessel_mask", "not 0 and 1", f"{max(values, key=abs):g}")


def test_a_constant_scan_is_refused(first):
    put(first.angio_path, np.full(SHAPE, 7, np.uint8))
    refused(first.load, "sub-A0_angio.nii.gz is 7 everywhere")


# Files and names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sub-A1/anat/sub-A1_angio.nii.gz", "derivatives/labels/sub-A1"])
def test_a_missing_scan_or_label_is_named(root, name):
    path = root / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    refused(lambda: open_cohort(root), "is missing", "drop sub-A1")


def test_a_scan_that_vanishes_after_opening_is_named(first):
    first.angio_path.unlink()
    refused(first.load, "sub-A0_angio.nii.gz is missing")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("participant_id\nsub-A0\nsub-A1\nsub-A2\n", "sub-A3 is not listed"),
        ("participant_id\nsub-A0\nsub-A1\nsub-A2\nsub-A3\nsub-A9\n", "sub-A9 has no folder"),
        ("participant_id\nsub-A0\nsub-A1\nsub-A2\nsub-A3\nsub-A3\n", "sub-A3 more than once"),
        ("participant_id\n../../etc\n", "'../../etc' must be"),
        ("participant_id\n\x1b[31mred\n", "?[31mred"),
        ("participant_id\tsite\nsub-A0\n", "1 cells for 2 columns"),
        ("name\nsub-A0\n", "must have the columns participant_id"),
        ("participant_id\tparticipant_id\nsub-A0\tsub-A0\n", "each once"),
        ("", "no row"),
        ("participant_id\n", "no row"),
    ],
)
def test_an_odd_participants_table_is_refused(root, text, says):
    (root / "participants.tsv").write_text(text)
    refused(lambda: open_cohort(root), "participants.tsv", says)


@pytest.mark.parametrize("raw", [b"\xff\xfe\x00participant", b"participant_id\n" + b"a" * 200_000])
def test_a_table_that_is_no_text_is_refused(root, raw):
    (root / "participants.tsv").write_bytes(raw)
    refused(lambda: open_cohort(root), "participants.tsv", "UTF-8")


def table(root, *rows, name="list.tsv"):
    (root / name).write_text("participant_id\tangio\tlabel\n" + "".join("\t".join(row) + "\n" for row in rows))
    return root / name


SCAN, LABEL = "sub-A0/anat/sub-A0_angio.nii.gz", "derivatives/labels/sub-A0/anat/sub-A0_label-vessel_mask.nii.gz"


@pytest.mark.parametrize("path", ["../secret.nii.gz", "a/../../secret.nii.gz", "/etc/passwd", "C:\\x.nii", ""])
def test_a_path_out_of_the_tables_folder_is_refused(root, path):
    refused(lambda: open_cohort(table(root, ("A0", path, LABEL))), "list.tsv", "without '..'")


def test_a_path_to_nothing_is_refused(root):
    refused(lambda: open_cohort(table(root, ("A0", "nothing.nii.gz", LABEL))), "nothing.nii.gz is missing")


def test_a_subject_twice_in_a_table_is_refused(root):
    rows = [("A0", SCAN, LABEL), ("sub-A0", SCAN, LABEL)]
    refused(lambda: open_cohort(table(root, *rows)), "list.tsv names sub-A0 more than once")


@pytest.mark.parametrize("which", ["angio_path", "label_path", "brain_path"])
def test_a_link_out_of_the_cohort_is_refused(root, first, tmp_path, which):
    path = getattr(first, which)
    shutil.move(path, tmp_path / "elsewhere.nii.gz")
    path.symlink_to(tmp_path / "elsewhere.nii.gz")
    refused(lambda: open_cohort(root), path.name, "leads out of the cohort")


def test_a_folder_with_an_odd_name_is_refused_and_its_control_characters_stay_unshown(root):
    (root / "sub-\x1b[2J").mkdir()
    refused(lambda: open_cohort(root), "sub-?[2J", "rename it")


def test_a_pipe_in_place_of_a_scan_does_not_hang(root, first):
    first.angio_path.unlink()
    os.mkfifo(first.angio_path)
    refused(lambda: open_cohort(root), "no regular file")


@pytest.mark.parametrize("make", [lambda path: None, lambda path: path.mkdir(), lambda path: path.write_text("x")])
def test_what_is_no_cohort_is_refused(tmp_path, make):
    make(tmp_path / "x\ny")
    refused(lambda: open_cohort(tmp_path / "x\ny"), "x?y")


def test_a_folder_in_two_layouts_is_refused(root):
    (root / "imagesTr").mkdir()
    refused(lambda: open_cohort(root), "holds both")


def nnunet(root, images, labels):
    for folder, names in (("imagesTr", images), ("labelsTr", labels)):
        (root / folder).mkdir(parents=True)
        for name in names:
            (root / folder / name).write_bytes(b"")
    return root


@pytest.mark.parametrize(
    ("images", "labels", "says"),
    [
        (["a_0000.nii.gz"], [], "labelsTr lacks a"),
        ([], ["a.nii.gz"], "imagesTr lacks a"),
        (["a_0000.nii.gz", "a_0001.nii.gz"], ["a.nii.gz"], "a_0001"),
        (["a_b_0000.nii.gz", "ab_0000.nii.gz"], ["a_b.nii.gz", "ab.nii.gz"], "sub-ab more than once"),
        (["a_0000.nii", "a_0000.nii.gz"], ["a.nii.gz"], "keep one"),
        ([], [], "holds no"),
    ],
)
def test_odd_nnunet_folders_are_refused(tmp_path, images, labels, says):
    refused(lambda: open_cohort(nnunet(tmp_path / "n", images, labels)), says)


def test_an_nnunet_folder_without_labels_is_refused(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    refused(lambda: open_cohort(tmp_path), "labelsTr is missing")


def test_one_subject_cannot_be_split(tmp_path):
    write_bids_cohort(tmp_path / "c", "one", [subject("A0")])
    ids = open_cohort(tmp_path / "c").ids
    refused(lambda: make_split(ids, SplitSettings()), "1 subject(s) (sub-A0)", "3 are needed")


# Disks and folders -----------------------------------------------------------------------------------------------


@pytest.fixture
def tiny_disk():
    """Files of this process may not pass 4 KiB: the system fails the write, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def big_volume():
    return Volume(np.random.default_rng(1).integers(0, 99, (40, 40, 40)).astype(np.uint8), *GRID)


def big_store(path):
    image = np.random.default_rng(1).random((9, 96, 96)).astype(np.float32)
    patches = SubjectPatches(
        subject="sub-a",
        image=image,
        label=(image > 0.5).astype(np.uint8),
        centre=np.zeros((9, 3), np.int32),
        n_vessel=1,
    )
    write_store(path, [patches], PatchSettings(), seed=1)


def big_cohort(path):
    one = subject("A0")
    volume = big_volume().voxels
    big = WrittenSubject(id="A1", angio=volume, label=volume, brain=None, spacing_mm=one.spacing_mm, affine=one.affine)
    write_bids_cohort(path, "one", [one, big])


@pytest.mark.usefixtures("tiny_disk")
def test_a_full_disk_leaves_the_old_volume(tmp_path):
    put(tmp_path / "a.nii.gz", np.ones(SHAPE, np.uint8))
    before = (tmp_path / "a.nii.gz").read_bytes()
    refused(lambda: write_volume(tmp_path / "a.nii.gz", big_volume()), "cannot write", "a.nii.gz", "free space")
    assert [path.name for path in tmp_path.iterdir()] == ["a.nii.gz"]
    assert (tmp_path / "a.nii.gz").read_bytes() == before


@pytest.mark.usefixtures("tiny_disk")
def test_a_full_disk_leaves_no_store(tmp_path):
    refused(lambda: big_store(tmp_path / "p"), "cannot write", "free space")
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("tiny_disk")
def test_a_full_disk_leaves_no_cohort_that_opens(tmp_path):
    refused(lambda: big_cohort(tmp_path / "c"), "cannot write", "sub-A1_angio.nii.gz")
    refused(lambda: open_cohort(tmp_path / "c"), "unfinished")
    assert not list((tmp_path / "c").rglob("*.tmp"))


@contextmanager
def without_rights():
    """Give up the superuser's rights for a while; anybody else has none to give up."""
    superuser = os.geteuid() == 0
    if superuser:
        os.seteuid(65534)
    yield
    if superuser:
        os.seteuid(0)


WRITERS = [big_store, big_cohort, lambda path: write_volume(path.with_name("a.nii.gz"), big_volume())]


@pytest.mark.parametrize("write", WRITERS)
def test_a_file_where_a_folder_should_be_is_named_and_left_alone(tmp_path, write):
    (tmp_path / "file").write_text("x")
    refused(lambda: write(tmp_path / "file" / "out"), "cannot write", str(tmp_path / "file"))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("write", WRITERS)
def test_a_folder_that_may_not_be_written_is_named_and_left_alone(tmp_path, write):
    (tmp_path / "closed").mkdir(mode=0o500)
    with without_rights():
        refused(lambda: write(tmp_path / "closed" / "out"), "cannot write", str(tmp_path / "closed"))
    assert [path.name for path in tmp_path.rglob("*")] == ["closed"]


def test_a_cohort_that_may_not_be_read_is_refused(root):
    root.chmod(0o000)
    with without_rights():
        refused(lambda: open_cohort(root), "cannot read", str(root))
    root.chmod(0o700)


def test_a_scan_that_may_not_be_read_is_refused(first):
    first.angio_path.chmod(0o000)
    with without_rights():
        refused(first.load, "sub-A0_angio.nii.gz")
