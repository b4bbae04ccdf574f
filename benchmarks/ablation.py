"""Claim: every group of the calibrated simulator's features helps to tell what a site is like.

Subjects are simulated all over the prior, so their parameters are known. Summaries are learnt from four fifths of them;
the few numbers of each of the others give a posterior of its parameters and choose among the patches of these four
fifths, as they do for a cohort. Both are set against the truth, with all features and without each group:

- parameters: share of the parameters' variance over the prior that the posterior mean explains;
- features: share of the variance between subjects, over all features (the left-out ones too), that the mean of the
  chosen patches explains.

1 is perfect, and 0 is as good as the middle of the prior. One subject stands for its site. Everything is simulated: no
cohort is read, nothing is private, and the noise that a release would have is drawn from a seed.

    python benchmarks/ablation.py --out OUT/ablation --write docs/results/utility.md
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from angioshare.cli.output import progress
from angioshare.patches.extract import PatchSettings
from angioshare.privacy.calibration import auto_delta, calibrate_noise
from angioshare.privacy.events import StepEvent
from angioshare.privacy.release import Release, bounded_sum
from angioshare.rng import stream
from angioshare.simulator.prior import PRIORS
from angioshare.synthesis.calibrated import FEW, CalibratedSettings
from angioshare.synthesis.calibration.features import GROUPS, NAMES
from angioshare.synthesis.calibration.lessons import lessons, places
from angioshare.synthesis.calibration.posterior import learn_places
from angioshare.synthesis.calibration.summary import learn, means_of
from angioshare.synthesis.calibration.tilting import tilted
from angioshare.types import FloatArray, IntArray
from evidence import markdown, write_part

FOLDS = 5
DRAWS = 1_000
"""Draws of what the cohort's mean may be; their mean is taken."""

RESAMPLES = 2_000
MEASURES = ("parameters", "features")

Errors = dict[str, FloatArray]
"""Measure -> squared error by subject and parameter or feature, in units of its variance."""


def simulated(options: argparse.Namespace) -> tuple[FloatArray, FloatArray]:
    """Places in the prior (n, p) and features (n, patches, d) of simulated subjects.

    They are the calibrated simulator's lessons, so whatever it has simulated already is taken from its cache.
    """
    half = options.measured // 2
    folder = options.out / f"{options.prior}-{options.lessons}-{options.size}-{options.measured}"
    folder.mkdir(parents=True, exist_ok=True)
    prior = PRIORS[options.prior]
    found = lessons(
        prior, options.lessons, PatchSettings(size=options.size, vessel=half, random=half), folder=folder,
        workers=options.workers, progress=progress(),
    )  # fmt: skip
    return places(prior, options.lessons), found


def noise_std(epsilon: str, subjects: int) -> float:
    """Standard deviation of the noise on each released number, in units of the clip norm; 0 for epsilon inf."""
    if epsilon == "inf":
        return 0.0
    event = StepEvent(unit="subject", sampling_probability=1.0, noise_multiplier=1.0)
    return calibrate_noise(float(epsilon), auto_delta(subjects), event, 1).noise_multiplier / subjects


def errors(shares: FloatArray, taught: FloatArray, left_out: str, noise: float, options: argparse.Namespace) -> Errors:
    """How far off what is chosen for each subject is, of subjects that were not learnt from."""
    seen = taught.copy()
    seen[..., [name in GROUPS.get(left_out, ()) for name in NAMES]] = 0.0
    kept = taught[:, :: options.thin]
    truth = means_of(taught)
    parameters, features = np.empty_like(shares), np.empty_like(truth)
    fold = stream(options.seed, "ablation", "folds").permutation(len(shares)) % FOLDS
    drawn = stream(options.seed, "ablation", "noise")
    for one in range(FOLDS):
        rest = np.flatnonzero(fold != one)
        summary = learn(seen[rest], options.numbers)
        average = means_of(seen[rest])
        usable = np.isfinite(average).all(axis=1)
        model = learn_places(shares[rest][usable], summary.standard(average[usable]))
        known = np.isfinite(kept[rest]).all(axis=2).ravel()
        pool = summary.standard(seen[rest][:, :: options.thin].reshape(-1, len(NAMES))[known])
        whole = kept[rest].reshape(-1, len(NAMES))[known]
        for row in np.flatnonzero(fold == one):
            exact = bounded_sum(summary.vector(seen[row])[None], 1.0)
            release = Release(mean=exact + noise * drawn.standard_normal(options.numbers), noise_std=noise)
            target = summary.targets(release, DRAWS, drawn).mean(axis=0)
            weights = tilted(pool, target, CalibratedSettings().tolerance)
            place, _ = model.posterior(release.mean * summary.radius, noise * summary.radius)
            parameters[row] = np.clip(0.5 + place / np.sqrt(12), 0, 1)
            features[row] = weights @ whole
    spread = np.nanvar(truth, axis=0)
    return {
        "parameters": 12 * (parameters - shares) ** 2,
        "features": ((features - truth) ** 2)[:, spread > 0] / spread[spread > 0],
    }


def lost(with_all: FloatArray, without: FloatArray, seed: int) -> tuple[float, float, float]:
    """What leaving out costs, and its 95 % interval, subjects drawn again."""
    found = without.mean(axis=1) - with_all.mean(axis=1)
    found = found[np.isfinite(found)]
    rows = stream(seed, "ablation", "bootstrap").integers(len(found), size=(RESAMPLES, len(found)))
    low, high = np.quantile(found[rows].mean(axis=1), [0.025, 0.975])
    return float(found.mean()), float(low), float(high)


def kinds_of(prior: str) -> dict[str, IntArray]:
    """Kind of parameter (people, scanner, readers, ...) -> its columns."""
    names = np.array([name.split(".")[0] for name in PRIORS[prior].spans])
    return {str(kind): np.flatnonzero(names == kind) for kind in dict.fromkeys(names)}


def ablated(shares: FloatArray, taught: FloatArray, options: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each epsilon and group that is left out, the row with all features first."""
    rows = []
    for epsilon in options.epsilons:
        noise = noise_std(epsilon, options.subjects)
        whole = errors(shares, taught, "", noise, options)
        for left_out in ("", *GROUPS):
            found = errors(shares, taught, left_out, noise, options) if left_out else whole
            row: dict[str, Any] = {"epsilon": epsilon, "left_out": left_out}
            row |= {measure: 1 - float(np.nanmean(found[measure])) for measure in MEASURES}
            if left_out:
                row["lost"] = {measure: lost(whole[measure], found[measure], options.seed) for measure in MEASURES}
            row["by_kind"] = {
                kind: 1 - float(found["parameters"][:, columns].mean())
                for kind, columns in kinds_of(options.prior).items()
            }
            rows.append(row)
    return rows


def page(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    """The table in Markdown, and what it does not show."""
    kinds = list(rows[0]["by_kind"])
    header = ["left out", "epsilon, subject"]
    for measure in MEASURES:
        header += [measure, f"{measure}, lost [95 % interval]"]
    lines = []
    for row in rows:
        line = [row["left_out"] or "nothing", "infinity" if row["epsilon"] == "inf" else row["epsilon"]]
        for measure in MEASURES:
            cost = "{:+.4f} [{:+.4f}, {:+.4f}]".format(*row["lost"][measure]) if "lost" in row else "-"
            line += [f"{row[measure]:.3f}", cost]
        lines.append(line + [f"{row['by_kind'][kind]:.3f}" for kind in kinds])
    unshown = "; ".join(
        f"{measure} at epsilon {epsilon}: {', '.join(_useless(rows, epsilon, measure)) or 'none'}"
        for epsilon in dict.fromkeys(row["epsilon"] for row in rows)
        for measure in MEASURES
    )
    about = (
        f"{options.lessons} simulated subjects of the prior `{options.prior}`, {FOLDS} folds, {options.numbers} "
        f"released numbers, noise as for {options.subjects} subjects; behind them the parameters by kind. Groups whose "
        f"worth is not shown: {unshown}."
    )
    return f"{markdown([*header, *kinds], lines)}\n\n{about}"


def _useless(rows: list[dict[str, Any]], epsilon: str, measure: str) -> list[str]:
    """Groups whose interval of what is lost without them reaches 0."""
    with_cost = [row for row in rows if row["epsilon"] == epsilon and "lost" in row]
    return [row["left_out"] for row in with_cost if row["lost"][measure][1] <= 0]


def read_options(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the simulated lessons")
    parser.add_argument("--prior", default="wide", choices=sorted(PRIORS))
    parser.add_argument("--lessons", type=int, default=CalibratedSettings().lessons, help="simulated subjects")
    parser.add_argument("--numbers", type=int, default=FEW, help="released numbers")
    parser.add_argument("--measured", type=int, default=CalibratedSettings().measured, help="patches of a subject")
    parser.add_argument("--thin", type=int, default=4, help="one of so many patches may be chosen; saves time")
    parser.add_argument("--size", type=int, default=96, help="edge of a patch")
    parser.add_argument("--epsilons", type=lambda text: text.split(","), default=["inf", "3", "1"])
    parser.add_argument("--subjects", type=int, default=12, help="subjects of the cohort that noise is reckoned for")
    parser.add_argument("--seed", type=int, default=0, help="of folds, noise and intervals")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", type=Path, help="page whose part `ablation` is written anew")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> None:
    """Simulate what is missing and show the table."""
    options = read_options(arguments)
    rows = ablated(*simulated(options), options)
    told = {"claim": (__doc__ or "").splitlines()[0], "rows": rows}
    print(json.dumps(told, indent=1) if options.json else page(rows, options))
    if options.write:
        write_part(options.write, "ablation", page(rows, options))


if __name__ == "__main__":
    main()
