"""What meets private data in a training: engines under one plan, charged in one ledger."""

from dataclasses import dataclass

from torch import nn

from angioshare.errors import LedgerError
from angioshare.privacy.engine import PrivateEngine
from angioshare.privacy.ledger import Ledger
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.release import Release, private_mean
from angioshare.privacy.votes import NoisyVotes
from angioshare.protocols import CriticEngine, VoteEngine
from angioshare.types import FloatArray


@dataclass(frozen=True)
class Engines:
    """Builds what meets private data under one plan; see `protocols.EngineFactory`."""

    plan: PrivacyPlan
    ledger: Ledger | None
    name: str
    present: int | None = None
    """How many of the plan's units are there; None takes all."""

    def __call__(self, critic: nn.Module, synthetic: int, steps_done: int, rows_per_patch: int = 1) -> CriticEngine:
        """See `EngineFactory.__call__`."""
        self._check_charged(steps_done)
        return PrivateEngine(
            plan=self.plan,
            critic=critic,
            synthetic_rows=synthetic,
            ledger=self.ledger,
            run=self.name,
            steps=self.plan.steps - steps_done,
            rows_per_patch=rows_per_patch,
            present=self.present,
        )

    def mean(self, vectors: FloatArray) -> Release:
        """See `EngineFactory.mean`."""
        assert self.ledger is not None, "the leader alone releases"
        return private_mean(vectors, self.plan, self.ledger, self.name)

    def votes(self, teachers: int, queries: int, steps_done: int) -> VoteEngine:
        """See `EngineFactory.votes`."""
        assert self.ledger is not None, "the leader alone releases"
        self._check_charged(steps_done)
        return NoisyVotes(
            plan=self.plan,
            teachers=teachers,
            queries=queries,
            ledger=self.ledger,
            run=self.name,
            steps=self.plan.steps - steps_done,
        )

    def _check_charged(self, steps_done: int) -> None:
        """Refuse to go on with a checkpoint of more steps than the ledger was charged for."""
        if self.ledger is None:
            return
        charged = sum(spend.steps for spend in self.ledger.spent_by(self.name))
        if charged < steps_done:
            raise LedgerError(
                f"the checkpoint of {self.name} was trained for {steps_done} private steps, and {self.ledger.path} was "
                f"charged for {charged}; bring back the ledger that was, or begin anew in another folder"
            )
