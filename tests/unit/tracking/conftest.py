import json

import numpy as np
import pytest
from phantoms import phantom

from angioshare.cohort.writer import write_bids_cohort
from angioshare.config import parse_config
from angioshare.privacy.statements import state
from angioshare.privacy.unit import public_knowledge, without_privacy
from angioshare.progress import SilentProgress
from angioshare.records import Record
from angioshare.rundir import write_json
from angioshare.stages.folder import make_folder, planned_run
from angioshare.stages.planning import plan_of
from angioshare.stages.prepare import prepare
from angioshare.stages.spending import open_ledger
from angioshare.stages.train import synthesizer_of

SETTINGS = """
title = "Tracked"
[patches]
size = 16
vessel = 10
random = 10
[split]
validation = 1
test = 1
[[sources]]
name = "wgan"
synthesizer = "wgan"
settings = { features = 2, iterations = 20 }
[[sources]]
name = "private"
synthesizer = "wgan"
seed = 3
privacy = { noise_multiplier = 4.0 }
settings = { features = 2, batch = 4, critic_updates = 2, iterations = 20 }
[[sources]]
name = "simulator"
synthesizer = "simulator"
"""

SECRET = 0.123456
"""The value of every unprotected number."""


def scores(source, provenance):
    """What stages leave of a source: some of it may leave the house."""
    evaluated = [
        Record(stage="evaluate", metric="dice", value=value, subject=f"sub-A{n}", site="A", trained_on=source)
        for n, value in enumerate((SECRET, SECRET, None))
    ]
    grid = [Record(stage="segment", metric="validation_dice", value=SECRET, trained_on=source) for _ in range(2)]
    distance = Record(stage="fidelity", metric="fd_test", value=SECRET, trained_on=source)
    alone = Record(stage="fidelity", metric="ssim_mean", value=0.5, trained_on=source, provenance=provenance)
    return {"segment": grid, "evaluate": [*evaluated, distance, alone]}


def finish(run, source, statement, provenance):
    """Leave what a source leaves when all stages are through."""
    write_json(run.source(source) / "statement.json", statement.to_json(), private=True)
    run.once("train", source, lambda: [])
    for stage, records in scores(source, provenance).items():
        run.once(stage, source, lambda records=records: records)


def curve(folder, *values):
    folder.mkdir(parents=True, exist_ok=True)
    rows = [{"iteration": 10 * n, "critic score, real": value} for n, value in enumerate(values, start=1)]
    (folder / "curve.json").write_text(json.dumps(rows))


def charge(run, steps):
    """Charge steps of the private source to the cohort's ledger, in two pieces; gives its plan."""
    source = run.config.sources[1]
    schedule = synthesizer_of(run, source).schedule()
    plan = plan_of(source.privacy, schedule, patches=60, subjects=3, patches_per_subject=20)
    with open_ledger(run) as ledger:
        for part in (steps // 4, steps - steps // 4):
            ledger.reserve(plan.event(), f"{run.id}/{source.name}", part)
    return plan


@pytest.fixture
def begun(tmp_path):
    """A run that is prepared and trains: half of the private source's 40 steps are charged, a curve has begun."""
    rng = np.random.default_rng(0)
    write_bids_cohort(tmp_path / "cohort", "A", (phantom(rng, f"A{index}") for index in range(5)))
    run = planned_run(
        tmp_path / "run", parse_config(SETTINGS, name="settings"), tmp_path / "cohort", state=tmp_path / "state"
    )
    make_folder(run)
    prepare(run, SilentProgress())
    charge(run, 20)
    curve(run.source("private"), SECRET)
    return run


@pytest.fixture
def run(begun):
    """The same run when everything is through."""
    plan = charge(begun, 20)
    with open_ledger(begun) as ledger:
        private = state(ledger.spends(), plan.delta_value, ("synthetic pairs of private",))
    finish(begun, "wgan", without_privacy(("pairs",)), "unprotected")
    finish(begun, "private", private, "dp")
    finish(begun, "simulator", public_knowledge(("pairs",)), "public")
    curve(begun.source("private"), SECRET, -SECRET)
    curve(begun.source("private") / "simulated", SECRET)
    return begun
