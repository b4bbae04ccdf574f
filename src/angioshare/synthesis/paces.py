"""How long parts of a training take: seconds of one core of two busy ones, as measured; roughly.

The planner adds them up, and progress counts steps of different kinds by them, so that the time left holds.
"""

SIMULATED_S = 4.5
"""Seconds of one core for a simulated subject of the wide prior."""

_FIXED = 0.1
"""Share of that time which does not fall with the slices: person, trees and flow are simulated whole."""

_LEARNT_S = 0.0075
"""Seconds of one core for a patch of 96 x 96 in a step of a U-Net of widths 8 to 128."""

_TAUGHT_S = 0.038
"""The same in a private step of its three finest levels."""

_READ_S = 0.0045
"""The same where the U-Net reads a patch once, to label it."""

_DENOISED_S = 0.0306
"""The same for a patch of 96 x 96 under one noise level in a step of a diffusion model of width 16 and two levels."""

_CRITICISED_S = 0.01
"""The same in a step of a critic of width 16, and for one synthetic patch beside it."""

WIDTH_POWER = 1.4
"""Twice the width takes 2.6 times as long."""


def simulating(subjects: int, extent: float = 1.0) -> float:
    """Seconds for simulated subjects, or for a share of the slices of each.

    Example:
        >>> simulating(10), simulating(10, extent=0.25)
        (45.0, 14.625)
    """
    return subjects * SIMULATED_S * (_FIXED + (1 - _FIXED) * extent)


def learning(patches: int, size: int, width: int) -> float:
    """Seconds for steps of a U-Net that show it so many patches in all.

    Args:
        patches: Patches, or windows of them, counted as often as they are shown.
        size: Their edge in pixels.
        width: Channels of the finest level.

    Example:
        >>> learning(1_000, 96, 8), learning(1_000, 48, 8)
        (7.5, 1.875)
    """
    return patches * _LEARNT_S * _area(size) * _width(width)


def teaching(patches: int, size: int, width: int) -> float:
    """The same for private steps."""
    return patches * _TAUGHT_S * _area(size) * _width(width)


def reading(patches: int, size: int, width: int) -> float:
    """The same where it labels them."""
    return patches * _READ_S * _area(size) * _width(width)


def denoising(patches: int, size: int, width: int) -> float:
    """The same for steps of a diffusion model; patches count once for each noise level.

    Example:
        >>> round(denoising(32, 32, 16), 3)
        0.109
    """
    return patches * _DENOISED_S * _area(size) * _width(width) / _width(16)


def criticising(patches: int, size: int, width: int) -> float:
    """The same for updates of a critic.

    Example:
        >>> criticising(32, 96, 16)
        0.32
    """
    return patches * _CRITICISED_S * _area(size) * _width(width) / _width(16)


def _area(size: int) -> float:
    return (size / 96) ** 2


def _width(width: int) -> float:
    return float((width / 8) ** WIDTH_POWER)
