"""A made-up report: random tubes for vessels, invented scores, six sources, two sites."""

import math
from dataclasses import replace

import numpy as np
import pytest

from angioshare.privacy.unit import Guarantee, PrivacyStatement, public_knowledge, without_privacy
from angioshare.records import Record
from angioshare.report.content import Curve, ErrorMap, ReportContent, Samples, SourceInfo

SITES = ("home", "away")


def a_statement(patch: float = 5.9, subject: float = math.inf, caveats: tuple[str, ...] = ()) -> PrivacyStatement:
    def guarantee(unit, epsilon, delta):
        return Guarantee(unit=unit, epsilon=epsilon, delta=delta, relation="add-or-remove-one", method="PLD")

    return PrivacyStatement(
        patch=guarantee("patch", patch, 1e-5),
        subject=guarantee("subject", subject, 1e-3),
        accountant="an accountant 1.0",
        released=("synthetic patches",),
        not_covered=("validation and test subjects",),
        caveats=caveats,
    )


def tubes(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """A few random walks, one voxel thick."""
    rng, volume = np.random.default_rng(seed), np.zeros(shape, np.uint8)
    for _ in range(3):
        steps = rng.integers(-1, 2, (200, len(shape))).cumsum(0) + rng.integers(0, shape)
        volume[tuple((steps % shape).T)] = 1
    return volume


def some_samples(source: str, provenance: str, statement: PrivacyStatement | None = None) -> Samples:
    label = np.stack([tubes((24, 24), seed) for seed in range(3)])
    noise = np.random.default_rng(1).normal(0, 0.1, label.shape)
    image = np.clip(1.5 * label - 0.8 + noise, -1, 1)
    return Samples(
        source=source, title=f"pairs of {source}", image=image, label=label, provenance=provenance, statement=statement
    )


def some_scores(source: str, level: float, undefined: int = 0) -> list[Record]:
    rng, records = np.random.default_rng(len(source)), []
    for site in SITES:
        for n in range(4):
            dice = float(np.clip(level + rng.normal(0, 0.03), 0, 1))
            distance = None if n < undefined else 0.5 / max(dice, 0.02)
            for metric, value in (("dice", dice), ("bahd_voxel", distance), ("bahd_mm", distance)):
                records.append(
                    Record(
                        stage="evaluate",
                        metric=metric,
                        value=value,
                        subject=f"sub-{n:03d}",
                        site=site,
                        trained_on=source,
                    )
                )
    return records


@pytest.fixture(scope="session")
def content() -> ReportContent:
    kinds = {"real": 0.8, "plain": 0.7, "loud": 0.3, "quiet": 0.6, "sim": 0.65, "shuffled": 0.02}
    sources = [
        SourceInfo(name=name, title=f"Title of {name}", kind=name if name in ("real", "shuffled") else "synthesizer")
        for name in kinds
    ]
    sources[4] = replace(sources[4], kind="simulator")
    statements = {
        "real": without_privacy(("real patches",)),
        "plain": without_privacy(("synthetic patches",)),
        "loud": a_statement(1.2),
        "quiet": a_statement(5.9),
        "sim": public_knowledge(("simulated patches",)),
    }
    records = [r for name, level in kinds.items() for r in some_scores(name, level, 1 if name == "shuffled" else 0)]
    records += [Record(stage="segment", metric="validation_dice", value=v, trained_on=n) for n, v in kinds.items()]
    label, found = tubes((20, 24, 10), 5), tubes((20, 24, 10), 5) | tubes((20, 24, 10), 6)
    return ReportContent(
        title="A made-up report",
        sources=sources,
        sites=SITES,
        statements=statements,
        cohort_statement=a_statement(7.7),
        records=records,
        samples=[
            some_samples("real", "unprotected"),
            some_samples("plain", "unprotected"),
            some_samples("quiet", "dp", statements["quiet"]),
            some_samples("sim", "public", statements["sim"]),
        ],
        error_maps=[
            ErrorMap(
                source="quiet",
                site="home",
                subject="sub-000",
                image=label * 200.0 + 30,
                label=label,
                prediction=found,
                spacing_mm=(1.0, 1.0, 2.0),
            )
        ],
        curves=[Curve(source="quiet", name="critic loss", steps=[0, 1, 2], values=[3.0, 2.0, 1.0])],
        settings_toml='seed = 1\nfolder = "/data/clinic"\ntest = ["sub-000"]\nsteps = 20\n',
        environment={"python": "3.11.9", "host": "ward-7"},
        stage_seconds={"train": 75.0},
    )
