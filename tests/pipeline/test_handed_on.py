"""What is handed on says what the ledger says, and is what this run has made: statements, pairs, the page."""

import json
import os
import shutil
from contextlib import nullcontext

import pytest

from angioshare.cli.main import main
from angioshare.cli.output import state_folder
from angioshare.errors import DataError, LedgerError, PrivacyError
from angioshare.patches.store import open_store
from angioshare.progress import SilentProgress
from angioshare.rundir import write_json
from angioshare.stages import report, spending
from angioshare.stages import sample as stage
from angioshare.stages.folder import open_run
from angioshare.stages.sample import sample
from angioshare.stages.spending import cohort_statement
from angioshare.stages.train import check_statement

PRIVATE = "wgan-private"
"""The source of these runs."""


@pytest.fixture
def trained(begun):
    run = begun()
    assert [main([stage, str(run.root)]) for stage in ("prepare", "train")] == [0, 0]
    return open_run(run.root, state=state_folder())


@pytest.fixture
def ledger(place):
    return place / "A" / "derivatives" / "angioshare" / "ledger.jsonl"


def emptied(lines):
    return []


def rolled_back(lines):
    return lines[:1]


def edited(lines):
    return [line.replace('"noise_multiplier":1.0', '"noise_multiplier":50.0') for line in lines]


def check_nothing_is_stated_of_a_ledger_that_is_not_what_it_was(trained, ledger, wrong):
    assert cohort_statement(trained).patch.epsilon > 0
    text = "".join(f"{line}\n" for line in wrong(ledger.read_text().splitlines()))
    assert text != ledger.read_text()
    ledger.write_text(text)
    for hand_out in (cohort_statement, lambda run: sample(run, SilentProgress())):
        with pytest.raises(LedgerError):
            hand_out(trained)
    assert not (trained.public / "statements").exists()


@pytest.mark.parametrize("wrong", [emptied, rolled_back, edited])
def test_nothing_is_stated_of_a_ledger_that_is_not_what_it_was(trained, ledger, wrong):
    check_nothing_is_stated_of_a_ledger_that_is_not_what_it_was(trained, ledger, wrong)


def trusts_every_line(monkeypatch):
    monkeypatch.setattr(spending, "problems", lambda lines: [])
    monkeypatch.setattr(spending.Registry, "problems", lambda *_: [])


def takes_an_empty_ledger_for_a_new_one(monkeypatch):
    monkeypatch.setattr(spending, "_account", lambda run: "")


@pytest.mark.parametrize(
    ("mutant", "wrong"), [(trusts_every_line, edited), (trusts_every_line, rolled_back),
                          (takes_an_empty_ledger_for_a_new_one, emptied)]
)  # fmt: skip
def test_check_of_its_ledger_catches(trained, ledger, monkeypatch, mutant, wrong):
    mutant(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check_nothing_is_stated_of_a_ledger_that_is_not_what_it_was(trained, ledger, wrong)


def test_a_ledger_that_was_rolled_back_where_nobody_has_seen_it_does_not_fit_the_statements(
    trained, ledger, place, monkeypatch
):
    """On another machine no registry knows how long the ledger was."""
    ledger.write_text(ledger.read_text().splitlines(keepends=True)[0])
    shutil.rmtree(place / "state")
    with pytest.raises(LedgerError, match=r"states epsilon .* and the ledger 0"):
        sample(trained, SilentProgress())


def check_a_statement_that_was_edited_is_not_handed_out(trained, unit, key):
    path = trained.source(PRIVATE) / "statement.json"
    said = json.loads(path.read_text())
    said[unit][key] = 0.01
    write_json(path, said, private=True)
    with pytest.raises(LedgerError, match="bring back whichever was changed"):
        sample(trained, SilentProgress())
    assert not trained.public.exists()


@pytest.mark.parametrize(("unit", "key"), [("patch", "epsilon"), ("subject", "epsilon"), ("patch", "delta")])
def test_a_statement_that_was_edited_is_not_handed_out(trained, unit, key):
    check_a_statement_that_was_edited_is_not_handed_out(trained, unit, key)


def check_pairs_that_were_put_in_place_of_a_sources_own_are_not_taken_for_them(trained, begun):
    """Neither real patches nor those of another run with the same source."""
    place = trained.pairs(trained.config.sources[0])
    shutil.copytree(trained.private / "patches", place)
    assert main(["sample", str(trained.root)]) == 3
    shutil.rmtree(place)
    other = begun("other", f"sources.{PRIVATE}.seed=5")
    assert [main([stage, str(other.root)]) for stage in ("prepare", "train", "sample")] == [0, 0, 0]
    shutil.copytree(other.pairs(other.config.sources[0]), place)
    assert main(["sample", str(trained.root)]) == 3
    assert not (trained.public / "statements").exists()
    shutil.rmtree(place)
    assert main(["sample", str(trained.root)]) == 0
    assert open_store(place).provenance == "dp"


def test_pairs_that_were_put_in_place_of_a_sources_own_are_not_taken_for_them(trained, begun):
    check_pairs_that_were_put_in_place_of_a_sources_own_are_not_taken_for_them(trained, begun)


def check_whatever_no_stage_has_put_on_the_public_side_stops_the_report(trained):
    sample(trained, SilentProgress())
    report.check_public_side(trained)
    for name, make in {
        "report-internal.html": lambda path: path.write_text("scores"),
        "patches": lambda path: path.symlink_to(trained.private / "patches"),
        f"synthetic/{PRIVATE}/centre.npy": lambda path: path.write_bytes(b""),
        "synthetic/mine": os.mkdir,
    }.items():
        path = trained.public / name
        make(path)
        with pytest.raises(PrivacyError, match=f"{path} is nothing that a run puts on its public side"):
            report.check_public_side(trained)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    report.check_public_side(trained)


def test_whatever_no_stage_has_put_on_the_public_side_stops_the_report(trained):
    check_whatever_no_stage_has_put_on_the_public_side_stops_the_report(trained)


def believes_statements(monkeypatch):
    monkeypatch.setattr(stage, "check_statement", lambda *_: None)


def takes_any_pairs(monkeypatch):
    monkeypatch.setattr(stage, "own_pairs", lambda run, source: open_store(run.pairs(source)))


def takes_pairs_of_that_source_of_any_run(monkeypatch):
    monkeypatch.setattr(stage, "_about", lambda source, statement: {"source": source.name})
    read = stage.read_manifest
    monkeypatch.setattr(
        stage,
        "read_manifest",
        lambda path: {**read(path), "meta": {"source": read(path).get("meta", {}).get("source")}},
    )


def looks_at_nothing(monkeypatch):
    monkeypatch.setattr(report, "check_public_side", lambda run: None)


MUTANTS = [
    (believes_statements, lambda run, _: check_a_statement_that_was_edited_is_not_handed_out(run, "patch", "epsilon")),
    (takes_any_pairs, check_pairs_that_were_put_in_place_of_a_sources_own_are_not_taken_for_them),
    (takes_pairs_of_that_source_of_any_run, check_pairs_that_were_put_in_place_of_a_sources_own_are_not_taken_for_them),
    (looks_at_nothing, lambda run, _: check_whatever_no_stage_has_put_on_the_public_side_stops_the_report(run)),
]


@pytest.mark.parametrize(("mutant", "check"), MUTANTS)
def test_checks_of_what_is_handed_on_catch(trained, begun, monkeypatch, mutant, check):
    mutant(monkeypatch)
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(trained, begun)


def test_pages_are_outdated_as_soon_as_another_run_has_spent_more(trained, begun):
    assert not report.outdated(trained)  # there are none yet
    write_json(trained.done("report", "pages"), {"records": []}, private=True)
    write_json(trained.public / "statements" / report.WHOLE, cohort_statement(trained).to_json())
    assert not report.outdated(trained)
    whole = (trained.public / "statements" / report.WHOLE).read_text()
    (trained.public / "statements" / report.WHOLE).write_text("{}")
    assert report.outdated(trained)  # a damaged one is written again
    (trained.public / "statements" / report.WHOLE).write_text(whole)
    other = begun("other")
    assert [main([stage, str(other.root)]) for stage in ("prepare", "train")] == [0, 0]
    assert report.outdated(trained)


def test_a_run_that_writes_between_two_looks_at_the_ledger_breaks_nothing(trained, begun, ledger, monkeypatch):
    """What the registry has seen is more then than what was read a moment before."""
    read, before = spending.read_lines, spending.read_lines(ledger)
    other = begun("other")
    assert [main([stage, str(other.root)]) for stage in ("prepare", "train")] == [0, 0]
    together = cohort_statement(trained)
    early = iter([before])
    monkeypatch.setattr(spending, "read_lines", lambda path: next(early, None) or read(path))
    assert cohort_statement(trained) == together


def test_epsilon_may_differ_by_what_another_processor_rounds_and_no_more(trained):
    path = trained.source(PRIVATE) / "statement.json"
    whole = json.loads(path.read_text())
    for share, refused in ((1 + 2e-9, False), (1 - 2e-9, False), (1 - 1e-4, True)):
        said = {**whole, "patch": {**whole["patch"], "epsilon": whole["patch"]["epsilon"] * share}}
        write_json(path, said, private=True)
        with pytest.raises(LedgerError) if refused else nullcontext():
            check_statement(trained, trained.config.sources[0])


def test_a_statement_that_forgets_what_it_does_not_cover_is_not_handed_out(trained):
    path = trained.source(PRIVATE) / "statement.json"
    said = json.loads(path.read_text())
    write_json(path, {**said, "not_covered": said["not_covered"][:1]}, private=True)
    with pytest.raises(LedgerError, match="names other things that are not covered"):
        sample(trained, SilentProgress())


def test_what_was_exchanged_after_it_was_drawn_is_told_and_statements_are_written_again(trained):
    sample(trained, SilentProgress())
    report.check_handed_on(trained)
    public = trained.public / "statements" / f"{PRIVATE}.json"
    before = public.read_text()
    public.write_text("{}")
    report.check_handed_on(trained)
    assert public.read_text() == before
    pairs = trained.pairs(trained.config.sources[0])
    shutil.rmtree(pairs)
    shutil.copytree(trained.private / "patches", pairs)
    (pairs / "centre.npy").unlink()
    with pytest.raises(DataError, match="holds pairs that are not those of source wgan-private"):
        report.check_handed_on(trained)
