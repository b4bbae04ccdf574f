"""Synthesizer `calibrated`: a public simulator, fitted to one private release of a few numbers per cohort.

1. Public: subjects of the simulator's wide prior teach which numbers say most about a site, and how they follow from
   its parameters.
2. Private, once: each unit gives those numbers, bounded; their mean is released with Gaussian noise.
3. Post-processing: subjects are simulated with parameters from the posterior that the noisy mean leaves, and of their
   patches those are kept, by weight, whose mean is what the noise leaves likely. In so far as noise drowns the numbers,
   pairs come from all over the prior instead: a segmenter that learnt one wrong site is worse than one that learnt
   many.

A dozen people and an epsilon of 1 are too little for a network and enough for a few numbers; thousands of patches let
all numbers pass as good as unharmed.
"""

import shutil
from pathlib import Path

import numpy as np
from pydantic import Field

from angioshare.errors import DataError, SettingsError
from angioshare.patches.extract import PatchSettings
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store, write_patchset, write_store
from angioshare.privacy.release import Release
from angioshare.privacy.unit import PrivacyUnit
from angioshare.progress import Progress
from angioshare.protocols import EVERY_UNIT, Context, EngineFactory, Schedule
from angioshare.rng import seed_for, stream
from angioshare.simulator.many import simulate_each
from angioshare.simulator.prior import prior_of
from angioshare.synthesis.calibration.features import NAMES, features
from angioshare.synthesis.calibration.lessons import lessons, places
from angioshare.synthesis.calibration.posterior import learn_places
from angioshare.synthesis.calibration.summary import SPARE_LESSONS, Summary, learn, means_of
from angioshare.synthesis.calibration.tilting import evenly, hedged, tilted
from angioshare.synthesis.releasing import release_once
from angioshare.synthesis.rivals import Pairs
from angioshare.synthesis.simulated import ProtocolSettings, cut_simulated, fewer
from angioshare.types import FloatArray

RELEASE = "release.json"
"""What was released about the cohort: made once, used ever after."""

POOL = "pool"
"""Patches of the subjects simulated after the release, until pairs were drawn from them."""

_AT_ONCE = 1024
"""Patches whose features are taken at once."""

_TARGETS = 8
"""Means that the noise leaves likely, drawn to stand for all of them."""

FEW = 8
"""Numbers that are released of subjects, if nothing else is asked for: few, since noise falls on each."""


class CalibratedSettings(ProtocolSettings):
    """Settings of the calibrated simulator. None of them may be chosen by a look at the cohort."""

    prior: str = Field("wide", description="Range of sites that is searched.")
    lessons: int = Field(240, ge=4, le=100_000, description="Simulated subjects that teach what sites look like.")
    numbers: int | None = Field(
        None,
        ge=1,
        le=len(NAMES),
        description=f"How many numbers are released; None: {FEW} of protected subjects, else all {len(NAMES)}.",
    )
    subjects: int = Field(48, ge=1, le=10_000, description="Subjects simulated after the release.")
    sharp_factor: int = Field(
        4,
        ge=1,
        le=100,
        description="Times as many where hardly any noise is left (unit patch): fewer patches fit then.",
    )
    extent: float = Field(
        1.0, gt=0, le=1, description="Share of its slices that is simulated of each of them: less gives more variety."
    )
    pairs: int = Field(9600, ge=1, description="Pairs drawn from their patches, by weight.")
    tolerance: float = Field(
        0.2, gt=0, le=100, description="Error of a mean that is left, as a variance between sites."
    )
    measured: int = Field(200, ge=2, le=100_000, description="Patches of a subject that its features are taken from.")
    workers: int = Field(1, ge=0, le=256, description="Processes that simulate; 0 takes one for each core.")


class Calibrated:
    """See the module."""

    Settings = CalibratedSettings
    learns_from = "a public simulator fitted to a few numbers about the training subjects"

    def __init__(self, settings: CalibratedSettings, context: Context) -> None:
        """Refuse a prior that does not exist, what does not narrow it, and too few lessons, before any is simulated."""
        self._settings, self._context = settings, context
        self._prior = prior_of(settings.prior, settings.known)
        private = context.provenance == "dp"
        self._unit: PrivacyUnit = context.unit if private else "subject"
        noisy = private and context.unit == "subject"
        self._numbers = settings.numbers if settings.numbers is not None else FEW if noisy else len(NAMES)
        self._subjects = settings.subjects * (1 if noisy else settings.sharp_factor)
        if settings.lessons < self._numbers + SPARE_LESSONS:
            raise SettingsError(
                f"lessons={settings.lessons}: {self._numbers} released numbers need {self._numbers + SPARE_LESSONS} "
                "simulated subjects at least; raise lessons or lower numbers"
            )

    def schedule(self) -> Schedule:
        """See `Synthesizer.schedule`: one release, in which everybody takes part."""
        subject = self._context.unit == "subject"
        per_unit = self._context.patches.per_subject if subject else 1
        return Schedule(steps=1, units=EVERY_UNIT, patches_per_unit=per_unit, own_bound=True)

    def work(self) -> int:
        """See `Synthesizer.work`: simulated subjects."""
        return self._settings.lessons + self._subjects

    def fit(
        self, patches: PatchSet, engine: EngineFactory | None, *, seed: int, folder: Path, progress: Progress
    ) -> None:
        """See `Synthesizer.fit`. Whatever was finished is kept: simulated lessons, the release, the patches."""
        target, pool_folder = folder / "patches", folder / POOL
        if target.exists():
            shutil.rmtree(pool_folder, ignore_errors=True)
            return
        taught = self._lessons(folder, progress)
        summary = learn(taught, self._numbers, self._unit)
        release = release_once(
            folder / RELEASE,
            lambda: np.array([summary.vector(one) for one in self._measure(patches)]),
            engine,
            numbers=self._numbers,
            made_by=summary.digest(),
        )
        rng = stream(seed, "calibrated", "targets")
        targets = summary.targets(release, _TARGETS, rng)
        doubt = summary.doubt(release)
        anywhere = round(doubt * self._subjects)
        shares = self._sites(taught, summary, release, self._subjects - anywhere, rng)
        shares = np.concatenate([rng.random((anywhere, len(self._prior))), shares])
        pool = self._simulate(shares, seed, pool_folder, progress)
        weights = self._weights(_features_of(pool), summary, targets)
        chosen = evenly(hedged(weights, pool.subject < anywhere, doubt), self._settings.pairs, rng)
        drawn = PatchSet(image=pool.image[chosen], label=pool.label[chosen], provenance=self._context.provenance)
        write_patchset(target, drawn, {"prior": self._settings.prior, "subjects": self._subjects})
        shutil.rmtree(pool_folder)

    def load(self, folder: Path, patches: PatchSet) -> Pairs:
        """See `Synthesizer.load`."""
        del patches
        return Pairs(open_store(folder / "patches"))

    def _lessons(self, folder: Path, progress: Progress) -> FloatArray:
        """Features of lessons (lessons, patches, d)."""
        s = self._settings
        few = self._few_patches()
        return lessons(self._prior, s.lessons, few, folder=folder, workers=s.workers, progress=progress)

    def _sites(
        self, taught: FloatArray, summary: Summary, release: Release, count: int, rng: np.random.Generator
    ) -> FloatArray:
        """Places (count, p) in the prior, from the posterior that the noisy numbers leave."""
        means, shares = means_of(taught), places(self._prior, self._settings.lessons)
        known = np.isfinite(means).all(axis=1)
        model = learn_places(shares[known], summary.standard(means[known]))
        numbers, noise = release.mean * summary.radius, release.noise_std * summary.radius
        return model.draw(numbers, noise, count, rng)

    def _weights(self, found: FloatArray, summary: Summary, targets: FloatArray) -> FloatArray:
        """Weights (n,) of patches by their features (n, d): the mean over all targets."""
        known = np.isfinite(found).all(axis=1)
        pool, weights = summary.standard(found[known]), np.zeros(len(found))
        weights[known] = np.mean([tilted(pool, one, self._settings.tolerance) for one in targets], axis=0)
        return weights

    def _simulate(self, shares: FloatArray, seed: int, pool: Path, progress: Progress) -> PatchSet:
        """Simulate one subject at each place and cut its patches, one subject in memory at a time.

        They stand on disk until pairs were drawn from them; a whole pool that a killed run left is taken.
        """
        s = self._settings
        seeds = [seed_for(seed, "calibrated", "subject", str(index)) for index in range(len(shares))]
        progress.start("simulate fitted sites", len(shares))
        if pool.exists():
            progress.advance(steps=len(shares))
        else:
            made = simulate_each(
                [(self._prior.site(row), one) for row, one in zip(shares, seeds, strict=True)], s.workers, s.extent
            )
            settings = fewer(self._context.patches, s.extent)
            write_store(pool, cut_simulated(made, settings, seed=seed, progress=progress), settings, seed=seed)
        progress.finish()
        found = open_store(pool)
        if len(found.subjects) != len(shares):
            raise DataError(f"{pool} holds {len(found.subjects)} subjects of another run, not {len(shares)}; delete it")
        if not len(found):
            raise DataError(
                f"none of {len(shares)} simulated subjects has a place for a patch; begin anew in another folder, with "
                "more subjects or a larger extent"
            )
        return found

    def _few_patches(self) -> PatchSettings:
        """As many patches of a subject as are measured, in the proportion of the real ones."""
        patches = self._context.patches
        return fewer(patches, min(1.0, self._settings.measured / patches.per_subject))

    def _measure(self, patches: PatchSet) -> list[FloatArray]:
        """Features (patches, d) of each unit; those of a subject from rows spread evenly over its patches."""
        if self._unit == "patch":
            return list(features(patches.image, patches.label)[:, None])
        found = []
        for index in range(len(patches.subjects)):
            rows = np.flatnonzero(patches.subject == index)
            chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), self._settings.measured)).astype(int)]
            pairs = patches.pairs(chosen)
            found.append(features(pairs[:, 0], pairs[:, 1].astype(np.uint8)))
        return found


def _features_of(pool: PatchSet) -> FloatArray:
    """Features (n, d) of patches on disk, some of them in memory at a time."""
    found = []
    for first in range(0, len(pool), _AT_ONCE):
        pairs = pool.pairs(np.arange(first, min(first + _AT_ONCE, len(pool))))
        found.append(features(pairs[:, 0], pairs[:, 1].astype(np.uint8)))
    return np.concatenate(found)
