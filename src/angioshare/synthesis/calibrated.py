"""Synthesizer `calibrated`: a public simulator, fitted to one private release of a few numbers per cohort.

1. Public: subjects of the simulator's wide prior teach which numbers of a subject say most about its site.
2. Private, once: each training subject gives those numbers, bounded; their mean is released with Gaussian noise.
3. Post-processing: sites are drawn from what the noisy mean leaves likely, a subject from each, patches from those.

The unit is the subject: a dozen people and an epsilon of 1 are too little for a network and enough for a few numbers.
"""

from pathlib import Path

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file, save_file

from angioshare.errors import DataError, SettingsError
from angioshare.patches.extract import PatchSettings
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store, write_patchset
from angioshare.privacy.release import Release
from angioshare.progress import Progress
from angioshare.protocols import EVERY_UNIT, Context, EngineFactory, Schedule
from angioshare.rng import seed_for, stream
from angioshare.rundir import atomic_path, read_json, write_json
from angioshare.settings import Settings
from angioshare.simulator.many import simulate_each
from angioshare.simulator.prior import PRIORS
from angioshare.synthesis.calibration.regression import Calibration, learn
from angioshare.synthesis.calibration.statistics import NAMES, statistics
from angioshare.synthesis.rivals import Pairs
from angioshare.synthesis.simulated import cut_simulated, joined
from angioshare.types import FloatArray

RELEASE = "release.json"
"""What was released about the cohort: made once, used ever after."""

_LESSONS = "lessons.safetensors"
_AT_ONCE = 8


class CalibratedSettings(Settings):
    """Settings of the calibrated simulator. None of them may be chosen by a look at the cohort."""

    prior: str = Field("wide", description="Range of sites that is searched.")
    lessons: int = Field(240, ge=4, le=100_000, description="Simulated subjects that teach what statistics mean.")
    numbers: int = Field(8, ge=1, le=40, description="How many numbers are released.")
    subjects: int = Field(24, ge=1, le=10_000, description="Subjects drawn from the fitted sites.")
    measured: int = Field(200, ge=2, le=100_000, description="Patches of a subject that its statistics are taken from.")
    workers: int = Field(1, ge=0, le=256, description="Processes that simulate; 0 takes one for each core.")


class Calibrated:
    """See the module."""

    Settings = CalibratedSettings

    def __init__(self, settings: CalibratedSettings, context: Context) -> None:
        """Refuse what cannot be: another unit than the subject in a private run, an unknown prior."""
        if settings.prior not in PRIORS:
            raise SettingsError(f"prior={settings.prior!r} does not exist; choose one of {', '.join(sorted(PRIORS))}")
        if context.provenance == "dp" and context.unit != "subject":
            raise SettingsError("calibrated protects subjects alone; set privacy.unit='subject'")
        self._settings, self._context = settings, context
        self._prior = PRIORS[settings.prior]

    def schedule(self) -> Schedule:
        """See `Synthesizer.schedule`: one release, in which everybody takes part."""
        return Schedule(steps=1, units=EVERY_UNIT, patches_per_unit=self._context.patches.per_subject)

    def work(self) -> int:
        """See `Synthesizer.work`: simulated subjects."""
        return self._settings.lessons + self._settings.subjects

    def fit(
        self, patches: PatchSet, engine: EngineFactory | None, *, seed: int, folder: Path, progress: Progress
    ) -> None:
        """See `Synthesizer.fit`. Whatever was finished is kept: simulated lessons, the release, the patches."""
        target = folder / "patches"
        if target.exists():
            return
        calibration = self._learn(seed, folder, progress)
        release = self._release(patches, engine, calibration, folder)
        s = self._settings
        shares = calibration.sites(release, s.subjects, stream(seed, "calibrated", "sites"))
        seeds = [seed_for(seed, "calibrated", "subject", str(index)) for index in range(s.subjects)]
        sites = [self._prior.site(row) for row in shares]
        progress.start("simulate fitted sites", s.subjects)
        made = simulate_each(list(zip(sites, seeds, strict=True)), s.workers)
        parts = cut_simulated(made, self._context.patches, seed=seed, progress=progress)
        write_patchset(target, joined(parts, self._context.provenance), {"prior": s.prior, "subjects": s.subjects})
        progress.finish()

    def load(self, folder: Path, patches: PatchSet) -> Pairs:
        """See `Synthesizer.load`."""
        del patches
        return Pairs(open_store(folder / "patches"))

    def _learn(self, seed: int, folder: Path, progress: Progress) -> Calibration:
        """Simulate lessons, or go on where an earlier start ended."""
        s = self._settings
        shares = stream(seed, "calibrated", "lessons").random((s.lessons, len(self._prior)))
        path = folder / _LESSONS
        found = load_file(path)["statistics"] if path.exists() else np.zeros((0, len(NAMES)))
        if found.shape[1] != len(NAMES) or len(found) > s.lessons:
            raise DataError(f"{path} holds {found.shape} statistics of another run; delete it to simulate anew")
        progress.start("simulate lessons", s.lessons, len(found))
        while len(found) < s.lessons:
            rows = range(len(found), min(len(found) + _AT_ONCE * max(s.workers, 1), s.lessons))
            seeds = [seed_for(seed, "calibrated", "lesson", str(row)) for row in rows]
            sites = [self._prior.site(shares[row]) for row in rows]
            made = simulate_each(list(zip(sites, seeds, strict=True)), s.workers)
            parts = cut_simulated(made, self._few_patches(), seed=seed, progress=progress)
            found = np.concatenate([found, [statistics(part.image, part.label) for part in parts]])
            with atomic_path(path) as temporary:
                save_file({"statistics": found}, temporary)
        progress.finish()
        return learn(shares, found, s.numbers)

    def _few_patches(self) -> PatchSettings:
        """As many patches of a subject as are measured, in the proportion of the real ones."""
        patches = self._context.patches
        share = min(1.0, self._settings.measured / patches.per_subject)
        few = {"vessel": round(patches.vessel * share), "random": round(patches.random * share)}
        return patches.model_copy(update=few)

    def _release(
        self, patches: PatchSet, engine: EngineFactory | None, calibration: Calibration, folder: Path
    ) -> Release:
        """The noisy mean: the stored one if there is one, since a second one would cost again."""
        path, made_by = folder / RELEASE, calibration.digest()
        if path.exists():
            return _stored(path, self._settings.numbers, made_by)
        vectors = np.array([calibration.vector(one) for one in self._measure(patches)])
        release = Release(mean=vectors.mean(axis=0), noise_std=0.0) if engine is None else engine.mean(vectors)
        write_json(path, {"mean": release.mean.tolist(), "noise_std": release.noise_std, "by": made_by}, private=True)
        return release

    def _measure(self, patches: PatchSet) -> list[FloatArray]:
        """Statistics of each subject, from rows spread evenly over its patches."""
        found = []
        for index in range(len(patches.subjects)):
            rows = np.flatnonzero(patches.subject == index)
            chosen = rows[np.linspace(0, len(rows) - 1, min(len(rows), self._settings.measured)).astype(int)]
            pairs = patches.pairs(chosen)
            found.append(statistics(pairs[:, 0], pairs[:, 1].astype(np.uint8)))
        return found


def _stored(path: Path, numbers: int, made_by: str) -> Release:
    """Read a release, or say that it does not fit."""
    value = read_json(path)
    try:
        release = Release(mean=np.array(value["mean"], np.float64), noise_std=float(value["noise_std"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}); deleting it would charge a new release") from error
    if release.mean.shape != (numbers,) or not np.isfinite(release.mean).all() or value.get("by") != made_by:
        raise DataError(
            f"{path} holds {release.mean.shape} numbers of other lessons or settings (numbers={numbers}); go back to "
            "those that it was made with, or delete it: that charges a new release"
        )
    return release
