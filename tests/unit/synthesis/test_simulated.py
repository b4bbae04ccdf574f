from dataclasses import replace

import numpy as np
import pytest

from angioshare.errors import SettingsError
from angioshare.patches.extract import PatchSettings
from angioshare.patches.store import open_store, write_store
from angioshare.progress import SilentProgress
from angioshare.protocols import Context
from angioshare.simulator import many
from angioshare.simulator.sites import SITES
from angioshare.simulator.subject import simulate_subject
from angioshare.synthesis import diffusion, pretrained, readers
from angioshare.synthesis.registry import build
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


def test_a_part_without_a_vessel_gives_no_patch_where_all_are_centred_on_vessels():
    subject = simulate_subject(SITES["demo-1"], seed=1, extent=0.25)
    bare = replace(subject, label=np.zeros_like(subject.label))
    for cut, counts in ((CUT, [5, 2]), (CUT.model_copy(update={"random": 0}), [3, 0])):
        made = cut_simulated([subject, bare], cut, seed=1, progress=SilentProgress())
        assert [len(part.image) for part in made] == counts


KNOWN = {"acquisition.voxel_k_mm": 1.25}


def test_the_simulator_alone_simulates_what_the_protocol_says(tmp_path, monkeypatch):
    seen = []
    plain = many.simulate_subject
    monkeypatch.setattr(many, "simulate_subject", lambda site, *rest: seen.append(site) or plain(site, *rest))
    settings = {"site": "demo-wide", "subjects": 2, "extent": 0.25, "known": KNOWN}
    made = build("simulator", settings, Context(patches=CUT))
    made.fit(None, None, seed=1, folder=tmp_path, progress=SilentProgress())
    assert [site.acquisition.voxel_k_mm for site in seen] == [1.25, 1.25]
    assert seen[0].acquisition.noise != seen[1].acquisition.noise


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("simulator", {"site": "wide"}),
        ("calibrated", {}),
        ("evolution", {}),
        ("feature-matching", {}),
        ("diffusion", {}),
        ("wgan-pretrained", {"site": "wide"}),
        ("taught-reader", {}),
    ],
)
def test_a_protocol_that_does_not_fit_is_refused_before_anything_is_made(source, place):
    context = Context(patches=CUT, unit="subject")
    build(source, {**place, "known": KNOWN}, context)
    with pytest.raises(SettingsError, match=r"'tree\.nothing' does not exist"):
        build(source, {**place, "known": {"tree.nothing": 1.0}}, context)


class _SeenError(Exception):
    """What a first training would simulate."""


@pytest.mark.parametrize(
    ("source", "module"), [("diffusion", diffusion), ("wgan-pretrained", pretrained), ("taught-reader", readers)]
)
def test_a_first_training_simulates_what_the_protocol_says(source, module, tmp_path, monkeypatch):
    def seen(*_, known, **__):
        raise _SeenError(known)

    monkeypatch.setattr(module, "simulated_store", seen)
    made = build(source, {"site": "demo-wide", "known": KNOWN}, Context(patches=CUT))
    with pytest.raises(_SeenError, match=r"voxel_k_mm': 1\.25"):
        made.fit(None, None, seed=1, folder=tmp_path, progress=SilentProgress())
