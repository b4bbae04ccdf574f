"""Stage 6: records, samples and maps -> one internal page and one to share."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from angioshare.config import SourceSettings, to_toml
from angioshare.errors import DataError, PrivacyError
from angioshare.privacy.unit import PrivacyStatement, statement_from_json
from angioshare.progress import Progress
from angioshare.records import Record
from angioshare.report.content import Curve, ErrorMap, ReportContent, Samples, SourceInfo, SourceKind
from angioshare.report.page import internal_page, shareable_page
from angioshare.report.scoreplot import source_colours
from angioshare.report.sharing import shareable
from angioshare.rng import stream
from angioshare.rundir import read_json, read_rows, write_json, write_text
from angioshare.stages.embed import embed_run, write_embeddings
from angioshare.stages.maps import read_maps, sites_of
from angioshare.stages.run import STAGES, Run
from angioshare.stages.sample import own_pairs, pairs_of
from angioshare.stages.spending import cohort_statement
from angioshare.stages.train import check_statement
from angioshare.synthesis.registry import PUBLIC, PUBLIC_COHORT, learns_from_public, shows_public, synthesizer_class

KINDS: dict[str, SourceKind] = {
    "real": "real",
    "shuffled": "shuffled",
    **dict.fromkeys(PUBLIC, "simulator"),
    PUBLIC_COHORT: "public",
}

MADE_FROM = {
    "real": "real patches of the training subjects",
    **dict.fromkeys(PUBLIC, "public knowledge alone; the cohort was not read"),
    PUBLIC_COHORT: "labelled scans of the public cohort as they are; the cohort was not read",
    "shuffled": "real patches of the training subjects, each with the label of another",
}


WHOLE = "whole_cohort.json"
"""The statement of everything that was ever made from the cohort; no source can have this name."""


def report(run: Run, progress: Progress) -> None:
    """Write both pages from what stands in the run folder; anew where the cohort's ledger has grown since.

    Raises:
        PrivacyError: The public side holds what no stage puts there.
        LedgerError: A statement is not what the ledger says.
    """
    run.require("evaluate")
    check_public_side(run)
    if outdated(run):
        run.done("report", "pages").unlink(missing_ok=True)
    progress.start("report", 3)
    run.once("report", "pages", lambda: _write(run, progress))
    progress.finish()


def outdated(run: Run) -> bool:
    """Whether finished pages say less than was spent on the cohort by now, in this run or in another."""
    if not run.finished("report", "pages"):
        return False
    path, now = run.public / "statements" / WHOLE, cohort_statement(run)
    try:
        return (statement_from_json(read_json(path), path) if path.exists() else None) != now
    except DataError:  # it was damaged: it is written again with the pages
        return True


def check_public_side(run: Run) -> None:
    """Refuse to go on while the side that is handed on as a whole holds what no stage has put there.

    Raises:
        PrivacyError: A file, folder or link too many: a copy of private patches or of the internal page, say.
    """
    pairs = {run.pairs(source) for source in run.config.sources if run.pairs(source).is_relative_to(run.public)}
    allowed = {run.public / "synthetic", run.public / "statements", shareable_path(run), *pairs}
    allowed |= {folder / name for folder in pairs for name in ("image.npy", "label.npy", "manifest.json")}
    allowed |= {run.public / "statements" / f"{folder.name}.json" for folder in pairs}
    allowed.add(run.public / "statements" / WHOLE)
    for path in sorted(run.public.rglob("*")):
        if path.is_symlink() or path not in allowed:
            raise PrivacyError(
                f"{path} is nothing that a run puts on its public side, which is handed on as a whole; move it away"
            )


def internal_path(run: Run) -> Path:
    """The page that holds unprotected numbers and pictures."""
    return run.private / "report-internal.html"


def shareable_path(run: Run) -> Path:
    """The page that may leave the house."""
    return run.public / "report.html"


def check_handed_on(run: Run) -> None:
    """See that statements are the ledger's and pairs the sources' own, and write these statements beside them again.

    Raises:
        LedgerError: See `train.check_statement`.
        DataError: See `sample.own_pairs`.
    """
    for source in run.config.sources:
        check_statement(run, source)
        if run.pairs(source).is_relative_to(run.public):
            own_pairs(run, source)
            write_json(run.public / "statements" / f"{source.name}.json", statement_of(run, source).to_json())


def _write(run: Run, progress: Progress) -> list[Record]:
    check_handed_on(run)
    content = gather(run)
    if content.cohort_statement is not None:
        write_json(run.public / "statements" / WHOLE, content.cohort_statement.to_json())
    content = replace(content, embeddings=embed_run(run, content))
    write_embeddings(run.private / "figures", content.embeddings, colours=source_colours(content.sources))
    progress.advance("t-SNE")
    write_text(internal_path(run), internal_page(content), private=True)
    progress.advance()
    write_text(shareable_path(run), shareable_page(shareable(content)))
    progress.advance()
    return []


def gather(run: Run) -> ReportContent:
    """Read everything that the report shows."""
    sources = run.config.sources
    return ReportContent(
        title=run.config.title,
        sources=[source_info(source, public=run.public_cohort is not None) for source in sources],
        sites=sites_of(run),
        statements={source.name: statement_of(run, source) for source in sources},
        cohort_statement=cohort_statement(run),
        records=run.records(),
        samples=[shown_samples(run, source) for source in sources],
        error_maps=[
            ErrorMap(source=one.source, site=one.site, subject=one.subject, image=one.image, label=one.label,
                     prediction=one.prediction, spacing_mm=one.spacing_mm)
            for one in read_maps(run)
        ],
        curves=[curve for source in sources for curve in _curves(run, source)],
        settings_toml=to_toml(run.config),
        environment=read_json(run.root / "environment.json"),
        stage_seconds=_stage_seconds(run),
    )  # fmt: skip


def statement_of(run: Run, source: SourceSettings) -> PrivacyStatement:
    """The statement that stands beside a trained source."""
    path = run.source(source.name) / "statement.json"
    return statement_from_json(read_json(path), path)


def source_info(source: SourceSettings, *, public: bool) -> SourceInfo:
    """What a report says of a source; `public`: whether the run has a public cohort."""
    private = "with differential privacy" if source.privacy else "without any privacy"
    learnt = getattr(synthesizer_class(source.synthesizer), "learns_from", MADE_FROM["real"])
    words = MADE_FROM.get(source.synthesizer, f"{learnt}, {private}")
    if public and learns_from_public(source.synthesizer) and source.synthesizer != PUBLIC_COHORT:
        shown = shows_public(source.synthesizer, source.settings)
        words += "; the reader has learnt from a public cohort, too" + (", and labels its scans" if shown else "")
    return SourceInfo(
        name=source.name,
        title=source.shown,
        kind=KINDS.get(source.synthesizer, "synthesizer"),
        synthesizer=source.synthesizer,
        seed=source.seed,
        trained_on=words,
    )


def shown_samples(run: Run, source: SourceSettings) -> Samples:
    """Some pairs of a source to be looked at, drawn by a public seed."""
    pairs = pairs_of(run, source)
    wanted = min(run.config.evaluation.sample_grid, len(pairs))
    rows = np.sort(stream(run.config.seed, "report", source.name).permutation(len(pairs))[:wanted])
    shown = pairs.pairs(rows)
    return Samples(
        source=source.name,
        title=source.shown,
        image=shown[:, 0],
        label=shown[:, 1].astype(np.uint8),
        provenance=pairs.provenance,
        statement=statement_of(run, source),
    )


def _curves(run: Run, source: SourceSettings) -> list[Curve]:
    path = run.source(source.name) / "curve.json"
    if not path.exists():
        return []
    rows = read_rows(path, "iteration")
    names = [name for name in rows[0] if name != "iteration"] if rows else []
    steps = [row["iteration"] for row in rows]
    return [Curve(source=source.name, name=name, steps=steps, values=[row[name] for row in rows]) for name in names]


def _stage_seconds(run: Run) -> dict[str, float]:
    seconds = dict.fromkeys(STAGES, 0.0)
    for record in run.records():
        if record.metric == "wall_time" and record.value is not None:
            seconds[record.stage] += record.value
    return {stage: value for stage, value in seconds.items() if value}
