"""Three layouts, one cohort; masks applied, grids and voxel sizes kept."""

import dataclasses
import shutil

import nibabel as nib
import numpy as np
import pytest

from angioshare.cohort.cohort import open_cohort
from angioshare.cohort.nifti import write_volume
from angioshare.cohort.volume import Volume
from angioshare.errors import DataError


@pytest.fixture
def nnunet(root, tmp_path):
    """The same scans and labels as nnU-Net lays them out."""
    for folder in ("imagesTr", "labelsTr"):
        (tmp_path / "nn" / folder).mkdir(parents=True)
    for subject in open_cohort(root).subjects:
        case = f"mra_{subject.id[4:]}"
        shutil.copy(subject.angio_path, tmp_path / "nn" / "imagesTr" / f"{case}_0000.nii.gz")
        shutil.copy(subject.label_path, tmp_path / "nn" / "labelsTr" / f"{case}.nii.gz")
    return tmp_path / "nn"


@pytest.fixture
def table(root):
    """The same files listed in a table."""
    rows = ["participant_id\tsite\tangio\tlabel\tbrain"]
    for subject in open_cohort(root).subjects:
        paths = [subject.angio_path, subject.label_path, subject.brain_path]
        rows.append("\t".join([subject.id, "one", *(str(path.relative_to(root)) for path in paths)]))
    (root / "list.tsv").write_text("\n".join(rows) + "\n")
    return root / "list.tsv"


def test_a_bids_folder_is_opened_in_order_of_ids(root):
    cohort = open_cohort(root)
    assert cohort.ids == ("sub-A001", "sub-A002", "sub-A003", "sub-A004")
    assert (cohort.layout, cohort.site) == ("bids", "one")


def test_what_was_written_is_loaded_within_the_brain(root, subjects):
    loaded = open_cohort(root).subjects[0].load()
    brain = subjects[0].brain.astype(bool)
    np.testing.assert_array_equal(loaded.angio, np.where(brain, subjects[0].angio, 0))
    np.testing.assert_array_equal(loaded.label, subjects[0].label)
    np.testing.assert_array_equal(loaded.brain, brain)
    assert (loaded.angio.dtype, loaded.label.dtype, loaded.brain.dtype) == (np.float32, np.uint8, np.bool_)
    assert loaded.spacing_mm == (0.5, 0.6, 0.7)
    np.testing.assert_allclose(loaded.affine, subjects[0].affine)


def test_label_outside_the_brain_is_dropped(root):
    subject = open_cohort(root).subjects[0]
    brain = np.zeros((9, 8, 7), np.uint8)
    brain[3:6] = 1
    write_volume(subject.brain_path, Volume(brain, (0.5, 0.6, 0.7), np.diag([0.5, 0.6, 0.7, 1])))
    loaded = subject.load()
    assert loaded.label[3:6].any()
    assert not loaded.label[:3].any()
    assert not loaded.angio[:3].any()


def test_without_a_brain_mask_nothing_is_masked(root, subjects):
    for path in root.rglob("*desc-brain*"):
        path.unlink()
    loaded = open_cohort(root).subjects[0].load()
    assert loaded.brain is None
    np.testing.assert_array_equal(loaded.angio, subjects[0].angio)


def test_a_label_of_255_and_a_label_in_floats_count_as_1(root):
    subject = open_cohort(root).subjects[0]
    expected = subject.load().label
    for value in (np.uint8(255), np.float32(1)):
        write_volume(subject.label_path, Volume(expected * value, (0.5, 0.6, 0.7), np.diag([0.5, 0.6, 0.7, 1])))
        np.testing.assert_array_equal(subject.load().label, expected)


def test_a_label_stored_in_another_orientation_of_the_same_grid_fits(root):
    subject = open_cohort(root).subjects[0]
    expected = subject.load().label
    turned = nib.load(subject.label_path).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]]))
    nib.save(turned, subject.label_path)
    np.testing.assert_array_equal(subject.load().label, expected)


def test_sessions_and_further_entities_are_found_when_unambiguous(root):
    anat = root / "sub-A001" / "anat"
    (root / "sub-A001" / "ses-1").mkdir()
    anat.rename(root / "sub-A001" / "ses-1" / "anat")
    angio = root / "sub-A001" / "ses-1" / "anat" / "sub-A001_angio.nii.gz"
    angio.rename(angio.with_name("sub-A001_ses-1_acq-tof_run-1_angio.nii.gz"))
    assert open_cohort(root).subjects[0].angio_path.name == "sub-A001_ses-1_acq-tof_run-1_angio.nii.gz"


def test_two_scans_of_a_subject_are_refused_by_name(root):
    angio = root / "sub-A001" / "anat" / "sub-A001_angio.nii.gz"
    shutil.copy(angio, angio.with_name("sub-A001_run-2_angio.nii.gz"))
    with pytest.raises(DataError, match=r"sub-A001 has 2 .*run-2.*table"):
        open_cohort(root)


def test_participants_may_be_absent_and_then_the_folder_names_the_site(root):
    (root / "participants.tsv").unlink()
    cohort = open_cohort(root)
    assert len(cohort.ids) == 4
    assert cohort.site == "bids"


def test_nnunet_gives_the_same_scans_and_labels(root, nnunet):
    ours, theirs = open_cohort(root).subjects, open_cohort(nnunet).subjects
    assert [subject.id for subject in theirs] == [f"sub-mraA{number:03d}" for number in range(1, 5)]
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a.load_angio().voxels, b.load_angio().voxels)
        assert b.load().label.sum() == a.load().label.sum()
        assert b.brain_path is None


def test_a_table_gives_the_same_subjects(root, table):
    ours, theirs = open_cohort(root), open_cohort(table)
    assert theirs.subjects == ours.subjects
    assert (theirs.layout, theirs.site) == ("table", "one")


def test_a_table_with_commas_and_without_brain_or_site_is_read(root):
    lines = ["participant_id,label,angio"]
    for subject in open_cohort(root).subjects:
        paths = [str(path.relative_to(root)) for path in (subject.label_path, subject.angio_path)]
        lines.append(f'{subject.id},"{paths[0]}",{paths[1]}')
    (root / "list.csv").write_text("\ufeff" + "\r\n".join(lines) + "\r\n", encoding="utf-8")
    cohort = open_cohort(root / "list.csv")
    assert cohort.ids == open_cohort(root).ids
    assert cohort.subjects[0].brain_path is None


def test_a_subject_is_found_by_id_or_refused_by_name(root):
    cohort = open_cohort(root)
    assert cohort.subject("sub-A002").id == "sub-A002"
    with pytest.raises(DataError, match="no subject sub-X"):
        cohort.subject("sub-X")


@pytest.mark.parametrize("masked", [True, False])
def test_a_scan_with_values_below_0_is_shifted_so_that_its_least_is_0(root, masked):
    subject = open_cohort(root).subjects[0]
    before = subject.load()
    if not masked:
        subject = dataclasses.replace(subject, brain_path=None)
    inside = before.brain if masked else np.ones_like(before.brain)
    scan = subject.load_angio()
    shifted = scan.voxels - scan.voxels[inside].mean()
    write_volume(subject.angio_path, Volume(shifted, scan.spacing_mm, scan.affine))
    after = subject.load().angio
    assert after.min() == 0
    np.testing.assert_allclose(after[inside], scan.voxels[inside] - scan.voxels[inside].min(), atol=1e-3)
    assert not after[~inside].any()
