"""Commands that make and work on run folders: `demo`, `run`, and one for each stage."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from angioshare.cli.output import answer, answer_json, progress, say, state_folder, table
from angioshare.cli.privacy import number
from angioshare.errors import SettingsError

if TYPE_CHECKING:
    from angioshare.config import Config
    from angioshare.stages.run import Run

Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Folder = Annotated[Path, typer.Argument(help="A run folder.")]


def demo(
    out: Annotated[Path, typer.Argument(help="Folder of the demo's cohorts and run.")] = Path("demo-out"),
    seed: Annotated[int, typer.Option(help="Seed of the simulated cohorts.")] = 0,
    as_json: Json = False,
) -> None:
    """Simulate a small cohort and a second site, run everything, print the report's path."""
    from angioshare.stages.demo import demo as work

    _answer_run(work(out, seed=seed, state=state_folder(), progress=progress()), as_json)


def run(
    cohort: Annotated[Path, typer.Argument(help="BIDS or nnU-Net folder, or a table of NIfTI paths.")],
    out: Annotated[Path, typer.Argument(help="Run folder.")],
    second_site: Annotated[list[Path] | None, typer.Option(help="Another test cohort; may be repeated.")] = None,
    preset: Annotated[str | None, typer.Option(help="Shipped settings; see `angioshare presets`.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file (TOML).")] = None,
    epsilon: Annotated[
        str | None, typer.Option(help="Budget of the method that is recommended; 1 if left out.")
    ] = None,
    unit: Annotated[
        Literal["subject", "patch"] | None, typer.Option(help="Whom the budget is for; subject if left out.")
    ] = None,
    delta: Annotated[str | None, typer.Option(help="Delta of that budget; by the rule if left out.")] = None,
    known: Annotated[
        list[str] | None, typer.Option(help="parameter=value of the simulator that the protocol prints; repeatable.")
    ] = None,
    changes: Annotated[list[str] | None, typer.Option("--set", help="key=value on top; may be repeated.")] = None,
    device: Annotated[str | None, typer.Option(help="Where networks run: cpu, cuda, cuda:1, ...")] = None,
    ledger: Annotated[Path | None, typer.Option(help="The cohort's ledger, where it cannot stand beside it.")] = None,
    public_cohort: Annotated[
        Path | None, typer.Option(help="Labelled scans that anybody may have, for readers to learn from freely.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the folder's own settings.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List stages, what is missing, and epsilon.")] = False,
    as_json: Json = False,
) -> None:
    """Run the pipeline on a cohort; finished work is kept, a second call does nothing.

    Without --preset and --config it takes what `angioshare recommend` says for the budget.
    """
    from angioshare.stages.folder import make_folder, open_run, planned_run
    from angioshare.stages.pipeline import check_sources, outlook, pipeline

    if preset is not None and config is not None:
        raise SettingsError("--preset and --config exclude each other; give one")
    budget = (epsilon, unit, delta)
    if (preset or config) and any(budget):
        raise SettingsError(
            "--epsilon, --unit and --delta choose a method; --preset and --config have one: give either"
        )
    if resume:
        if preset or config or changes or known or any(budget):
            raise SettingsError(f"--resume takes the settings of {out}; leave what chooses settings out")
        this = open_run(out, state=state_folder())
        _check_same(this, cohort, second_site or [], ledger, public_cohort)
        if device not in (None, this.config.device):
            raise SettingsError(f"--device {device}: {out} was begun on {this.config.device}; leave --device out")
    else:
        if device is not None:
            changes = [*(changes or ()), f"device={json.dumps(device)}"]
        settings = _settings(
            cohort, preset, config, budget, known or [], changes or [], public_cohort=public_cohort is not None
        )
        this = planned_run(
            out,
            settings,
            cohort,
            second_site or (),
            ledger=ledger,
            state=state_folder(),
            public_cohort=public_cohort,
        )
        check_sources(this)
    if dry_run:
        _answer_outlook(outlook(this), as_json)
        return
    pipeline(make_folder(this), progress())
    _answer_run(this, as_json)


def _check_same(
    this: "Run", cohort: Path, second_sites: list[Path], ledger: Path | None, public_cohort: Path | None
) -> None:
    """Refuse to go on with a run on something else than what is named."""
    sites = tuple(site.resolve() for site in second_sites)
    for what, given, held in (
        ("COHORT", cohort.resolve(), this.cohort),
        ("--ledger", ledger.resolve() if ledger else this.ledger, this.ledger),
        ("--public-cohort", public_cohort.resolve() if public_cohort else this.public_cohort, this.public_cohort),
        ("--second-site", sites or this.second_sites, this.second_sites),
    ):
        if given != held:
            raise SettingsError(
                f"--resume: {this.root} was begun with {what} {_shown(held)}, not {_shown(given)}; name that, or begin "
                "another folder"
            )


def _shown(given: Path | tuple[Path, ...] | None) -> str:
    return ", ".join(map(str, given if isinstance(given, tuple) else (given,))) if given else "none"


def _settings(
    cohort: Path,
    preset: str | None,
    config: Path | None,
    budget: tuple[str | None, Literal["subject", "patch"] | None, str | None],
    known: list[str],
    changes: list[str],
    *,
    public_cohort: bool,
) -> "Config":
    """Those of the preset or file, or those that suit the budget; told what the protocol says."""
    from angioshare.config import load_config
    from angioshare.stages.recommend import recommended_config, with_protocol
    from angioshare.stages.simulate import read_known

    said = read_known(known)
    if preset or config:
        settings = load_config(preset=preset, file=config, changes=changes)
        return with_protocol(settings, said) if said else settings
    epsilon, unit, delta = number(budget[0] or "1", "--epsilon"), budget[1] or "subject", number(budget[2], "--delta")
    assert epsilon is not None
    found, first = recommended_config(
        cohort,
        epsilon=epsilon,
        unit=unit,
        delta=delta,
        changes=tuple(changes),
        protocol=said,
        public_cohort=public_cohort,
    )
    say(f"recommended for epsilon {epsilon:g} per {unit}: {first.method}. {first.reason}")
    return found


def _answer_run(this: "Run", as_json: bool) -> None:
    from angioshare.stages.report import internal_path, shareable_path

    if as_json:
        answer_json(
            {
                "run": str(this.root),
                "report_internal": str(internal_path(this)),
                "report_shareable": str(shareable_path(this)),
                "results": str(this.root / "results.json"),
            }
        )
        return
    answer(f"report to share: {shareable_path(this)}")
    answer(f"internal report: {internal_path(this)}")


def _answer_outlook(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        answer_json({"stages": rows})
        return
    cells = [
        (row["stage"], row["item"], "done" if row["done"] else "missing", row.get("spends", "nothing")) for row in rows
    ]
    table(cells, ("stage", "item", "state", "would spend"))


def _stage(name: str, sentence: str) -> Callable[..., None]:
    """Make the command of one stage."""

    def command(out: Folder, as_json: Json = False) -> None:
        from angioshare.stages.folder import open_run
        from angioshare.stages.pipeline import STAGE_FUNCTIONS
        from angioshare.team import join

        this = open_run(out, state=state_folder())
        if name == "train" and not join().leads:
            STAGE_FUNCTIONS[name](this, progress())  # the leader holds the folder, writes and answers
            return
        with this.alone():
            STAGE_FUNCTIONS[name](this, progress())
        if as_json:
            answer_json({"run": str(out), "stage": name, "done": this.items(name)})
        else:
            answer(f"{name}: done")

    command.__doc__ = sentence
    return command


COMMANDS: dict[str, Callable[..., Any]] = {
    "demo": demo,
    "run": run,
    "prepare": _stage("prepare", "Stage 1: split the cohort by subject and cut patches."),
    "train": _stage("train", "Stage 2: train synthesizers, charging the ledger."),
    "sample": _stage("sample", "Stage 3: draw synthetic pairs."),
    "segment": _stage("segment", "Stage 4: train U-Nets on every source and choose by validation Dice."),
    "evaluate": _stage("evaluate", "Stage 5: score held-out subjects and second sites in 3-D."),
    "report": _stage("report", "Stage 6: write the report's pages."),
}
