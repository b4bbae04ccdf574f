"""Rule 10 where a run is broken off: no step that was made is given back, and the ledger can be gone on with."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from angioshare.errors import LedgerError
from angioshare.privacy.chain import spent
from angioshare.privacy.engine import RESERVED_AT_ONCE, PrivateEngine
from angioshare.privacy.events import Spend, StepEvent
from angioshare.privacy.journal import Journal
from angioshare.privacy.ledger import Ledger, read_lines
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.selection import Draw, PoissonSelector

FAILED = (AssertionError, pytest.fail.Exception)
EVENT = StepEvent(unit="patch", sampling_probability=0.01, noise_multiplier=4.0, patches_per_subject=10)
SUBJECTS = {"sub-1": "a1", "sub-2": "b2"}
TORN = b'{"kind":"reserve","steps":6'
Plan = Callable[..., PrivacyPlan]


def on_disk(path: Path) -> int:
    return sum(spend.steps for spend in spent(read_lines(path)))


@pytest.fixture
def written(tmp_path: Path) -> Path:
    path = tmp_path / "ledger.jsonl"
    with Ledger.open(path, subjects=SUBJECTS) as ledger:
        ledger.reserve(EVENT, "run one", 64)
        last = ledger.reserve(EVENT, "run two", 64)
        ledger.settle(last, 24)
    return path


class ForgetsTheReservation(PrivateEngine):
    """Knows how much it will reserve before it has reserved it."""

    def _charged_draw(self) -> Draw:
        if self._reserved_left == 0:
            self._reserved_left = RESERVED_AT_ONCE
            assert self._ledger is not None
            self._reservation = self._ledger.reserve(self.plan.event(), self.run, RESERVED_AT_ONCE)
        return super()._charged_draw()


POINTS = {
    "before a word of it": (Ledger, "reserve", "before"),
    "before the line": (Journal, "append", "before"),
    "before the line is flushed": (os, "fsync", "before"),
    "after the line is flushed": (os, "fsync", "after"),
    "after the line": (Journal, "append", "after"),
    "after all of it": (Ledger, "reserve", "after"),
    "before the draw": (PoissonSelector, "draw", "before"),
    "after the draw": (PoissonSelector, "draw", "after"),
}


def check_an_interrupt_leaves_no_uncharged_step(
    make: Callable[..., PrivateEngine], plan: PrivacyPlan, critic: nn.Module, ledger: Ledger, point: str, made: int
) -> None:
    """Interrupted in the draw that follows `made` others, then closed as every training is."""
    owner, name, when = POINTS[point]
    whole = getattr(owner, name)

    def interrupted(*given: object) -> object:
        if when == "after":
            whole(*given)
        raise KeyboardInterrupt

    engine = make(plan=plan, critic=critic, synthetic_rows=0, ledger=ledger, run="r")
    for _ in range(made):
        engine.draw()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.draw()
    engine.close()
    ledger.close()
    made += name == "draw"  # who was drawn may be known
    assert made <= on_disk(ledger.path) <= made + RESERVED_AT_ONCE
    with Ledger.open(ledger.path, subjects=SUBJECTS) as again:
        again.reserve(plan.event(), "r", 1)
        assert again.verify() == []


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("made", [0, RESERVED_AT_ONCE])
def test_an_interrupt_leaves_no_uncharged_step(
    plan: Plan, critic: nn.Module, ledger: Ledger, point: str, made: int
) -> None:
    check_an_interrupt_leaves_no_uncharged_step(PrivateEngine, plan(), critic, ledger, point, made)


@pytest.mark.parametrize("mutant", [ForgetsTheReservation])
def test_check_of_interrupts_catches(
    mutant: type[PrivateEngine], plan: Plan, critic: nn.Module, ledger: Ledger
) -> None:
    with pytest.raises(FAILED):
        check_an_interrupt_leaves_no_uncharged_step(
            mutant, plan(), critic, ledger, "before a word of it", RESERVED_AT_ONCE
        )


def test_an_interrupt_while_it_closes_gives_nothing_back_twice(plan: Plan, critic: nn.Module, ledger: Ledger) -> None:
    engine = PrivateEngine(plan=plan(), critic=critic, synthetic_rows=0, ledger=ledger, run="r")
    engine.draw()
    settle = ledger.settle

    def interrupted(*given: int) -> None:
        settle(*given)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger, "settle", interrupted)
        with pytest.raises(KeyboardInterrupt):
            engine.close()
    engine.close()
    assert sum(spend.steps for spend in ledger.spends()) == 1


@pytest.mark.parametrize("made", [0, 3, RESERVED_AT_ONCE])
def test_a_full_disk_is_what_the_user_is_told_of(
    plan: Plan, critic: nn.Module, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, made: int
) -> None:
    """Settling with a ledger that a failed write has closed must not put another error in its place."""

    def full(handle: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    def train() -> None:
        with PrivateEngine(plan=plan(), critic=critic, synthetic_rows=0, ledger=ledger, run="r") as engine:
            for _ in range(made):
                engine.draw()
            monkeypatch.setattr(os, "write", full)
            if engine._reserved_left:
                ledger.reserve(plan().event(), "another run", 1)
            engine.draw()

    with pytest.raises(LedgerError, match="No space left"):
        train()
    assert sum(spend.steps for spend in ledger.spends()) >= made


@pytest.mark.parametrize(("name", "flushed"), [("append", 9), ("unread", 0)])
def test_an_interrupt_between_disk_and_memory_breaks_no_chain(
    name: str, flushed: int, written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that followed one which is on disk alone would make every later start refuse the ledger."""
    ledger, other = (Ledger.open(written, subjects=SUBJECTS) for _ in range(2))
    other.reserve(EVENT, "other", 5)
    whole = getattr(Journal, name)

    def interrupted(*given: object) -> None:
        whole(*given)
        raise KeyboardInterrupt

    monkeypatch.setattr(Journal, name, interrupted)
    with pytest.raises(KeyboardInterrupt):
        ledger.reserve(EVENT, "run", 9)
    monkeypatch.undo()
    with pytest.raises(LedgerError, match="closed"):
        ledger.reserve(EVENT, "run", 1)
    other.reserve(EVENT, "other", 1)
    with Ledger.open(written, subjects=SUBJECTS) as again:
        assert sum(spend.steps for spend in again.spends()) == 64 + 40 + 5 + flushed + 1


def test_a_ledger_that_is_cut_while_it_is_read_is_told(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once the journal asked for the missing bytes without end."""
    ledger, other = (Ledger.open(written, subjects=SUBJECTS) for _ in range(2))
    other.reserve(EVENT, "other", 5)
    asked = []

    def cut(*given: int) -> bytes:
        asked.append(given)
        assert len(asked) < 3, "asks again for what is not there"
        return b"{"[: 2 - len(asked)]

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", cut)
        with pytest.raises(LedgerError, match="cut short"):
            ledger.reserve(EVENT, "run", 9)
    with pytest.raises(LedgerError, match="closed"):
        ledger.reserve(EVENT, "run", 1)
    assert sum(spend.steps for spend in other.spends()) == 64 + 40 + 5


def in_two_writes(ledger: Ledger, cut: bool) -> None:
    """Ends a torn line first, and notes it then."""
    if cut:
        ledger._journal.append(b"\n")
        if ledger._lines[-1].value is None:
            ledger._append({"kind": "torn"})


def check_a_kill_while_a_torn_line_is_noted_leaves_a_ledger(path: Path) -> None:
    """Killed after each number of bytes that noting writes: the next start goes on, and the torn line counts once."""
    content = path.read_bytes() + TORN
    path.write_bytes(content)
    Ledger.open(path, subjects=SUBJECTS).close()
    noted = path.read_bytes()
    assert noted.startswith(content + b"\n")
    for length in range(len(content), len(noted) + 1):
        path.write_bytes(noted[:length])
        assert on_disk(path) >= 104 + 64
        for _ in range(2):
            with Ledger.open(path, subjects=SUBJECTS) as ledger:
                ledger.reserve(EVENT, "run", 5)
                assert ledger.verify() == []
        assert path.read_bytes().startswith(noted)
        assert on_disk(path) == 104 + 64 + 10


def test_a_kill_while_a_torn_line_is_noted_leaves_a_ledger(written: Path) -> None:
    check_a_kill_while_a_torn_line_is_noted_leaves_a_ledger(written)


@pytest.mark.parametrize("mutant", [in_two_writes])
def test_check_of_noting_catches(mutant: object, written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ledger, "_mend", mutant)
    with pytest.raises((*FAILED, LedgerError)):
        check_a_kill_while_a_torn_line_is_noted_leaves_a_ledger(written)


def test_noting_is_one_write(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with written.open("ab") as handle:
        handle.write(TORN)
    written_at_once = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: (written_at_once.append(data), write(handle, data))[1])
    Ledger.open(written, subjects=SUBJECTS).close()
    assert len(written_at_once) == 1


@pytest.mark.parametrize("tail", [b'{"kind":"to\n', b'{"kind":"reserve","st'])
def test_what_no_kill_leaves_behind_a_torn_line_is_refused(tail: bytes, written: Path) -> None:
    """The beginning of a note that somebody ended, and another torn line."""
    written.write_bytes(content := written.read_bytes() + TORN + b"\n" + tail)
    with pytest.raises(LedgerError, match=r"line \d+"):
        Ledger.open(written, subjects=SUBJECTS)
    assert written.read_bytes() == content


def check_a_line_that_a_kill_cut_short_is_charged_to_no_run_that_is_finished(tmp_path: Path) -> None:
    """Else the finished run's own statement would no longer be what the ledger holds of it."""
    path = tmp_path / "ledger.jsonl"
    with Ledger.open(path, subjects=SUBJECTS) as ledger:
        ledger.reserve(EVENT, "finished", 100)
    with path.open("ab") as handle:
        handle.write(b'{"kind":"reserve","steps":6')
    with Ledger.open(path, subjects=SUBJECTS) as ledger:
        ledger.reserve(EVENT, "other", 7)
        assert [spend.steps for spend in ledger.spent_by("finished")] == [100]
        assert sum(spend.steps for spend in ledger.spends()) == 207


def test_a_line_that_a_kill_cut_short_is_charged_to_no_run_that_is_finished(tmp_path: Path) -> None:
    check_a_line_that_a_kill_cut_short_is_charged_to_no_run_that_is_finished(tmp_path)


def to_the_costliest(spends: list[Spend | None], reserved: list[Spend]) -> list[Spend]:
    stand_in = max(reserved, key=lambda spend: spend.steps, default=None)
    return [spend for spend in (known or stand_in for known in spends) if spend]


def forgets_them(spends: list[Spend | None], reserved: list[Spend]) -> list[Spend]:
    return [spend for spend in spends if spend]


@pytest.mark.parametrize("mutant", [to_the_costliest, forgets_them])
def test_check_of_lines_cut_short_catches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mutant: Callable[..., list[Spend]]
) -> None:
    monkeypatch.setattr("angioshare.privacy.chain._filled", mutant)
    with pytest.raises(AssertionError):
        check_a_line_that_a_kill_cut_short_is_charged_to_no_run_that_is_finished(tmp_path)
