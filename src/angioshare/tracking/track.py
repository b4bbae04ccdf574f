"""What a tracking tool is shown: series of numbers with their steps, and words beside them, on two sides."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_STRANGE = re.compile(r"[^\w./-]+", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class Series:
    """A number over steps.

    Attributes:
        name: What was measured; the part before the first slash is its group.
        steps: Steps, rising. One number alone stands at step 0.
        values: The finite number at each step.
    """

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Track:
    """What belongs to one curve of a chart: one source of one run, or the run as a whole.

    Attributes:
        path: Names from the outside in: point of a study, then source. Empty for what belongs to all of it.
        series: Its numbers.
        about: Words by key; `"statement"` is the privacy statement's sentence.
    """

    path: tuple[str, ...]
    series: tuple[Series, ...] = ()
    about: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The path in one piece; a dot where it is empty."""
        return "/".join(self.path) or "."


@dataclass(frozen=True, kw_only=True)
class Sides:
    """The same runs twice.

    Attributes:
        title: Of the run or study.
        shareable: What may leave the house.
        internal: Everything, unprotected numbers included.
    """

    title: str
    shareable: tuple[Track, ...]
    internal: tuple[Track, ...]


def series(name: str, steps: Sequence[int], values: Sequence[float | None]) -> list[Series]:
    """Make a series of the defined, finite numbers; none if there are none.

    Args:
        name: Signs that a tracking tool refuses become underscores.
        steps: Shape (t,).
        values: Shape (t,); None where undefined.

    Example:
        >>> series("evaluate/dice, mean", [0, 1], [0.5, None])
        [Series(name='evaluate/dice_mean', steps=(0,), values=(0.5,))]
    """
    defined = [(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
    finite = [(step, value) for step, value in defined if math.isfinite(value)]
    if not finite:
        return []
    kept_steps, kept_values = zip(*finite, strict=True)
    return [Series(name=_STRANGE.sub("_", name), steps=kept_steps, values=kept_values)]
