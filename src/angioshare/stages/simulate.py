"""Public knowledge -> a BIDS cohort of simulated subjects."""

from collections.abc import Iterator
from pathlib import Path

from angioshare.cohort.writer import WrittenSubject, write_bids_cohort
from angioshare.progress import Progress
from angioshare.simulator.many import check_site, simulate_subjects


def simulate(out: Path, *, subjects: int, seed: int, site: str, workers: int, progress: Progress) -> None:
    """Write a simulated cohort; the same seed gives the same files.

    Args:
        out: Folder of the cohort, made if need be.
        subjects: How many.
        seed: Seed of the cohort.
        site: Parameter set.
        workers: Processes; 0 takes one for each core.
        progress: Told of each subject.

    Raises:
        SettingsError: There is no such site, or the folder holds something else.
    """
    check_site(site)
    progress.start(f"simulate {site}", subjects)

    def told() -> Iterator[WrittenSubject]:
        for index, made in enumerate(simulate_subjects(site, subjects, seed, workers)):
            yield WrittenSubject(
                id=f"{index + 1:03d}",
                angio=made.angio,
                label=made.label,
                brain=made.brain,
                spacing_mm=made.spacing_mm,
                affine=made.affine,
            )
            progress.advance()

    write_bids_cohort(out, site, told())
    progress.finish()
