"""Scans that a reader labels, a public cohort's among them where they may be passed on."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from watched import Counting

from angioshare.errors import DataError
from angioshare.models.unet import HalfUnet
from angioshare.patches.extract import PatchSettings
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store, read_manifest, write_patchset
from angioshare.progress import SilentProgress
from angioshare.protocols import Context
from angioshare.segmentation.settings import UnetSettings
from angioshare.segmentation.trained import TrainedUnet, TrainingRecord
from angioshare.segmentation.turns import TURNS, Averaged, turned
from angioshare.synthesis import labelled
from angioshare.synthesis.labelled import Labelling
from angioshare.synthesis.readers import ReaderSettings

CHANNELS = (2, 4)
CONTEXT = Context(patches=PatchSettings(size=16, vessel=10, random=10))


def scans(count, seed, provenance="public"):
    image = np.random.default_rng(seed).uniform(-1, 1, (count, 16, 16)).astype(np.float16)
    image[:, :3] = -1  # outside the brain
    return PatchSet(image=image, label=np.ones(image.shape, np.uint8), provenance=provenance)


@pytest.fixture
def reader():
    record = TrainingRecord(
        settings=UnetSettings(channels=CHANNELS), seed=0, patches="", mean=0.0, sd=0.5, provenance="public"
    )
    return TrainedUnet(HalfUnet(CHANNELS, 0.0, seed=3), record, "cpu")


@pytest.fixture
def public(tmp_path):
    write_patchset(tmp_path / "public", scans(5, seed=1), {})
    return replace(CONTEXT, public=tmp_path / "public")


def settings(**changes):
    return ReaderSettings(channels=CHANNELS, label_turns=2, **changes)


def written(path, reader, context, pool, seed=1, provenance="dp", progress=None, **changes):
    labelling = Labelling(settings=settings(**changes), context=context)
    told = progress or SilentProgress()
    labelling.write(path, reader, pool, provenance=provenance, seed=seed, progress=told)
    return open_store(path, verify=True)


def all_turns(patches):
    image = torch.from_numpy(np.array(patches.image, np.float32))
    return {turned(one, turn).numpy().tobytes(): (row, turn) for turn in range(TURNS) for row, one in enumerate(image)}


def test_every_label_is_the_readers_and_nothing_is_labelled_outside_the_brain(tmp_path, reader, public, monkeypatch):
    monkeypatch.setattr(labelled, "_AT_ONCE", 4)
    threshold = float(np.median(Averaged(reader, 2).probability(np.asarray(scans(6, seed=0).image, np.float32))))
    made = written(tmp_path / "a", reader, public, scans(6, seed=0), public_scans=0.5, threshold=threshold)
    assert (len(made), made.provenance, made.subjects) == (6, "dp", ())
    wanted = Averaged(reader, 2).probability(np.asarray(made.image, np.float32)) > threshold
    assert np.array_equal(made.label, (wanted & (made.image > -1)).astype(np.uint8))
    assert 0.1 < made.label.mean() < 0.9
    assert read_manifest(tmp_path / "a")["meta"] == {"site": "wide", "subjects": 48}


def test_public_scans_take_places_of_simulated_ones_and_each_comes_once_before_any_twice(tmp_path, reader, public):
    pool, known = scans(16, seed=0), all_turns(open_store(public.public))
    made = written(tmp_path / "a", reader, public, pool, public_scans=0.5)
    assert len(made) == 16
    simulated = [image.tobytes() for image in pool.image]
    assert sorted(simulated.index(image.tobytes()) for image in made.image[:8]) != list(range(8))
    found = [known[np.asarray(image, np.float32).tobytes()] for image in made.image[8:]]
    assert [turn for _, turn in found] == [0] * 5 + [1] * 3
    assert sorted(row for row, _ in found[:5]) == list(range(5))
    assert len(set(found)) == len(found)
    other = written(tmp_path / "b", reader, public, pool, seed=2, public_scans=0.5)
    assert not np.array_equal(made.image[8:], other.image[8:])
    assert not np.array_equal(made.image[:8], other.image[:8])


def test_few_public_scans_are_not_shown_more_often_than_in_their_turns(tmp_path, reader, public):
    pool = scans(100, seed=0)
    made = written(tmp_path / "a", reader, public, pool, public_scans=0.9)
    assert len(made) == 100
    simulated = {image.tobytes() for image in pool.image}
    shown = [image.tobytes() for image in made.image if image.tobytes() not in simulated]
    assert len(shown) == len(set(shown)) == 5 * TURNS


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.25, 3), (0.5, 6)])
def test_the_share_is_that_of_all_pairs(tmp_path, reader, public, share, count):
    pool = scans(12, seed=0)
    made = written(tmp_path / "a", reader, public, pool, public_scans=share)
    simulated = {image.tobytes() for image in pool.image}
    assert sum(image.tobytes() not in simulated for image in made.image) == count
    assert np.array_equal(made.image, pool.image) == (not share)


def test_without_a_public_cohort_there_are_simulated_scans_alone(tmp_path, reader):
    assert len(written(tmp_path / "a", reader, CONTEXT, scans(9, seed=0), public_scans=0.5)) == 9


@pytest.mark.parametrize("share", [0.0, 0.5])
@pytest.mark.parametrize("count", [0, 48 * 20])
def test_progress_is_told_of_as_much_work_as_was_announced(tmp_path, reader, public, share, count):
    progress = Counting()
    written(tmp_path / "a", reader, public, scans(count, seed=0), progress=progress, public_scans=share)
    assert progress.steps == Labelling(settings=settings(public_scans=share), context=public).work()


def test_private_patches_in_their_place_are_not_handed_out(tmp_path, reader, public):
    write_patchset(tmp_path / "real", scans(5, seed=1, provenance="unprotected"), {})
    with pytest.raises(DataError, match="holds patches that are unprotected, not public"):
        written(tmp_path / "a", reader, replace(CONTEXT, public=tmp_path / "real"), scans(9, seed=0), public_scans=0.5)
    assert not (tmp_path / "a").exists()
