"""Claim: a U-Net trained on a synthetic set and then on a few real subjects beats one trained on those alone.

Works from finished run folders, one for each seed (points of a study, or runs): their real patches, and the U-Net that
was trained on the synthetic source. For each number of real training subjects, chosen by the run's public seed:

- fine-tuned: from the synthetic source's U-Net, `--steps` steps on the real patches;
- alone: from nothing, as many steps on the same patches;
- alone, longer: from nothing, as many steps as the synthetic training and the fine-tuning have together.

All are scored on test subjects of the cohort and of second sites. Steps and learning rate are set beforehand; nothing
is chosen by a score. Whatever has met real patches has no guarantee, its scores included.

    python benchmarks/finetune.py OUT/study/points/calibrated-subject-1-seed* --out OUT/finetune
"""

import argparse
import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from angioshare.cli.output import progress, state_folder
from angioshare.config import SourceSettings
from angioshare.metrics.compare import compare
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store
from angioshare.rng import stream
from angioshare.rundir import read_json, write_json
from angioshare.segmentation.fit import Unet
from angioshare.segmentation.infer import segment_volume
from angioshare.segmentation.trained import TrainedUnet
from angioshare.stages.folder import open_run
from angioshare.stages.maps import test_sites
from angioshare.stages.run import Run
from angioshare.stages.sample import pairs_of
from angioshare.stages.segment import chosen_unet
from evidence import Difference, markdown, paired, spread, write_part

SCORES = {"dice": "Dice", "cldice": "clDice"}
CONTENDERS = ("fine-tuned", "alone", "alone, longer")
UNTRAINED = ("real", "shuffled")
"""Sources that hold real patches: nothing to pretrain on."""

Found = dict[str, dict[str, dict[str, float | None]]]
"""Score -> site -> subject -> value."""


@dataclass(frozen=True)
class Setting:
    """One U-Net of the table: what it is, on how many real subjects, in one run."""

    run: Run
    source: SourceSettings
    subjects: int
    contender: str
    steps: int

    @property
    def file(self) -> str:
        """Name of its result."""
        return f"{self.source.name}-seed{self.run.config.seed}-{self.subjects}-{re.sub('[^a-z]+', '-', self.contender)}"

    def train(self) -> TrainedUnet:
        """Train it."""
        begun = chosen_unet(self.run, self.source)
        real = some_subjects(self.run, self.subjects)
        steps = self.steps
        if self.contender == "alone, longer":
            steps += begun.record.settings.total_steps(len(pairs_of(self.run, self.source)))
        unet = Unet(begun.record.settings.model_copy(update={"steps": steps}), self.run.config.device)
        start = begun if self.contender == "fine-tuned" else None
        return unet.fit(real, seed=self.run.config.seed, progress=progress(), start=start)


def some_subjects(run: Run, count: int) -> PatchSet:
    """Patches of some training subjects; with more subjects, the first ones are the same."""
    store = open_store(run.private / "patches")
    chosen = stream(run.config.seed, "finetune").permutation(len(store.subjects))[:count]
    if len(chosen) < count:
        raise SystemExit(f"{run.root} has {len(chosen)} training subjects, not {count}; change --subjects")
    rows = np.flatnonzero(np.isin(store.subject, chosen))
    return PatchSet(image=store.image[rows], label=store.label[rows])


def scored(run: Run, unet: TrainedUnet) -> Found:
    """Score a U-Net on all test subjects."""
    found: Found = {score: {} for score in SCORES}
    for site in test_sites(run):
        for subject in site.subjects:
            volume = subject.load()
            seen = segment_volume(
                unet,
                volume.angio,
                volume.brain,
                size=run.config.patches.size,
                mode=run.config.segmentation.inference,
                turns=run.config.segmentation.turns,
            )
            values = compare(volume.label > 0, seen > 0, volume.spacing_mm)
            for score in SCORES:
                found[score].setdefault(site.name, {})[subject.id] = values[score]
    return found


def measured(setting: Setting, out: Path) -> Found:
    """Scores of a setting: those that stand, or new ones."""
    path = out / f"{setting.file}.json"
    of = {"run": setting.run.id, "steps": setting.steps}
    if path.exists():
        held = read_json(path)
        if held["of"] != of:
            raise SystemExit(f"{path} holds another run or other steps; choose another --out")
        return dict(held["scores"])
    unet = setting.train()
    found = scored(setting.run, unet)
    write_json(path, {"of": of, "provenance": unet.record.provenance, "scores": found}, private=True)
    return found


def source_of(run: Run, name: str | None) -> SourceSettings:
    """The synthetic source: the named one, or the first that does not hold real patches."""
    for source in run.config.sources:
        if source.name == name or (name is None and source.synthesizer not in UNTRAINED):
            return source
    raise SystemExit(f"{run.root} has no synthetic source {name or ''}; it has {[s.name for s in run.config.sources]}")


def recorded(run: Run, source: str) -> Found:
    """Scores that the run holds of a source's own U-Net."""
    found: Found = {score: {} for score in SCORES}
    for record in run.records():
        if record.stage == "evaluate" and record.trained_on == source and record.metric in SCORES:
            found[record.metric].setdefault(record.site, {})[record.subject] = record.value
    return found


@dataclass
class Row:
    """A contender over the seeds.

    Attributes:
        contender: What it is.
        subjects: Real training subjects that it was trained on besides; 0 where that is no question.
        scores: (score, site) -> values by seed and subject.
    """

    contender: str
    subjects: int
    scores: dict[tuple[str, str], dict[tuple[int, str], float | None]] = field(default_factory=dict)

    def keep(self, seed: int, found: Found) -> None:
        """Add the scores of one seed."""
        for score, sites in found.items():
            for site, values in sites.items():
                self.scores.setdefault((score, site), {}).update({(seed, name): x for name, x in values.items()})

    def gain(self, rows: "list[Row]", site: str) -> Difference | None:
        """Dice of the fine-tuned U-Net on as many real subjects minus this one's."""
        tuned = [row for row in rows if (row.contender, row.subjects) == (CONTENDERS[0], self.subjects)]
        if not tuned or self is tuned[0]:
            return None
        return paired(tuned[0].scores["dice", site], self.scores["dice", site])


def gathered(runs: list[Run], options: argparse.Namespace) -> list[Row]:
    """Everything in the table, measured where it is missing."""
    rows: dict[tuple[str, int], Row] = {}

    def keep(contender: str, subjects: int, run: Run, found: Found) -> None:
        rows.setdefault((contender, subjects), Row(contender, subjects)).keep(run.config.seed, found)

    for run in runs:
        if run.config.threads:
            torch.set_num_threads(run.config.threads)
        source = source_of(run, options.source)
        keep("synthetic alone", 0, run, recorded(run, source.name))
        for other in run.config.sources:
            if other.synthesizer == "real":
                keep("all real training subjects", 0, run, recorded(run, other.name))
        for subjects in options.subjects:
            for contender in CONTENDERS[: 2 if options.quick else 3]:
                setting = Setting(run, source, subjects, contender, options.steps)
                keep(contender, subjects, run, measured(setting, options.out))
    return sorted(rows.values(), key=lambda row: row.subjects)


def check_comparable(runs: list[Run]) -> None:
    """Refuse what cannot stand in one table: two runs of one seed, or runs of other scans or another split."""
    if len({run.config.seed for run in runs}) < len(runs):
        raise SystemExit("two runs have one seed; give one run for each seed")
    for run in runs:
        run.require("evaluate")
    for name in ("scans.json", "split.json"):
        first, *others = [read_json(run.private / name) for run in runs]
        for run, held in zip(runs[1:], others, strict=True):
            if held != first:
                raise SystemExit(f"{run.private / name} differs from that of {runs[0].root}; give runs of one cohort")


def page(rows: list[Row]) -> str:
    """The table in Markdown."""
    places = list(rows[0].scores)
    sites = list(dict.fromkeys(site for _, site in places))
    header = ["U-Net", "real subjects", *(f"{SCORES[score]}, {site}" for score, site in places)]
    header += [f"Dice of fine-tuned minus this, {site}" for site in sites]
    lines = [
        [row.contender, str(row.subjects or "-"), *(str(spread(row.scores[place])) for place in places)]
        + [str(row.gain(rows, site) or "-") for site in sites]
        for row in rows
    ]
    return markdown(header, lines)


def to_json(rows: list[Row]) -> dict[str, Any]:
    """The table as plain JSON values."""
    told = []
    for row in rows:
        scores = [
            {"score": score, "site": site, **asdict(spread(values))} for (score, site), values in row.scores.items()
        ]
        gains = {site: asdict(gain) for _, site in row.scores if (gain := row.gain(rows, site)) is not None}
        told.append(
            {"unet": row.contender, "real_subjects": row.subjects, "scores": scores, "fine_tuned_minus_this": gains}
        )
    return {"claim": (__doc__ or "").splitlines()[0], "rows": told}


def main(arguments: list[str] | None = None) -> None:
    """Train what is missing and show the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="finished run folders, one for each seed")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results, private")
    parser.add_argument("--source", help="the synthetic source; default is the first of the run")
    parser.add_argument("--subjects", type=lambda text: [int(part) for part in text.split(",")], default=[1, 2, 5])
    parser.add_argument("--steps", type=int, default=300, help="steps of fine-tuning, and of training alone")
    parser.add_argument("--quick", action="store_true", help="leave out 'alone, longer'")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", type=Path, help="page whose part `finetune` is written anew")
    options = parser.parse_args(arguments)
    runs = [open_run(folder, state=state_folder()) for folder in options.runs]
    check_comparable(runs)
    rows = gathered(runs, options)
    print(json.dumps(to_json(rows), indent=1) if options.json else page(rows))
    if options.write:
        write_part(options.write, "finetune", page(rows))


if __name__ == "__main__":
    main()
