"""Steps of different kinds count by the time that they take."""

import pytest

from angioshare.patches.extract import PatchSettings
from angioshare.progress import SilentProgress, Weighted
from angioshare.protocols import Context
from angioshare.synthesis.paces import learning, reading, simulating, teaching
from angioshare.synthesis.registry import build

CONTEXT = Context(patches=PatchSettings(vessel=500, random=500), unit="subject", provenance="unprotected")
SCANS = {"site": "wide", "simulated_subjects": 144, "extent": 0.25}


class Told(SilentProgress):
    def __init__(self):
        self.heard = []

    def start(self, task, total, done=0):
        self.heard.append((task, total, done))

    def advance(self, note="", steps=1):
        self.heard.append((note, steps))


def work(name, **changes):
    return build(name, {**SCANS, **changes}, CONTEXT).work()


def seconds(steps):
    """Of the first training: 16 patches each."""
    return learning(16 * steps, 96, 8)


def test_another_progress_hears_of_weighted_steps():
    told = Told()
    weighted = Weighted(told, 12)
    weighted.start("simulate", 4, done=1)
    weighted.advance("one", 2)
    weighted.advance("a word", 0)
    assert told.heard == [("simulate", 48, 12), ("one", 24), ("a word", 0)]


@pytest.mark.parametrize("pace", [learning, teaching, reading])
def test_a_quarter_of_the_pixels_takes_a_quarter_and_twice_the_width_more_than_twice(pace):
    assert pace(40, 48, 8) == pytest.approx(pace(10, 96, 8))
    assert 2 * pace(10, 96, 8) < pace(10, 96, 16) < 4 * pace(10, 96, 8)


def test_an_untaught_reader_counts_scans_training_and_labels_by_their_time():
    alone = simulating(144, 0.25) + seconds(3600) + reading(144 * 250 * 4, 96, 8)
    assert seconds(work("untaught-reader")) == pytest.approx(alone, rel=0.01)
    more = seconds(work("untaught-reader", label_turns=8) - work("untaught-reader"))
    assert more == pytest.approx(reading(144 * 250 * 4, 96, 8), rel=0.01)


def test_private_steps_count_by_their_window():
    taught = seconds(work("taught-reader") - work("untaught-reader"))
    assert taught == pytest.approx(teaching(400 * 120, 48, 8), rel=0.06)  # 9.5 steps each, rounded


def test_a_steered_reader_counts_its_lessons():
    lessons = seconds(work("steered-reader", lessons=200) - work("steered-reader", lessons=100))
    assert lessons == pytest.approx(simulating(100, 0.25) + learning(100 * 300 * 16, 48, 8), rel=0.02)
