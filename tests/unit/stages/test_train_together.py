"""The stage `train` in two processes, as `torchrun` starts them: what they share, and what the leader does alone."""

import os
from datetime import timedelta

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing
from phantoms import phantom
from torch import distributed

from angioshare.cohort.writer import write_bids_cohort
from angioshare.config import parse_config
from angioshare.privacy.chain import spent
from angioshare.privacy.ledger import read_lines
from angioshare.progress import SilentProgress
from angioshare.stages.folder import make_folder, open_run, planned_run
from angioshare.stages.prepare import prepare
from angioshare.stages.spending import find_ledger
from angioshare.stages.train import train
from angioshare.team import Team, apart

READER = """
synthesizer = "taught-reader"
settings = { site = "demo-1", simulated_subjects = 1, extent = 0.25, channels = [2, 4], levels = 1, BATCH }
"""
SETTINGS = """
[split]
validation = 1
test = 1
[patches]
size = 16
vessel = 6
random = 6
[[sources]]
name = "taught"
READER
[[sources]]
name = "pretrained"
synthesizer = "wgan-pretrained"
settings = { features = 2, z = 4, critic_updates = 1, site = "demo-1", simulated_subjects = 1, BATCH }
[[sources]]
name = "taught-private"
privacy = { noise_multiplier = 2.0 }
READER
"""
SOURCES = ("taught", "pretrained", "taught-private")
PATIENCE = timedelta(minutes=2)  # a process that waits for another in vain fails, and does not hang


def work(rank, root):
    torch.set_num_threads(1)
    os.environ.pop("OMP_NUM_THREADS", None)
    distributed.init_process_group("gloo", init_method=f"file://{root}/meet", rank=rank, world_size=2, timeout=PATIENCE)
    train(open_run(root / "run", state=root / "state"), SilentProgress())
    (root / f"ended-{rank}").touch()
    distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_train_all_sources_and_charge_each_step_once(tmp_path):
    rng = np.random.default_rng(0)
    write_bids_cohort(tmp_path / "cohort", "A", (phantom(rng, f"A{index}") for index in range(4)))
    batch = "first_batch = 4, first_iterations = 2, batch = 4, iterations = 3"
    config = parse_config(SETTINGS.replace("READER", READER).replace("BATCH", batch), name="test")
    run = make_folder(planned_run(tmp_path / "run", config, tmp_path / "cohort", state=tmp_path / "state"))
    prepare(run, SilentProgress())
    multiprocessing.spawn(work, (tmp_path,), nprocs=2)
    assert [run.finished("train", source) for source in SOURCES] == [True] * 3
    assert not (run.source("pretrained") / "simulated" / "patches").exists()
    assert {path.name for path in tmp_path.glob("ended-*")} == {"ended-0", "ended-1"}
    assert sum(spend.steps for spend in spent(read_lines(find_ledger(run.root, run.state)))) == 3


def test_a_team_that_is_made_apart_is_of_one(monkeypatch):
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(distributed, "get_world_size", lambda: 2)
    with apart():
        assert (Team().leads, Team().size) == (True, 1)
    assert Team().size == 2
