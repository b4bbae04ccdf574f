"""Splits by order, by seed and by file; see also the laws."""

import json

import pytest
from pydantic import ValidationError

from angioshare.cohort.split import Split, SplitSettings, make_split, read_split, split_subjects, write_split
from angioshare.errors import DataError, SettingsError

IDS = tuple(f"sub-{number:02d}" for number in range(10))


def test_without_a_seed_ids_go_in_order_train_validation_test():
    split = split_subjects(reversed(IDS), validation=2, test=3, seed=None)
    assert (split.train, split.validation, split.test) == (IDS[:5], IDS[5:7], IDS[7:])


def test_seeds_shuffle_and_repeat():
    splits = [split_subjects(IDS, 2, 3, seed) for seed in (1, 1, 2)]
    assert splits[0] == splits[1] != splits[2]


def test_a_split_survives_its_file_which_is_private(tmp_path):
    split = split_subjects(IDS, 2, 3, seed=1)
    write_split(tmp_path / "split.json", split)
    assert read_split(tmp_path / "split.json") == split
    assert (tmp_path / "split.json").stat().st_mode & 0o777 == 0o600


def test_a_file_wins_over_numbers_and_must_name_everybody(tmp_path):
    write_split(tmp_path / "split.json", split_subjects(IDS, 4, 4, seed=7))
    settings = SplitSettings(validation=1, test=1, file=tmp_path / "split.json")
    assert len(make_split(IDS, settings).test) == 4
    with pytest.raises(DataError, match="sub-99 in no part"):
        make_split([*IDS, "sub-99"], settings)
    with pytest.raises(DataError, match="sub-00 not in the cohort"):
        make_split(IDS[1:], settings)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_subjects_are_bad_data(count):
    with pytest.raises(DataError, match=f"cohort of {count} subject"):
        split_subjects(IDS[:count], 1, 1, seed=None)


def test_sizes_that_leave_nobody_to_train_on_are_bad_settings():
    with pytest.raises(SettingsError, match=r"leave 0 to train on.*split.validation"):
        split_subjects(IDS, 5, 5, seed=None)


def test_duplicates_and_empty_parts_are_refused():
    with pytest.raises(DataError, match="names a more than once"):
        Split(train=("a",), validation=("b",), test=("a",))
    with pytest.raises(DataError, match="'validation' has 0"):
        Split(train=("a",), validation=(), test=("b",))
    with pytest.raises(DataError, match="sub-00 more than once"):
        split_subjects([*IDS, IDS[0]], 1, 1, seed=None)


@pytest.mark.parametrize(
    "value",
    [
        {"train": ["a"], "validation": ["b"]},
        {"train": ["a"], "validation": ["b"], "test": ["c"], "more": []},
        {"train": "abc", "validation": ["d"], "test": ["e"]},
        {"train": [1], "validation": ["d"], "test": ["e"]},
        {"train": ["../x"], "validation": ["d"], "test": ["e"]},
        {"train": ["a"], "validation": ["sub-a"], "test": ["e"]},
    ],
)
def test_odd_files_are_refused_by_name(tmp_path, value):
    (tmp_path / "split.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match=r"split"):
        read_split(tmp_path / "split.json")


def test_settings_refuse_an_empty_part():
    with pytest.raises(ValidationError):
        SplitSettings(test=0)
