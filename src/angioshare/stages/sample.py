"""Stage 3: trained synthesizers -> patch sets of drawn pairs, with provenance. Drawing spends nothing."""

from functools import partial

from angioshare.config import SourceSettings
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store, write_patchset
from angioshare.progress import Progress
from angioshare.records import Record
from angioshare.rundir import read_json, write_json
from angioshare.stages.run import Run
from angioshare.stages.train import synthesizer_of

REAL = "real"
"""The one source whose pairs are not drawn: they stand in the store already."""


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
    statement = read_json(run.source(source.name) / "statement.json")
    if source.synthesizer == REAL:
        count = min(source.pairs, len(real))
    else:
        if not run.pairs(source).exists():  # a set is renamed when whole, so one that stands is whole
            trained = synthesizer_of(run, source).load(run.source(source.name), real)
            about = {"source": source.name, "synthesizer": source.synthesizer, "seed": source.seed}
            write_patchset(
                run.pairs(source), trained.sample(source.pairs, source.seed), {**about, "statement": statement}
            )
        pairs = open_store(run.pairs(source))
        count = len(pairs)
        if pairs.provenance != "unprotected":
            write_json(run.public / "statements" / f"{source.name}.json", statement)
    return [
        Record(stage="sample", metric="pairs", value=float(count), trained_on=source.name,
               synthesizer=source.synthesizer, seed=source.seed, provenance="public")
    ]  # fmt: skip
