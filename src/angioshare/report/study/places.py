"""Where settings stand along an axis, what their ticks say, and which colour they have."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from angioshare.privacy.unit import PrivacyUnit
from angioshare.report.scoreplot import COLOURS, fixed_colour
from angioshare.report.study.charts import Axis, spaced
from angioshare.report.study.content import Setting, StudyContent, in_order

Scale: TypeAlias = Literal["noise", "patch", "subject"]
"""What numeric axes show: noise multiplier, or epsilon for one patch or one subject."""

HEADS = ("noise multiplier", "epsilon, one patch", "epsilon, one subject")
"""Lines of the label of a setting."""

SHORT = {
    "non-private": "no noise", "real": "real", "simulator": "simulator", "public": "public", "shuffled": "shuffled"
}  # fmt: skip
"""First line of the label of what has no noise."""

PUBLISHED_COLOUR = "#7A3E9D"

TURN = tuple(COLOURS[place] for place in (0, 2, 3, 4, 5, 1))
"""For families in turn; vermilion last: beside it stands the simulator's orange."""

UNITS: tuple[PrivacyUnit, ...] = ("patch", "subject")

_TITLES = {
    "noise": "noise multiplier (logarithmic; more noise to the left)",
    "patch": "epsilon for one patch (logarithmic)",
    "subject": "epsilon for one subject (logarithmic)",
}


def colours(content: StudyContent) -> dict[str, str]:
    """Colour of each setting by its name: one a family with noise, one a setting without, fixed ones for rivals."""
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for setting in in_order(content.settings):
        fixed = fixed_colour(setting.kind, setting.synthesizer)
        key = setting.family if setting.role == "private" else setting.name
        found[setting.name] = fixed or taken.setdefault(key, TURN[len(taken) % len(TURN)])
    return found


def family_title(setting: Setting) -> str:
    """What the legend calls a setting: its family, if it has noise."""
    return f"{setting.family}, with noise" if setting.role == "private" else setting.title


def side_by_side(settings: Sequence[Setting]) -> tuple[Axis, dict[str, float]]:
    """An axis with one place for each setting, and the places by name.

    Args:
        settings: In the order of the axis.
    """
    labels = {}
    for setting in settings:
        told = setting.role == "private" and setting.noise_multiplier is not None
        without = "untaught" if setting.synthesizer == "untaught-reader" else SHORT.get(setting.role, "?")
        first = setting.noise_shown if told else without
        labels[setting.name] = "\n".join([first, *(epsilon_label(setting.epsilon(unit)) for unit in UNITS)])
    places = {setting.name: float(position) for position, setting in enumerate(settings)}
    ticks = tuple((places[setting.name], labels[setting.name]) for setting in settings)
    return Axis(title="", limits=(-0.6, max(len(settings), 1) - 0.4), ticks=ticks, heads=HEADS), places


def along(settings: Iterable[Setting], scale: Scale, beside: Iterable[float] = ()) -> tuple[Axis, dict[str, float]]:
    """A numeric axis for private settings, rising to the right with what is revealed, and their places by name.

    A setting without a finite number has no place. The axis is logarithmic; its places are logarithms.

    Args:
        settings: Private settings.
        scale: What the axis shows.
        beside: Further numbers that need a place.
    """
    numbers = {setting.name: _number(setting, scale) for setting in settings}
    known = {name: number for name, number in numbers.items() if number is not None}
    places = {name: place(number, scale) for name, number in known.items()}
    every = [*places.values(), *(place(number, scale) for number in beside)] or [0.0]
    reach = max(max(every) - min(every), 0.1)
    limits = (min(every) - 0.12 * reach, max(every) + 0.12 * reach)
    labels = [
        (places[name], f"{number:.3g}" if scale == "noise" else epsilon_label(number)) for name, number in known.items()
    ]
    return Axis(
        title=_TITLES[scale], limits=limits, ticks=spaced(labels, _room(labels) * (limits[1] - limits[0]))
    ), places


def _room(labels: Sequence[tuple[float, str]]) -> float:
    """Share of an axis that the longest label takes."""
    return 0.02 + 0.016 * max((len(label) for _, label in labels), default=0)


def place(number: float, scale: Scale) -> float:
    """Place of a number on a numeric axis.

    Example:
        >>> place(10.0, "patch"), place(10.0, "noise")
        (1.0, -1.0)
    """
    return -math.log10(number) if scale == "noise" else math.log10(number)


def _number(setting: Setting, scale: Scale) -> float | None:
    """What the axis shows of a setting; None where it is unknown, infinite or zero."""
    number = setting.noise_multiplier if scale == "noise" else setting.epsilon(scale)
    return number if number is not None and math.isfinite(number) and number > 0 else None


def epsilon_label(epsilon: float) -> str:
    """An epsilon for a tick: three digits, upwards, since a bound must not shrink in print; short where it is huge.

    Example:
        >>> epsilon_label(3.14159), epsilon_label(12345.6), epsilon_label(1.2345e8), epsilon_label(math.inf)
        ('3.15', '12,400', '1.24e8', '∞')
    """
    if math.isinf(epsilon):
        return "∞"
    if epsilon <= 0:
        return "0"
    power = math.floor(math.log10(epsilon))
    digits = math.ceil(epsilon / 10.0 ** (power - 2) - 1e-9)
    if power >= 5:
        return f"{digits / 100:g}e{power}"
    shown = digits * 10.0 ** (power - 2)
    return f"{shown:,.0f}" if power >= 3 else f"{shown:.3g}"
