"""Claim: a private method has earned its epsilon only where its segmenters beat those of the simulator alone.

Every method at every epsilon and unit, beside what each is measured against: real patches, shuffled labels, the
simulator alone (its wide prior: public knowledge, epsilon 0), its scans as a reader of nothing else labels them, the
WGAN without privacy and the published WGAN at the same epsilon. Each is one source of the pipeline, run once a seed as
a point of `angioshare study`, so whatever is finished is kept, and the same command goes on after a kill or grows the
table by methods, epsilons or seeds.

U-Nets are one setting, so validation subjects choose nothing, and nothing at all is fitted to test subjects. Settings
of methods are their defaults, or those of --settings; they must not come from a look at the cohort.

    python benchmarks/utility.py --cohort COHORT --second-site OTHER --out OUT --write docs/results/utility.md
"""

import argparse
import json
import math
import signal
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from angioshare.cli.output import state_folder
from angioshare.cohort.cohort import open_cohort
from angioshare.cohort.split import make_split
from angioshare.config import Config, SourceSettings, load_config, parse_config, to_toml
from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy.unit import PrivacyUnit
from angioshare.protocols import Context
from angioshare.report.figures import png, svg
from angioshare.rundir import atomic_path, read_json, write_json, write_text
from angioshare.stages.planning import plan_of
from angioshare.study.gather import study_results
from angioshare.synthesis.registry import PUBLIC_COHORT, SYNTHESIZERS, build
from evidence import write_part
from utility_picture import picture
from utility_table import RIVALS, Table, collated, page, to_json

PRESET = "kossen2022-small"
"""Widths and short-run settings of the published WGAN and of the U-Nets come from here."""

TITLES = {
    "real": "Real patches",
    "simulator": "Simulator alone",
    "public-cohort": "Public cohort alone",
    "shuffled": "Real patches, labels shuffled",
    "calibrated": "Calibrated simulator",
    "diffusion": "Diffusion",
    "evolution": "Private evolution",
    "feature-matching": "Feature matching",
    "pate-gan": "PATE-GAN",
    "privgan": "PrivGAN",
    "steered-reader": "Steered reader",
    "taught-reader": "Taught reader",
    "untaught-reader": "Untaught reader",
    "wgan": "WGAN as published",
    "wgan-pretrained": "WGAN, pretrained on the simulator",
}
SETTINGS = Path(__file__).with_name("utility.toml")
"""Settings of methods on two CPU cores; none was chosen by a look at a cohort."""


@dataclass(frozen=True)
class Cell:
    """A method at an epsilon for a unit; without any privacy where `epsilon` is None."""

    method: str
    unit: PrivacyUnit = "patch"
    epsilon: float | None = None

    @property
    def name(self) -> str:
        """Name of its source."""
        return self.method if self.epsilon is None else f"{self.method}-{self.unit}-{self.epsilon:g}".replace(".", "p")

    @property
    def title(self) -> str:
        """What tables call it."""
        title = TITLES.get(self.method, self.method)
        if self.method in RIVALS:
            return title
        return f"{title}, no privacy" if self.epsilon is None else f"{title} ({self.unit}), epsilon {self.epsilon:g}"


def cells_of(options: argparse.Namespace) -> list[Cell]:
    """Rivals first, the published WGAN always among the methods of a grid."""
    rivals = [Cell(name) for name in options.rivals]
    if options.cells:
        return [*rivals, *options.cells]
    methods = dict.fromkeys(["wgan", *options.methods])
    plain = [Cell(method) for method in methods if method == "wgan" or "inf" in options.epsilons]
    finite = [float(value) for value in options.epsilons if value != "inf"]
    private = [Cell(method, unit, value) for method in methods for unit in options.units for value in finite]
    return [*rivals, *plain, *private]


def method_settings(file: Path) -> dict[str, dict[str, Any]]:
    """Settings by method; what the file does not name keeps its own defaults."""
    published = next(source.settings for source in load_config(preset=PRESET).sources if source.name == "wgan")
    given = tomllib.loads(file.read_text(encoding="utf-8"))
    fixed = {"simulator": {"site": "wide", "subjects": 48}, "wgan": published}
    return given | {name: settings | given.get(name, {}) for name, settings in fixed.items()}


def settings_of(options: argparse.Namespace, cells: list[Cell]) -> Config:
    """The settings that every point starts from: one source for each cell."""
    held = method_settings(options.settings)
    tree = load_config(preset=PRESET).model_dump(mode="json", exclude_none=True)
    tree |= {"title": "Utility", "workers": 1, "threads": 1, "split": {"validation": 3, "test": 5}}
    if options.split != "ids":
        tree["split"] = {"file": str(Path(options.split).resolve())}
    tree["patches"] |= {"vessel": 300, "random": 300}
    unet = {"learning_rates": [1e-3], "ema": 0.98, "dropouts": [0.0], "augmentations": [True], "steps": options.steps}
    tree["segmentation"] |= unet
    tree["evaluation"] |= {"fidelity_patches": 1000, "similarity_patches": 0}
    tree["sources"] = [
        {"name": cell.name, "title": cell.title, "synthesizer": cell.method, "pairs": options.pairs}
        | {"settings": ({"pairs": options.pairs} if cell.method == "calibrated" else {}) | held.get(cell.method, {})}
        | ({"privacy": {"unit": cell.unit, "epsilon": cell.epsilon}} if cell.epsilon is not None else {})
        for cell in cells
    ]
    return parse_config(tomli_w.dumps(tree), name="utility", changes=options.changes)


def refusal(config: Config, source: SourceSettings, subjects: int) -> str:
    """Why a method cannot give this guarantee; empty if it can."""
    if source.privacy is None:
        return ""
    context = Context(patches=config.patches, unit=source.privacy.unit, provenance="dp")
    most = config.patches.per_subject
    try:
        schedule = build(source.synthesizer, source.settings, context).schedule()
        plan_of(source.privacy, schedule, patches=subjects * most, subjects=subjects, patches_per_subject=most)
    except (SettingsError, PrivacyError) as error:
        return str(error)
    return ""


def write_plan(options: argparse.Namespace) -> Path:
    """Write the plan of the study and its settings, without what is refused; the reasons stand beside it."""
    config = settings_of(options, cells_of(options))
    subjects = len(make_split(open_cohort(options.cohort).ids, config.split).train)
    refused = {source.shown: why for source in config.sources if (why := refusal(config, source, subjects))}
    kept = tuple(source for source in config.sources if source.shown not in refused)
    write_text(options.out / "settings.toml", to_toml(config.model_copy(update={"sources": kept})))
    write_json(options.out / "refused.json", dict(refused))
    plan = {"title": "Utility", "config": "settings.toml", "seed": options.seeds[0], "seeds": len(options.seeds)}
    write_text(options.out / "plan.toml", tomli_w.dumps(plan | {"baselines": [source.name for source in kept]}))
    return Path(options.out / "plan.toml")


def run_study(options: argparse.Namespace, plan: Path) -> int:
    """Do what is missing; the exit code of `angioshare study`, which is ended when this process is."""
    command = [sys.executable, "-m", "angioshare", "study", str(plan), str(options.out / "study"), "--resume"]
    command += ["--cohort", str(options.cohort), "--jobs", str(options.jobs), "--profile", options.profile]
    for site in options.second_site:
        command += ["--second-site", str(site)]
    if options.public_cohort:
        command += ["--public-cohort", str(options.public_cohort)]
    if options.ledger:
        command += ["--ledger", str(options.ledger)]
    command += ["--dry-run"] if options.dry_run else []
    before = signal.signal(signal.SIGTERM, _asked_to_end)
    study = subprocess.Popen(command, stdout=None if options.dry_run else sys.stderr)
    try:
        return study.wait()
    finally:
        study.terminate()
        study.wait()
        signal.signal(signal.SIGTERM, before)


def _asked_to_end(number: int, _frame: object) -> None:
    raise SystemExit(128 + number)


def seeds(text: str) -> list[int]:
    """Consecutive seeds, as a study counts them."""
    found = [int(part) for part in text.split(",")]
    if found != list(range(found[0], found[0] + len(found))):
        raise argparse.ArgumentTypeError(f"{text!r} must be consecutive, for example 1,2,3")
    return found


def cell(text: str) -> Cell:
    """METHOD, or METHOD:UNIT:EPSILON."""
    method, *rest = text.split(":")
    if method not in SYNTHESIZERS or len(rest) not in (0, 2) or (rest and rest[0] not in ("patch", "subject")):
        raise argparse.ArgumentTypeError(f"{text!r} must be METHOD or METHOD:UNIT:EPSILON, as calibrated:subject:1")
    return Cell(method, "patch" if not rest or rest[0] == "patch" else "subject", epsilon(rest[1]) if rest else None)


def epsilon(text: str) -> float:
    """A target: finite and above 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(
            f"epsilon {text!r} must be a finite number above 0; METHOD alone is not private"
        )
    return value


def epsilons(text: str) -> list[str]:
    """Targets with commas; `inf` stands for no privacy."""
    found = words(text)
    for one in found:
        if one != "inf":
            epsilon(one)
    return found


def picture_file(text: str) -> Path:
    """A file that can be drawn."""
    if Path(text).suffix not in (".png", ".svg"):
        raise argparse.ArgumentTypeError(f"{text!r} must end in .png or .svg")
    return Path(text)


def words(text: str) -> list[str]:
    """A list with commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    methods = [name for name in SYNTHESIZERS if name not in RIVALS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, required=True, help="the private cohort")
    parser.add_argument("--second-site", type=Path, action="append", default=[], help="another test cohort")
    parser.add_argument("--public-cohort", type=Path, help="labelled scans that readers may learn from freely")
    parser.add_argument("--out", type=Path, required=True, help="folder of plan, study and table")
    parser.add_argument("--seeds", type=seeds, default=[1, 2, 3], help="consecutive seeds, default 1,2,3")
    parser.add_argument("--methods", type=words, default=methods, help=f"default {','.join(methods)}")
    parser.add_argument("--epsilons", type=epsilons, default=words("0.5,1,3,8,inf"), help="inf runs without privacy")
    parser.add_argument("--units", type=words, default=["patch", "subject"], help="default patch,subject")
    parser.add_argument(
        "--cells", type=cell, nargs="+", default=[], metavar="METHOD:UNIT:EPSILON", help="these alone, not the grid"
    )
    usual = ",".join(name for name in RIVALS if name != PUBLIC_COHORT)
    parser.add_argument("--rivals", type=words, help=f"default {usual}, with a public cohort {PUBLIC_COHORT} too")
    parser.add_argument("--split", default="ids", help="ids: training, 3 validation, 5 test in order; or a JSON file")
    parser.add_argument("--steps", type=int, default=2200, help="steps of every U-Net")
    parser.add_argument("--pairs", type=int, default=7200, help="pairs drawn from every source")
    parser.add_argument("--settings", type=Path, default=SETTINGS, help="TOML: a table of settings for each method")
    parser.add_argument("--set", dest="changes", action="append", default=[], help="key=value, as `angioshare run`")
    parser.add_argument("--ledger", type=Path, help="the cohort's ledger, where it cannot stand beside it")
    parser.add_argument("--jobs", type=int, default=0, help="jobs at a time; 0 takes one for each core")
    parser.add_argument("--profile", default="local", help="where jobs run, as `angioshare study`")
    parser.add_argument("--dry-run", action="store_true", help="list jobs and what they would spend")
    parser.add_argument("--collate", action="store_true", help="run nothing, read what stands")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", type=Path, help="page of which one part is written anew")
    parser.add_argument("--part", default="utility", help="which part of the page, default utility")
    parser.add_argument("--picture", type=picture_file, help=".png or .svg: Dice against epsilon, of what is finished")
    options = parser.parse_args(arguments)
    if options.rivals is None:
        options.rivals = [name for name in RIVALS if name != PUBLIC_COHORT or options.public_cohort]
    return options


def draw(path: Path, table: Table) -> None:
    """Draw the finished rows into a file."""
    figure = picture(table)
    if figure is None:
        raise SystemExit(f"{path}: no private row is finished, so there is nothing to draw; run one first")
    with atomic_path(path) as temporary:
        temporary.write_bytes(svg(figure) if path.suffix == ".svg" else png(figure))


def main(arguments: list[str] | None = None) -> int:
    """Run what is missing and show the table of what is finished."""
    options = read_options(arguments)
    code = 0 if options.collate else run_study(options, write_plan(options))
    if options.dry_run:
        return code
    found = study_results(options.out / "study", state=state_folder())
    table = collated(found, {str(key): str(why) for key, why in read_json(options.out / "refused.json").items()})
    print(json.dumps(to_json(table), indent=1) if options.json else page(table))
    if options.write:
        write_part(options.write, options.part, page(table))
    if options.picture:
        draw(options.picture, table)
    return code


if __name__ == "__main__":
    sys.exit(main())
