"""Stage 1: scans -> split of subjects and a store of real patches on the private side."""

import shutil
from collections.abc import Iterator, Mapping, Sequence

from angioshare.cohort.cohort import Cohort, open_cohort
from angioshare.cohort.split import Split, make_split, read_split, write_split
from angioshare.errors import DataError
from angioshare.patches.extract import PatchSettings, SubjectPatches, cut_patches
from angioshare.patches.store import open_store, write_store
from angioshare.progress import Progress
from angioshare.records import Record
from angioshare.rundir import write_json
from angioshare.stages.inputs import note_inputs
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
    for made in (store, run.public_patches):
        if made is not None and made.exists():
            shutil.rmtree(made)


def _prepare(run: Run, progress: Progress) -> list[Record]:
    cohort = open_cohort(run.cohort)
    scans = scan_digests(cohort)
    seconds = [open_cohort(site) for site in run.second_sites]
    public = open_cohort(run.public_cohort) if run.public_cohort else None
    others = [*seconds, *([public] if public else [])]
    _refuse_shared_scans([(cohort, scans), *((other, scan_digests(other)) for other in others)])
    split = make_split(cohort.ids, run.config.split)
    drop_unfinished(run)
    held_out = [cohort.subject(name) for name in (*split.validation, *split.test)]
    note_inputs(run, [held_out, *(second.subjects for second in seconds)], progress)
    write_split(run.private / "split.json", split)
    store = run.private / "patches"
    progress.start("cut patches", len(split.train))
    write_store(store, _cut(run, cohort, split, progress), run.config.patches, seed=run.config.seed)
    progress.finish()
    if public is not None:
        _cut_public(run, public, progress)
    write_json(run.private / SCANS, dict(scans), private=True)
    counts = {f"{part}_subjects": len(getattr(split, part)) for part in ("train", "validation", "test")}
    counts["patches"] = len(open_store(store))
    return [
        Record(stage="prepare", metric=metric, value=float(count), seed=run.config.seed)
        for metric, count in counts.items()
    ]


def _refuse_shared_scans(sites: Sequence[tuple[Cohort, Mapping[str, str]]]) -> None:
    """Ids may be the same at two hospitals; people may not."""
    owner: dict[str, tuple[str, Cohort]] = {}
    for site, digests in sites:
        for name, digest in digests.items():
            if digest in owner:
                known, there = owner[digest]
                raise DataError(
                    f"{site.root}: {name} is the same scan as {known} of {there.root}; a second site and a public "
                    "cohort hold other people: take it out of one of them"
                )
        owner |= {digest: (name, site) for name, digest in digests.items()}


def _cut_public(run: Run, public: Cohort, progress: Progress) -> None:
    """Cut the patches of all subjects of a public cohort: so many each as of a training subject, or as there are."""
    assert run.public_patches is not None
    settings = run.config.patches.model_copy(update={"allow_fewer": True})
    progress.start("cut patches of the public cohort", len(public.ids))
    cut = (_subject_patches(run, public, name, settings, progress) for name in public.ids)
    write_store(run.public_patches, cut, settings, seed=run.config.seed, provenance="public")
    progress.finish()


def _cut(run: Run, cohort: Cohort, split: Split, progress: Progress) -> Iterator[SubjectPatches]:
    for name in split.train:
        yield _subject_patches(run, cohort, name, run.config.patches, progress)


def _subject_patches(
    run: Run, cohort: Cohort, name: str, settings: PatchSettings, progress: Progress
) -> SubjectPatches:
    subject = cohort.subject(name).load()
    progress.advance()
    return cut_patches(subject.angio, subject.label, subject.brain, settings, subject=name, seed=run.config.seed)


def split_of(run: Run) -> tuple[Cohort, Split]:
    """The cohort and its split, as `prepare` left it."""
    run.require("prepare")
    return open_cohort(run.cohort), read_split(run.private / "split.json")
