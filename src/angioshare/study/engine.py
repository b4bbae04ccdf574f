"""Snakemake as the engine of a study: what it is told, how it is started, watched and stopped.

Snakemake runs in a child process on a shipped workflow (`workflow.smk`), whose jobs are `angioshare study-job` calls.
It ends by itself as soon as this process is gone (see `child`); jobs live on, and a resume waits for them. Its own lock
is off, since the study's (`folder.controlled`) knows who is dead. It decides from markers alone what is to be done;
whether work is done is for the run folders to say, and what was spent for the ledger: a job that runs again finds all
finished.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from angioshare import errors
from angioshare.errors import AngioShareError, DataError, SettingsError
from angioshare.rundir import read_json, write_json, write_text
from angioshare.study.folder import GROUPS, Study, controlled, make_study
from angioshare.study.gather import study_results, write_results
from angioshare.study.plan import PLANS
from angioshare.study.points import Point
from angioshare.study.report import write_report
from angioshare.study.watch import StageTimes, Standing, standing
from angioshare.types import Json

LOOK_S = 1.0
"""How often the controller looks where its jobs stand."""


def profile_names() -> list[str]:
    """Names of the shipped profiles: where jobs run.

    Example:
        >>> profile_names()
        ['kubernetes', 'local', 'slurm']
    """
    folder = resources.files(PLANS) / "profiles"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def profile_text(profile: str) -> str:
    """The text of a shipped profile, or of a file.

    Raises:
        SettingsError: There is neither.
    """
    if profile in profile_names():
        return (resources.files(PLANS) / "profiles" / f"{profile}.yaml").read_text(encoding="utf-8")
    try:
        return Path(profile).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"profile {profile!r} cannot be read ({error}); give {', '.join(profile_names())}, or a Snakemake profile"
        ) from error


def run_study(study: Study, *, jobs: int, profile: str, tell: Callable[[Standing], None]) -> None:
    """Do every job that is missing.

    Args:
        study: The study; its folder is made if need be.
        jobs: Jobs at a time on a cluster; cores in use on this machine.
        profile: A shipped profile's name, or the path of a Snakemake profile (YAML).
        tell: Told where the study stands, about once a second.

    Raises:
        SettingsError: Snakemake is missing, the profile cannot be read, or another controller is at work.
        AngioShareError: Points were left unfinished; of the class of the first failed job. Finished work is kept.
        KeyboardInterrupt: The user stopped it; running jobs were stopped too.
    """
    if find_spec("snakemake") is None:
        raise SettingsError("a study needs Snakemake; install the extra: pip install -e '.[study]'")
    text = profile_text(profile)
    make_study(study)
    with controlled(study) as lock:
        _write_input(study, text)
        times = StageTimes()
        log = study.work / "logs" / "snakemake.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as output, _snakemake(study, jobs, lock, output.fileno()) as engine:
            while True:
                tell(standing(study, times, jobs))
                try:
                    code = engine.wait(LOOK_S)
                except subprocess.TimeoutExpired:
                    continue
                break
        tell(standing(study, times, jobs))
        write_results(study.root, study_results(study.root, state=study.state))
        write_report(study.root, state=study.state)
        _refuse_unfinished(study, code, log)


def _write_input(study: Study, profile: str) -> None:
    """What Snakemake reads, beside the versions of what computes."""
    write_json(study.work / "jobs.json", job_list(study), private=True)
    write_text(study.work / "profile" / "config.yaml", profile)
    try:
        engine = version("snakemake")
    except PackageNotFoundError:
        engine = "unknown"
    write_json(study.root / "environment.json", read_json(study.root / "environment.json") | {"snakemake": engine})


def job_list(study: Study) -> Json:
    """Every job with what must be done before it and what it asks for, as `workflow.smk` reads it."""
    jobs: dict[str, Json] = {}
    for point in study.points:
        before = {"prepare": [], "learn": [f"prepare/{point.keeper}"], "measure": [f"learn/{point.name}"]}
        for group in GROUPS:
            if group != "prepare" or point.keeper == point.name:
                jobs[f"{group}/{point.name}"] = {"after": before[group], "resources": _asks(study, group, point)}
    return {
        "python": sys.executable,
        "study": str(study.root),
        "cores": study.plan.cores,
        "groups": list(GROUPS),
        "resources": {group: list(_asks(study, group, study.points[0])) for group in GROUPS},
        "jobs": jobs,
    }


def _asks(study: Study, group: str, point: Point) -> dict[str, int]:
    """Resources of a job in Snakemake's words; `budget` lets one training with a budget run at a time."""
    settings = study.plan.measure if group == "measure" else study.plan.learn
    wanted = {"mem_mb": settings.memory_mb, "runtime": settings.minutes, "gpu": settings.gpus or None}
    found = {key: value for key, value in wanted.items() if value is not None}
    return found | {"budget": int(group == "learn" and point.in_turn)}


def _arguments(study: Study, jobs: int) -> list[str]:
    workflow = resources.files(PLANS) / "workflow.smk"
    return [
        *("--snakefile", str(workflow), "--directory", str(study.work)),
        *("--profile", str(study.work / "profile"), "--workflow-profile", "none"),
        *("--jobs", str(jobs), "--resources", "budget=1", "--scheduler", "greedy"),
        *("--rerun-triggers", "mtime", "--rerun-incomplete", "--keep-going", "--nolock"),
    ]


@contextmanager
def _snakemake(study: Study, jobs: int, lock: int, output: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run Snakemake in a session of its own; an interrupt here reaches it and its jobs once."""
    alive, ours = os.pipe()
    command = [sys.executable, "-m", "angioshare.study.child", str(alive), *_arguments(study, jobs)]
    engine = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        pass_fds=(alive, lock),
        start_new_session=True,
    )
    os.close(alive)
    try:
        yield engine
    except BaseException:
        if engine.poll() is None:
            os.killpg(engine.pid, signal.SIGINT)
            engine.wait()
        raise
    finally:
        os.close(ours)


def _refuse_unfinished(study: Study, code: int, log: Path) -> None:
    """Say what is not finished, and why."""
    left = [point.name for point in study.points if study.missing(point)]
    if not left:
        return
    failures = [failure for name in left if (failure := _failure(study, name))]
    told = "; ".join(f"{name}: {text}" for name, _, text in failures[:3])
    kind = getattr(errors, failures[0][1], AngioShareError) if failures else AngioShareError
    raise kind(
        f"{len(left)} of {len(study.points)} points are not finished ({told or f'Snakemake ended with code {code}'}); "
        f"see {log} and {log.parent}; mend the cause, then go on with --resume"
    )


def _failure(study: Study, name: str) -> tuple[str, str, str] | None:
    """Point, class and words of the error that stopped a point's job, if it left one."""
    try:
        held = read_json(study.work / "failed" / f"{name}.json")
    except DataError:
        return None
    return name, str(held["error"]), str(held["text"])
