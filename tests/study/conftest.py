import numpy as np
import pytest
from phantoms import phantom

from angioshare.cohort.writer import write_bids_cohort

BASE = """
title = "Tiny"
[split]
validation = 1
test = 1
[patches]
size = 16
vessel = 10
random = 10
[[sources]]
name = "real"
synthesizer = "real"
pairs = 40
[[sources]]
name = "wgan"
synthesizer = "wgan"
pairs = 10
settings = { features = 2, z = 4, batch = 4, critic_updates = 1, iterations = 400, checkpoint_every = 10 }
[[sources]]
name = "wgan-private"
synthesizer = "wgan"
pairs = 10
privacy = { noise_multiplier = 1.0 }
settings = { features = 2, z = 4, batch = 4, critic_updates = 1, iterations = 400, checkpoint_every = 10 }
[segmentation]
channels = [2, 4]
learning_rates = [1e-2]
dropouts = [0.0]
augmentations = [false]
batch = 8
steps = 4
"""

PLAN = """
title: Tiny
config: base.toml
cohort: cohort
seeds: 1
grid:
  - source: wgan-private
    noise_multipliers: [1.0, 2.0]
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a cohort of five, base settings and a plan; the user's state folder is in it too."""
    rng = np.random.default_rng(0)
    write_bids_cohort(tmp_path / "cohort", "A", (phantom(rng, f"A{index}") for index in range(5)))
    (tmp_path / "base.toml").write_text(BASE)
    (tmp_path / "plan.yaml").write_text(PLAN)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path
