"""The seams of the house: what a synthesizer and a segmenter must do. There are no others.

A new synthesizer is one file in `synthesis/` and one line in its registry.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from angioshare.patches.extract import PatchSettings
from angioshare.patches.patchset import PatchSet
from angioshare.privacy.selection import Draw
from angioshare.privacy.unit import PrivacyUnit
from angioshare.progress import Progress
from angioshare.types import BoolArray, FloatArray, Provenance

if TYPE_CHECKING:
    from torch import Tensor, nn

    from angioshare.privacy.release import Release

EVERY_UNIT = 1 << 40
"""As `Schedule.units`: more than there are, so that everybody takes part in the step."""


class CriticEngine(Protocol):
    """Gives the gradient of one critic step, private (`privacy.engine`) or not (`synthesis.plain`)."""

    def draw(self) -> Draw:
        """Draw the units of the next step; a private engine charges the ledger first."""

    def step_gradient(
        self,
        draw: Draw,
        real: "Tensor",
        groups: "Tensor | None",
        synthetic: "Tensor",
        real_loss: "Callable[[Tensor], Tensor]",
        synthetic_loss: "Callable[[Tensor], Tensor]",
    ) -> None:
        """Write the gradient of the step into the critic's parameters.

        Args:
            draw: What `draw` gave, not used before.
            real: Pairs of the drawn units, shape (m, 2, h, w).
            groups: For each pair the position of its unit in `draw.indices`; None if the unit is a patch.
            synthetic: Generated pairs, shape (public constant, 2, h, w).
            real_loss: Scores (m,) to losses (m,): the private term.
            synthetic_loss: Scores to losses: post-processing.
        """

    def epsilon_so_far(self) -> float:
        """Epsilon of the engine's own unit that this run has spent; infinity without privacy."""

    def close(self) -> None:
        """Settle with the ledger."""


class VoteEngine(Protocol):
    """Releases how teachers voted, with noise (`privacy.votes`) or without (`synthesis.pate_teachers`)."""

    def release(self, ask: Callable[[], BoolArray]) -> FloatArray:
        """Count votes for real, shape (queries,); `ask` gives the votes, shape (teachers, queries), once charged."""

    def epsilon_so_far(self) -> float:
        """Epsilon of the plan's unit that this run has spent; infinity without privacy."""

    def close(self) -> None:
        """Settle with the ledger."""


class EngineFactory(Protocol):
    """Builds the engine when the critic is there; refuses a critic that mixes units."""

    def __call__(self, critic: "nn.Module", synthetic: int, steps_done: int, rows_per_patch: int = 1) -> CriticEngine:
        """Build it for `synthetic` generated pairs a step, after `steps_done` steps of earlier starts.

        `rows_per_patch` rows show each drawn patch where the unit is a patch: a public constant.
        """

    def mean(self, vectors: FloatArray) -> "Release":
        """Release the noisy mean of one vector per unit, shape (n, d); the plan must be one step with everybody."""

    def votes(self, teachers: int, queries: int, steps_done: int) -> "VoteEngine":
        """Release noisy counts of the votes of `teachers` on `queries` generated pairs, after `steps_done` steps."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """What accounting must know of a training before it runs: public constants.

    Attributes:
        steps: Noisy steps on private data; 0 if none are touched.
        units: Expected units in a step (patches or subjects, as the privacy unit says).
        patches_per_unit: Patches read of a drawn subject; 1 if the unit is a patch.
        bounds_subjects: Whether a step on patches bounds what all patches of a subject do together. Where it does not,
            a subject's epsilon is infinity.
        own_bound: Whether what a unit gives is made for a bound of 1, so that another one would only falsify it.
    """

    steps: int
    units: int
    patches_per_unit: int = 1
    bounds_subjects: bool = True
    own_bound: bool = False


@dataclass(frozen=True, kw_only=True)
class Context:
    """What every synthesizer is told beside its own settings.

    Attributes:
        patches: How patches are cut; the edge of a patch stands here.
        unit: The privacy unit.
        provenance: What its output reveals, if it learns from real patches.
        device: Where networks run, in torch's words.
        public: Store of patches of a public cohort, cut alike; None where there is none.
    """

    patches: PatchSettings
    unit: PrivacyUnit = "patch"
    provenance: Provenance = "unprotected"
    device: str = "cpu"
    public: Path | None = None


class TrainedSynthesizer(Protocol):
    """Draws pairs without end; drawing is post-processing and spends nothing."""

    def sample(self, n: int, seed: int) -> PatchSet:
        """Draw `n` pairs; the same seed gives the same pairs."""


class Synthesizer(Protocol):
    """Learns from real patches to make synthetic ones.

    A class may say in `learns_from` what it learns from, for the report; else that is real patches of the training
    subjects.
    """

    def schedule(self) -> Schedule:
        """What `fit` will do to private data when it trains with an engine."""

    def work(self) -> int:
        """Steps that `fit` tells its progress of, for a bar over several sources; may be 0."""

    def fit(
        self, patches: PatchSet, engine: EngineFactory | None, *, seed: int, folder: Path, progress: Progress
    ) -> None:
        """Train, or go on where checkpoints in `folder` ended; the result stands in `folder`.

        Args:
            patches: Real pairs.
            engine: Builds the engine of private gradients, which charges the ledger; None trains without privacy.
            seed: Drives initial weights and z, never selection or noise of a private run.
            folder: Private side of this source; checkpoints stand here.
            progress: Told of iterations, time left and epsilon.
        """

    def load(self, folder: Path, patches: PatchSet) -> TrainedSynthesizer:
        """Read what `fit` left in `folder`. `patches` are for rivals that copy real pairs; others ignore them."""


class TrainedSegmenter(Protocol):
    """Finds vessels in slices."""

    def probability(self, image: FloatArray) -> FloatArray:
        """Vessel probability in [0, 1] of slices, shape (n, h, w) in and out."""


class Segmenter(Protocol):
    """Learns to find vessels from any pairs, real or synthetic, by the same call."""

    def fit(self, patches: PatchSet, *, seed: int, progress: Progress) -> TrainedSegmenter:
        """Train on pairs."""
