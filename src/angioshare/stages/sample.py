"""Stage 3: trained synthesizers -> patch sets of drawn pairs, with provenance. Drawing spends nothing."""

from functools import partial

from angioshare.config import SourceSettings
from angioshare.errors import DataError
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store, read_manifest, write_patchset
from angioshare.progress import Progress
from angioshare.records import Record
from angioshare.rundir import read_json, write_json
from angioshare.stages.run import Run
from angioshare.stages.train import check_statement, synthesizer_of
from angioshare.types import Json

REAL = "real"
"""The one source whose pairs are not drawn: they stand in the store already."""

REAL_PAIRS = (REAL, "shuffled")
"""Sources whose pairs are real patches."""


def sample(run: Run, progress: Progress) -> None:
    """Draw the pairs of every source that has none yet."""
    run.require("train")
    progress.start("sample", len(run.config.sources))
    for source in run.config.sources:
        run.once("sample", source.name, partial(_sample, run, source))
        progress.advance(source.shown)
    progress.finish()


def pairs_of(run: Run, source: SourceSettings) -> PatchSet:
    """The pairs that segmenters are trained on, mapped from disk."""
    if source.synthesizer != REAL:
        return open_store(run.pairs(source))
    real = open_store(run.private / "patches")
    return synthesizer_of(run, source).load(run.source(source.name), real).sample(source.pairs, source.seed)


def _sample(run: Run, source: SourceSettings) -> list[Record]:
    real = open_store(run.private / "patches")
    check_statement(run, source)
    statement = read_json(run.source(source.name) / "statement.json")
    if source.synthesizer == REAL:
        count = min(source.pairs, len(real))
    else:
        if not run.pairs(source).exists():  # a set is renamed when whole, so one that stands is whole
            trained = synthesizer_of(run, source).load(run.source(source.name), real)
            write_patchset(run.pairs(source), trained.sample(source.pairs, source.seed), _about(source, statement))
        pairs = own_pairs(run, source)
        count = len(pairs)
        if run.pairs(source).is_relative_to(run.public):
            write_json(run.public / "statements" / f"{source.name}.json", statement)
    return [
        Record(stage="sample", metric="pairs", value=float(count), trained_on=source.name,
               synthesizer=source.synthesizer, seed=source.seed,
               # of real patches there may be fewer, by what a subject's labels hold
               provenance="unprotected" if source.synthesizer in REAL_PAIRS else "public")
    ]  # fmt: skip


def _about(source: SourceSettings, statement: Json) -> Json:
    """What drawn pairs say of themselves."""
    return {"source": source.name, "synthesizer": source.synthesizer, "seed": source.seed, "statement": statement}


def own_pairs(run: Run, source: SourceSettings) -> PatchSet:
    """Open the pairs that stand for a source, if they are this source's and may stand where they do.

    Raises:
        DataError: They are others: put there by hand, or left by another run.
    """
    path, about = run.pairs(source), _about(source, read_json(run.source(source.name) / "statement.json"))
    manifest = read_manifest(path)
    outside = path.is_relative_to(run.public) and manifest["provenance"] == "unprotected"
    if manifest.get("meta") != about or outside:
        raise DataError(
            f"{path} holds pairs that are not those of source {source.name} of this run; delete the folder to draw them"
        )
    return open_store(path, verify=True)
