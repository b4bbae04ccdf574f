"""The whole pipeline in order, and what it would do before it does it."""

from collections.abc import Callable
from typing import Any

from angioshare.errors import SettingsError
from angioshare.progress import Progress
from angioshare.stages.evaluate import evaluate
from angioshare.stages.folder import check_public_scans, refuse_telling_titles
from angioshare.stages.planning import check_fits
from angioshare.stages.prepare import prepare
from angioshare.stages.report import outdated, report
from angioshare.stages.run import STAGES, Run
from angioshare.stages.sample import sample
from angioshare.stages.segment import segment
from angioshare.stages.train import outlook_of_source, synthesizer_of, train
from angioshare.synthesis.registry import SYNTHESIZERS, learns_from_public

STAGE_FUNCTIONS: dict[str, Callable[[Run, Progress], None]] = {
    "prepare": prepare,
    "train": train,
    "sample": sample,
    "segment": segment,
    "evaluate": evaluate,
    "report": report,
}


def check_sources(run: Run) -> None:
    """Look at the settings of every source, whether the run's folder stands or not.

    Raises:
        SettingsError: A source's settings are wrong, or its privacy settings do not fit it; there is a public cohort
            that none learns from, or none where its scans are to be shown; a title is not fit to be shared.
    """
    refuse_telling_titles(run.config.title, run.config.sources, (run.cohort, *run.second_sites))
    if run.public_cohort and not any(learns_from_public(source.synthesizer) for source in run.config.sources):
        able = ", ".join(name for name in SYNTHESIZERS if learns_from_public(name))
        raise SettingsError(
            f"no source of this run learns from the public cohort {run.public_cohort}; leave --public-cohort out, or "
            f"take a source that does: {able}"
        )
    check_public_scans(run.config.sources, public=run.public_cohort is not None)
    for source in run.config.sources:
        schedule = synthesizer_of(run, source).schedule()
        if source.privacy is not None:
            check_fits(source.privacy, schedule)


def pipeline(run: Run, progress: Progress) -> None:
    """Do whatever is missing, stage by stage; finished work is kept, but for pages that the ledger has outgrown.

    Raises:
        SettingsError: Another process works in the folder.
    """
    with run.alone():
        for stage in STAGES:
            if run.missing(stage) or (stage == "report" and outdated(run)):
                STAGE_FUNCTIONS[stage](run, progress)


def outlook(run: Run) -> list[dict[str, Any]]:
    """List every item of every stage, whether it is done, and what it would spend. Nothing is changed."""
    rows: list[dict[str, Any]] = []
    for stage in STAGES:
        for item in run.items(stage):
            row: dict[str, Any] = {"stage": stage, "item": item, "done": run.finished(stage, item)}
            if stage == "train" and not row["done"]:
                row |= outlook_of_source(run, item)
            rows.append(row)
    return rows
