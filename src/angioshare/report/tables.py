"""From records to rows: what the tables of a report say, as plain data.

Mean and SD are taken over subjects (SD with n - 1). A score that is undefined on a subject (an empty prediction has no
distance) is left out of mean and SD and counted beside them.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from angioshare.privacy.unit import Guarantee, PrivacyStatement, rounded_up
from angioshare.records import Record
from angioshare.report.content import ReportContent, SourceInfo
from angioshare.report.glossary import METRICS

CITATION = (
    "Kossen T, Hirzel MA, Madai VI, et al. (2022). Toward Sharing Brain Images: Differentially Private TOF-MRA Images "
    "With Segmentation Labels Using Generative Adversarial Networks. Frontiers in Artificial Intelligence 5:813842, "
    "doi:10.3389/frai.2022.813842."
)


@dataclass(frozen=True, kw_only=True)
class Published:
    """Dice of one published setting: own test subjects, second site, and epsilon for one patch as it was printed."""

    setting: str
    dice: tuple[float, float]
    epsilon: str


PUBLISHED = {
    "non-private": Published(setting="GAN without privacy", dice=(0.84, 0.88), epsilon="none"),
    "private": Published(setting="best GAN with privacy", dice=(0.75, 0.69), epsilon="7.4"),
}
"""The numbers beside ours, by role; 14 subjects of the own site and 65 of the second (see `CITATION`)."""


PUBLISHED_NOTE = (
    "The published epsilon of 7.4 is for one patch and assumes a fresh random batch at every noisy step. The published "
    "program used each batch five times; counted so, by privacy loss distributions, it is about 73 for one patch and "
    "in the tens of thousands for one subject. The paper prints bAHD and the scores of training on real patches as a "
    "picture; they are not repeated here."
)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One score over subjects.

    Attributes:
        mean: Mean over the subjects where it is defined; None if there is none.
        sd: Standard deviation over them (n - 1); None below two.
        n: Subjects in all.
        undefined: Subjects where the score is undefined.
    """

    mean: float | None
    sd: float | None
    n: int
    undefined: int

    def __str__(self) -> str:
        """As `mean (SD)`."""
        if self.mean is None:
            return "undefined"
        digits = 3 if abs(self.mean) < 1 else 2
        return f"{self.mean:.{digits}f} ({'–' if self.sd is None else f'{self.sd:.{digits}f}'})"


def summarise(values: Iterable[float | None]) -> Summary:
    """Take mean and SD over subjects; None, NaN and infinity count as undefined.

    Example:
        >>> str(summarise([0.5, 0.7, None])), summarise([0.5, 0.7, None]).undefined
        ('0.600 (0.141)', 1)
    """
    listed = list(values)
    defined = np.array([value for value in listed if value is not None and math.isfinite(value)], np.float64)
    return Summary(
        mean=float(defined.mean()) if len(defined) else None,
        sd=float(defined.std(ddof=1)) if len(defined) > 1 else None,
        n=len(listed),
        undefined=len(listed) - len(defined),
    )


def scores(records: Iterable[Record], metric: str, source: str, site: str) -> list[Record]:
    """Pick the scores per subject of one metric, source and site, in order of subject."""
    found = [
        record
        for record in records
        if (record.stage, record.metric, record.trained_on, record.site) == ("evaluate", metric, source, site)
        and record.subject
    ]
    return sorted(found, key=lambda record: record.subject)


def epsilon_words(guarantee: Guarantee) -> str:
    """Write an epsilon for a table, rounded upwards to three digits: a bound must not shrink in print.

    Example:
        >>> g = Guarantee(unit="patch", epsilon=5.9012, delta=1e-5, relation="add-or-remove-one", method="PLD")
        >>> epsilon_words(g)
        '5.91'
    """
    return rounded_up(guarantee.epsilon) if math.isfinite(guarantee.epsilon) else "∞"


def validation_dice(records: Iterable[Record]) -> dict[str, float]:
    """Best validation Dice of each source: that of the segmenter which was chosen."""
    best: dict[str, float] = {}
    for record in records:
        if record.stage == "segment" and record.metric == "validation_dice" and record.value is not None:
            best[record.trained_on] = max(record.value, best.get(record.trained_on, -math.inf))
    return best


def role(source: SourceInfo, statements: Mapping[str, PrivacyStatement]) -> str:
    """Say which row of Table 1 a source may stand in: its kind, or whether its synthesizer is private."""
    if source.kind != "synthesizer":
        return source.kind
    statement = statements.get(source.name)
    return "private" if statement is not None and statement.private else "non-private"


ROLES = {
    "real": "Real patches",
    "non-private": "Synthetic, without privacy",
    "private": "Synthetic, private",
    "simulator": "Simulator",
    "public": "Public cohort alone",
    "shuffled": "Real patches, labels shuffled",
}
"""Rows of Table 1, in order."""


def main_sources(content: ReportContent) -> list[SourceInfo]:
    """Choose one source for each row of Table 1: of several, the one with the best Dice on validation subjects."""
    dice = validation_dice(content.records)
    chosen = []
    for name in ROLES:
        candidates = [source for source in content.sources if role(source, content.statements) == name]
        if candidates:
            chosen.append(max(candidates, key=lambda source: dice.get(source.name, -math.inf)))
    return chosen


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a score table; `cells` holds, for each site, the summary of each metric by key (None: unmeasured)."""

    source: SourceInfo
    role: str
    statement: PrivacyStatement | None
    published: Published | None
    validation: float | None
    cells: tuple[dict[str, Summary | None], ...]


def score_rows(content: ReportContent, sources: Sequence[SourceInfo]) -> list[Row]:
    """Build the rows of a score table.

    Args:
        content: Where records, sites and statements stand.
        sources: Which sources, in order.

    Returns:
        One row for each source, with the published numbers beside the two rows that have any.
    """
    dice = validation_dice(content.records)
    rows = []
    for source in sources:
        kind = role(source, content.statements)
        rows.append(
            Row(
                source=source,
                role=ROLES[kind],
                statement=content.statements.get(source.name),
                published=PUBLISHED.get(kind),
                validation=dice.get(source.name),
                cells=tuple(_site_cells(content, source, site) for site in content.sites),
            )
        )
    return rows


def _site_cells(content: ReportContent, source: SourceInfo, site: str) -> dict[str, Summary | None]:
    """Summaries of all metrics of one source at one site."""
    picked = {m.key: [r.value for r in scores(content.records, m.key, source.name, site)] for m in METRICS}
    return {key: summarise(values) if values else None for key, values in picked.items()}


def stage_times(content: ReportContent) -> list[tuple[str, str]]:
    """List wall time per stage in words, from `stage_seconds` or else from records of metric `wall_time`."""
    seconds = dict(content.stage_seconds)
    if not seconds:
        for record in content.records:
            if record.metric == "wall_time" and record.value is not None:
                seconds[record.stage] = seconds.get(record.stage, 0.0) + record.value
    if len(seconds) > 1:
        seconds["total"] = sum(seconds.values())
    return [(stage, duration(value)) for stage, value in seconds.items()]


def duration(seconds: float) -> str:
    """Write a duration.

    Example:
        >>> duration(7.25), duration(75), duration(7500)
        ('7.2 s', '1 min 15 s', '2 h 05 min')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
