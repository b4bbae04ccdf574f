"""Claim: a private critic step costs at most 1.2 of one without privacy, and less than in any other library.

The critic is the published one on patches of 2 x 96 x 96. "real rows" are what a private step is for: B patches, each
gradient clipped, the sum noised; other libraries do this alone. "real + synthetic" is a whole critic update of
training, B patches of each. A step ends with the gradient; the optimiser, the same for all, is left out.
"""

import argparse
import json
import os
import platform
import sys
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

import peers
from peers import Missing
from peers import options as shared
from peers.agreement import TOLERANCE, error_of
from peers.measure import interleaved, peak_growth
from peers.registry import CONTENDERS, FASTDP, HOOKS, OTHERS, OURS, OURS_WHOLE, OWN_WHOLE, PLAIN, PLAIN_WHOLE, yardstick

DEFAULT = [(32, 32), (32, 64), (64, 32)]
"""Features f and batch B that take minutes, not hours, with all peers."""

TARGETS = (
    ("real rows: AngioShare / PyTorch", OURS, PLAIN, "cpu_seconds", "<=", 1.2),
    ("real + synthetic: AngioShare / PyTorch", OURS_WHOLE, PLAIN_WHOLE, "cpu_seconds", "<=", 1.2),
    ("real + synthetic: AngioShare / AngioShare, not private", OURS_WHOLE, OWN_WHOLE, "cpu_seconds", "<=", 1.2),
    ("Opacus hooks / AngioShare", HOOKS, OURS, "cpu_seconds", ">=", 3.5),
    ("fastDP BK-MixOpt / AngioShare", FASTDP, OURS, "cpu_seconds", ">=", 1.3),
    ("peak memory, real rows: AngioShare / PyTorch", OURS, PLAIN, "peak_mib", "<=", 1.4),
    ("peak memory, real + synthetic: AngioShare / PyTorch", OURS_WHOLE, PLAIN_WHOLE, "peak_mib", "<=", 1.4),
)

Row = dict[str, float | None]


def one_setting(features: int, batch: int, names: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Check, time and weigh all contenders at one width and batch."""
    errors, skipped, steps = {}, {}, {}
    for name in names:
        contender = CONTENDERS[name]
        try:
            _refuse_huge(name, features, batch, options)
            errors[name] = error_of(contender, options.size, features)
            steps[name] = contender.build(contender.task(options.size, features, batch))
        except Missing as reason:
            skipped[name] = str(reason)
    rows: dict[str, Row] = {name: asdict(cost) for name, cost in interleaved(steps, options.rounds).items()}
    del steps  # what they hold is no part of a contender's peak
    if options.memory:
        for name, row in rows.items():
            row["peak_mib"] = peak_growth(name, options.size, features, batch)
    found = {"features": features, "batch": batch, "errors": errors, "rows": rows, "skipped": skipped}
    return {**found, "targets": targets(rows)}


def _refuse_huge(name: str, features: int, batch: int, options: argparse.Namespace) -> None:
    """Leave out who would hold more gradients of single patches than memory takes."""
    parameters = sum(parameter.numel() for parameter in peers.critic(options.size, features).parameters())
    gib = 2 * 4 * parameters * batch / 2**30  # the gradients, and as much again while they are made
    if CONTENDERS[name].keeps_rows and gib > options.most_gib:
        raise Missing(f"would hold about {gib:.0f} GiB of single patches' gradients; allow it with --most-gib")


def ratio(rows: dict[str, Row], name: str, against: str, key: str) -> float | None:
    """One contender's cost over another's, if both were measured."""
    a, b = rows.get(name, {}).get(key), rows.get(against, {}).get(key)
    return a / b if a is not None and b else None


def targets(rows: dict[str, Row]) -> list[dict[str, Any]]:
    """What was promised, what was measured, and whether it is met."""
    found = []
    for claim, name, against, key, sense, bound in TARGETS:
        value = ratio(rows, name, against, key)
        if value is not None:
            met = value <= bound if sense == "<=" else value >= bound
            found.append({"claim": claim, "value": value, "target": f"{sense} {bound}", "met": met})
    return found


def tell(setting: dict[str, Any]) -> None:
    """Print one setting as a table."""
    rows = setting["rows"]
    print(f"\nf = {setting['features']}, B = {setting['batch']}")
    for name, reason in setting["skipped"].items():
        print(f"  skipped: {CONTENDERS[name].title}: {reason}")
    errors = ", ".join(f"{name} {error:.0e}" for name, error in setting["errors"].items())
    print(f"  same clipped sum as a loop in float64, within {TOLERANCE:.0e}: {errors}")
    print(f"  {'rows':18}{'step':28}{'CPU s':>9}{'wall s':>9}{'x plain':>9}{'x ours':>9}{'MiB':>9}{'x plain':>9}")
    for name, row in rows.items():
        contender = CONTENDERS[name]
        ours = OURS_WHOLE if contender.whole else OURS
        cells = [
            f"{row['cpu_seconds']:9.3f}{row['wall_seconds']:9.3f}",
            _cell(ratio(rows, name, yardstick(name), "cpu_seconds"), 2),
            _cell(ratio(rows, name, ours, "cpu_seconds"), 2),
            _cell(row.get("peak_mib"), 0),
            _cell(ratio(rows, name, yardstick(name), "peak_mib"), 2),
        ]
        print(f"  {'real + synthetic' if contender.whole else 'real':18}{contender.title:28}{''.join(cells)}")
    for target in setting["targets"]:
        word = "met" if target["met"] else "MISSED"
        print(f"  target: {target['claim']} {target['target']}: {target['value']:.2f}, {word}")


def _cell(value: float | None, digits: int) -> str:
    return f"{'-':>9}" if value is None else f"{value:9.{digits}f}"


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = shared.parser(__doc__, rounds=3)
    parser.add_argument("--features", type=shared.numbers, help="widths f, such as 32,64,96; with --batch, every pair")
    parser.add_argument("--batch", type=shared.numbers, help="batches B, such as 32,64,256")
    parser.add_argument(
        "--peers", type=_names, default=list(OTHERS),
        help=f"whom to compare with: some of {', '.join(OTHERS)}, or none (all)",
    )  # fmt: skip
    parser.add_argument("--no-memory", dest="memory", action="store_false", help="leave out the peak memory")
    parser.add_argument("--most-gib", type=float, default=8.0, help="bound on gradients of single patches (8)")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = [] if text == "none" else text.split(",")
    if unknown := set(names) - set(CONTENDERS):
        raise argparse.ArgumentTypeError(f"{', '.join(sorted(unknown))} is none of {', '.join(CONTENDERS)}")
    return names


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("angioshare", "torch", "opacus", "transformers"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


if __name__ == "__main__":
    options = arguments()
    torch.set_num_threads(options.threads)
    pairs = DEFAULT
    if options.features or options.batch:
        pairs = [(features, batch) for features in options.features or [32] for batch in options.batch or [32]]
    names = [name for name in CONTENDERS if name not in OTHERS or name in options.peers]
    about = {"cores": os.cpu_count(), "threads": options.threads, "rounds": options.rounds, "versions": _versions()}
    if not options.json:
        print(f"{__doc__}\n{about}")
    settings = []
    for features, batch in pairs:
        settings.append(one_setting(features, batch, names, options))
        if not options.json:
            tell(settings[-1])
    if options.json:
        json.dump({"claim": __doc__.splitlines()[0], **about, "settings": settings}, sys.stdout, indent=1)
        print()
