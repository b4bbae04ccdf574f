"""A made-up study: invented scores of settings whose truth is known, small random pairs and error maps."""

from dataclasses import replace

import numpy as np

from angioshare.metrics.fidelity import metric_key
from angioshare.privacy.unit import Guarantee, PrivacyStatement, public_knowledge, without_privacy
from angioshare.records import Record
from angioshare.report.content import ErrorMap, ReportContent, Samples, SourceInfo
from angioshare.report.study.content import Setting, StudyContent
from angioshare.report.study.views import error_view

SITES = ("site-1", "site-2")
RIVALS = {"real": 0.8, "plain": 0.6, "simulator": 0.25, "shuffled": 0.02}
TITLES = {"real": "Real patches", "plain": "WGAN without privacy", "simulator": "Simulator alone",
          "shuffled": "Real patches, labels shuffled"}  # fmt: skip
NOISY = {0.4: 0.5, 0.8: 0.4, 1.2: 0.2, 2.0: 0.05}
"""Noise multiplier to Dice: the bar is 0.3 here, so training is usable up to 0.8."""


def a_statement(patch, subject, what="pairs"):
    def guarantee(unit, epsilon, delta):
        return Guarantee(unit=unit, epsilon=epsilon, delta=delta, relation="add-or-remove-one", method="PLD")

    return PrivacyStatement(
        patch=guarantee("patch", patch, 2e-5),
        subject=guarantee("subject", subject, 2e-3),
        accountant="an accountant 1.0",
        released=(what,),
        not_covered=("validation and test subjects",),
    )


def a_setting(name, *, seeds=3, noise=None, family="WGAN", **more):
    kind = name if name in ("real", "simulator", "shuffled") else "synthesizer"
    if noise is not None:
        statement = a_statement(4 / noise**2, 4000 / noise**2, f"pairs at noise {noise}")
    elif kind == "simulator":
        statement = public_knowledge(("simulated pairs",))
    else:
        statement = without_privacy((f"pairs of {name}",))
    origin = {"simulator": "public knowledge alone", "synthesizer": "real patches of the training subjects"}
    return Setting(
        name=name,
        title=f"{family}, noise multiplier {noise}" if noise is not None else TITLES.get(name, name),
        kind=kind,
        synthesizer="wgan" if kind == "synthesizer" else kind,
        family=family,
        private=noise is not None,
        trained_on=origin.get(kind, "real patches"),
        points=tuple(f"{name}-seed{seed}" for seed in range(seeds)),
        noise_multiplier=noise,
        statement=statement,
        **more,
    )


def some_scores(point, seed, dice, *, subjects=2, rng, sites=SITES):
    """Dice and bAHD of each subject; with a Dice of 0, nothing was predicted and the distance is undefined."""
    for number, site in enumerate(sites):
        for subject in range(subjects + number):
            value = float(np.clip(dice + rng.normal(0, 0.004), 0, 1)) if dice else 0.0
            for metric, score in (("dice", value), ("bahd_voxel", 0.4 / value if value else None)):
                yield Record(
                    stage="evaluate", metric=metric, value=score, subject=f"sub-{number}{subject}", site=site,
                    trained_on=point, seed=seed, point=point,
                )  # fmt: skip
    yield Record(stage="segment", metric="validation_dice", value=dice + 0.001 * seed, trained_on=point, seed=seed)


def some_fidelity(point, seed, dice, *, network, provenance):
    for against, value in (("train", 3 - 2 * dice), ("test", 3.1 - 2 * dice), ("difference", 0.1)):
        yield Record(stage="fidelity", metric=metric_key("frechet", network, against), value=value + 0.02 * seed,
                     trained_on=point, seed=seed)  # fmt: skip
    for against in ("train", "test"):
        yield Record(stage="fidelity", metric=metric_key("extrapolated", network, against), value=1.0, trained_on=point)
    yield Record(stage="fidelity", metric="fidelity_patches", value=2000.0, trained_on=point, seed=seed)
    yield Record(stage="fidelity", metric="ssim_mean", value=0.9 - dice + 0.01 * seed, trained_on=point, seed=seed,
                 provenance=provenance)  # fmt: skip


def provenance_of(setting):
    return {"private": "dp", "simulator": "public"}.get(setting.role, "unprotected")


def some_samples(setting, rng):
    label = (rng.random((3, 16, 16)) < 0.1).astype(np.uint8)
    image = np.clip(1.5 * label - 0.8 + rng.normal(0, 0.1, label.shape), -1, 1)
    return Samples(
        source=setting.points[0], title=setting.title, image=image, label=label, provenance=provenance_of(setting),
        statement=setting.statement,
    )  # fmt: skip


def an_error_view(point, site, rng, *, subject="sub-00"):
    label = np.random.default_rng(len(site)).random((20, 24, 6)) < 0.05
    found = label & (rng.random(label.shape) < 0.7) | (rng.random(label.shape) < 0.02)
    return error_view(
        ErrorMap(source=point, site=site, subject=subject, image=label * 200.0 + 30, label=label, prediction=found,
                 spacing_mm=(0.5, 0.5, 0.7))
    )  # fmt: skip


def made_study(
    noisy=None, *, rivals=None, seeds=3, spread=0.02, sites=SITES, network="scattering", missing=None, subjects=2
):
    """A study whose settings have the Dice that they are told, seeds `spread` apart around it."""
    noisy = NOISY if noisy is None else noisy
    rivals = RIVALS if rivals is None else rivals
    rng = np.random.default_rng(0)
    settings = [a_setting(name, seeds=seeds) for name in rivals]
    settings += [a_setting(f"private-{n}", seeds=seeds, noise=noise) for n, noise in enumerate(noisy, 1)]
    truth = dict(zip((one.name for one in settings), [*rivals.values(), *noisy.values()], strict=True))
    sources, records, statements = [], [], {}
    for setting in settings:
        for seed, point in enumerate(setting.points):
            dice = max(truth[setting.name] + spread * (seed - (seeds - 1) / 2), 0.0)
            sources.append(
                SourceInfo(name=point, title=f"{setting.title}, seed {seed}", kind=setting.kind, seed=seed,
                           synthesizer=setting.synthesizer, trained_on=setting.trained_on)
            )  # fmt: skip
            statements[point] = setting.statement
            records += some_scores(point, seed, dice, rng=rng, sites=sites, subjects=subjects)
            records += some_fidelity(point, seed, dice, network=network, provenance=provenance_of(setting))
    report = ReportContent(
        title="A made-up study",
        sources=sources,
        sites=sites,
        statements=statements,
        cohort_statement=a_statement(99.0, 1e5, "everything") if noisy else None,
        records=records,
        samples=[some_samples(setting, rng) for setting in settings],
        settings_toml="seeds = 3\n",
        environment={"python": "3.11.9", "host": "ward-7"},
    )
    views = [an_error_view(setting.points[-1], site, rng) for setting in settings for site in sites]
    return StudyContent(report=report, settings=settings, missing=missing or {}, views=views)


def with_records(content, records):
    """The same study with other numbers."""
    return replace(content, report=replace(content.report, records=list(records)))
