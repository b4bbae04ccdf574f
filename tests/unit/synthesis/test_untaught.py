import numpy as np
import pytest
from watched import Counting, Stop, StopAfter

from angioshare.errors import SettingsError
from angioshare.patches.extract import PatchSettings
from angioshare.patches.store import open_store
from angioshare.progress import SilentProgress
from angioshare.protocols import Context
from angioshare.segmentation.trained import TrainedUnet
from angioshare.synthesis.labelled import Labelling
from angioshare.synthesis.readers import READER, scanning
from angioshare.synthesis.registry import PUBLIC, SYNTHESIZERS, build
from angioshare.synthesis.taught import TaughtReaderSettings
from angioshare.synthesis.untaught import UntaughtReaderSettings

SMALL = {
    "site": "demo-1", "simulated_subjects": 1, "channels": (4, 6, 8), "first_iterations": 30, "first_batch": 5,
    "label_turns": 2,
}  # fmt: skip
CONTEXT = Context(patches=PatchSettings(size=16, vessel=10, random=10), unit="patch", provenance="unprotected")


def fit(folder, seed=1, progress=None, **changes):
    folder.mkdir(exist_ok=True)
    made = build("untaught-reader", {**SMALL, **changes}, CONTEXT)
    made.fit(None, None, seed=seed, folder=folder, progress=progress or SilentProgress())
    return made.load(folder, None).sample(1000, seed=0)


def test_images_are_the_simulators_and_labels_those_of_a_reader_of_them_alone(tmp_path):
    alone = build("simulator", {"site": "demo-1", "subjects": 1}, CONTEXT)
    alone.fit(None, None, seed=1, folder=tmp_path, progress=SilentProgress())
    known = alone.load(tmp_path, None).sample(1000, seed=0)
    progress = Counting()
    pairs = fit(tmp_path / "a", progress=progress, threshold=0.2)
    s, work = UntaughtReaderSettings(**SMALL), build("untaught-reader", SMALL, CONTEXT).work()
    assert progress.steps == work == scanning(s, 16) + 30 + Labelling(settings=s, context=CONTEXT).work()
    assert np.array_equal(pairs.image, known.image)
    reader, shown = TrainedUnet.load(tmp_path / "a" / READER), np.asarray(known.image, np.float32)
    mirrored = reader.probability(np.ascontiguousarray(shown[:, ::-1]))[:, ::-1]
    wanted = ((reader.probability(shown) + mirrored) / 2 > 0.2) & (shown > -1)
    assert wanted.any()
    assert np.array_equal(pairs.label, wanted.astype(np.uint8))
    assert not np.array_equal(pairs.label, known.label)


def test_nothing_of_it_is_private_and_nothing_is_left_behind(tmp_path):
    assert fit(tmp_path / "a").provenance == "public"
    assert open_store(tmp_path / "a" / "patches").provenance == "public"
    assert TrainedUnet.load(tmp_path / "a" / READER).record.provenance == "public"
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["patches", READER]
    made = build("untaught-reader", SMALL, CONTEXT)
    assert (made.schedule().steps, made.schedule().units) == (0, 1)


def test_it_is_the_taught_reader_but_for_its_private_step():
    """What teaching is worth is read from the difference of both, so all else has to be the same."""
    mine, taught = UntaughtReaderSettings().model_dump(), TaughtReaderSettings().model_dump()
    assert {name: taught[name] for name in mine} == mine
    assert set(PUBLIC) < set(SYNTHESIZERS)


@pytest.mark.parametrize("steps_before", [1, 20, 31, 32])
def test_a_resumed_training_ends_as_an_uninterrupted_one(tmp_path, steps_before):
    whole = fit(tmp_path / "whole")
    with pytest.raises(Stop):
        fit(tmp_path / "broken", progress=StopAfter(steps_before))
    assert not (tmp_path / "broken" / "patches").exists()
    resumed = fit(tmp_path / "broken")
    assert np.array_equal(whole.image, resumed.image)
    assert np.array_equal(whole.label, resumed.label)


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"site": "nowhere"}, "site 'nowhere'"), ({"known": {"tree.nothing": 1.0}}, "does not exist|narrow")],
)
def test_what_cannot_be_is_refused(changes, words):
    with pytest.raises(SettingsError, match=words):
        build("untaught-reader", {**SMALL, **changes}, CONTEXT)
