"""Damaged files of a run are refused in words that name file and cure; none of them ends in a traceback."""

import io
import json
import math
import zipfile

import numpy as np
import pytest

from angioshare.config import parse_config
from angioshare.errors import DataError, LedgerError, SettingsError
from angioshare.privacy.chain import parse, problems, spent
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.planner import ledger_report
from angioshare.privacy.unit import public_knowledge, statement_from_json, without_privacy
from angioshare.records import Record
from angioshare.rundir import read_json
from angioshare.stages import arrays
from angioshare.stages.arrays import read_arrays
from angioshare.stages.folder import _write_identity, open_run, to_toml
from angioshare.stages.maps import read_maps
from angioshare.stages.report import _curves
from angioshare.stages.run import Run
from angioshare.stages.sets import open_set

DEEP = '{"a":' + "[" * 200_000


@pytest.fixture
def run(tmp_path):
    """A run folder without a cohort."""
    config = parse_config('sources = [{name = "a", synthesizer = "wgan"}]', name="settings")
    made = Run(tmp_path / "run", config, tmp_path / "cohort", (), None, tmp_path / "state")
    made.private.mkdir(parents=True)
    (made.root / "config.toml").write_text(to_toml(config))
    _write_identity(made)
    assert open_run(made.root, state=made.state) == made
    return made


# What a folder is of ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", DEEP, '{"id": "a", "cohort": 5, "second_sites": [], "ledger": ""}',
             '{"id": "a", "cohort": "c", "second_sites": [1], "ledger": ""}',
             '{"id": "a", "cohort": "c", "second_sites": "c", "ledger": ""}',
             '{"id": "a", "cohort": "c", "second_sites": [], "ledger": "", "public_cohort": 1}']
)  # fmt: skip
def test_a_damaged_identity_is_told(run, text):
    (run.root / "run.json").write_text(text)
    for read in (lambda: open_run(run.root, state=run.state), lambda: run.id):
        with pytest.raises(DataError, match=r"run\.json.*bring back"):
            read()


@pytest.mark.parametrize("damage", [lambda file: file.unlink(), lambda file: file.write_bytes(b"\xff\xfe\x00")])
def test_settings_that_cannot_be_read_are_told(run, damage):
    damage(run.root / "config.toml")
    with pytest.raises(SettingsError, match=r"config\.toml.*bring back"):
        open_run(run.root, state=run.state)


# What is done ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows", [None, 5, [5], [{}], [{"colour": 1}], [{"stage": "train", "metric": 5, "value": 1}],
             [{"stage": "train", "metric": "a", "value": "x"}], [{"stage": "train", "metric": ["a"], "value": 1}],
             [{"stage": "train", "metric": "a", "value": 1, "provenance": "secret"}]]
)  # fmt: skip
def test_damaged_records_are_told(run, rows):
    run.once("train", "a", lambda: [Record(stage="train", metric="x", value=None)])
    assert run.records()[0].metric == "x"
    run.done("train", "a").write_text(json.dumps({} if rows is None else {"records": rows}))
    with pytest.raises(DataError, match=r"train/a\.json holds no records.*run `angioshare train "):
        run.records()


def test_json_nested_deep_is_told(tmp_path):
    (tmp_path / "a.json").write_text(DEEP)
    with pytest.raises(DataError, match=r"a\.json: it is nested too deep"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize("statement", [without_privacy(("pairs",)), public_knowledge(("pairs", "more"))])
def test_a_whole_statement_is_read(statement):
    assert statement_from_json(json.loads(json.dumps(statement.to_json()))) == statement


@pytest.mark.parametrize(
    "change", [{"patch": None}, {"patch": 5}, {"patch": {}}, {"accountant": 5}, {"released": 5}, {"caveats": [1]},
               {"unit": "subject"}, {"epsilon": "x"}, {"epsilon": -1}, {"epsilon": math.nan}, {"epsilon": 10**400},
               {"delta": 1}, {"delta": "x"}, {"delta": None}, {"relation": "a"}, {"method": 1}, {"colour": 1}]
)  # fmt: skip
def test_a_damaged_statement_is_told(change):
    whole = public_knowledge(("pairs",)).to_json()
    (key,) = change
    damaged = {**whole, **change} if key in whole else {**whole, "patch": {**whole["patch"], **change}}
    with pytest.raises(DataError, match=r"^here/statement\.json is no whole privacy statement.*bring the file back"):
        statement_from_json(damaged, "here/statement.json")


RAGGED = '[{"iteration": 1, "a": 1}, {"iteration": 2}]'


@pytest.mark.parametrize(
    "text", ["", "{}", "[5]", '[{"iteration": 1, "a"', '[{"iteration": 1, "a": "x"}]', RAGGED, DEEP]
)
def test_a_damaged_curve_is_told(run, text):
    run.source("a").mkdir(parents=True)
    (run.source("a") / "curve.json").write_text('[{"iteration": 1, "loss": 2.5}, {"iteration": 2, "loss": null}]')
    assert _curves(run, run.config.sources[0])[0].steps == [1, 2]
    (run.source("a") / "curve.json").write_text(text)
    with pytest.raises(DataError, match=r"curve\.json.*bring back"):
        _curves(run, run.config.sources[0])


# Arrays ----------------------------------------------------------------------------------------------------------


def a_map(file, **changes):
    volume = np.zeros((4, 5, 6), np.uint8)
    whole = {"image": volume, "label": volume, "prediction": volume, "spacing_mm": np.ones(3), "site": np.array("A")}
    np.savez_compressed(file, **{**whole, **changes})


@pytest.mark.parametrize(
    "damage", [lambda file: file.write_bytes(b""), lambda file: file.write_bytes(file.read_bytes()[:300]),
               lambda file: file.write_bytes(file.read_bytes()[:-30]), lambda file: a_map(file, image=np.zeros((4, 5))),
               lambda file: a_map(file, **dict.fromkeys(("image", "label", "prediction"), np.zeros((4, 5)))),
               lambda file: a_map(file, label=np.zeros((4, 5, 7))), lambda file: a_map(file, spacing_mm=np.ones(2)),
               lambda file: a_map(file, spacing_mm=np.full(3, np.nan)), lambda file: np.savez(file, image=np.ones(3))]
)  # fmt: skip
def test_a_damaged_map_is_told(run, damage):
    file = run.private / "maps" / "a" / "0-sub-A0.npz"
    file.parent.mkdir(parents=True)
    a_map(file)
    assert next(read_maps(run)).subject == "sub-A0"
    damage(file)
    with pytest.raises(DataError, match=r"0-sub-A0\.npz"):
        next(read_maps(run))


def archive(file, shape, content=b"", descr="<f4", packed=zipfile.ZIP_DEFLATED):
    """An .npz file whose image is of this shape by its header, with any content."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": descr, "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(file, "w", packed) as made:
        made.writestr("image.npy", head.getvalue() + content)
    return str(file)


@pytest.mark.parametrize(
    ("shape", "content", "descr"),
    [
        ((10**7, 1000, 1000), b"", "<f4"), ((2**40, 2**40, 2**40), b"", "<f4"), ((-5, 16, 16), b"x" * 100, "<f4"),
        ((5, 16, 16), b"x" * 99, "<f4"), ((5, 16, 16), bytes(5 * 16 * 16 * 4 + 1), "<f4"), ((5, 0, 0), b"", "<f4"),
        ((0, 16, 16), b"", "<f4"), ((2**60, 16, 16), b"", "<V0"), ((1, 1, 1), b"x" * 8, "|O"),
    ],
)  # fmt: skip
def test_an_array_that_is_not_what_it_says_is_told_before_it_is_made(tmp_path, monkeypatch, shape, content, descr):
    made = []
    monkeypatch.setattr(arrays.np.lib.format, "read_array", lambda *_, **__: made.append(1) or np.zeros(shape))
    file = archive(tmp_path / "bad.npz", shape, content, descr)
    with pytest.raises(DataError, match=r"bad\.npz"):
        open_set(file, state=tmp_path)
    assert not made or 0 in shape or descr == "<V0"


def test_a_bomb_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(arrays, "MOST_BYTES", 2**20)
    archive(tmp_path / "whole.npz", (1024, 16, 16), bytes(2**20))
    assert read_arrays(tmp_path / "whole.npz", ["image"])["image"].shape == (1024, 16, 16)
    archive(tmp_path / "bomb.npz", (1025, 16, 16), bytes(2**20 + 1024))
    with pytest.raises(
        DataError, match=r"bomb\.npz: image is float32 \(1025, 16, 16\), 1049600 bytes, more than 1048576"
    ):
        read_arrays(tmp_path / "bomb.npz", ["image"])


@pytest.mark.parametrize("at", range(0, 240, 8))
def test_random_bytes_in_an_archive_never_raise_anything_but_our_errors(tmp_path, at):
    rng = np.random.default_rng(at)
    file = tmp_path / "fuzz.npz"
    good = bytearray((archive(file, (1, 2, 2), bytes(16), packed=zipfile.ZIP_STORED), file.read_bytes())[1])
    for _ in range(10):
        raw = good.copy()
        raw[at : at + 8] = rng.bytes(len(raw[at : at + 8]))
        file.write_bytes(raw)
        try:
            read_arrays(file, ["image"])
        except DataError as error:
            assert "fuzz.npz" in str(error)  # noqa: PT017 - most are refused, a few are harmless


# Ledgers ---------------------------------------------------------------------------------------------------------


GENESIS = {"kind": "genesis", "version": 1, "ledger": "ab", "salt": "00ff", "subjects": ["x"], "prev": ""}


@pytest.mark.parametrize(
    "line", [DEEP, *(json.dumps({**GENESIS, **change}) for change in (
        {"subjects": 5}, {"subjects": "x"}, {"subjects": [5]}, {"subjects": None}, {"ledger": 5}, {"salt": 1},
        {"salt": "xyz"}, {"salt": ""}))]
)  # fmt: skip
def test_a_damaged_first_line_is_told(tmp_path, line):
    assert problems(parse(json.dumps(GENESIS).encode() + b"\n")[0]) == []
    path = tmp_path / "ledger.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(LedgerError, match=r"ledger\.jsonl: line 1 .*restore it"):
        Ledger.open(path, subjects={"sub-1": "a1"})
    assert not ledger_report(path)["chain_ok"]
    assert path.read_text() == line + "\n"


@pytest.mark.parametrize(
    "event", [DEEP, '{"unit":"patch","sampling_probability":0.1,"noise_multiplier":1' + "0" * 400 + "}"]
)
def test_a_reservation_that_cannot_be_read_is_told(event):
    whole = '{"kind":"reserve","steps":1,"event":' + event + "}\n"
    lines, _ = parse((json.dumps(GENESIS) + "\n" + whole).encode())
    assert spent(lines) == []
    assert problems(lines) or lines[-1].value is None  # told, or taken for a line that a kill has cut short


def test_a_missing_ledger_is_told_without_an_option_that_the_command_may_lack(tmp_path):
    with pytest.raises(LedgerError, match=r"bring it back.*`angioshare run --ledger PATH`"):
        ledger_report(tmp_path / "none.jsonl")
