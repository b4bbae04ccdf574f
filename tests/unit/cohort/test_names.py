"""Names are checked before paths are built from them, and made safe before they are shown."""

import pytest

from angioshare.cohort.names import inside, listed, printable, refuse_duplicates, site_name, subject_id
from angioshare.errors import DataError


def test_control_characters_never_reach_a_message():
    shown = printable("a\x1b[2J\n\r\x9b\u202eb\udc80")
    assert shown.isprintable()
    assert shown.startswith("a?[2J")


def test_a_very_long_name_is_cut():
    assert len(printable("x" * 10_000)) < 300


def test_a_list_names_the_first_and_counts_the_rest():
    assert listed("abcdef", most=2) == "a, b and 4 more"
    assert listed("ab", most=2) == "a, b"


@pytest.mark.parametrize("text", ["A1", "sub-A1"])
def test_ids_gain_their_prefix_once(text):
    assert subject_id(text, "here") == "sub-A1"


@pytest.mark.parametrize(
    "text", ["", "sub-", "..", "sub-..", "a/b", "a b", "a_b", "sub-a-b", "é", "\u0661", "a\n", "a\0", "x" * 65]
)
def test_ids_of_anything_but_letters_and_digits_are_refused(text):
    with pytest.raises(DataError, match="rename it"):
        subject_id(text, "here")


@pytest.mark.parametrize("text", ["../x", "<b>", "a\tb", ".hidden", "x" * 65])
def test_sites_of_odd_characters_are_refused(text):
    with pytest.raises(DataError, match="rename it"):
        site_name(text, "here")


def test_a_duplicate_is_named():
    with pytest.raises(DataError, match="names b more than once"):
        refuse_duplicates("abcb", "the list")


def test_a_file_reached_by_a_link_within_the_cohort_is_fine(tmp_path):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("file")
    assert inside(tmp_path, tmp_path / "link") == tmp_path / "link"


def test_a_link_out_of_the_cohort_is_refused(tmp_path):
    (tmp_path / "secret").write_text("x")
    root = tmp_path / "cohort"
    root.mkdir()
    (root / "link").symlink_to("../secret")
    with pytest.raises(DataError, match="leads out of the cohort"):
        inside(root, root / "link")


def test_a_linked_folder_out_of_the_cohort_is_refused(tmp_path):
    for name in ("cohort", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "elsewhere" / "file").write_text("x")
    (tmp_path / "cohort" / "anat").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DataError, match="leads out of the cohort"):
        inside(tmp_path / "cohort", tmp_path / "cohort" / "anat" / "file")


def test_a_link_in_a_circle_and_a_folder_are_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError, match="broken link"):
        inside(tmp_path, tmp_path / "loop")
    with pytest.raises(DataError, match="no regular file"):
        inside(tmp_path, tmp_path)
