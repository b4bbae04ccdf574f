"""What is protected, against whom, and by how much: units, relations, and the one statement that says it all.

A statement is one object and is printed whole; both units always stand side by side.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

from angioshare.errors import DataError

PrivacyUnit: TypeAlias = Literal["patch", "subject"]
"""What one neighbour adds or removes: one patch, or one subject with all its patches."""

NeighbouringRelation: TypeAlias = Literal["add-or-remove-one", "replace-one"]


@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """(epsilon, delta) for one unit.

    Attributes:
        unit: What is protected.
        epsilon: Bound on the privacy loss, >= 0; infinity where there is none.
        delta: Probability in [0, 1) that the bound fails.
        relation: What makes two data sets neighbours.
        method: How epsilon was calculated, for example `"PLD"` or `"mixture-of-Gaussians PLD"`.
    """

    unit: PrivacyUnit
    epsilon: float
    delta: float
    relation: NeighbouringRelation
    method: str


@dataclass(frozen=True, kw_only=True)
class PrivacyStatement:
    """What a release reveals at most, whole: never take its epsilon alone.

    Attributes:
        patch: The guarantee for one patch.
        subject: The guarantee for one subject.
        accountant: Library and version that calculated, for example `"dp-accounting 0.6.0"`.
        released: What the guarantee speaks of.
        not_covered: What it does not speak of.
        caveats: Reasons to trust it less, for example `"not private: seeded noise"`.
    """

    patch: Guarantee
    subject: Guarantee
    accountant: str
    released: tuple[str, ...]
    not_covered: tuple[str, ...]
    caveats: tuple[str, ...] = ()

    @property
    def private(self) -> bool:
        """Whether there is a finite guarantee for a patch at least, and no caveat that voids it."""
        return math.isfinite(self.patch.epsilon) and not any(c.startswith("not private") for c in self.caveats)

    def sentence(self) -> str:
        """Say it in one sentence, with both units.

        Example:
            >>> without_privacy(("synthetic patches",)).sentence()
            'synthetic patches: no differential privacy at all, neither for a patch nor for a subject.'
        """
        what = ", ".join(self.released)
        if not math.isfinite(self.patch.epsilon) and not math.isfinite(self.subject.epsilon):
            return f"{what}: no differential privacy at all, neither for a patch nor for a subject."
        parts = (
            f"{what}: epsilon = {_number(self.patch.epsilon)} for one patch and epsilon = "
            f"{_number(self.subject.epsilon)} for one subject with all its patches, at delta = "
            f"{self.patch.delta:.3g} (patch) and {self.subject.delta:.3g} (subject), {self.patch.relation}, "
            f"by {self.patch.method} ({self.accountant}); not covered: {', '.join(self.not_covered)}"
        )
        return parts + ("; ".join(("", *self.caveats)) if self.caveats else "") + "."

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; an infinite epsilon is null."""
        value = asdict(self)
        for unit in ("patch", "subject"):
            if not math.isfinite(value[unit]["epsilon"]):
                value[unit]["epsilon"] = None
        value["sentence"] = self.sentence()
        return value


def rounded_up(epsilon: float) -> str:
    """Round an epsilon upwards to three digits: a printed bound must not lie below the calculated one.

    Args:
        epsilon: At least 0, or infinite.

    Example:
        >>> rounded_up(5.9012), rounded_up(63.73), rounded_up(math.inf)
        ('5.91', '63.8', 'infinity')
    """
    if not math.isfinite(epsilon):
        return "infinity"
    if epsilon <= 0:
        return "0"
    digits = 2 - math.floor(math.log10(epsilon))
    return f"{math.ceil(epsilon * 10**digits - 1e-9) / 10**digits:.{max(digits, 0)}f}"


def delta_words(statement: PrivacyStatement, digits: int = 3) -> str:
    """The delta of both units where it is one, else each of them.

    Example:
        >>> delta_words(public_knowledge(("patches",)))
        '0'
    """
    patch, subject = (f"{one.delta:.{digits}g}" for one in (statement.patch, statement.subject))
    return patch if patch == subject else f"{patch} (patch) and {subject} (subject)"


def _number(epsilon: float) -> str:
    """An epsilon for a sentence, with what it is worth where that is little."""
    worth = "no meaningful protection" if math.isfinite(epsilon) else "no protection"
    return rounded_up(epsilon) + (f" ({worth})" if epsilon > 20 else "")


def statement_from_json(value: dict[str, Any], where: object = "statement.json of a source") -> PrivacyStatement:
    """Read what `PrivacyStatement.to_json` wrote.

    Args:
        value: A JSON object.
        where: The file that held it, for the message.

    Raises:
        DataError: It is no statement, whole.
    """
    try:
        lists = {name: tuple(map(_word, value[name])) for name in ("released", "not_covered", "caveats")}
        return PrivacyStatement(
            patch=_guarantee("patch", value["patch"]),
            subject=_guarantee("subject", value["subject"]),
            accountant=_word(value["accountant"]),
            **lists,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{where} is no whole privacy statement ({error}); bring the file back, or train in another folder"
        ) from error


def _guarantee(unit: PrivacyUnit, part: dict[str, Any]) -> Guarantee:
    """Read one guarantee of a statement; what is no number in its range, or a known word, is a ValueError."""
    epsilon = math.inf if part["epsilon"] is None else float(part["epsilon"])
    found = Guarantee(**{**part, "epsilon": epsilon})
    if not (epsilon >= 0 and 0 <= found.delta < 1 and found.unit == unit):
        raise ValueError(f"epsilon {epsilon} at delta {found.delta} for one {found.unit} stands for one {unit}")
    if found.relation not in get_args(NeighbouringRelation):
        raise ValueError(f"relation {found.relation!r}")
    _word(found.method)
    return found


def _word(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} in place of words")
    return value


def without_privacy(released: tuple[str, ...]) -> PrivacyStatement:
    """The statement of something that has no guarantee."""

    def none(unit: PrivacyUnit) -> Guarantee:
        return Guarantee(unit=unit, epsilon=math.inf, delta=0.0, relation="add-or-remove-one", method="none")

    return PrivacyStatement(
        patch=none("patch"), subject=none("subject"), accountant="none", released=released, not_covered=("everything",)
    )


def public_knowledge(released: tuple[str, ...]) -> PrivacyStatement:
    """The statement of something made from public knowledge alone: epsilon 0."""

    def zero(unit: PrivacyUnit) -> Guarantee:
        return Guarantee(unit=unit, epsilon=0.0, delta=0.0, relation="add-or-remove-one", method="no private data read")

    return PrivacyStatement(
        patch=zero("patch"), subject=zero("subject"), accountant="none", released=released, not_covered=("nothing",)
    )
