"""Synthesizer `feature-matching`: pairs whose mean features match one noisy mean over the cohort.

1. Public: subjects of the simulator's wide prior teach a small network features that tell sites apart, of image and
   label together.
2. Private, once: the mean of each unit's features, bounded, is released with Gaussian noise.
3. Post-processing: simulated pairs are weighted so that their mean features match it, as far as the noise lets them.
   They are handed out, or a generator that learnt from simulated pairs is moved until it matches the same.

Source: Harder et al. (2021), "DP-MERF: differentially private mean embeddings with random features for practical
privacy-preserving data generation"; Harder et al. (2023), "Pre-trained perceptual features improve differentially
private image generation" (DP-MEPF).
"""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_weights
from torch import nn

from angioshare.errors import DataError, SettingsError
from angioshare.models.generator import doublings
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store, write_patchset
from angioshare.privacy.release import Release
from angioshare.progress import Progress
from angioshare.protocols import EVERY_UNIT, Context, EngineFactory, Schedule, TrainedSynthesizer
from angioshare.rng import seed_for, stream
from angioshare.rundir import atomic_path
from angioshare.simulator.many import simulate_each
from angioshare.simulator.prior import prior_of
from angioshare.synthesis.evolution_population import few_patches
from angioshare.synthesis.matching_features import Features, learn_features, numbers_of
from angioshare.synthesis.matching_generator import first_training, goal_of, label_from, train_generator
from angioshare.synthesis.matching_weights import Weighted, match_weights
from angioshare.synthesis.releasing import release_once
from angioshare.synthesis.sampling import WEIGHTS, TrainedGenerator
from angioshare.synthesis.simulated import ProtocolSettings, cut_simulated, joined
from angioshare.synthesis.wgan import Wgan
from angioshare.team import Team
from angioshare.types import FloatArray

RELEASE = "release.json"
"""What was released about the cohort: made once, used ever after."""

_FEATURES = "features.safetensors"
_POOL_WEIGHTS = "weights.safetensors"


class MatchingSettings(ProtocolSettings):
    """Settings of feature matching. None of them may be chosen by a look at the cohort."""

    prior: str = Field("wide", description="Range of sites that simulated pairs come from.")
    lessons: int = Field(48, ge=4, le=10_000, description="Simulated subjects, each from a site of its own.")
    measured: int = Field(200, ge=2, le=100_000, description="Patches of each simulated subject.")
    feature_steps: int = Field(600, ge=1, description="Updates of the network that learns features.")
    numbers: int = Field(8, ge=1, le=512, description="Features that are released; lessons must be more.")
    products: int = Field(0, ge=0, le=64, description="The first so many features are also released as products.")
    draws: Literal["generator", "simulated"] = Field(
        "simulated", description="Hand out the weighted simulated pairs, or those of a generator that was matched."
    )
    features: int = Field(16, ge=1, le=512, description="Base width f of the generator.")
    z: int = Field(64, ge=1, le=4096, description="Width of the latent vector z ~ N(0, I).")
    first_iterations: int = Field(1_000, ge=1, description="Generator updates of the WGAN on simulated pairs.")
    steps: int = Field(200, ge=1, description="Updates that then match the generator.")
    batch: int = Field(64, ge=2, description="Pairs of an update, of the feature network and in matching.")
    learning_rate: float = Field(1e-4, gt=0, le=1, description="Of Adam, in matching.")
    checkpoint_every: int = Field(100, ge=1, description="Updates of matching between two checkpoints.")
    workers: int = Field(1, ge=0, le=256, description="Processes that simulate; 0 takes one for each core.")


class FeatureMatching:
    """See the module."""

    Settings = MatchingSettings
    learns_from = "a public simulator matched to a few learnt features of the training subjects"

    def __init__(self, settings: MatchingSettings, context: Context) -> None:
        """Refuse an unknown prior, more numbers than lessons can teach, and patches that no generator makes."""
        if settings.numbers >= settings.lessons or settings.products > settings.numbers:
            raise SettingsError(
                f"numbers={settings.numbers} must be below lessons={settings.lessons}, and products="
                f"{settings.products} at most numbers; simulate more lessons or release less"
            )
        if settings.draws == "generator":
            doublings(context.patches.size)
        self._settings, self._context = settings, context
        self._prior = prior_of(settings.prior, settings.known)

    def schedule(self) -> Schedule:
        """See `Synthesizer.schedule`: one release, in which everybody takes part."""
        subject = self._context.unit == "subject"
        per_unit = self._context.patches.per_subject if subject else 1
        return Schedule(steps=1, units=EVERY_UNIT, patches_per_unit=per_unit, own_bound=True)

    def work(self) -> int:
        """See `Synthesizer.work`: simulated subjects, then updates of both networks."""
        s = self._settings
        return s.lessons + s.feature_steps + (s.first_iterations + s.steps if s.draws == "generator" else 0)

    def fit(
        self, patches: PatchSet, engine: EngineFactory | None, *, seed: int, folder: Path, progress: Progress
    ) -> None:
        """See `Synthesizer.fit`. Whatever was finished is kept: simulated pairs, features, the release, the result."""
        s = self._settings
        result = folder / (WEIGHTS if s.draws == "generator" else _POOL_WEIGHTS)
        if result.exists():
            return
        if s.draws == "generator" and Team().size > 1:
            raise SettingsError(
                f"draws='generator' trains in one process, not in {Team().size}; start it without torchrun"
            )
        shares = stream(seed, "matching", "lessons").random((s.lessons, len(self._prior)))
        pool = self._pool(shares, seed, folder, progress)
        features = self._features(pool, shares, seed, folder, progress)
        release = release_once(
            folder / RELEASE,
            lambda: self._vectors(patches, features),
            engine,
            numbers=len(features.mean),
            made_by=features.digest(),
        )
        weights = self._weights(release, features, pool, len(patches.subjects))
        if s.draws == "simulated":
            with atomic_path(result, private=True) as temporary:
                save_file({"weights": weights}, temporary)
            return
        first = folder / "first"
        if not (first / WEIGHTS).exists():
            first.mkdir(exist_ok=True)
            self._first().fit(pool, None, seed=seed, folder=first, progress=progress)
        G, threshold = self._after_one_training(folder)
        train_generator(
            G, features, goal_of(features, pool, weights), threshold=threshold, z=s.z, steps=s.steps, batch=s.batch,
            learning_rate=s.learning_rate, every=s.checkpoint_every, seed=seed, folder=folder, progress=progress,
        )  # fmt: skip

    def load(self, folder: Path, patches: PatchSet) -> TrainedSynthesizer:
        """See `Synthesizer.load`."""
        del patches
        s, provenance = self._settings, self._context.provenance
        if s.draws == "simulated":
            weights = load_file(folder / _POOL_WEIGHTS)["weights"]
            return Weighted(open_store(folder / "simulated"), weights, provenance)
        G, threshold = self._after_one_training(folder)
        return TrainedGenerator(G, folder / WEIGHTS, s.z, threshold, provenance)

    def _first(self) -> Wgan:
        """The WGAN on simulated pairs."""
        s = self._settings
        public = Context(patches=self._context.patches, provenance="public")
        return Wgan(first_training(s.features, s.z, s.first_iterations), public)

    def _after_one_training(self, folder: Path) -> tuple[nn.Sequential, float]:
        """The generator that learnt from simulated pairs, and the threshold of its labels."""
        G, _ = self._first().networks(0)
        G.load_state_dict(load_weights(folder / "first" / WEIGHTS))
        return G, label_from(G, self._settings.z)

    def _pool(self, shares: FloatArray, seed: int, folder: Path, progress: Progress) -> PatchSet:
        """Simulate a subject at each place in the prior, or take what was simulated before."""
        s, path = self._settings, folder / "simulated"
        if not path.exists():
            few = few_patches(self._context.patches, s.measured)
            seeds = [seed_for(seed, "matching", "lesson", str(row)) for row in range(s.lessons)]
            wanted = [(self._prior.site(row), one) for row, one in zip(shares, seeds, strict=True)]
            progress.start(f"simulate {s.prior}", s.lessons)
            parts = list(cut_simulated(simulate_each(wanted, s.workers), few, seed=seed, progress=progress))
            progress.finish()
            pairs = joined(parts)
            owner = np.repeat(np.arange(s.lessons), [len(part.image) for part in parts])
            names = tuple(part.subject for part in parts)
            write_patchset(
                path,
                PatchSet(image=pairs.image, label=pairs.label, subject=owner, subjects=names, provenance="public"),
                {"prior": s.prior, "seed": seed},
            )
        pool = open_store(path)
        if len(pool.subjects) != s.lessons or pool.image.shape[1] != self._context.patches.size:
            raise DataError(f"{path} holds {len(pool.subjects)} subjects of other settings; delete it to simulate anew")
        return pool

    def _features(self, pool: PatchSet, shares: FloatArray, seed: int, folder: Path, progress: Progress) -> Features:
        """Learn what is matched, or take what was learnt before."""
        s, path = self._settings, folder / _FEATURES
        if path.exists():
            try:
                return Features.unpacked(path.read_bytes())
            except (SafetensorError, KeyError, RuntimeError) as error:
                raise DataError(f"{path} is damaged ({error}); delete it to learn features anew") from error
        features = learn_features(
            pool, pool.subject, shares, numbers=s.numbers, products=s.products, steps=s.feature_steps, batch=s.batch,
            by_subject=self._context.unit == "subject", seed=seed, progress=progress,
        )  # fmt: skip
        with atomic_path(path) as temporary:
            temporary.write_bytes(features.packed())
        return features

    def _vectors(self, patches: PatchSet, features: Features) -> FloatArray:
        """One vector of numbers for each unit, from this unit alone; patches go through the network by subject."""
        rows = [np.flatnonzero(patches.subject == index) for index in range(len(patches.subjects))]
        found = [numbers_of(features, patches, own) for own in rows]
        if self._context.unit == "patch":
            return np.concatenate(found)
        return np.array([own.mean(axis=0) if len(own) else np.zeros(len(features.mean)) for own in found])

    def _weights(self, release: Release, features: Features, pool: PatchSet, subjects: int) -> FloatArray:
        """Weights of simulated pairs; a mean over few subjects is not taken for that of a site, even without noise."""
        numbers = numbers_of(features, pool, np.arange(len(pool)))
        means = np.array([numbers[pool.subject == index].mean(axis=0) for index in range(len(pool.subjects))])
        return match_weights(numbers, release.mean, release.noise_std**2 + means.var(axis=0) / max(subjects, 1) + 1e-9)
