"""Rule 10: charges are on disk first, nothing is forgotten, and edits, copies and splits of a ledger show."""

import errno
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from angioshare.errors import LedgerError, PrivacyError, SettingsError
from angioshare.privacy import chain
from angioshare.privacy.events import Spend, StepEvent
from angioshare.privacy.ledger import Ledger, read_lines
from angioshare.privacy.registry import BESIDE, Registry, fingerprints, user_state_folder, writable

FAILED = (AssertionError, pytest.fail.Exception)
EVENT = StepEvent(unit="patch", sampling_probability=0.01, noise_multiplier=4.0, patches_per_subject=10)
SUBJECTS = {"sub-1": "aa", "sub-2": "bb", "sub-3": "cc"}


def charged(ledger: Ledger) -> int:
    return sum(spend.steps for spend in ledger.spends())


def on_disk(path: Path) -> int:
    return sum(spend.steps for spend in chain.spent(read_lines(path)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cohort" / "ledger.jsonl"


@pytest.fixture
def written(path: Path) -> Path:
    with Ledger.open(path, subjects=SUBJECTS) as ledger:
        ledger.reserve(EVENT, "run one", 64)
        last = ledger.reserve(EVENT, "run two", 64)
        ledger.settle(last, 24)
    return path


def test_all_runs_on_a_cohort_add_up(written: Path) -> None:
    with Ledger.open(written, subjects=SUBJECTS) as ledger:
        ledger.reserve(EVENT, "run one", 10)
        assert charged(ledger) == 64 + 40 + 10
        assert [spend.steps for spend in ledger.spent_by("run one")] == [64, 10]
        assert ledger.verify() == []
        totals = ledger.totals(1e-5)
        assert totals.patch.epsilon < totals.subject.epsilon


def test_a_charge_is_flushed_before_reserve_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Ledger.open(path, subjects=SUBJECTS) as ledger:
        seen: list[int] = []
        flush = os.fsync
        monkeypatch.setattr(os, "fsync", lambda handle: (seen.append(on_disk(path)), flush(handle))[1])
        ledger.reserve(EVENT, "run", 7)
        assert seen == [7]


def test_only_the_owner_may_read_it(written: Path) -> None:
    assert stat.S_IMODE(written.stat().st_mode) == 0o600


def test_it_holds_neither_names_nor_digests_of_subjects(written: Path) -> None:
    text = written.read_text()
    assert not any(f'"{word}"' in text for word in (*SUBJECTS, *SUBJECTS.values()))


# A ledger that was edited.


def change_steps(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[1].replace(b'"steps":64', b'"steps":1'), *lines[2:]]


def drop_a_line(lines: list[bytes]) -> list[bytes]:
    return [lines[0], *lines[2:]]


def swap_lines(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def give_back_twice(lines: list[bytes]) -> list[bytes]:
    return [*lines, lines[-1]]


def unreadable_line(lines: list[bytes]) -> list[bytes]:
    return [lines[0], b'{"kind":"res', *lines[2:]]


def unknown_sampler(lines: list[bytes]) -> list[bytes]:
    return [*lines[:-1], lines[-1].replace(b"settle", b"refund")]


def no_genesis(lines: list[bytes]) -> list[bytes]:
    return lines[1:]


EDITS = [change_steps, drop_a_line, swap_lines, give_back_twice, unreadable_line, unknown_sampler, no_genesis]
Edit = Callable[[list[bytes]], list[bytes]]


def unchained(lines: list[chain.Line]) -> list[str]:
    """Reads the lines, but does not look at what binds them."""
    return [f"line {n} cannot be read" for n, line in enumerate(lines) if line.value is None]


def check_edit_shows(edit: Edit, path: Path) -> None:
    path.write_bytes(b"".join(line + b"\n" for line in edit(path.read_bytes().splitlines())))
    with pytest.raises(LedgerError, match=r"line \d+"):
        Ledger.open(path, subjects=SUBJECTS)


@pytest.mark.parametrize("edit", EDITS)
def test_edit_shows(edit: Edit, written: Path) -> None:
    check_edit_shows(edit, written)


@pytest.mark.parametrize("edit", [change_steps, drop_a_line, swap_lines])
def test_check_of_edits_catches_a_ledger_without_chain(
    edit: Edit, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chain, "problems", unchained)
    with pytest.raises(FAILED):
        check_edit_shows(edit, written)


Problems = Callable[[list[chain.Line], int], list[str]]


def check_new_lines_are_checked_against_all_before(problems: Problems, path: Path) -> None:
    """Lines that are known to be right are not looked at again; what follows them is held against them."""
    known = read_lines(path)
    event = EVENT.to_json()
    right: list[dict[str, object]] = [
        {"kind": "reserve", "steps": 3, "event": event, "run": "run"},
        {"kind": "settle", "of": 2, "unused": 1},
    ]
    wrong: list[dict[str, object]] = [
        {"kind": "settle", "of": 3, "unused": 1},  # given back before
        {"kind": "settle", "of": 2, "unused": 65},
        {"kind": "settle", "of": 1, "unused": 1},
        {"kind": "reserve", "steps": -3, "event": event, "run": "run"},
        {"kind": "refund"},
    ]
    for value in (*right, *wrong):
        lines = [*known, chain.encode(value, known[-1])]
        assert problems(lines, len(known)) == chain.problems(lines)
        assert bool(problems(lines, len(known))) == (value in wrong)
    assert problems([*known, chain.encode(right[0], known[0])], len(known))


def trusts_new_lines(lines: list[chain.Line], checked: int) -> list[str]:
    """Takes whatever follows what is known."""
    return chain.problems(lines[:checked])


def forgets_what_was_given_back(lines: list[chain.Line], checked: int) -> list[str]:
    """Looks for settlements among the new lines alone."""
    found = chain.problems(lines, checked)
    of = [line.value["of"] for line in lines[checked:] if line.kind == "settle" and line.value]
    return found if len(of) != len(set(of)) else [text for text in found if "gives back" not in text]


def test_new_lines_are_checked_against_all_before(written: Path) -> None:
    check_new_lines_are_checked_against_all_before(chain.problems, written)


@pytest.mark.parametrize("mutant", [trusts_new_lines, forgets_what_was_given_back])
def test_check_of_new_lines_catches(mutant: Problems, written: Path) -> None:
    with pytest.raises(FAILED):
        check_new_lines_are_checked_against_all_before(mutant, written)


def test_an_edit_while_in_use_stops_the_run(written: Path) -> None:
    with Ledger.open(written, subjects=SUBJECTS) as ledger:
        with written.open("ab") as handle:
            handle.write(b"{}\n")
        assert ledger.verify() != []
        with pytest.raises(LedgerError, match="somebody else"):
            ledger.reserve(EVENT, "run", 1)


# A ledger that was cut short.


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(1, 500))
def test_a_torn_line_counts_as_spent(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Wherever the last reservation was cut, it counts, and the next one does as well."""
    path = tmp_path_factory.mktemp("torn") / "ledger.jsonl"
    with Ledger.open(path, subjects=SUBJECTS) as ledger:
        ledger.reserve(EVENT, "run", 64)
        whole = len(path.read_bytes())
        ledger.reserve(EVENT, "run", 64)
    content = path.read_bytes()
    path.write_bytes(content[: max(whole + 1, len(content) - cut)])
    assert on_disk(path) == 128
    with Ledger.open(path, subjects=SUBJECTS) as ledger:
        ledger.reserve(EVENT, "run", 5)
        assert charged(ledger) == 133
        assert ledger.verify() == []
    with Ledger.open(path, subjects=SUBJECTS) as ledger:
        assert charged(ledger) == 133


def test_a_torn_first_charge_counts_once_it_is_known_what_runs(path: Path) -> None:
    with Ledger.open(path, subjects=SUBJECTS):
        pass
    with path.open("ab") as handle:
        handle.write(b'{"kind":"reserve","steps":6')
    with Ledger.open(path, subjects=SUBJECTS) as ledger:
        assert charged(ledger) == 0
        ledger.reserve(EVENT, "run", 8)
        assert charged(ledger) == 16


def test_a_torn_event_is_read_as_far_as_it_stands(path: Path) -> None:
    with Ledger.open(path, subjects=SUBJECTS) as ledger:
        ledger.reserve(EVENT, "run", 3)
    line = path.read_bytes().splitlines()[1].replace(b'"steps":3', b'"steps":70')
    with path.open("ab") as handle:
        handle.write(line[: line.index(b'"time"')])
    assert on_disk(path) == 73


def test_a_torn_first_line_begins_anew(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'{"kind":"gene')
    with Ledger.open(path, subjects=SUBJECTS) as ledger:
        assert ledger.verify() == []


def test_a_full_disk_stops_the_charge(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Ledger.open(written, subjects=SUBJECTS)
    write = os.write

    def half(handle: int, data: bytes) -> int:
        if len(data) < 20:
            raise OSError(28, "No space left on device")
        return write(handle, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(LedgerError, match="No space left"):
        ledger.reserve(EVENT, "run", 9)
    with pytest.raises(LedgerError, match="closed"):
        ledger.reserve(EVENT, "run", 9)
    monkeypatch.undo()
    with Ledger.open(written, subjects=SUBJECTS) as again:
        assert charged(again) == 64 + 40 + 9


# Giving back.


@pytest.mark.parametrize(("reservation", "unused"), [(2, 65), (2, -1), (1, 1), (3, 1), (9, 1), (4, 1)])
def test_more_than_was_reserved_cannot_be_given_back(written: Path, reservation: int, unused: int) -> None:
    with Ledger.open(written, subjects=SUBJECTS) as ledger:
        with pytest.raises(LedgerError, match="cannot give back"):
            ledger.settle(reservation, unused)
        assert charged(ledger) == 104


def test_nothing_can_be_reserved_for_no_steps(written: Path) -> None:
    with Ledger.open(written, subjects=SUBJECTS) as ledger, pytest.raises(SettingsError):
        ledger.reserve(EVENT, "run", 0)


@settings(max_examples=30, deadline=None)
@given(parts=st.lists(st.tuples(st.integers(1, 50), st.integers(0, 60)), max_size=6))
def test_a_ledger_only_grows_and_never_pays_out(
    parts: list[tuple[int, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("grows") / "ledger.jsonl"
    total = 0
    with Ledger.open(path, subjects=SUBJECTS) as ledger:
        for steps, unused in parts:
            before = path.read_bytes()
            reservation = ledger.reserve(EVENT, "run", steps)
            if unused <= steps:
                ledger.settle(reservation, unused)
            total += steps - (unused if unused <= steps else 0)
            assert path.read_bytes().startswith(before)
        assert charged(ledger) == total


# Two ledgers, or two processes.


def check_processes_share_a_ledger(path: Path) -> None:
    """Two that have it open see what the other wrote, and neither breaks the chain or loses a charge."""
    with Ledger.open(path, subjects=SUBJECTS) as first, Ledger.open(path, subjects=SUBJECTS) as second:
        held = [first.reserve(EVENT, "run one", 64), second.reserve(EVENT, "run two", 64)]
        assert len(set(held)) == 2
        second.reserve(EVENT, "run two", 3)
        first.settle(held[0], 60)
        second.settle(held[1], 50)
        assert charged(first) == charged(second) == 4 + 14 + 3
        assert first.verify() == second.verify() == []
        with pytest.raises(LedgerError, match="cannot give back"):
            second.settle(held[0], 1)
    with Ledger.open(path, subjects=SUBJECTS) as again:
        assert charged(again) == 21


def test_processes_share_a_ledger(path: Path) -> None:
    check_processes_share_a_ledger(path)


def never_catches_up(ledger: Ledger) -> None:
    """Goes on from what it knew when it was opened."""
    ledger._journal.unread()


def test_check_of_sharing_catches_who_does_not_read_what_others_wrote(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Ledger, "_catch_up", never_catches_up)
    with pytest.raises((*FAILED, LedgerError)):
        check_processes_share_a_ledger(path)


def check_nobody_writes_within_a_turn(path: Path) -> None:
    with Ledger.open(path, subjects=SUBJECTS) as first, Ledger.open(path, subjects=SUBJECTS) as second:
        with first.turn():
            before = charged(first)
            with pytest.raises(LedgerError, match="in use by another process"):
                second.reserve(EVENT, "run", 1)
            with first.turn():  # nested
                first.reserve(EVENT, "run", 2)
            assert charged(first) == before + 2
        second.reserve(EVENT, "run", 1)
        assert charged(second) == before + 3


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("angioshare.privacy.journal.PATIENCE_S", 0.05)


@pytest.mark.usefixtures("impatient")
def test_nobody_writes_within_a_turn(path: Path) -> None:
    check_nobody_writes_within_a_turn(path)


def test_a_file_system_without_locks_is_refused_at_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(handle: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("angioshare.privacy.journal.fcntl.flock", no_locks)
    with pytest.raises(LedgerError, match="cannot lock"):
        Ledger.open(path, subjects=SUBJECTS)


@pytest.mark.parametrize("known", [1, 2, 3, 4])
@pytest.mark.parametrize("edit", [change_steps, drop_a_line, swap_lines, give_back_twice])
def test_lines_that_were_checked_hide_no_edit_of_later_ones(known: int, edit: Edit, written: Path) -> None:
    lines, edited = read_lines(written), chain.parse(b"\n".join([*edit(written.read_bytes().splitlines()), b""]))[0]
    assert chain.problems(lines, known) == []
    if edited[:known] == lines[:known]:
        assert chain.problems(edited, known) == chain.problems(edited) != []


def lets_everybody_in(handle: int, path: Path) -> None:
    """Holds nothing."""


@pytest.mark.usefixtures("impatient")
def test_check_of_turns_catches_a_ledger_without_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("angioshare.privacy.journal._lock", lets_everybody_in)
    with pytest.raises(FAILED):
        check_nobody_writes_within_a_turn(path)


def test_a_torn_line_of_another_process_counts_as_spent(written: Path) -> None:
    with Ledger.open(written, subjects=SUBJECTS) as ledger:
        with written.open("ab") as handle:
            handle.write(b'{"kind":"reserve","steps":6')
        assert charged(ledger) == 104 + 64
        ledger.reserve(EVENT, "run", 5)
        assert charged(ledger) == 104 + 64 + 5
        assert ledger.verify() == []


@pytest.mark.parametrize("how", ["removed", "exchanged", "cut"])
def test_a_ledger_that_is_taken_away_while_in_use_stops_the_run(how: str, written: Path) -> None:
    with Ledger.open(written, subjects=SUBJECTS) as ledger:
        content = written.read_bytes()
        if how == "cut":
            os.truncate(written, len(content) // 2)
        else:
            written.unlink()
        if how == "exchanged":
            written.write_bytes(content)
        with pytest.raises(LedgerError, match="restore it"):
            ledger.reserve(EVENT, "run", 1)
        with pytest.raises(LedgerError, match="closed"):
            ledger.reserve(EVENT, "run", 1)


def test_another_cohort_is_refused(written: Path) -> None:
    with pytest.raises(LedgerError, match="another cohort"):
        Ledger.open(written, subjects={"sub-1": "dd"})


def test_a_subset_renamed_and_a_newcomer_are_charged_on_the_same_ledger(written: Path) -> None:
    with Ledger.open(written, subjects={"sub-99": "bb"}) as ledger:
        assert charged(ledger) == 104
    with Ledger.open(written, subjects={"sub-1": "aa", "sub-4": "dd"}) as ledger:
        assert ledger.verify() == []
    with Ledger.open(written, subjects={"sub-4": "dd"}) as ledger:
        assert charged(ledger) == 104


def test_a_missing_ledger_is_not_begun_when_it_must_exist(path: Path) -> None:
    with pytest.raises(LedgerError, match="--ledger"):
        Ledger.open(path, subjects=SUBJECTS, create=False)
    assert not path.exists()


def test_a_cohort_without_subjects_is_refused(path: Path) -> None:
    with pytest.raises(SettingsError, match="subject"):
        Ledger.open(path, subjects={})


Open = Callable[[Path, dict[str, str]], Ledger]


@pytest.fixture
def known(tmp_path: Path) -> Open:
    registry = Registry(tmp_path / "state")
    return lambda path, subjects: Ledger.open(path, subjects=subjects, registry=registry)


def without_registry(path: Path, subjects: dict[str, str]) -> Ledger:
    """Looks at the one file alone."""
    return Ledger.open(path, subjects=subjects)


def begin(open_: Open, path: Path) -> None:
    with open_(path, SUBJECTS) as ledger:
        ledger.reserve(EVENT, "run", 64)


def check_copied_cohort_does_not_start_at_zero(open_: Open, path: Path) -> None:
    begin(open_, path)
    with pytest.raises(LedgerError, match=r"already have a ledger.*--ledger"):
        open_(path.parent.parent / "copy" / "ledger.jsonl", {"sub-77": "bb", "sub-78": "zz"})
    assert not (path.parent.parent / "copy" / "ledger.jsonl").exists()


def check_copied_ledger_is_refused(open_: Open, path: Path) -> None:
    begin(open_, path)
    shutil.copy(path, path.with_name("copy.jsonl"))
    with pytest.raises(LedgerError, match="is a copy"):
        open_(path.with_name("copy.jsonl"), SUBJECTS)


def check_older_copy_is_refused(open_: Open, path: Path) -> None:
    begin(open_, path)
    older = path.read_bytes()
    begin(open_, path)
    path.write_bytes(older)
    with pytest.raises(LedgerError, match="older"):
        open_(path, SUBJECTS)


def check_rechained_edit_is_refused(open_: Open, path: Path) -> None:
    begin(open_, path)
    first, second = read_lines(path)
    assert second.value is not None
    forged = chain.encode({**second.value, "steps": 1}, first)
    path.write_bytes(first.raw + b"\n" + forged.raw + b"\n")
    with pytest.raises(LedgerError, match="edited"):
        open_(path, SUBJECTS)


def check_deleted_ledger_is_missed(open_: Open, path: Path) -> None:
    begin(open_, path)
    path.unlink()
    with pytest.raises(LedgerError, match="missing"):
        open_(path, SUBJECTS)


CHECKS = [
    check_copied_cohort_does_not_start_at_zero,
    check_copied_ledger_is_refused,
    check_older_copy_is_refused,
    check_rechained_edit_is_refused,
    check_deleted_ledger_is_missed,
]


@pytest.mark.parametrize("check", CHECKS)
def test_ledger_cannot_be_split_or_forgotten(check: Callable[[Open, Path], None], known: Open, path: Path) -> None:
    check(known, path)


@pytest.mark.parametrize("check", CHECKS)
def test_check_of_splits_catches_a_ledger_without_registry(check: Callable[[Open, Path], None], path: Path) -> None:
    with pytest.raises(FAILED):
        check(without_registry, path)


def test_a_moved_ledger_is_recognised(known: Open, path: Path) -> None:
    begin(known, path)
    moved = path.parent.parent / "moved.jsonl"
    path.rename(moved)
    with known(moved, SUBJECTS) as ledger:
        assert charged(ledger) == 64


def test_a_damaged_registry_is_no_empty_registry(known: Open, path: Path, tmp_path: Path) -> None:
    begin(known, path)
    (tmp_path / "state" / "registry.json").write_text("{}")
    with pytest.raises(LedgerError, match="damaged"):
        known(path, SUBJECTS)


def test_registry_is_private_and_keyed(known: Open, path: Path, tmp_path: Path) -> None:
    begin(known, path)
    file = tmp_path / "state" / "registry.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = json.loads(file.read_text())
    assert content["ledgers"][0]["subjects"] == fingerprints(bytes.fromhex(content["key"]), SUBJECTS)
    assert content["ledgers"][0]["subjects"] != fingerprints(bytes(32), SUBJECTS)


def test_an_unwritable_state_folder_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="XDG_STATE_HOME"):
        Ledger.open(tmp_path / "ledger.jsonl", subjects=SUBJECTS, registry=Registry(tmp_path / "file" / "state"))


# Where it stands.


def test_it_stands_beside_a_cohort_that_can_be_written(tmp_path: Path) -> None:
    registry = Registry(tmp_path / "state")
    assert registry.locate(tmp_path, SUBJECTS) == tmp_path / BESIDE
    (tmp_path / "cohort.tsv").write_text("")
    assert registry.locate(tmp_path / "cohort.tsv", SUBJECTS) == tmp_path / BESIDE
    assert registry.locate(tmp_path, SUBJECTS, override=tmp_path / "mine") == tmp_path / "mine"


def test_it_stands_in_the_state_folder_if_the_cohort_is_read_only(tmp_path: Path) -> None:
    """The mode decides, since a superuser could write anyway."""
    cohort = tmp_path / "cohort"
    cohort.mkdir()
    cohort.chmod(0o555)
    registry = Registry(tmp_path / "state")
    found = registry.locate(cohort, SUBJECTS)
    assert found.parent == tmp_path / "state" / "ledgers"
    assert registry.locate(cohort, {"renamed": "cc", "sub-2": "bb", "x": "aa"}) == found
    assert registry.locate(cohort, {"sub-1": "aa"}) != found
    assert not writable(cohort / "not" / "there")
    cohort.chmod(0o755)
    assert writable(cohort / "not" / "there")


def test_state_folder_follows_the_desktop_standard() -> None:
    assert user_state_folder({"XDG_STATE_HOME": "/x"}) == Path("/x/angioshare")
    assert user_state_folder({"HOME": "/h"}) == Path("/h/.local/state/angioshare")


def test_a_settlement_that_does_not_fit_is_not_paid_out(written: Path) -> None:
    """Even of a chain that is broken, no more is given back than was reserved, and only once."""
    lines = read_lines(written)
    value = {"kind": "settle", "of": 2, "unused": 1000}
    forged = [*lines, chain.encode(value, lines[-1])]
    assert sum(spend.steps for spend in chain.spent(forged)) == 104
    assert chain.problems(forged)


def test_a_reservation_that_cannot_be_read_counts_as_the_costliest(written: Path) -> None:
    lines = read_lines(written)
    odd = chain.encode({"kind": "reserve", "steps": 5, "event": {"unit": "voxel"}}, lines[-1])
    assert chain.spent([*lines, odd])[-1] == Spend(event=EVENT, steps=64)  # of no run: whose it was is not known


def test_events_of_a_foreign_version_are_refused(written: Path) -> None:
    lines = read_lines(written)
    odd = chain.encode({"kind": "reserve", "steps": 5, "event": {"sampler": "shuffled"}}, lines[-1])
    with written.open("ab") as handle:
        handle.write(odd.raw + b"\n")
    with pytest.raises(PrivacyError, match="cannot be accounted"):
        Ledger.open(written, subjects=SUBJECTS)
