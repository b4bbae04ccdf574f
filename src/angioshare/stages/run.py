"""A run folder: what it is of, what is done, and where things stand.

::

    OUT/
      run.json  config.toml  environment.json       what this run is; another one is refused
      results.json                                  every number, private side (mode 0600)
      private/                                      never shared (mode 0700)
        split.json  scans.json  patches/            split, digests of scans, real patches
        done/<stage>/<item>.json                    finished work with its records
        sources/<name>/                             checkpoints, weights, curves
        synthetic/<name>/                           pairs without a guarantee
        unets/<name>/  maps/<name>/                 segmenters, predictions
        report-internal.html
      public/
        synthetic/<name>/  statements/<name>.json   pairs that are dp or public
        report.html
"""

import platform
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

from angioshare import __version__
from angioshare.cohort.cohort import open_cohort
from angioshare.config import Config, SourceSettings, parse_config, to_toml
from angioshare.errors import DataError, SettingsError
from angioshare.records import Record, write_records
from angioshare.rundir import locked, read_json, write_json, write_text

STAGES = ("prepare", "train", "sample", "segment", "evaluate", "report")
"""The pipeline in order."""

LIBRARIES = ("torch", "numpy", "scipy", "nibabel", "dp-accounting", "cryptography", "safetensors")


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
    """

    root: Path
    config: Config
    cohort: Path
    second_sites: tuple[Path, ...]
    ledger: Path | None
    state: Path

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
        return str(read_json(self.root / "run.json")["id"])

    def source(self, name: str) -> Path:
        """Private folder of a source."""
        return self.private / "sources" / name

    def pairs(self, source: SourceSettings) -> Path:
        """Where the drawn pairs of a source stand: the public side only if they may leave."""
        side = self.public if source.privacy or source.synthesizer == "simulator" else self.private
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
        """Do an item of a stage unless it is finished; its records and wall time are written in one piece.

        Returns:
            Whether anything was done.
        """
        if self.finished(stage, item):
            return False
        began = perf_counter()
        records = list(work())
        source = "" if item in ("cohort", "pages") else item
        records.append(
            Record(stage=stage, metric="wall_time", value=perf_counter() - began, unit="s", trained_on=source,
                   seed=self.config.seed, provenance="public")
        )  # fmt: skip
        write_json(self.done(stage, item), {"records": [asdict(record) for record in records]}, private=True)
        self.collect()
        return True

    def records(self) -> list[Record]:
        """Records of all finished work, in the pipeline's order."""
        rows = []
        for stage in STAGES:
            for item in self.items(stage):
                if self.finished(stage, item):
                    rows += read_json(self.done(stage, item))["records"]
        return [Record(**row) for row in rows]

    def collect(self) -> None:
        """Write `results.json` anew from all finished work."""
        write_records(self.root / "results.json", self.records())

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder against other processes while the block runs."""
        with locked(self.private / ".lock"):
            yield


def environment() -> dict[str, str]:
    """Versions of what computes, with no name of a user or machine."""
    found = {"angioshare": __version__, "python": platform.python_version(), "system": platform.system()}
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = "missing"
    return found


def planned_run(
    root: Path,
    config: Config,
    cohort: Path,
    second_sites: Sequence[Path] = (),
    *,
    ledger: Path | None = None,
    state: Path,
) -> Run:
    """Speak of a run without making its folder; one that stands must be of the same run.

    Raises:
        SettingsError: The folder holds another run, or something else.
        DataError: A cohort cannot be read.
    """
    run = Run(
        root,
        config,
        cohort.resolve(),
        tuple(site.resolve() for site in second_sites),
        ledger and ledger.resolve(),
        state,
    )
    if (root / "run.json").exists():
        _same(run, open_run(root, state=state))
        return run
    for path in (run.cohort, *run.second_sites):
        open_cohort(path)  # a cohort that cannot be read is told before anything is made
    if root.is_file() or (root.is_dir() and any(entry.name != "private" for entry in root.iterdir())):
        raise SettingsError(f"{root} is not empty and no run folder; choose another folder")
    return run


def create_run(
    root: Path,
    config: Config,
    cohort: Path,
    second_sites: Sequence[Path] = (),
    *,
    ledger: Path | None = None,
    state: Path,
) -> Run:
    """Make a run folder, or open it again if it is of the same run.

    Raises:
        SettingsError: The folder holds another run, or something else.
    """
    run = planned_run(root, config, cohort, second_sites, ledger=ledger, state=state)
    if (root / "run.json").exists():
        return run
    _make_private(run.private)
    write_text(root / "config.toml", to_toml(config))
    write_json(root / "environment.json", dict(environment()))
    _write_identity(run)
    return run


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise DataError(f"cannot make {folder}: {error.strerror}; choose a folder that you may write") from error


def _write_identity(run: Run) -> None:
    """Last of all, so that a half-made folder is no run."""
    write_json(
        run.root / "run.json",
        {
            "id": secrets.token_hex(8),
            "cohort": str(run.cohort),
            "second_sites": [str(site) for site in run.second_sites],
            "ledger": str(run.ledger) if run.ledger else "",
        },
        private=True,
    )


def _same(new: Run, old: Run) -> None:
    """Refuse to mix two runs in one folder."""
    if new.cohort != old.cohort or new.second_sites != old.second_sites:
        raise SettingsError(
            f"{old.root} holds a run on {old.cohort} with second sites "
            f"{', '.join(map(str, old.second_sites)) or 'none'}; choose another folder"
        )
    if new.config != old.config:
        raise SettingsError(
            f"{old.root} holds a run with other settings (see {old.root / 'config.toml'}); choose another folder, "
            "or --resume to go on with its own settings"
        )


def open_run(root: Path, *, state: Path) -> Run:
    """Open a run folder.

    Raises:
        SettingsError: It is none.
    """
    if not (root / "run.json").exists():
        raise SettingsError(f"{root} is no run folder (run.json is missing); make one with `angioshare run COHORT OUT`")
    identity = read_json(root / "run.json")
    text = (root / "config.toml").read_text(encoding="utf-8")
    return Run(
        root,
        parse_config(text, name=str(root / "config.toml")),
        Path(identity["cohort"]),
        tuple(Path(site) for site in identity["second_sites"]),
        Path(identity["ledger"]) if identity["ledger"] else None,
        state,
    )
