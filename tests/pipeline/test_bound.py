"""What a run is bound to: its ledger, its settings, and public numbers; and runs that are not bound so."""

import shutil

import pytest

from angioshare.cli.main import main
from angioshare.patches.store import read_manifest
from angioshare.progress import SilentProgress
from angioshare.stages.prepare import prepare
from angioshare.stages.train import outlook_of_source


@pytest.fixture
def ledger(place):
    return place / "A" / "derivatives" / "angioshare" / "ledger.jsonl"


@pytest.fixture
def elsewhere(place, monkeypatch):
    """Another user, whose registry knows no ledger; called again, the first one."""
    users = iter(["another user", "state"])

    def move():
        monkeypatch.setenv("XDG_STATE_HOME", str(place / next(users)))

    return move


def check_a_run_goes_on_under_its_own_ledger_alone(place, begun, unfinished, ledger, elsewhere, capsys):
    root = str(unfinished.root)
    shutil.move(ledger, place / "kept.jsonl")
    elsewhere()
    assert main(["train", root]) == 4
    assert "is not there" in capsys.readouterr().err
    assert not ledger.exists()
    other = str(begun("other").root)
    assert [main([stage, other]) for stage in ("prepare", "train")] == [0, 0]  # begins a ledger
    assert main(["train", root]) == 4
    assert "is another one" in capsys.readouterr().err
    shutil.move(place / "kept.jsonl", ledger)
    elsewhere()
    assert main(["train", root]) == 0


def test_a_run_goes_on_under_its_own_ledger_alone(place, begun, unfinished, ledger, elsewhere, capsys):
    check_a_run_goes_on_under_its_own_ledger_alone(place, begun, unfinished, ledger, elsewhere, capsys)


def forgets_its_ledger(monkeypatch):
    monkeypatch.setattr("angioshare.stages.spending._account", lambda _: "")


@pytest.mark.parametrize("mutant", [forgets_its_ledger])
def test_check_of_its_ledger_catches(place, begun, unfinished, ledger, elsewhere, capsys, monkeypatch, mutant):
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check_a_run_goes_on_under_its_own_ledger_alone(place, begun, unfinished, ledger, elsewhere, capsys)


def check_a_training_that_the_ledger_knows_nothing_of_is_refused(unfinished, ledger, elsewhere, capsys, says):
    (unfinished.private / "ledger.json").unlink()  # earlier versions wrote none
    ledger.unlink()
    elsewhere()
    assert main(["train", str(unfinished.root)]) == 4
    assert says in capsys.readouterr().err
    assert not (unfinished.source(unfinished.config.sources[0].name) / "statement.json").exists()


@pytest.mark.parametrize(("finished", "says"), [(True, "never charged for"), (False, "trained for 8 private steps")])
def test_a_training_that_the_ledger_knows_nothing_of_is_refused(
    unfinished, ledger, elsewhere, capsys, monkeypatch, finished, says
):
    if finished:  # whatever finds its result there needs no engine
        monkeypatch.setattr("angioshare.synthesis.wgan.Wgan.fit", lambda *_, **__: None)
    check_a_training_that_the_ledger_knows_nothing_of_is_refused(unfinished, ledger, elsewhere, capsys, says)


def trusts_checkpoints(monkeypatch):
    monkeypatch.setattr("angioshare.stages.engines.Engines._check_charged", lambda *_: None)


@pytest.mark.parametrize("mutant", [trusts_checkpoints])
def test_check_of_charged_steps_catches(unfinished, ledger, elsewhere, capsys, monkeypatch, mutant):
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check_a_training_that_the_ledger_knows_nothing_of_is_refused(
            unfinished, ledger, elsewhere, capsys, "trained for 8 private steps"
        )


def check_changed_settings_are_refused(place, begun, capsys):
    run = begun().root
    file = run / "config.toml"
    file.write_text(file.read_text().replace("noise_multiplier = 1.0", "noise_multiplier = 9.0"))
    for command in (["run", str(place / "A"), str(run), "--resume", "--dry-run"], ["train", str(run)]):
        assert main(command) == 2
        assert "was changed since the run began" in capsys.readouterr().err


def test_changed_settings_are_refused(place, begun, capsys):
    check_changed_settings_are_refused(place, begun, capsys)


def trusts_settings(monkeypatch):
    monkeypatch.setattr("angioshare.stages.folder.digest_of", lambda _: "")


@pytest.mark.parametrize("mutant", [trusts_settings])
def test_check_of_settings_catches(place, begun, capsys, monkeypatch, mutant):
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check_changed_settings_are_refused(place, begun, capsys)


def check_a_statement_does_not_tell_how_many_patches_labels_gave(begun):
    run = begun("few", "patches.allow_fewer=true", "patches.vessel=2000")
    source = run.config.sources[0].name
    before = outlook_of_source(run, source)["statement"]
    prepare(run, SilentProgress())
    manifest = read_manifest(run.private / "patches")
    assert manifest["count"] < len(manifest["subjects"]) * run.config.patches.per_subject
    assert outlook_of_source(run, source)["statement"] == before


def test_a_statement_does_not_tell_how_many_patches_labels_gave(begun):
    check_a_statement_does_not_tell_how_many_patches_labels_gave(begun)


def counts_what_labels_gave(monkeypatch):
    from angioshare.stages.train import training_size

    def counted(run):
        if not run.finished("prepare", "cohort"):
            return training_size(run)
        manifest = read_manifest(run.private / "patches")
        return len(manifest["subjects"]), manifest["count"]

    monkeypatch.setattr("angioshare.stages.train.training_size", counted)


@pytest.mark.parametrize("mutant", [counts_what_labels_gave])
def test_check_of_how_many_catches(begun, monkeypatch, mutant):
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check_a_statement_does_not_tell_how_many_patches_labels_gave(begun)
