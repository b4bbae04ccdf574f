from dataclasses import dataclass

import numpy as np
import pytest

from angioshare.rng import stream
from angioshare.simulator.arteries import grow_arteries, place_candidates
from angioshare.simulator.head import Head, draw_head
from angioshare.simulator.parameters import SimulatorParameters, unflatten
from angioshare.simulator.tree import VesselTree


@dataclass
class Person:
    head: Head
    places: np.ndarray
    tree: VesselTree


def person(seed, **changes):
    """One person's arteries at a site without spread, some parameters changed (dots written as two underscores)."""
    parameters = unflatten({name.replace("__", "."): value for name, value in changes.items()}, SimulatorParameters())
    head = draw_head(parameters, stream(seed, "head"))
    places = place_candidates(head, stream(seed, "places"), 30_000)
    return Person(head, places, grow_arteries(parameters, head, places, stream(seed, "tree")))


@pytest.fixture(scope="session")
def people():
    return [person(seed) for seed in range(6)]


@pytest.fixture(scope="session")
def make_person():
    return person
