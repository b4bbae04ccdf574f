"""One generation of prototypes: simulated subjects at places in the prior, measured, and kept as they come.

All of it is public: it follows from the seed and from histograms that were released before.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from angioshare.errors import DataError
from angioshare.patches.extract import PatchSettings, SubjectPatches
from angioshare.progress import Progress
from angioshare.rng import seed_for
from angioshare.rundir import atomic_path
from angioshare.simulator.many import simulate_each
from angioshare.simulator.prior import Prior
from angioshare.synthesis.calibration.regression import learn
from angioshare.synthesis.calibration.statistics import NAMES, statistics
from angioshare.synthesis.simulated import cut_simulated
from angioshare.types import FloatArray

_AT_ONCE = 8

Embedding = Callable[[FloatArray], FloatArray]
"""One subject's statistics (d,) -> place (k,), finite whatever the statistics hold."""


@dataclass(frozen=True, kw_only=True)
class Population:
    """Prototypes and what was measured of them.

    Attributes:
        shares: Place of each prototype in the prior's range, shape (K, p), in [0, 1].
        statistics: Of the subjects that each simulated, shape (K, each, d).
    """

    shares: FloatArray
    statistics: FloatArray

    def embedded(self, embed: Embedding) -> FloatArray:
        """Place (K, k) of each prototype: the mean over its subjects."""
        return np.array([np.mean([embed(one) for one in subjects], axis=0) for subjects in self.statistics])

    def embedding(self, numbers: int) -> Embedding:
        """Learn from these subjects which combinations of statistics say most about the parameters."""
        each = self.statistics.shape[1]
        flat = self.statistics.reshape(-1, self.statistics.shape[2])
        return learn(np.repeat(self.shares, each, axis=0), flat, numbers).vector

    def digest(self) -> str:
        """Name this population: votes for another one must not be taken for votes for it."""
        parts = (np.ascontiguousarray(part, np.float64).tobytes() for part in (self.shares, self.statistics))
        return hashlib.sha256(b"".join(parts)).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Breeder:
    """How prototypes are simulated.

    Attributes:
        prior: Range of sites.
        each: Subjects of one prototype.
        patches: How many patches of a subject are cut, and of what size.
        workers: Processes; 0 takes one for each core.
    """

    prior: Prior
    each: int
    patches: PatchSettings
    workers: int

    def population(self, shares: FloatArray, path: Path, *, seed: int, progress: Progress) -> Population:
        """Simulate and measure prototypes, or go on where an earlier start ended.

        Args:
            shares: Places (K, p) in the prior's range.
            path: File that keeps what was measured.
            seed: Drives the subjects.
            progress: Told of each subject.

        Raises:
            DataError: The file is damaged or of other prototypes.
        """
        total = len(shares) * self.each
        found = _kept(path, shares, total)
        progress.start("simulate prototypes", total, len(found))
        while len(found) < total:
            rows = range(len(found), min(len(found) + _AT_ONCE * max(self.workers, 1), total))
            seeds = [seed_for(seed, "evolution", "subject", str(row)) for row in rows]
            parts = self.subjects(shares[[row // self.each for row in rows]], seeds, self.patches, seed, progress)
            found = np.concatenate([found, [statistics(part.image, part.label) for part in parts]])
            with atomic_path(path) as temporary:
                save_file({"shares": shares, "statistics": found}, temporary)
        progress.finish()
        return Population(shares=shares, statistics=found.reshape(len(shares), self.each, -1))

    def subjects(
        self, shares: FloatArray, seeds: list[int], patches: PatchSettings, seed: int, progress: Progress
    ) -> list[SubjectPatches]:
        """Simulate one subject at each place and cut its patches."""
        sites = [self.prior.site(row) for row in shares]
        made = simulate_each(list(zip(sites, seeds, strict=True)), self.workers)
        return list(cut_simulated(made, patches, seed=seed, progress=progress))


def few_patches(patches: PatchSettings, most: int) -> PatchSettings:
    """Cut at most so many patches of a subject, centred on vessels and elsewhere in the proportion of the real ones.

    Example:
        >>> few_patches(PatchSettings(vessel=300, random=100), 200).per_subject
        200
    """
    share = min(1.0, most / patches.per_subject)
    few = {"vessel": round(patches.vessel * share), "random": round(patches.random * share)}
    return patches.model_copy(update=few)


def _kept(path: Path, shares: FloatArray, total: int) -> FloatArray:
    """Statistics (n, d) of the first subjects, as far as an earlier start came."""
    if not path.exists():
        return np.zeros((0, len(NAMES)))
    try:
        kept = load_file(path)
        found = kept["statistics"]
        sound = found.ndim == 2 and found.shape[1] == len(NAMES) and len(found) <= total
        sound = sound and np.array_equal(kept["shares"], shares)
    except (SafetensorError, KeyError, OSError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it to simulate anew") from error
    if not sound:
        raise DataError(f"{path} holds prototypes of other settings; go back to those, or delete it to simulate anew")
    return found
