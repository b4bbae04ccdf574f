"""A fingerprint knows a scan again by its voxels alone, and only with the key."""

import gzip
import shutil

import nibabel as nib
import numpy as np
import pytest

from angioshare.cohort.cohort import open_cohort
from angioshare.cohort.fingerprint import fingerprint, subject_digest
from angioshare.errors import DataError, SettingsError

KEY = bytes(range(32))


def test_renaming_recompressing_and_another_file_type_change_nothing(root):
    cohort = open_cohort(root)
    before = fingerprint(cohort, KEY)
    for subject in cohort.subjects:
        raw = gzip.decompress(subject.angio_path.read_bytes())
        subject.angio_path.unlink()
        name = subject.angio_path.name.replace("_angio.nii.gz", "_acq-x_angio.nii")
        (subject.angio_path.parent / name).write_bytes(raw)
    after = fingerprint(open_cohort(root), KEY)
    assert after == before


def test_renamed_subjects_keep_their_digests_and_the_cohort_its_own(root, tmp_path):
    before = fingerprint(open_cohort(root), KEY)
    rows = ["participant_id\tangio\tlabel"]
    for number, subject in enumerate(open_cohort(root).subjects):
        scan, label = (path.relative_to(root) for path in (subject.angio_path, subject.label_path))
        rows.append(f"Z{9 - number}\t{scan}\t{label}")
    (root / "other.tsv").write_text("\n".join(rows))
    after = fingerprint(open_cohort(root / "other.tsv"), KEY)
    assert set(after.subjects.values()) == set(before.subjects.values())
    assert set(after.subjects) != set(before.subjects)
    assert after.cohort == before.cohort


def test_orientation_and_type_on_disk_change_nothing(root):
    subject = open_cohort(root).subjects[0]
    before = subject_digest(subject.load_angio().voxels, KEY)
    image = nib.load(subject.angio_path)
    image = nib.Nifti1Image(np.asarray(image.dataobj).astype(np.float32), image.affine)
    nib.save(image.as_reoriented(np.array([[1, -1], [2, 1], [0, -1]])), subject.angio_path)
    assert subject_digest(subject.load_angio().voxels, KEY) == before


def test_one_voxel_the_shape_and_the_key_each_change_it():
    scan = np.zeros((2, 3, 4), np.float32)
    digests = {subject_digest(scan, KEY), subject_digest(scan.reshape(4, 3, 2), KEY), subject_digest(scan, KEY[::-1])}
    scan[1, 2, 3] = 1e-30
    assert len(digests | {subject_digest(scan, KEY)}) == 4


def test_memory_order_and_negative_zero_change_nothing():
    scan = np.random.default_rng(1).integers(0, 2, (3, 4, 5)).astype(np.float32)
    negative = np.where(scan == 0, np.float32(-0.0), scan)
    assert subject_digest(np.asfortranarray(scan), KEY) == subject_digest(scan, KEY) == subject_digest(negative, KEY)


def test_one_scan_under_two_ids_is_refused(root):
    first, second = open_cohort(root).subjects[:2]
    shutil.copy(first.angio_path, second.angio_path)
    with pytest.raises(DataError, match=r"sub-A002_angio.nii.gz holds the same scan as sub-A001"):
        fingerprint(open_cohort(root), KEY)


def test_a_short_key_is_refused():
    with pytest.raises(SettingsError, match="15 bytes"):
        subject_digest(np.zeros((1, 1, 1)), bytes(15))
