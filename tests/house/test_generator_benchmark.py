import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "generator.py"


def run(*flags):
    call = [sys.executable, SCRIPT, "--size", "24", "--features", "2", "--batch", "3", "--rounds", "1", *flags]
    return subprocess.run(call, capture_output=True, text=True)


def test_every_layer_is_timed_in_every_way_that_fits_it():
    done = run("--layers", "--json")
    assert done.returncode == 0, done.stderr
    (setting,) = json.loads(done.stdout)["settings"]
    assert all(seconds > 0 for seconds in setting["rows"].values())
    assert setting["ratio"] == pytest.approx(setting["rows"]["update, ours"] / setting["rows"]["update, torch"])
    first, *others = setting["layers"].values()
    assert "phases, forward" not in first
    assert all({"torch, forward", "product, there and back", "phases, there and back"} <= set(way) for way in others)


def test_a_way_that_computes_something_else_is_not_timed(monkeypatch):
    monkeypatch.syspath_prepend(SCRIPT.parent)
    import torch

    from generator import _refuse_unequal

    _refuse_unequal(torch.ones(2), torch.ones(2))
    with pytest.raises(SystemExit, match="not timed"):
        _refuse_unequal(torch.ones(2), torch.tensor([1.0, 1.001]))
    with pytest.raises(SystemExit, match="not timed"):
        _refuse_unequal(torch.tensor([float("nan")]), torch.ones(1))
