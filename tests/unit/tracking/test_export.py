import json
import os
import socket
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from angioshare.cli.main import main
from angioshare.errors import SettingsError
from angioshare.tracking import library
from angioshare.tracking.export import export
from angioshare.tracking.track import series

from .conftest import SECRET

TOOLS = {"tensorboard": "tensorboardX", "mlflow": "mlflow.store.tracking.sqlalchemy_store"}


@pytest.fixture(params=TOOLS)
def tool(request):
    needs(request.param)
    return request.param


def needs(tool):
    """Skip where the extra is not installed."""
    try:
        library.optional(TOOLS[tool], tool)
    except SettingsError as error:
        pytest.skip(str(error))


def events(file):
    """Read a file of records: length, checksum, an event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    data, place = file.read_bytes(), 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        yield Event.FromString(data[place + 12 : place + 12 + length])
        place += 16 + length


def tensorboard_numbers(folder):
    """Every number by track and tag, and the words of every track by key."""
    found, words = {}, {}
    for file in folder.rglob("*tfevents*"):
        track = file.parent.relative_to(folder).as_posix()
        for event in events(file):
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault((track, value.tag), {})[event.step] = value.simple_value
                else:
                    key = value.tag.removeprefix("about/").removesuffix("/text_summary")
                    words.setdefault(track, {})[key] = value.tensor.string_val[0].decode()
    return found, words


def mlflow_numbers(folder):
    """The same from a database, by MLflow's own client."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")
    (experiment,) = [one for one in client.search_experiments() if one.name == "Tracked"]
    found, words = {}, {}
    for one in client.search_runs([experiment.experiment_id]):
        name = one.info.run_name
        for key in one.data.metrics:
            history = client.get_metric_history(one.info.run_id, key)
            found[name, key] = {metric.step: metric.value for metric in history}
        words[name] = {"statement": one.data.tags.get("mlflow.note.content"), **one.data.params}
    client._tracking_client.store.engine.dispose()
    return found, words


READERS = {"tensorboard": tensorboard_numbers, "mlflow": mlflow_numbers}


def everything(folder):
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_files_hold_what_may_be_seen_and_apart_from_it_for_their_owner_alone_everything(run, tmp_path, tool):
    out, internal = tmp_path / "seen", tmp_path / "internal"
    export(run.root, out, internal=internal, tool=tool, state=run.state)
    seen, words = READERS[tool](out)
    kept, _ = READERS[tool](internal)
    assert seen["private", "fidelity/ssim_mean"] == {0: 0.5}
    assert list(seen["private", "privacy/epsilon_patch"]) == [0, 10, 20, 30, 40]
    assert "epsilon = " in words["private"]["statement"]
    assert words["private"]["settings.batch"] == "4"
    assert kept["private", "training/critic_score_real"] == {10: pytest.approx(SECRET), 20: pytest.approx(-SECRET)}
    assert {value for values in seen.values() for value in values.values()}.isdisjoint({SECRET, -SECRET})
    assert seen.keys() < kept.keys()
    assert internal.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in internal.rglob("*") if file.is_file()} == {0o600}


def test_what_may_be_seen_names_no_machine_no_path_and_no_subject(run, tmp_path, tool):
    out = tmp_path / "seen"
    export(run.root, out, tool=tool, state=run.state)
    content = everything(out) + " ".join(str(path.relative_to(out)) for path in out.rglob("*")).encode()
    for telling in (socket.gethostname(), str(tmp_path), str(Path.cwd()), "sub-A"):
        assert telling.encode() not in content


def test_nothing_internal_is_written_unless_it_is_asked_for(run, tmp_path):
    needs("tensorboard")
    before = set(tmp_path.rglob("*"))
    export(run.root, tmp_path / "seen", state=run.state)
    assert all(path.is_relative_to(tmp_path / "seen") for path in set(tmp_path.rglob("*")) - before)


def test_another_export_replaces_the_first(run, tmp_path):
    needs("tensorboard")
    out = tmp_path / "seen"
    export(run.root, out, state=run.state)
    first = everything(out)
    export(run.root, out, state=run.state)
    assert everything(out) == first


@pytest.mark.parametrize("internal", ["seen", "seen/inside", ".", "run/public", "run/public/inside"])
def test_internal_folder_must_stand_apart(run, tmp_path, internal):
    with pytest.raises(SettingsError, match="apart"):
        export(run.root, tmp_path / "seen", internal=tmp_path / internal, state=run.state)
    assert not (tmp_path / "seen").exists()


def test_folder_that_others_read_is_not_taken_for_what_is_internal(run, tmp_path):
    needs("tensorboard")
    (tmp_path / "open" / "something").mkdir(parents=True)
    with pytest.raises(SettingsError, match="open to others"):
        export(run.root, tmp_path / "seen", internal=tmp_path / "open", state=run.state)


def test_folder_of_an_internal_export_is_never_shown(run, tmp_path, tool):
    mine = tmp_path / "mine"
    export(run.root, tmp_path / "seen", internal=mine, tool=tool, state=run.state)
    before = everything(mine)
    for shown in (mine, tmp_path):
        for other in TOOLS:
            with pytest.raises(SettingsError, match="of an internal export"):
                export(run.root, shown, tool=other, state=run.state)
    assert everything(mine) == before
    export(run.root, tmp_path / "seen", internal=mine, tool=tool, state=run.state)


@pytest.mark.parametrize("tool", TOOLS)
def test_missing_library_is_told_with_its_cure(run, tmp_path, monkeypatch, tool):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(library, "import_module", missing)
    with pytest.raises(SettingsError, match=r"pip install -e '.\[tracking\]'"):
        export(run.root, tmp_path / "seen", tool=tool, state=run.state)


def test_mlflow_is_loaded_without_its_telemetry(tmp_path):
    needs("mlflow")
    code = (
        "from angioshare.tracking.mlflow_store import _quiet_library; _quiet_library(); import mlflow.telemetry as t; "
        "raise SystemExit(t.get_telemetry_client() is not None)"
    )
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}  # no variable that tells of tests
    assert subprocess.run([sys.executable, "-c", code], env=bare).returncode == 0
    assert list(tmp_path.iterdir()) == []  # nor the name that MLflow gives an installation


def test_command_answers_with_both_sides(run, tmp_path, capsys, monkeypatch):
    needs("tensorboard")
    monkeypatch.setenv("XDG_STATE_HOME", str(run.state))
    flags = [str(run.root), str(tmp_path / "seen"), "--json"]
    assert main(["track", *flags]) == 0
    assert json.loads(capsys.readouterr().out)["internal"] is None
    assert main(["track", *flags, "--internal", str(tmp_path / "mine")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["internal"]["numbers"] > found["shareable"]["numbers"] > 0


@pytest.mark.parametrize("values", [[], [None], [float("nan")], [float("inf"), None]])
def test_numbers_that_are_none_make_no_series(values):
    assert series("a", range(len(values)), values) == []
