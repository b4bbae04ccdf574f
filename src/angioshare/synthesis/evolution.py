"""Synthesizer `evolution`: prototypes of a site, bred by the noisy votes of the training subjects.

1. Public: prototypes are drawn from the simulator's wide prior; each simulates a subject or a few, whose patches are
   measured, image and label together.
2. Private, once a round: each training subject votes for the prototypes that it resembles, with a vote vector of length
   1; the mean of the votes is released with Gaussian noise.
3. Post-processing: prototypes have children in proportion to their votes, mutated within the prior. They stand in the
   next round, and after the last one synthetic subjects are simulated from them.

Source: Lin et al. (2024), "Differentially private synthetic data via foundation model APIs 1: images",
arXiv:2305.15560; Lin et al. (2025), "Differentially private synthetic data via APIs 3: using simulators instead of
foundation model" (Sim-PE), arXiv:2502.05505.
"""

from pathlib import Path

import numpy as np
from pydantic import Field, model_validator

from angioshare.errors import SettingsError
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store, write_patchset
from angioshare.privacy.release import Release
from angioshare.progress import Progress
from angioshare.protocols import EVERY_UNIT, Context, EngineFactory, Schedule
from angioshare.rng import seed_for, stream
from angioshare.simulator.prior import prior_of
from angioshare.synthesis.calibration.statistics import statistics
from angioshare.synthesis.evolution_population import Breeder, Embedding, Population, few_patches
from angioshare.synthesis.evolution_votes import offspring, votes, weights
from angioshare.synthesis.releasing import release_once
from angioshare.synthesis.rivals import Pairs
from angioshare.synthesis.simulated import ProtocolSettings, joined
from angioshare.types import FloatArray


class EvolutionSettings(ProtocolSettings):
    """Settings of private evolution. None of them may be chosen by a look at the cohort."""

    prior: str = Field("wide", description="Range of sites that is searched.")
    prototypes: int = Field(128, ge=4, le=10_000, description="Prototypes of a round, each with its own parameters.")
    each: int = Field(1, ge=1, le=100, description="Simulated subjects of a prototype; it stands at their mean.")
    rounds: int = Field(1, ge=1, le=3, description="Rounds of votes; the budget is split over them evenly.")
    numbers: int = Field(8, ge=1, le=40, description="Dimensions in which subjects and prototypes are compared.")
    temperature: float = Field(0.2, gt=0, le=100, description="How far a subject's votes spread over prototypes.")
    threshold: float = Field(1.0, ge=0, le=10, description="Scores below so many noise deviations count as nothing.")
    mutation: float = Field(0.1, ge=0, le=1, description="Spread of a child's parameters, as a share of the range.")
    subjects: int = Field(24, ge=1, le=10_000, description="Subjects drawn from the last prototypes.")
    measured: int = Field(200, ge=2, le=100_000, description="Patches of a subject that its statistics are taken from.")
    workers: int = Field(1, ge=0, le=256, description="Processes that simulate; 0 takes one for each core.")

    @model_validator(mode="after")
    def _enough_to_learn_from(self) -> "EvolutionSettings":
        """See that the first prototypes can teach how to compare."""
        if self.prototypes * self.each < 3 * self.numbers:
            raise ValueError(
                f"{self.prototypes} prototypes of {self.each} subjects cannot teach {self.numbers} numbers; have at "
                f"least {-(-3 * self.numbers // self.each)} prototypes, or fewer numbers"
            )
        return self


class Evolution:
    """See the module."""

    Settings = EvolutionSettings
    learns_from = "a public simulator whose sites the training subjects voted for"

    def __init__(self, settings: EvolutionSettings, context: Context) -> None:
        """Refuse what cannot be: another unit than the subject in a private run, an unknown prior."""
        if context.provenance == "dp" and context.unit != "subject":
            raise SettingsError("evolution protects subjects alone; set privacy.unit='subject'")
        if context.provenance == "dp" and settings.rounds > 1:
            raise SettingsError(
                f"rounds={settings.rounds}: a private run releases one mean so far; set rounds=1, or raise prototypes"
            )
        self._settings, self._context = settings, context
        self._breeder = Breeder(
            prior=prior_of(settings.prior, settings.known),
            each=settings.each,
            patches=few_patches(context.patches, settings.measured),
            workers=settings.workers,
        )

    def schedule(self) -> Schedule:
        """See `Synthesizer.schedule`: one release a round, in which everybody takes part."""
        per_unit = self._context.patches.per_subject
        return Schedule(steps=self._settings.rounds, units=EVERY_UNIT, patches_per_unit=per_unit, own_bound=True)

    def work(self) -> int:
        """See `Synthesizer.work`: simulated subjects."""
        s = self._settings
        return s.rounds * s.prototypes * s.each + s.subjects

    def fit(
        self, patches: PatchSet, engine: EngineFactory | None, *, seed: int, folder: Path, progress: Progress
    ) -> None:
        """See `Synthesizer.fit`. Whatever was finished is kept: prototypes, votes, the patches."""
        target = folder / "patches"
        if target.exists():
            return
        s, voters = self._settings, _Voters(patches, self._settings.measured)
        embed: Embedding | None = None
        shares: FloatArray = stream(seed, "evolution", "prototypes").random((s.prototypes, len(self._breeder.prior)))
        for number in range(1, s.rounds + 1):
            own = seed_for(seed, "evolution", "round", str(number))
            kept = folder / f"prototypes-{number}.safetensors"
            population = self._breeder.population(shares, kept, seed=own, progress=progress)
            embed = embed or population.embedding(s.numbers)  # what the first prototypes, drawn from everywhere, teach
            histogram = self._votes(voters, engine, population, embed, folder / f"votes-{number}.json")
            weight = weights(histogram, population.embedded(embed), s.temperature, s.threshold)
            count = s.subjects if number == s.rounds else s.prototypes
            shares = offspring(shares, weight, count, s.mutation / number, stream(own, "evolution", "offspring"))
        seeds = [seed_for(seed, "evolution", "drawn", str(index)) for index in range(s.subjects)]
        progress.start("simulate the last generation", s.subjects)
        parts = self._breeder.subjects(shares, seeds, self._context.patches, seed, progress)
        write_patchset(target, joined(parts, self._context.provenance), {"prior": s.prior, "subjects": s.subjects})
        progress.finish()

    def load(self, folder: Path, patches: PatchSet) -> Pairs:
        """See `Synthesizer.load`."""
        del patches
        return Pairs(open_store(folder / "patches"))

    def _votes(
        self, voters: "_Voters", engine: EngineFactory | None, population: Population, embed: Embedding, path: Path
    ) -> Release:
        """The noisy histogram of a round: the stored one if there is one, since a second one would cost again."""
        s = self._settings
        made_by = f"{population.digest()}, numbers {s.numbers}, temperature {s.temperature:g}"

        def cast() -> FloatArray:
            seen = np.array([embed(one) for one in voters.statistics()])
            return votes(seen, population.embedded(embed), s.temperature)

        return release_once(path, cast, engine, numbers=s.prototypes, made_by=made_by)


class _Voters:
    """The training subjects: measured when the first vote is due, and once for all rounds of a start."""

    def __init__(self, patches: PatchSet, measured: int) -> None:
        self._patches, self._measured = patches, measured
        self._statistics: list[FloatArray] = []

    def statistics(self) -> list[FloatArray]:
        """Statistics (d,) of each subject, from rows spread evenly over its patches."""
        if not self._statistics:
            for index in range(len(self._patches.subjects)):
                rows = np.flatnonzero(self._patches.subject == index)
                chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), self._measured)).astype(int)]
                pairs = self._patches.pairs(chosen)
                self._statistics.append(statistics(pairs[:, 0], pairs[:, 1].astype(np.uint8)))
        return self._statistics
