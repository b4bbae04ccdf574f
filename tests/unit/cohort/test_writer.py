"""Simulated cohorts are written whole, or visibly unfinished."""

import dataclasses
import json

import pytest

from angioshare.cohort.cohort import open_cohort
from angioshare.cohort.writer import UNFINISHED, write_bids_cohort
from angioshare.errors import DataError, SettingsError


def interrupted(subjects):
    yield subjects[0]
    raise KeyboardInterrupt


def test_the_layout_is_bids(root):
    names = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    masks = "derivatives/labels/sub-A001/anat/sub-A001_"
    assert "sub-A001/anat/sub-A001_angio.nii.gz" in names
    assert {f"{masks}label-vessel_mask.nii.gz", f"{masks}desc-brain_mask.nii.gz"} <= names
    for folder in ("", "derivatives/labels"):
        described = json.loads((root / folder / "dataset_description.json").read_text())
        assert described["BIDSVersion"]
        assert described["GeneratedBy"][0]["Version"]
    assert (root / "participants.tsv").read_text().splitlines()[:2] == ["participant_id\tsite", "sub-A001\tone"]
    assert UNFINISHED not in names


def test_an_interrupted_cohort_is_not_opened_and_starts_over(tmp_path, subjects):
    with pytest.raises(KeyboardInterrupt):
        write_bids_cohort(tmp_path / "c", "one", interrupted(subjects))
    with pytest.raises(DataError, match="unfinished"):
        open_cohort(tmp_path / "c")
    ledger = tmp_path / "c" / "derivatives" / "angioshare" / "ledger.jsonl"
    ledger.parent.mkdir()
    ledger.write_text("{}")
    write_bids_cohort(tmp_path / "c", "two", subjects[1:])
    assert ledger.exists()
    assert open_cohort(tmp_path / "c").ids == ("sub-A002", "sub-A003", "sub-A004")
    assert open_cohort(tmp_path / "c").site == "two"


def test_a_folder_with_anything_else_in_it_is_left_alone(tmp_path, root, subjects):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for folder in (tmp_path / "mine", root):
        before = sorted(folder.rglob("*"))
        with pytest.raises(SettingsError, match="not empty"):
            write_bids_cohort(folder, "one", subjects)
        assert sorted(folder.rglob("*")) == before


def test_starting_over_follows_no_link_out_of_the_folder(tmp_path, subjects):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / UNFINISHED).write_text("")
    (tmp_path / "c" / "sub-link").symlink_to(tmp_path / "mine")
    write_bids_cohort(tmp_path / "c", "one", subjects)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_subjects_are_taken_one_by_one(tmp_path, subjects):
    seen = []

    def slow():
        for subject in subjects:
            seen.append(sorted((tmp_path / "c").glob("sub-*")))
            yield subject

    write_bids_cohort(tmp_path / "c", "one", slow())
    assert [len(there) for there in seen] == [0, 1, 2, 3]


@pytest.mark.parametrize("name", ["..", "a/b", ""])
def test_odd_ids_are_refused_before_a_path_is_built(tmp_path, subjects, name):
    with pytest.raises(DataError, match="rename it"):
        write_bids_cohort(tmp_path / "c", "one", [dataclasses.replace(subjects[0], id=name)])
    assert not list(tmp_path.rglob("*.nii.gz"))


def test_an_id_twice_is_refused(tmp_path, subjects):
    with pytest.raises(DataError, match="sub-A001 more than once"):
        write_bids_cohort(tmp_path / "c", "one", [subjects[0], subjects[0]])


def test_an_odd_site_is_refused_before_anything_is_written(tmp_path, subjects):
    with pytest.raises(DataError, match="rename it"):
        write_bids_cohort(tmp_path / "c", "../x", subjects)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    "makers", [None, "AngioShare", [], [{"Name": "Scanner"}], [{"Name": "AngioShare"}, {"Name": "X"}], [1]]
)
def test_only_what_was_written_here_counts_as_simulated(root, makers):
    assert open_cohort(root).simulated
    description = root / "dataset_description.json"
    description.write_text(json.dumps({**json.loads(description.read_text()), "GeneratedBy": makers}))
    assert not open_cohort(root).simulated
