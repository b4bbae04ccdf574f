"""How long a method takes until it is trained, from what was measured on two busy cores; roughly, and for one core."""

from angioshare.stages.recommend.plans import Planned
from angioshare.synthesis.readers import ReaderSettings
from angioshare.synthesis.registry import synthesizer_class

SIMULATED_S = 4.5
"""Seconds of one core for a simulated subject of the wide prior."""

_FIXED = 0.1
"""Share of that time which does not fall with the slices: person, trees and flow are simulated whole."""

CRITIC_S = 0.01
"""Seconds of one core for one drawn patch of 96 x 96, and one synthetic beside it, in a private critic of width 16."""

UNET_S = 0.0075
"""Seconds of one core for a patch of 96 x 96 in a step of a U-Net of widths 8 to 128."""

TAUGHT_S = 0.038
"""The same in a private step of its three finest levels; a window takes as much less as it is smaller."""

READ_S = 0.0045
"""Seconds of one core for a patch of 96 x 96 that a U-Net of widths 8 to 128 reads once, to label it."""

_WIDTH = 1.4
"""Twice the width takes 2.6 times as long."""


def simulating(subjects: int, extent: float = 1.0) -> float:
    """Seconds of one core for simulated subjects, or for a share of the slices of each.

    Example:
        >>> simulating(10), simulating(10, extent=0.25)
        (45.0, 14.625)
    """
    return subjects * SIMULATED_S * (_FIXED + (1 - _FIXED) * extent)


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
    if one.source.synthesizer == "taught-reader":
        return _teaching(one)
    if one.source.synthesizer == "steered-reader":
        return _steering(one)
    if one.source.synthesizer not in ("wgan", "wgan-pretrained"):
        return None
    s = synthesizer_class(one.source.synthesizer).Settings.model_validate(one.source.settings)
    patches, subjects = one.schedule.steps * s.batch, 0
    if one.source.synthesizer == "wgan-pretrained":
        patches += s.first_iterations * s.critic_updates * s.first_batch
        subjects = s.simulated_subjects
    area = (one.size / 96) ** 2
    return float(patches * CRITIC_S * area * (s.features / 16) ** _WIDTH + subjects * SIMULATED_S)


def reading(s: ReaderSettings, size: int, patches_per_subject: int) -> float:
    """Simulated scans, the reader's first training, and labels, on one core.

    Example:
        >>> round(reading(ReaderSettings(first_iterations=1_000), 96, 600) / 60)
        8
    """
    first = s.first_iterations * s.first_batch * UNET_S * (size / 96) ** 2
    labels = _labelling(s, size, patches_per_subject)
    return float(simulating(s.simulated_subjects, s.extent) + (s.channels[0] / 8) ** _WIDTH * (first + labels))


def _teaching(one: Planned) -> float:
    """What a reader takes untaught, and its teaching."""
    s = synthesizer_class("taught-reader").Settings.model_validate(one.source.settings)
    taught = s.iterations * s.batch * TAUGHT_S * (min(s.crop or one.size, one.size) / 96) ** 2
    return reading(s, one.size, one.known.patches_per_subject) + float((s.channels[0] / 8) ** _WIDTH * taught)


def _steering(one: Planned) -> float:
    """Lessons: simulated sites, the first reader, a move for each; then a move for each subject, scans, labels."""
    s = synthesizer_class("steered-reader").Settings.model_validate(one.source.settings)
    moved = (s.lessons + one.known.subjects) * s.move_iterations * s.move_batch
    moves = (s.channels[0] / 8) ** _WIDTH * moved * UNET_S * (min(s.move_crop, one.size) / 96) ** 2
    rest = reading(s, one.size, one.known.patches_per_subject)
    return float(simulating(s.lessons, s.lesson_extent) + moves + rest)


def _labelling(s: ReaderSettings, size: int, patches_per_subject: int) -> float:
    """Each patch of the simulated scans, read in each of its turns by a reader of the narrowest widths."""
    patches = s.simulated_subjects * s.extent * patches_per_subject
    return patches * s.label_turns * READ_S * (size / 96) ** 2
