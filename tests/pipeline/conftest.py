import numpy as np
import pytest
from phantoms import phantom

from angioshare.cohort.writer import write_bids_cohort

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
