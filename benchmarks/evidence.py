"""What tables of scores need: paired differences with an interval, ranges over seeds, and a page's generated part.

Seeds and test subjects are crossed: every seed is scored on the same subjects. So both are drawn again, each by itself
(the pigeonhole bootstrap, Owen 2007, Annals of Applied Statistics 1:386). Few seeds make an interval too narrow: with
normal scores of three seeds and five subjects, it holds the truth in about 85 of 100 cases in place of 95.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from angioshare.rng import stream
from angioshare.rundir import write_text

RESAMPLES = 10_000
TAIL = 0.025

Scores = Mapping[tuple[int, str], float | None]
"""Score by seed and test subject; None where it is undefined."""


@dataclass(frozen=True)
class Spread:
    """A score over seeds and test subjects.

    Attributes:
        mean: Mean over seeds of the mean over subjects; None if it is defined nowhere.
        sd: Standard deviation over subjects, each the mean of its seeds; None below two subjects.
        low: The lowest seed's mean over subjects.
        high: The highest.
        seeds: How many seeds.
        undefined: Pairs of seed and subject where the score is undefined; the means leave them out.
    """

    mean: float | None
    sd: float | None
    low: float | None
    high: float | None
    seeds: int
    undefined: int

    def __str__(self) -> str:
        if self.mean is None:
            return f"undefined ({self.undefined})" if self.undefined else "-"
        words = f"{self.mean:.3f}" + (f" ± {self.sd:.3f}" if self.sd is not None else "")
        words += f" [{self.low:.3f}, {self.high:.3f}]" if self.seeds > 1 else ""
        return words + (f" ({self.undefined} undefined)" if self.undefined else "")


def spread(scores: Scores) -> Spread:
    """Mean, deviation over subjects and range over seeds."""
    known = {key: value for key, value in scores.items() if value is not None}
    by_seed = _means(known, 0)
    by_subject = _means(known, 1)
    return Spread(
        mean=fmean(by_seed) if by_seed else None,
        sd=stdev(by_subject) if len(by_subject) > 1 else None,
        low=min(by_seed, default=None),
        high=max(by_seed, default=None),
        seeds=len({seed for seed, _ in scores}),
        undefined=len(scores) - len(known),
    )


def _means(known: Mapping[tuple[int, str], float], place: int) -> list[float]:
    """Means over whatever has the same seed (place 0) or subject (place 1)."""
    groups: dict[int | str, list[float]] = {}
    for key, value in known.items():
        groups.setdefault(key[place], []).append(value)
    return [fmean(values) for values in groups.values()]


@dataclass(frozen=True)
class Difference:
    """How much higher one thing scores than another, on the same seeds and subjects.

    Attributes:
        mean: Mean difference.
        low: Lower end of its 95 % interval.
        high: Upper end.
        seeds: How many seeds both have; of one alone, the interval knows subjects only.
        subjects: How many subjects.
    """

    mean: float
    low: float
    high: float
    seeds: int
    subjects: int

    @property
    def word(self) -> str:
        """Whether the interval lies above 0, below it, or holds it."""
        return "higher" if self.low > 0 else "lower" if self.high < 0 else "not higher"

    def __str__(self) -> str:
        return f"{self.mean:+.3f} [{self.low:+.3f}, {self.high:+.3f}]"


def paired(first: Scores, second: Scores, *, seed: int = 0) -> Difference | None:
    """Compare two things on the seeds and subjects that both have; None if there are none.

    Only a whole grid is compared: seeds that lack a subject, or a defined score, are left out.
    """
    subjects = sorted({subject for _, subject in first} & {subject for _, subject in second})
    seeds = sorted({one for one, _ in first} & {one for one, _ in second})
    rows = [[_minus(first.get((one, name)), second.get((one, name))) for name in subjects] for one in seeds]
    whole = [row for row in rows if row and None not in row]
    if not whole:
        return None
    grid = np.array(whole, np.float64)
    drawn = stream(seed, "evidence")
    seed_rows = drawn.integers(len(grid), size=(RESAMPLES, len(grid)))
    columns = drawn.integers(grid.shape[1], size=(RESAMPLES, grid.shape[1]))
    means = grid[seed_rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2))
    low, high = np.quantile(means, [TAIL, 1 - TAIL])
    return Difference(float(grid.mean()), float(low), float(high), *grid.shape)


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "/") for cell in line) + " |" for line in lines)


def write_part(page: Path, name: str, text: str) -> None:
    """Put text between the page's marks `<!-- NAME -->` and `<!-- end of NAME -->`; the rest of the page stays."""
    first, last = f"<!-- {name} -->", f"<!-- end of {name} -->"
    whole = page.read_text(encoding="utf-8") if page.exists() else f"{first}\n{last}\n"
    before, begun, rest = whole.partition(first)
    _, ended, after = rest.partition(last)
    if not begun or not ended:
        raise SystemExit(f"{page} lacks the marks {first} and {last}; put them where the table belongs")
    write_text(page, f"{before}{first}\n\n{text.strip()}\n\n{last}{after}")
