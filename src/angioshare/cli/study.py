"""Commands `study`, `study-job`, `study-report`: many runs on Snakemake, one job of them, and what they found."""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from angioshare.cli.output import answer, answer_json, progress, say, state_folder, table
from angioshare.cli.standing import display, duration

if TYPE_CHECKING:
    from angioshare.study.folder import Study
    from angioshare.study.outlook import Outlook
    from angioshare.study.report import Written
    from angioshare.study.watch import StageTimes

Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def study(
    plan: Annotated[str, typer.Argument(help="Name of a shipped plan, or a YAML or TOML file.")],
    out: Annotated[Path, typer.Argument(help="Folder of the study.")],
    cohort: Annotated[Path | None, typer.Option(help="The private cohort, if the plan does not name it.")] = None,
    second_site: Annotated[list[Path] | None, typer.Option(help="Another test cohort; may be repeated.")] = None,
    public_cohort: Annotated[
        Path | None, typer.Option(help="Labelled scans that anybody may have, for readers to learn from freely.")
    ] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="key=value on top; may be repeated.")] = None,
    ledger: Annotated[Path | None, typer.Option(help="The cohort's ledger, where it cannot stand beside it.")] = None,
    jobs: Annotated[int, typer.Option(min=0, max=10_000, help="Jobs at a time; 0 takes one for each core.")] = 0,
    profile: Annotated[str, typer.Option(help="Where jobs run: local, slurm, kubernetes, or a file.")] = "local",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the study in OUT; finished work is kept.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List jobs, epsilon and time; change nothing.")] = False,
    rehearse: Annotated[
        bool, typer.Option("--rehearse", help="With --dry-run: time a few steps of each unknown training here.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a grid of runs on Snakemake, here or on a cluster; ends with a report and a table over all seeds."""
    from angioshare.errors import SettingsError
    from angioshare.study.engine import run_study
    from angioshare.study.folder import planned_study
    from angioshare.study.outlook import outlook
    from angioshare.study.plan import load_plan

    if rehearse and not dry_run:
        raise SettingsError("--rehearse estimates the time of a dry run; give --dry-run with it, or leave it out")
    settings = load_plan(plan)
    this = planned_study(
        out,
        settings.model_copy(update={"changes": (*settings.changes, *(changes or ()))}),
        cohort=cohort,
        second_sites=second_site or (),
        public_cohort=public_cohort,
        ledger=ledger,
        state=state_folder(),
        resume=resume or dry_run,
    )
    at_once = jobs or os.cpu_count() or 1
    if dry_run:
        _answer_outlook(outlook(this, at_once, _rehearsal(this) if rehearse else None), as_json)
        if rehearse and not as_json:
            answer("where no stage was finished yet, trainings were rehearsed; all else comes on top of them")
        return
    with display() as shown:
        run_study(this, jobs=at_once, profile=profile, tell=shown.tell)
    _answer_results(this, as_json)


def _rehearsal(this: "Study") -> Callable[["StageTimes"], None]:
    """Time what is unknown, told line by line."""
    from angioshare.study.rehearsal import rehearsed

    return lambda times: rehearsed(this, times, lambda what: say(f"rehearsing {what} on made-up patches"))


def study_job(
    out: Annotated[Path, typer.Argument(help="Folder of a study.")],
    group: Annotated[str, typer.Argument(help="prepare, learn or measure.")],
    point: Annotated[str, typer.Argument(help="Name of the point.")],
) -> None:
    """Do one job of a study; `study` calls it."""
    from angioshare.study.job import run_job

    run_job(out, group, point, state=state_folder(), log=progress())


def study_report(
    out: Annotated[Path, typer.Argument(help="Folder of a study, finished or not.")], as_json: Json = False
) -> None:
    """Write the report of a study anew, from what is finished."""
    from angioshare.study.report import write_report

    written = write_report(out, state=state_folder())
    if as_json:
        answer_json({"study": str(out), **_pages(written)})
    else:
        _answer_pages(written)


def _pages(written: "Written") -> dict[str, str]:
    return {"report_internal": str(written.internal), "report_shareable": str(written.shareable)}


def _answer_pages(written: "Written") -> None:
    answer(f"report to share: {written.shareable}")
    answer(f"internal report: {written.internal}")


def _answer_outlook(found: "Outlook", as_json: bool) -> None:
    whole = found.statement.sentence() if found.statement else "nothing is charged"
    if as_json:
        statement = found.statement.to_json() if found.statement else None
        answer_json({"jobs": found.jobs, "statement": statement, "predicted_seconds": found.seconds})
        return
    rows = [(row["job"], row["title"], row["state"], *_spends(row), duration(row["seconds"])) for row in found.jobs]
    table(rows, ("job", "setting", "state", "epsilon per patch", "epsilon per subject", "time"))
    answer(whole)
    answer(f"time left: {duration(found.seconds)}")


def _spends(row: dict[str, Any]) -> list[str]:
    """Epsilon per patch and per subject."""
    if "epsilon" not in row:
        return ["-", "-"]
    from angioshare.privacy.unit import rounded_up

    found = [row["epsilon"][unit] for unit in ("patch", "subject")]
    return [rounded_up(math.inf if value is None else value) for value in found]


def _answer_results(this: "Study", as_json: bool) -> None:
    from angioshare.study.gather import study_results, summary
    from angioshare.study.report import report_paths

    written = report_paths(this.root)
    results = study_results(this.root, state=this.state)
    header, rows = summary(results)
    if as_json:
        answer_json(
            {
                "study": str(this.root),
                "results": str(this.root / "results.json"),
                **_pages(written),
                "points": len(this.points),
                "finished": sum(not this.missing(point) for point in this.points),
                "statement": results.statement.to_json() if results.statement else None,
                "table": [dict(zip(header, row, strict=True)) for row in rows],
            }
        )
        return
    table(rows, header)
    if results.statement:
        answer(results.statement.sentence())
    answer(f"results: {this.root / 'results.json'}")
    _answer_pages(written)


COMMANDS: dict[str, Callable[..., Any]] = {"study": study, "study-job": study_job, "study-report": study_report}
