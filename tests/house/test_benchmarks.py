import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SMALL = ("--size", "16", "--rounds", "1", "--json")


@pytest.fixture
def contenders(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from peers.registry import CONTENDERS

    return CONTENDERS


def run(script, *arguments):
    call = [sys.executable, BENCHMARKS / f"{script}.py", *SMALL, *arguments]
    done = subprocess.run(call, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_private_step_times_whom_memory_holds_and_says_what_is_met():
    flags = ("--features", "2", "--batch", "3", "--no-memory", "--most-gib", "1e-9", "--peers", "vmap,loop")
    (setting,) = run("private_step", *flags)["settings"]
    assert set(setting["rows"]) == {"plain", "ours", "plain-whole", "own-whole", "ours-whole", "loop"}
    assert all(row["cpu_seconds"] > 0 for row in setting["rows"].values())
    assert "--most-gib" in setting["skipped"]["vmap"]
    assert {"met", "value", "target", "claim"} == set(setting["targets"][0])


def test_peak_memory_grows_with_the_step(contenders):
    from peers.measure import peak_growth

    assert peak_growth("plain", 96, 4, 64) > 2  # the patches alone make maps of 9 MiB


def test_noise_and_ledger_report_what_they_claim(tmp_path):
    (setting,) = run("noise", "--features", "2")["settings"]
    assert setting["ratio"] > 0
    found = run("ledger", "--features", "2", "--batch", "2", "--earlier", "1", "--folder", str(tmp_path))
    assert 0 < found["rows"][0]["share"] < 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["plain", "ours", "vmap", "loop", "plain-whole", "own-whole", "ours-whole"])
def test_contenders_compute_the_clipped_sum(contenders, name):
    from peers.agreement import TOLERANCE, error_of

    assert error_of(contenders[name], size=16, features=3) <= TOLERANCE


def halved(task, build):
    step = build(task)

    def wrong():
        step()
        with torch.no_grad():
            next(task.critic.parameters()).grad.mul_(0.5)

    return wrong


@pytest.mark.parametrize("change", ["one layer halved", "not clipped", "not asked for"])
def test_a_contender_that_computes_something_else_is_not_timed(contenders, change):
    from peers.agreement import Disagreement, error_of

    right = contenders["loop"]
    wrong = {
        "one layer halved": replace(right, build=lambda task: halved(task, right.build)),
        "not clipped": replace(contenders["plain"], clips=True),
        "not asked for": replace(right, build=lambda task: lambda: None),
    }[change]
    with pytest.raises(Disagreement, match="not timed"):
        error_of(wrong, size=16, features=3)


def test_a_library_that_is_not_installed_is_told_by_name(contenders, monkeypatch):
    import peers

    for library, name in (("fastDP", "fastdp"), ("opacus.grad_sample", "opacus-hooks")):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(peers.Missing, match=library.split(".")[0]):
            contenders[name].build(contenders[name].task(16, 2, 2))


def test_heap_compares_both_ways_in_processes_that_take_turns():
    call = [sys.executable, BENCHMARKS / "heap.py", "--rounds", "1", "--json"]
    done = subprocess.run(call, capture_output=True, text=True, check=True)
    work = json.loads(done.stdout)["work"]
    assert set(work) == {"U-Net step", "critic step"}
    for rows in work.values():
        assert rows["ratio"] == rows["freed memory is kept"]["seconds"] / rows["as the C library does"]["seconds"]
