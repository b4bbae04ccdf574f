"""How long a method takes until it is trained, from what was measured on two busy cores; roughly, and for one core."""

from angioshare.stages.recommend.plans import Planned
from angioshare.synthesis.paces import SIMULATED_S, criticising, learning, simulating
from angioshare.synthesis.readers import ReaderSettings
from angioshare.synthesis.registry import synthesizer_class
from angioshare.synthesis.steered import moving_of


def seconds(one: Planned) -> float | None:
    """Time on one core; None for methods that nobody has timed.

    Lessons of the calibrated simulator and of the steered reader count as if they were made anew, which is needed once
    for each way of cutting patches.
    """
    if one.source.synthesizer == "evolution":
        return one.work * SIMULATED_S
    if one.source.synthesizer == "calibrated":
        own = synthesizer_class("calibrated").Settings.model_validate(one.source.settings)
        return float(own.lessons * SIMULATED_S + simulating(one.work - own.lessons, own.extent))
    if one.source.synthesizer in ("taught-reader", "steered-reader"):
        return _reader(one)
    if one.source.synthesizer not in ("wgan", "wgan-pretrained"):
        return None
    s = synthesizer_class(one.source.synthesizer).Settings.model_validate(one.source.settings)
    patches, subjects = one.schedule.steps * s.batch, 0
    if one.source.synthesizer == "wgan-pretrained":
        patches += s.first_iterations * s.critic_updates * s.first_batch
        subjects = s.simulated_subjects
    return criticising(patches, one.size, s.features) + simulating(subjects)


def in_seconds(steps: int, s: ReaderSettings, size: int) -> float:
    """Seconds of one core for what a reader counts in steps of its first training.

    Example:
        >>> round(in_seconds(3_600, ReaderSettings(), 96) / 60, 1)
        7.2
    """
    return steps * learning(s.first_batch, size, s.channels[0])


def _reader(one: Planned) -> float:
    """What a reader counts, and a move for each training subject, which it does not count: it knows no cohort."""
    s = synthesizer_class(one.source.synthesizer).Settings.model_validate(one.source.settings)
    found = in_seconds(one.work, s, one.size)
    if one.source.synthesizer == "steered-reader":
        found += one.known.subjects * moving_of(s).seconds(one.size, s.channels[0])
    return found
