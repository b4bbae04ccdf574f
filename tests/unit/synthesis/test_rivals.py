import numpy as np

from angioshare.patches.extract import PatchSettings
from angioshare.progress import SilentProgress
from angioshare.protocols import Context
from angioshare.synthesis.registry import build

CONTEXT = Context(patches=PatchSettings(size=16, vessel=4, random=4))


def test_real_pairs_come_as_they_are_and_none_twice(real, tmp_path):
    trained = build("real", {}, CONTEXT).load(tmp_path, real)
    assert trained.sample(100, seed=0) is real
    few = trained.sample(9, seed=0)
    assert len({patch.tobytes() for patch in few.image}) == 9
    assert few.provenance == "unprotected"


def test_no_shuffled_image_keeps_its_own_label(real, tmp_path):
    real.label[:] = 0
    real.label[np.arange(24), 0, 0] = 1
    real.image[np.arange(24), 0, 0] = np.arange(24)
    real.label[:, 1, 1:6] = np.arange(24)[:, None] >> np.arange(5) & 1
    shuffled = build("shuffled", {}, CONTEXT).load(tmp_path, real).sample(24, seed=0)
    owner = shuffled.image[:, 0, 0]
    labelled = (shuffled.label[:, 1, 1:6] << np.arange(5)).sum(1)
    assert sorted(owner) == sorted(labelled) == list(range(24))
    assert (owner != labelled).all()


def test_the_simulator_alone_writes_public_pairs_without_names(tmp_path):
    def pairs(name, **settings):
        alone = build("simulator", {"site": "demo-1", "subjects": 2, **settings}, CONTEXT)
        alone.fit(None, None, seed=1, folder=tmp_path / name, progress=SilentProgress())
        return alone.load(tmp_path / name, None).sample(100, seed=0)

    whole, again, quarter = pairs("whole"), pairs("again", workers=2), pairs("quarter", extent=0.25)
    assert (len(whole), len(quarter)) == (16, 4)
    assert np.array_equal(whole.image, again.image)
    assert np.array_equal(whole.label, again.label)
    assert not (whole.label[:4] == quarter.label).all()
    assert {one.provenance for one in (whole, quarter)} == {"public"}
    assert whole.subjects == quarter.subjects == ()
    assert "sub-" not in (tmp_path / "whole" / "patches" / "manifest.json").read_text()
