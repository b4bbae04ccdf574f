"""Who trains, who chooses, who tests: subjects split into three, proven disjoint and complete.

The split is public: it follows from ids and a public seed, never from scans.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import Field

from angioshare.cohort.names import listed, printable, refuse_duplicates, subject_id
from angioshare.errors import DataError, SettingsError
from angioshare.rng import stream
from angioshare.rundir import read_json, write_json
from angioshare.settings import Settings

_PARTS = ("train", "validation", "test")


class SplitSettings(Settings):
    """How subjects are split."""

    validation: int = Field(3, ge=1, le=100_000, description="Subjects on whom a U-Net is chosen.")
    test: int = Field(5, ge=1, le=100_000, description="Subjects on whom results are measured.")
    seed: int | None = Field(
        None, ge=0, description="Public seed of the shuffle; without one, ids in order: train, validation, test."
    )
    file: Path | None = Field(
        None, description="JSON file with the lists train, validation and test; the other settings are then unused."
    )


@dataclass(frozen=True, kw_only=True)
class Split:
    """Ids of the subjects of each part, each in order.

    Attributes:
        train: Whose patches are learned from; the guarantee is about them.
        validation: On whom a U-Net is chosen; not covered by the guarantee.
        test: On whom results are measured; not covered by the guarantee.

    Raises:
        DataError: A part is empty, or a subject stands twice (at construction).
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        for part in _PARTS:
            if not getattr(self, part):
                raise DataError(f"the split's part {part!r} has 0 subjects, and needs 1 at least; move one there")
        refuse_duplicates((*self.train, *self.validation, *self.test), "the split")

    def check_complete(self, ids: Iterable[str]) -> None:
        """See that the split places every subject of a cohort, and no other.

        Raises:
            DataError: It does not.
        """
        placed, there = {*self.train, *self.validation, *self.test}, set(ids)
        for extra, what in ((placed - there, "not in the cohort"), (there - placed, "in no part")):
            if extra:
                raise DataError(f"the split and the cohort disagree: {listed(sorted(extra))} {what}; mend the split")


def split_subjects(ids: Iterable[str], validation: int, test: int, seed: int | None) -> Split:
    """Split subjects into validation and test of given sizes, and train, which takes the rest.

    Args:
        ids: BIDS ids, in any order: it does not matter.
        validation: Number of validation subjects, >= 1.
        test: Number of test subjects, >= 1.
        seed: Public seed of the shuffle; None keeps ids in order, first train, then validation, then test.

    Returns:
        A disjoint and complete split.

    Raises:
        DataError: There are fewer than three subjects, or one stands twice.
        SettingsError: The sizes leave no subject to train on.

    Example:
        >>> split_subjects(["sub-3", "sub-1", "sub-2", "sub-4"], validation=1, test=1, seed=None).test
        ('sub-4',)
    """
    names = sorted(ids)
    refuse_duplicates(names, "the cohort")
    if len(names) < len(_PARTS):
        raise DataError(
            f"a cohort of {len(names)} subject(s) ({listed(names)}) cannot be split into train, validation and test; "
            "3 are needed at least"
        )
    train = len(names) - validation - test
    if validation < 1 or test < 1 or train < 1:
        raise SettingsError(
            f"{validation} validation and {test} test subjects of {len(names)} leave {train} to train on; each part "
            "needs 1 at least: change split.validation or split.test"
        )
    if seed is not None:
        names = [names[at] for at in stream(seed, "split").permutation(len(names))]
    return Split(
        train=tuple(sorted(names[:train])),
        validation=tuple(sorted(names[train : train + validation])),
        test=tuple(sorted(names[train + validation :])),
    )


def make_split(ids: Iterable[str], settings: SplitSettings) -> Split:
    """Split a cohort as the settings say, by file or by size and seed.

    Raises:
        DataError: See `read_split`, `split_subjects` and `Split.check_complete`.
        SettingsError: See `split_subjects`.
    """
    names = list(ids)
    if settings.file is None:
        return split_subjects(names, settings.validation, settings.test, settings.seed)
    split = read_split(settings.file)
    split.check_complete(names)
    return split


def write_split(path: Path, split: Split) -> None:
    """Write a split as JSON, atomically and for the owner's eyes alone: it names subjects."""
    write_json(path, asdict(split), private=True)


def read_split(path: Path) -> Split:
    """Read a split: a JSON object of the lists `train`, `validation` and `test`.

    Raises:
        DataError: The file is missing or no such object, an id is no BIDS id, or a subject stands twice.
    """
    value = read_json(path)
    lists = [value.get(part) for part in _PARTS]
    if set(value) != set(_PARTS) or not all(
        isinstance(part, list) and all(isinstance(name, str) for name in part) for part in lists
    ):
        raise DataError(f"{printable(path)} must hold the lists train, validation and test, and nothing else; mend it")
    train, validation, test = (tuple(sorted(subject_id(name, path) for name in value[part])) for part in _PARTS)
    return Split(train=train, validation=validation, test=test)
