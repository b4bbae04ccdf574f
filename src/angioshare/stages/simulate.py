"""Public knowledge -> a BIDS cohort of simulated subjects."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import ValidationError

from angioshare.cohort.writer import WrittenSubject, write_bids_cohort
from angioshare.config import toml_value
from angioshare.errors import SettingsError
from angioshare.progress import Progress
from angioshare.simulator.many import check_site, simulate_subjects
from angioshare.simulator.prior import Known
from angioshare.synthesis.simulated import ProtocolSettings


def simulate(
    out: Path, *, subjects: int, seed: int, site: str, workers: int, progress: Progress, known: Known | None = None
) -> None:
    """Write a simulated cohort; the same seed gives the same files.

    Args:
        out: Folder of the cohort, made if need be.
        subjects: How many.
        seed: Seed of the cohort.
        site: Parameter set, or a prior that each subject's site is drawn from.
        workers: Processes; 0 takes one for each core.
        progress: Told of each subject.
        known: What narrows a prior, see `Prior.narrowed`.

    Raises:
        SettingsError: There is no such site, what is known does not narrow it, or the folder holds something else.
    """
    check_site(site, known)
    progress.start(f"simulate {site}", subjects)

    def told() -> Iterator[WrittenSubject]:
        for index, made in enumerate(simulate_subjects(site, subjects, seed, workers, known=known)):
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


def read_known(entries: Sequence[str]) -> dict[str, float | tuple[float, float]]:
    """Read what narrows a prior, as it stands in a command.

    Args:
        entries: Each `parameter=value` or `parameter=[low, high]`.

    Raises:
        SettingsError: One of them reads otherwise.

    Example:
        >>> read_known(["acquisition.voxel_i_mm=0.7", "contrast.tr_ms=[22, 24]"])
        {'acquisition.voxel_i_mm': 0.7, 'contrast.tr_ms': (22.0, 24.0)}
    """
    told = [entry.partition("=") for entry in entries]
    try:
        return ProtocolSettings(known={name.strip(): toml_value(text) for name, _, text in told}).known
    except ValidationError as error:
        how = "each must read parameter=value or parameter=[low, high], in numbers"
        raise SettingsError(f"--known {' '.join(entries)}: {how}") from error
