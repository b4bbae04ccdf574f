"""What a report is made of: plain arrays, records and statements, gathered by the stage that writes the page.

Nothing here reads files or computes scores; the report knows neither patches nor cohorts nor networks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from angioshare.errors import DataError
from angioshare.metrics.transport import MetricName
from angioshare.privacy.unit import PrivacyStatement
from angioshare.records import Record
from angioshare.types import BoolArray, ByteArray, FloatArray, IntArray, Provenance, Spacing

SourceKind: TypeAlias = Literal["real", "simulator", "public", "shuffled", "synthesizer"]
"""Real patches (the ceiling), pairs of a simulator or a public cohort's own (epsilon 0), shuffled labels (the floor),
or a synthesizer's."""


@dataclass(frozen=True, kw_only=True)
class SourceInfo:
    """One source of training pairs for the segmenter.

    Attributes:
        name: Short name, as in `Record.trained_on`.
        title: What readers see, for example `"WGAN, noise multiplier 0.8"`.
        kind: What sort of source it is.
        synthesizer: Registry name of the synthesizer, or `""`.
        seed: Seed of its run.
        trained_on: In words, what the source itself was made from.
    """

    name: str
    title: str
    kind: SourceKind
    synthesizer: str = ""
    seed: int = 0
    trained_on: str = ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Pairs of one source, to be looked at.

    Attributes:
        source: Name of the source.
        title: What readers see.
        image: Shape (n, h, w), in [-1, 1].
        label: Shape (n, h, w), in {0, 1}.
        provenance: What the pairs reveal.
        statement: The guarantee that holds for them; required to share pairs of provenance `"dp"`.
    """

    source: str
    title: str
    image: FloatArray
    label: ByteArray | BoolArray
    provenance: Provenance
    statement: PrivacyStatement | None = None

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape != self.label.shape:
            raise DataError(
                f"samples of {self.source!r}: image {self.image.shape} and label {self.label.shape} must both be "
                "(n, h, w); hand over pairs of one patch set"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorMap:
    """Where a segmenter was right and wrong on one subject: always unprotected, for it shows that subject.

    Attributes:
        source: Name of the source that the segmenter was trained on.
        site: Name of the test site.
        subject: BIDS id of the subject.
        image: The angiogram, shape (i, j, k), RAS+, any intensity unit.
        label: Annotated vessels, shape (i, j, k), in {0, 1}.
        prediction: Predicted vessels, shape (i, j, k), in {0, 1}.
        spacing_mm: Voxel size along i, j, k.
    """

    source: str
    site: str
    subject: str
    image: FloatArray | IntArray
    label: ByteArray | BoolArray
    prediction: ByteArray | BoolArray
    spacing_mm: Spacing

    def __post_init__(self) -> None:
        shapes = {self.image.shape, self.label.shape, self.prediction.shape}
        if self.image.ndim != 3 or len(shapes) != 1:
            raise DataError(
                f"error map of {self.subject!r}: image {self.image.shape}, label {self.label.shape} and prediction "
                f"{self.prediction.shape} must share one shape (i, j, k); put them on one grid"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """A number over the steps of training, such as a loss: always unprotected.

    Attributes:
        source: Name of the source that was trained.
        name: What was followed, for example `"critic loss"`; curves of one name share a panel.
        steps: Steps, shape (t,), rising.
        values: The number at each step, shape (t,).
    """

    source: str
    name: str
    steps: Sequence[float] | FloatArray | IntArray
    values: Sequence[float] | FloatArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding:
    """Patches of several sources as points of one plane: always unprotected, for real patches moved every point.

    Attributes:
        metric: The distance between patches that placed them.
        perplexity: How many neighbours counted, roughly.
        points: Shape (n, 2), no unit.
        thumbnails: The patches, made small, shape (n, h, w), from 0 (black) to 255.
        group: Index into `groups` of each, shape (n,); those of one group stand in random order.
        groups: Where patches are from.
    """

    metric: MetricName
    perplexity: float
    points: FloatArray
    thumbnails: ByteArray
    group: IntArray
    groups: tuple[SourceInfo, ...]

    def __post_init__(self) -> None:
        if self.points.shape != (len(self.group), 2) or len(self.thumbnails) != len(self.group):
            raise DataError(
                f"embedding: points {self.points.shape}, thumbnails {self.thumbnails.shape} and group "
                f"{self.group.shape} must be (n, 2), (n, h, w) and (n,); hand over those of one set"
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class ReportContent:
    """All that a report shows.

    Attributes:
        title: Title of the page.
        sources: Sources in the order of the tables and plots.
        sites: Names of the test sites; the first is the cohort's own held-out subjects.
        statements: Guarantee of each source by name, real and public ones included where known.
        cohort_statement: What all runs on the cohort spent together, from its ledger.
        records: Every number.
        samples: Pairs to be looked at.
        error_maps: Error maps of test subjects.
        curves: Training curves.
        embeddings: The same patches placed by several distances.
        settings_toml: The resolved settings, as TOML.
        environment: Versions: name to version.
        stage_seconds: Wall time of each stage.
        left_out: What a filter took out, in words (see `sharing.shareable`).
    """

    title: str
    sources: Sequence[SourceInfo]
    sites: Sequence[str] = ()
    statements: Mapping[str, PrivacyStatement] = field(default_factory=dict)
    cohort_statement: PrivacyStatement | None = None
    records: Sequence[Record] = ()
    samples: Sequence[Samples] = ()
    error_maps: Sequence[ErrorMap] = ()
    curves: Sequence[Curve] = ()
    embeddings: Sequence[Embedding] = ()
    settings_toml: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    left_out: Sequence[str] = ()

    def __post_init__(self) -> None:
        names = [source.name for source in self.sources]
        if len(set(names)) != len(names):
            raise DataError(f"sources {names} must have different names; rename the double one")
        shown = {*self.statements, *(s.source for s in self.samples), *(m.source for m in self.error_maps)}
        if stray := sorted(shown - set(names)):
            raise DataError(f"{stray} is no source of this report (sources: {names}); add its SourceInfo")

    def source(self, name: str) -> SourceInfo:
        """Return the source of that name.

        Raises:
            DataError: There is none.

        Example:
            >>> real = SourceInfo(name="real", title="Real patches", kind="real")
            >>> ReportContent(title="A report", sources=[real]).source("real").title
            'Real patches'
        """
        for source in self.sources:
            if source.name == name:
                return source
        raise DataError(f"{name!r} is no source of this report; its sources: {[s.name for s in self.sources]}")
