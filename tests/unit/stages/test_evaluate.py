from types import SimpleNamespace

import numpy as np

from angioshare.cohort.subject import LoadedSubject
from angioshare.patches.extract import PatchSettings
from angioshare.segmentation.settings import SegmentationSettings
from angioshare.stages import evaluate


class OneCorner:
    """Finds what lies in the first row and column of what it is shown: another place in each turn."""

    def probability(self, image):
        found = np.zeros(image.shape, np.float32)
        found[:, 0, 0] = 1
        return found


def dice_of(turns, label):
    angio = np.random.default_rng(0).normal(size=label.shape).astype(np.float32)
    loaded = LoadedSubject(angio=angio, label=label, brain=None, spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4))
    config = SimpleNamespace(patches=PatchSettings(size=8), segmentation=SegmentationSettings(turns=turns))
    records = evaluate._score(
        SimpleNamespace(config=config),
        SimpleNamespace(name="real", synthesizer=None, seed=1),
        "A",
        SimpleNamespace(id="sub-1", load=lambda: loaded),
        OneCorner(),
        keep_map=False,
    )
    assert {record.subject for record in records} == {"sub-1"}
    return next(record.value for record in records if record.metric == "dice")


def test_test_subjects_are_read_in_as_many_turns_as_the_settings_say():
    label = np.zeros((8, 8, 2), np.uint8)
    label[0, 0] = 1
    assert dice_of(1, label) == 1
    assert dice_of(4, label) == 0  # each corner in one turn of four: a quarter, which is not above a half
