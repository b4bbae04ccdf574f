"""A run folder: what it is of, what is done, and where things stand.

::

    OUT/
      run.json  config.toml  environment.json       what this run is; another one is refused
      results.json                                  every number, private side (mode 0600)
      private/                                      never shared (mode 0700)
        split.json  scans.json  patches/            split, digests of scans, real patches
        inputs.json  public-patches/                digests of what is measured on, patches of a public cohort
        ledger.json                                 id of the ledger that the run is charged in
        done/<stage>/<item>.json                    finished work with its records
        sources/<name>/                             checkpoints, weights, curves
        synthetic/<name>/                           pairs without a guarantee
        unets/<name>/  maps/<name>/                 segmenters, predictions
        report-internal.html  figures/              the page for the house, its t-SNE as PNG and PDF
        embedding.npz                               what these are drawn from
      public/
        synthetic/<name>/  statements/<name>.json   pairs that are dp or public
        statements/whole_cohort.json                what all runs on the cohort spent together
        report.html
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import get_args

from angioshare.config import Config, SourceSettings
from angioshare.errors import DataError, SettingsError
from angioshare.peak import PeakMemory
from angioshare.records import Record, write_records
from angioshare.rundir import locked, read_json, sweep, write_json
from angioshare.synthesis.registry import PUBLIC, PUBLIC_COHORT
from angioshare.types import Json, Provenance

STAGES = ("prepare", "train", "sample", "segment", "evaluate", "report")
"""The pipeline in order."""

_PATIENCE_S = 300.0
"""How long a lane waits for another that writes results, which takes a moment, but on a machine that may be busy."""


@dataclass(frozen=True)
class Run:
    """One run folder and what it is of.

    Attributes:
        root: The folder.
        config: Resolved settings.
        cohort: Where the cohort stands.
        second_sites: Where further test cohorts stand.
        ledger: The cohort's ledger, where the user named one.
        state: The user's state folder, which knows all ledgers of theirs.
        public_cohort: Where labelled scans stand that anybody may have, and that sources may learn from freely.
    """

    root: Path
    config: Config
    cohort: Path
    second_sites: tuple[Path, ...]
    ledger: Path | None
    state: Path
    public_cohort: Path | None = None

    @property
    def private(self) -> Path:
        """Everything that never leaves."""
        return self.root / "private"

    @property
    def public(self) -> Path:
        """What is public or under a guarantee."""
        return self.root / "public"

    @property
    def id(self) -> str:
        """A random name that the ledger knows the run by."""
        return str(read_identity(self.root)["id"])

    @property
    def public_patches(self) -> Path | None:
        """Store of the public cohort's patches; private only in that its licence may not let others have them."""
        return self.private / "public-patches" if self.public_cohort else None

    def source(self, name: str) -> Path:
        """Private folder of a source."""
        return self.private / "sources" / name

    def pairs(self, source: SourceSettings) -> Path:
        """Where the drawn pairs of a source stand: the public side only if they may leave.

        Whether a public cohort's own scans may is for their licence to say.
        """
        leaves = source.privacy or (source.synthesizer in PUBLIC and source.synthesizer != PUBLIC_COHORT)
        side = self.public if leaves else self.private
        return side / "synthetic" / source.name

    def done(self, stage: str, item: str) -> Path:
        """The file that says that an item of a stage is finished."""
        return self.private / "done" / stage / f"{item}.json"

    def finished(self, stage: str, item: str) -> bool:
        """Whether an item of a stage is finished."""
        return self.done(stage, item).exists()

    def items(self, stage: str) -> list[str]:
        """What a stage works through."""
        whole = {"prepare": ["cohort"], "report": ["pages"]}
        return whole.get(stage) or [source.name for source in self.config.sources]

    def missing(self, stage: str) -> list[str]:
        """What of a stage is still to be done."""
        return [item for item in self.items(stage) if not self.finished(stage, item)]

    def require(self, stage: str) -> None:
        """Refuse to go on before `stage` is finished.

        Raises:
            SettingsError: It is not.
        """
        if left := self.missing(stage):
            raise SettingsError(
                f"{self.root}: stage {stage} is not finished ({', '.join(left)}); "
                f"run `angioshare {stage} {self.root}` first"
            )

    def once(self, stage: str, item: str, work: Callable[[], Sequence[Record]]) -> bool:
        """Do an item of a stage unless it is finished; its records, wall time and peak memory are written in one piece.

        Returns:
            Whether anything was done.
        """
        if self.finished(stage, item):
            return False
        began, peak = perf_counter(), PeakMemory()
        records = list(work())
        cost = {"wall_time": (perf_counter() - began, "s"), "peak_memory": (peak.mb(), "MB")}
        source = "" if item in ("cohort", "pages") else item
        records += [
            Record(stage=stage, metric=metric, value=value, unit=unit, trained_on=source,
                   seed=self.config.seed, provenance="unprotected")
            for metric, (value, unit) in cost.items() if value is not None
        ]  # fmt: skip
        write_json(self.done(stage, item), {"records": [asdict(record) for record in records]}, private=True)
        self.collect()
        return True

    def records(self) -> list[Record]:
        """Records of all finished work, in the pipeline's order.

        Raises:
            DataError: A file of them is damaged.
        """
        found = []
        for stage in STAGES:
            for item in self.items(stage):
                if self.finished(stage, item):
                    found += self._records_of(stage, item)
        return found

    def _records_of(self, stage: str, item: str) -> list[Record]:
        path = self.done(stage, item)
        try:
            found = [Record(**row) for row in read_json(path)["records"]]
            wrong = next((repr(record) for record in found if not _sound(record)), "")
        except (KeyError, TypeError) as error:
            found, wrong = [], str(error)
        if wrong:
            raise DataError(
                f"{path} holds no records of finished work ({wrong[:200]}); bring it back, or delete it and run "
                f"`angioshare {stage} {self.root}` again"
            )
        return found

    def collect(self) -> None:
        """Write `results.json` anew from all finished work.

        Lanes do so one after the other: who read first must not write last.
        """
        with locked(self.private / ".results.lock", _PATIENCE_S):
            write_records(self.root / "results.json", self.records())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder against other processes while the block runs; what a killed one left half-written goes."""
        with locked(self.private / ".lock"):
            sweep(self.root)
            yield


def read_identity(root: Path) -> Json:
    """Read what says which run a folder holds: `id`, `cohort`, `second_sites`, `ledger`, maybe `settings`, ...

    Raises:
        DataError: `run.json` is missing or garbled.
    """
    path = root / "run.json"
    identity = read_json(path)
    sites = identity.get("second_sites")
    words = [identity.get(key) for key in ("id", "cohort", "ledger")]
    words += [identity.get(key, "") for key in ("settings", "public_cohort")]
    if not isinstance(sites, list) or not all(isinstance(word, str) for word in (*words, *sites)):
        raise DataError(
            f"{path} lacks or garbles the run's id, cohort, second sites or ledger; bring back the file that was, or "
            "begin anew in another folder"
        )
    return identity


def _sound(record: Record) -> bool:
    """Whether a record's fields are of their types."""
    words = (record.stage, record.metric, record.unit, record.subject, record.site, record.trained_on)
    more = (record.synthesizer, record.point, record.provenance)
    numbers = (record.value, record.noise_multiplier, record.epsilon_patch, record.epsilon_subject)
    return (
        all(isinstance(word, str) for word in (*words, *more))
        and all(isinstance(number, int | float | None) for number in (*numbers, record.seed))
        and record.provenance in get_args(Provenance)
    )
