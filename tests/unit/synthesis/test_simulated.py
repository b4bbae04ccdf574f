from dataclasses import replace

import numpy as np
import pytest

from angioshare.patches.extract import PatchSettings
from angioshare.patches.store import open_store, write_store
from angioshare.progress import SilentProgress
from angioshare.simulator.sites import SITES
from angioshare.simulator.subject import simulate_subject
from angioshare.synthesis.simulated import cut_simulated, fewer

CUT = PatchSettings(size=16, vessel=3, random=2)


@pytest.mark.parametrize(
    ("asked", "share", "left"), [((4, 0), 0.1, (1, 0)), ((3, 40), 0.1, (1, 4)), ((0, 7), 1.0, (0, 7))]
)
def test_a_share_of_a_handful_is_never_nothing(asked, share, left):
    vessel, random = asked
    few = fewer(PatchSettings(vessel=vessel, random=random), share)
    assert (few.vessel, few.random) == left


def test_a_part_above_the_brain_gives_no_patch_and_stops_nothing(tmp_path):
    subject = simulate_subject(SITES["demo-1"], seed=1, extent=0.25)
    nowhere = replace(subject, brain=np.zeros_like(subject.brain))
    made = cut_simulated([subject, nowhere, subject], CUT, seed=1, progress=SilentProgress())
    write_store(tmp_path / "pool", made, CUT, seed=1)
    found = open_store(tmp_path / "pool")
    assert np.bincount(found.subject).tolist() == [5, 0, 5]
    assert len(found.subjects) == 3
