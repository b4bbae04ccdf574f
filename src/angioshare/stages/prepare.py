"""Stage 1: scans -> split of subjects and a store of real patches on the private side."""

import shutil
from collections.abc import Iterator, Mapping

from angioshare.cohort.cohort import Cohort, open_cohort
from angioshare.cohort.split import Split, make_split, read_split, write_split
from angioshare.errors import DataError
from angioshare.patches.extract import SubjectPatches, cut_patches
from angioshare.patches.store import open_store, write_store
from angioshare.progress import Progress
from angioshare.records import Record
from angioshare.rundir import write_json
from angioshare.stages.run import Run
from angioshare.stages.spending import SCANS, scan_digests


def prepare(run: Run, progress: Progress) -> None:
    """Split the cohort and cut the training subjects' patches.

    Raises:
        DataError: A scan or label cannot be used, or something was trained on patches that are not finished.
    """
    run.once("prepare", "cohort", lambda: _prepare(run, progress))


def drop_unfinished(run: Run) -> None:
    """Delete patches that an unfinished `prepare` left: whose they are follows from the cohort as it was then.

    Subjects may have been added, dropped or labelled anew since, so that a training subject is a test subject now.
    Nothing was learned from them yet, so nothing is lost but the time to cut them.

    Raises:
        DataError: Something was learned from them, so that their split must stay.
    """
    sources, store = run.private / "sources", run.private / "patches"
    if sources.is_dir() and (trained := sorted(entry.name for entry in sources.iterdir())):
        raise DataError(
            f"{run.done('prepare', 'cohort')} is missing, but {sources} holds {', '.join(trained)}: what was trained "
            "on one split must not meet another; put the file back, or begin in another folder"
        )
    if store.exists():
        shutil.rmtree(store)


def _prepare(run: Run, progress: Progress) -> list[Record]:
    cohort = open_cohort(run.cohort)
    scans = scan_digests(cohort)
    for site in run.second_sites:
        _refuse_shared_scans(cohort, scans, open_cohort(site))
    split = make_split(cohort.ids, run.config.split)
    drop_unfinished(run)
    write_split(run.private / "split.json", split)
    store = run.private / "patches"
    progress.start("cut patches", len(split.train))
    write_store(store, _cut(run, cohort, split, progress), run.config.patches, seed=run.config.seed)
    progress.finish()
    write_json(run.private / SCANS, dict(scans), private=True)
    counts = {f"{part}_subjects": len(getattr(split, part)) for part in ("train", "validation", "test")}
    counts["patches"] = len(open_store(store))
    return [
        Record(stage="prepare", metric=metric, value=float(count), seed=run.config.seed)
        for metric, count in counts.items()
    ]


def _refuse_shared_scans(cohort: Cohort, scans: Mapping[str, str], second: Cohort) -> None:
    """Ids may be the same at two hospitals; people may not."""
    owner = {digest: name for name, digest in scans.items()}
    for name, digest in scan_digests(second).items():
        if digest in owner:
            raise DataError(
                f"{second.root}: {name} is the same scan as {owner[digest]} of {cohort.root}; a second site holds "
                "other people: take it out of one of them"
            )


def _cut(run: Run, cohort: Cohort, split: Split, progress: Progress) -> Iterator[SubjectPatches]:
    for name in split.train:
        subject = cohort.subject(name).load()
        yield cut_patches(
            subject.angio, subject.label, subject.brain, run.config.patches, subject=name, seed=run.config.seed
        )
        progress.advance()


def split_of(run: Run) -> tuple[Cohort, Split]:
    """The cohort and its split, as `prepare` left it."""
    run.require("prepare")
    return open_cohort(run.cohort), read_split(run.private / "split.json")
