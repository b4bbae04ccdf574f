"""A study's folder: what the study is of, its points' run folders, and what its jobs leave for the controller.

::

    OUT/
      study.toml  study.json  environment.json     what this study is; another one is refused
      results.json                                 every number of every finished point (mode 0600)
      report/  public/                             the study's report, internal and to share (see `report`)
      points/<name>/                               run folders (see `stages.run`)
      work/                                        the engine's side (mode 0700)
        jobs.json  profile/config.yaml             what Snakemake reads
        markers/<group>/<point>                    finished jobs, as Snakemake sees them
        progress/<point>.json  failed/<point>.json what jobs say of themselves
        logs/  .snakemake/  controller.lock  private.lock
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

from angioshare.cohort.cohort import open_cohort
from angioshare.errors import DataError, SettingsError
from angioshare.rundir import read_json, write_json, write_text
from angioshare.stages.folder import check_public_scans, environment, make_folder, open_run, refuse_telling_titles
from angioshare.stages.run import STAGES, Run
from angioshare.study.plan import PlanSettings, to_toml
from angioshare.study.points import Point, expand
from angioshare.synthesis.registry import learns_from_public

PREPARE = STAGES[:1]
LEARN = STAGES[: STAGES.index("segment")]
MEASURE = STAGES[STAGES.index("segment") : STAGES.index("report")]
GROUPS: dict[str, tuple[str, ...]] = {"prepare": PREPARE, "learn": LEARN, "measure": MEASURE}
"""Stages that one job does together: a job takes seconds to start, so stages are no jobs of their own."""

TAKEOVER_S = 10.0
"""How long a resume waits for the engine of a killed controller to notice and end."""


@dataclass(frozen=True)
class Study:
    """A study and where it stands.

    Attributes:
        root: Its folder.
        plan: Its resolved plan.
        points: The plan expanded.
        cohort: Where the private cohort stands.
        second_sites: Where further test cohorts stand.
        ledger: The cohort's ledger, where the user named one.
        state: The user's state folder.
        public_cohort: Where labelled scans stand that anybody may have, or None.
    """

    root: Path
    plan: PlanSettings
    points: tuple[Point, ...]
    cohort: Path
    second_sites: tuple[Path, ...]
    ledger: Path | None
    state: Path
    public_cohort: Path | None = None

    @property
    def work(self) -> Path:
        """The engine's side."""
        return self.root / "work"

    def run_of(self, point: Point) -> Run:
        """The run of a point, whether its folder stands or not."""
        return Run(
            point_folder(self.root, point.name),
            point.config,
            self.cohort,
            self.second_sites,
            self.ledger,
            self.state,
            self.public_cohort,
        )

    def stages_of(self, point: Point) -> tuple[str, ...]:
        """The stages that count as the point's own work."""
        stages = LEARN + MEASURE
        return stages if point.keeper == point.name else stages[len(PREPARE) :]

    def missing(self, point: Point) -> list[str]:
        """Stages of a point that are not finished."""
        run = self.run_of(point)
        return [stage for stage in self.stages_of(point) if run.missing(stage)]


def point_folder(root: Path, name: str) -> Path:
    """The run folder of a point."""
    return root / "points" / name


def planned_study(
    root: Path,
    plan: PlanSettings,
    *,
    cohort: Path | None,
    second_sites: Sequence[Path],
    public_cohort: Path | None = None,
    ledger: Path | None,
    state: Path,
    resume: bool,
) -> Study:
    """Speak of a study without making its folder.

    Args:
        root: Its folder.
        plan: What it does.
        cohort: The private cohort, if the plan does not name it (or another one).
        second_sites: Further test cohorts, in place of the plan's.
        public_cohort: Labelled scans that anybody may have, in place of the plan's.
        ledger: The cohort's ledger, where it cannot stand beside it.
        state: The user's state folder.
        resume: Whether the folder may hold this study already.

    Raises:
        SettingsError: The folder is not empty (or holds another study), or no cohort was named.
        DataError: A cohort cannot be read.
    """
    where = cohort or plan.cohort
    if where is None:
        raise SettingsError("the plan names no cohort; give one with --cohort PATH, or write cohort: PATH in the plan")
    sites, public = tuple(second_sites) or plan.second_sites, public_cohort or plan.public_cohort
    study = Study(
        root.resolve(),
        plan,
        expand(plan),
        where.resolve(),
        tuple(site.resolve() for site in sites),
        ledger and ledger.resolve(),
        state,
        public and public.resolve(),
    )
    standing = root.exists() and (root.is_file() or any(root.iterdir()))
    if standing and not resume:
        raise SettingsError(f"{root} exists; go on with --resume if it holds this study, or choose another folder")
    if standing and not (root / "study.json").exists():
        raise SettingsError(f"{root} is not empty and no study; choose another folder")
    for path in (study.cohort, *study.second_sites, *([study.public_cohort] if study.public_cohort else [])):
        open_cohort(path)
    if study.public_cohort and not any(learns_from_public(point.source.synthesizer) for point in study.points):
        raise SettingsError(f"no point of this study learns from the public cohort {study.public_cohort}; leave it out")
    check_public_scans([point.source for point in study.points], public=study.public_cohort is not None)
    if standing:
        _refuse_another(study)
    else:
        sources = [point.source for point in study.points]
        refuse_telling_titles(plan.title, sources, (study.cohort, *study.second_sites))
    return study


def _refuse_another(study: Study) -> None:
    """A study may grow by points; those that stand must be as they were."""
    held = read_json(study.root / "study.json")
    if (held["cohort"], held["second_sites"]) != (str(study.cohort), [str(site) for site in study.second_sites]):
        raise SettingsError(
            f"{study.root} holds a study on {held['cohort']} and other second sites; choose another folder"
        )
    if (public := held.get("public_cohort", "")) != str(study.public_cohort or ""):
        raise SettingsError(
            f"{study.root} holds a study with the public cohort {public or 'none'}; choose another folder"
        )
    names = {point.name for point in study.points}
    if lost := [name for name in held["points"] if name not in names]:
        raise SettingsError(f"{study.root} holds the point {lost[0]}, which this plan lacks; a study may only grow")
    for point in study.points:
        run = study.run_of(point)
        if (run.root / "run.json").exists() and open_run(run.root, state=study.state).config != point.config:
            raise SettingsError(
                f"point {point.name} stands in {study.root} with other settings (see {run.root / 'config.toml'}); put "
                "new values at the end of their list, or choose another folder"
            )


def make_study(study: Study) -> None:
    """Make the folder and every point's run folder, unless they stand.

    Raises:
        DataError: They cannot be written.
    """
    try:
        study.work.mkdir(parents=True, exist_ok=True)
        study.work.chmod(0o700)
    except OSError as error:
        raise DataError(f"cannot make {study.work}: {error.strerror}; choose a folder that you may write") from error
    identity = {
        "cohort": str(study.cohort),
        "second_sites": [str(site) for site in study.second_sites],
        "ledger": str(study.ledger) if study.ledger else "",
        "public_cohort": str(study.public_cohort) if study.public_cohort else "",
        "points": {point.name: {"keeper": point.keeper, "in_turn": point.in_turn} for point in study.points},
    }
    write_json(study.root / "study.json", identity, private=True)
    write_text(study.root / "study.toml", to_toml(study.plan))
    write_json(study.root / "environment.json", dict(environment()))
    for point in study.points:
        make_folder(study.run_of(point))


@contextmanager
def controlled(study: Study) -> Iterator[int]:
    """Hold the study for one controller; gives the lock's file descriptor, which its engine must inherit.

    The lock is free when both are dead, so a killed controller never leaves it behind. Its engine ends by itself as
    soon as it sees that the controller is gone (see `child`), and is waited for.

    Raises:
        SettingsError: Another controller is at work.
    """
    path = study.work / "controller.lock"
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _take(handle, path, monotonic() + TAKEOVER_S)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"process {os.getpid()} on {os.uname().nodename}".encode(), 0)
        yield handle
    finally:
        os.close(handle)


def _take(handle: int, path: Path, until: float) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if monotonic() > until:
                holder = path.read_text(encoding="utf-8", errors="replace") or "another process"
                raise SettingsError(f"{path.parent.parent} is being run by {holder}; wait for it or stop it") from error
            sleep(0.2)
        else:
            return
