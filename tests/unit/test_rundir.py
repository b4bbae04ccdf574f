import errno
import fcntl
import os
import stat
from threading import Timer

import pytest

from angioshare.errors import BusyError, DataError
from angioshare.rundir import atomic_path, locked, read_json, sweep, write_json, write_text


def test_a_failure_while_writing_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), atomic_path(path) as temporary:
        temporary.write_text(str(1 / 0))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_killed_writers_left_is_swept_and_nothing_else(tmp_path):
    kept = [tmp_path / name for name in ("a.txt", ".a.txt.tmp", "a.txt.12.tmp", ".lock", ".12.tmp")]
    below = tmp_path / "b" / "c"
    below.mkdir(parents=True)
    for path in (*kept, tmp_path / ".a.txt.12.tmp", below / ".label.npy.3456.tmp"):
        path.write_text("half")
    sweep(tmp_path)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(kept)


def test_a_full_disk_is_named_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(DataError, match=r"a\.txt: No space left on device; free space"), atomic_path(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert path.read_text() == "old"


def test_private_files_are_for_their_owner_alone(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1}, private=True)
    assert stat.S_IMODE((tmp_path / "a.json").stat().st_mode) == 0o600
    assert read_json(tmp_path / "a.json") == {"b": 1}


@pytest.mark.parametrize("text", ["", "[1]", "{", "\x00"])
def test_what_is_no_json_object_is_refused(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json"):
        read_json(tmp_path / "a.json")


def test_a_held_lock_refuses_and_a_released_one_does_not(tmp_path):
    lock = tmp_path / "lock"
    with locked(lock), pytest.raises(BusyError, match="in use"), locked(lock):
        pass
    with locked(lock):
        pass


def test_a_disk_without_locks_is_not_a_busy_one(tmp_path, monkeypatch):
    def none_left(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none_left)
    with pytest.raises(DataError, match=r"cannot lock .*No locks available"), locked(tmp_path / "lock"):
        pass


def test_a_folder_below_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot write"):
        write_text(tmp_path / "file" / "below.txt", "x")


def test_a_lock_that_is_let_go_soon_is_waited_for(tmp_path):
    """A child that a killed owner had just forked holds the lock until it runs its own program."""
    path = tmp_path / "lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(handle, fcntl.LOCK_EX)
    letting_go = Timer(0.3, os.close, (handle,))
    letting_go.start()
    with locked(path):
        assert letting_go.finished.is_set()
