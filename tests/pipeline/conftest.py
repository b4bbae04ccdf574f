import shutil

import numpy as np
import pytest
from phantoms import phantom

from angioshare.cli.main import main
from angioshare.cohort.writer import write_bids_cohort
from angioshare.config import load_config
from angioshare.stages.folder import make_folder, planned_run

PRIVATE = "wgan-private"
"""A private source of these settings."""

SETTINGS = """
title = "Phantom"
[split]
validation = 1
test = 2
[patches]
size = 16
vessel = 12
random = 12
[[sources]]
name = "real"
synthesizer = "real"
pairs = 60
[[sources]]
name = "wgan"
synthesizer = "wgan"
pairs = 20
settings = { features = 2, z = 4, batch = 6, critic_updates = 2, iterations = 4, checkpoint_every = 2 }
[[sources]]
name = "wgan-private"
synthesizer = "wgan"
pairs = 20
privacy = { noise_multiplier = 1.0 }
settings = { features = 2, z = 4, batch = 6, critic_updates = 2, iterations = 4, checkpoint_every = 2 }
[[sources]]
name = "wgan-subject"
synthesizer = "wgan"
pairs = 20
privacy = { unit = "subject", epsilon = 8.0 }
settings = { features = 2, z = 4, batch = 6, subjects = 1, critic_updates = 2, iterations = 4 }
[[sources]]
name = "simulator"
synthesizer = "simulator"
pairs = 20
settings = { site = "demo-1", subjects = 1 }
[[sources]]
name = "shuffled"
synthesizer = "shuffled"
pairs = 60
[segmentation]
channels = [2, 4]
learning_rates = [1e-2]
dropouts = [0.0]
augmentations = [false]
batch = 8
steps = 6
"""


def write_phantoms(root, site, count, seed):
    rng = np.random.default_rng(seed)
    write_bids_cohort(root, site, (phantom(rng, f"{site}{index}") for index in range(count)))
    description = root / "dataset_description.json"
    description.write_text(description.read_text().replace("AngioShare", "A scanner"))


@pytest.fixture(scope="session")
def cohorts(tmp_path_factory):
    """A cohort of six phantoms and a second site of two."""
    root = tmp_path_factory.mktemp("cohorts")
    write_phantoms(root / "A", "A", 6, 0)
    write_phantoms(root / "B", "B", 2, 1)
    return root


@pytest.fixture(scope="session")
def settings_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("settings") / "phantom.toml"
    path.write_text(SETTINGS)
    return path


@pytest.fixture
def place(cohorts, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    shutil.copytree(cohorts / "A", tmp_path / "A")
    return tmp_path


@pytest.fixture
def begun(place, settings_file):
    """A run of the private source alone, of which nothing is done."""

    def make(name="run", *changes):
        settings = load_config(file=settings_file, changes=changes)
        private = tuple(source for source in settings.sources if source.name == PRIVATE)
        settings = settings.model_copy(update={"sources": private})
        return make_folder(planned_run(place / name, settings, place / "A", state=place / "state"))

    return make


@pytest.fixture
def unfinished(begun):
    """As a kill leaves it before its statement was written; its checkpoints stand."""
    run = begun()
    for stage in ("prepare", "train"):
        assert main([stage, str(run.root)]) == 0
    (run.private / "done" / "train" / f"{PRIVATE}.json").unlink()
    (run.source(PRIVATE) / "statement.json").unlink()
    return run
