"""What a figure of numbers shows, as data: drawn twice, once to print (`draw`) and once to hover over (`hover`).

Positions along x are plain numbers with ticks that say what they mean, so that a logarithm is taken once, by whoever
builds the chart.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from angioshare.report.tables import Summary, summarise

Look: TypeAlias = Literal["box", "mean", "mark"]
"""Box of quartiles behind the points; mean and SD beside them; the points alone, hollow."""


@dataclass(frozen=True, kw_only=True)
class Group:
    """Numbers at one place.

    Attributes:
        x: Where.
        names: Of each number, for example `"seed 1"`.
        values: The numbers; None where undefined.
    """

    x: float
    names: tuple[str, ...]
    values: tuple[float | None, ...]

    @property
    def defined(self) -> list[tuple[str, float]]:
        """Names and numbers where there is one."""
        return [(name, value) for name, value in zip(self.names, self.values, strict=True) if value is not None]

    @property
    def undefined(self) -> list[str]:
        """Names of numbers that are undefined."""
        return [name for name, value in zip(self.names, self.values, strict=True) if value is None]

    @property
    def summary(self) -> Summary:
        """Mean and SD (n - 1) of what is defined."""
        return summarise(self.values)


@dataclass(frozen=True, kw_only=True)
class Series:
    """Groups of one colour."""

    title: str
    colour: str
    groups: tuple[Group, ...]
    look: Look
    marker: Literal["o", "^", "D"] = "o"


@dataclass(frozen=True, kw_only=True)
class Line:
    """A number that holds along the whole axis, as a horizontal line."""

    title: str
    colour: str
    y: float
    dashed: bool = False
    width: float = 1.4


@dataclass(frozen=True, kw_only=True)
class Band:
    """A part of the x axis that is shaded."""

    title: str
    colour: str
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Axis:
    """An axis.

    Attributes:
        title: What it shows.
        limits: Where it ends.
        ticks: Places with labels; empty leaves them to whoever draws.
        heads: What each line of a tick's label is, where labels have several.
        logarithmic: Whether it is; y alone may be.
    """

    title: str
    limits: tuple[float, float]
    ticks: tuple[tuple[float, str], ...] = ()
    heads: tuple[str, ...] = ()
    logarithmic: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One pair of axes and what is on it; undefined numbers are marked at `undefined_at`."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    lines: tuple[Line, ...] = ()
    bands: tuple[Band, ...] = ()
    undefined_at: float | None = None
    width: float = 0.6
    """Width of a box."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A whole figure: rows of panels, and the words that stand for it."""

    rows: tuple[tuple[Panel, ...], ...]
    words: str
    row_inches: float = 2.9


def beside_each_other(count: int) -> list[float]:
    """Shifts in (-0.5, 0.5) that keep so many equal numbers apart, neighbours in the list far from each other.

    Example:
        >>> beside_each_other(1), beside_each_other(2)
        ([0.0], [-0.25, 0.25])
    """
    order = sorted(range(count), key=lambda position: position * 0.618 % 1)
    return [(order.index(position) + 0.5) / count - 0.5 for position in range(count)]


def extent(series: Iterable[Series]) -> list[float]:
    """Every number that is drawn: values, and the ends of SD whiskers where there are any.

    Example:
        >>> group = Group(x=0.0, names=("a", "b"), values=(1.0, 3.0))
        >>> extent([Series(title="", colour="", groups=(group,), look="box")])
        [1.0, 3.0]
    """
    found: list[float] = []
    for one in series:
        for group in one.groups:
            found += [value for _, value in group.defined]
            mean, sd = group.summary.mean, group.summary.sd
            if one.look == "mean" and mean is not None and sd is not None:
                found += [mean - sd, mean + sd]
    return found


LOG_ABOVE = 20.0
"""Distances whose largest is more than so many times the smallest stand on a logarithmic axis."""


def value_axis(
    title: str, numbers: Iterable[float], *, share: bool, missing: bool, positive: bool = True
) -> tuple[Axis, float | None]:
    """Choose scale and ends of an axis of numbers.

    Args:
        title: What it shows.
        numbers: Everything that stands on it, ends of whiskers included (see `extent`).
        share: Whether it is a share of 1, which keeps the axis linear.
        missing: Whether room for undefined numbers is needed.
        positive: Whether the numbers themselves are above 0, so that the axis may be logarithmic.

    Returns:
        The axis, and where undefined numbers are marked.

    Example:
        >>> value_axis("Dice", [0.2, 0.5], share=True, missing=False)[0].limits
        (-0.02, 0.54)
    """
    values = list(numbers)
    low, high = min(values, default=0.0), max(values, default=1.0)
    above = [value for value in values if value > 0]
    logarithmic = not share and positive and bool(above) and high / min(above) > LOG_ABOVE
    if logarithmic:
        limits = (min(above) / 1.4, high * 1.4)
        at, top = (limits[1] * 1.7, limits[1] * 2.6) if missing else (None, limits[1])
    else:
        floor = min(-0.02, 1.08 * low) if share else min(0.0, 1.08 * low)
        limits = (floor, round((1.08 * high if high > 0 else 1.0), 6))
        step = limits[1] - limits[0]
        at, top = (limits[1] + 0.06 * step, limits[1] + 0.15 * step) if missing else (None, limits[1])
    shown = title + (", log scale" if logarithmic else "")
    return Axis(title=shown, limits=(limits[0], top), logarithmic=logarithmic), at


def spaced(ticks: Sequence[tuple[float, str]], least: float) -> tuple[tuple[float, str], ...]:
    """Leave out ticks whose label would stand on that of the one before.

    Args:
        ticks: Places with labels.
        least: Least distance of two labels, in units of the axis.

    Example:
        >>> spaced([(0.0, "a"), (0.1, "b"), (1.0, "c")], least=0.5)
        ((0.0, 'a'), (1.0, 'c'))
    """
    kept: list[tuple[float, str]] = []
    for place, label in sorted(ticks):
        if not kept or place - kept[-1][0] >= least:
            kept.append((place, label))
    return tuple(kept)
