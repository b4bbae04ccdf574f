"""PrivGAN: several generators on disjoint subjects, each of whom must not show whose subjects it saw.

Source: Mukherjee, Xu, Trivedi, Patowary & Ferres (2021), PrivGAN: protecting GANs from membership inference attacks at
low cost, arXiv:2001.00071, with warm-up and delay as in the authors' code. An inner adversary D_p guesses which of N
generators made a pair; each generator pays lambda times its success. This works against overfitting. It is NOT
differential privacy: nothing is bounded, noised or charged, and a private run is refused.

Splits are of subjects, since two patches of one person would tell an adversary the same. Networks are those of the
WGAN, with the logistic loss of the paper on their scores, so that lambda has its scale.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from angioshare.errors import SettingsError
from angioshare.models.generator import doublings
from angioshare.patches.patchset import PatchSet
from angioshare.progress import Progress
from angioshare.protocols import Context, EngineFactory, Schedule
from angioshare.rng import seed_for, stream
from angioshare.settings import Settings
from angioshare.synthesis.checkpoint import CHECKPOINT, Curve
from angioshare.synthesis.privgan_game import Game, game_of, splits_of, success
from angioshare.synthesis.privgan_mixture import Mixture, weights_of
from angioshare.synthesis.sampling import TrainedGenerator
from angioshare.synthesis.scoring import scores
from angioshare.types import IntArray


class PrivGanSettings(Settings):
    """Settings of PrivGAN."""

    pairs: int = Field(2, ge=2, le=64, description="Pairs N of generator and critic, each on subjects of its own.")
    privacy_weight: float = Field(
        1.0,
        ge=0,
        le=1e4,
        description="Lambda: what a generator pays for the adversary's success; 0 trains N plain GANs.",
    )
    warm_up: int = Field(500, ge=0, description="Updates of the adversary on real pairs, before any generator.")
    delay: int = Field(
        500, ge=0, description="Generator updates during which the adversary stays as it was after its warm-up."
    )
    features: int = Field(32, ge=1, le=512, description="Base width of generators, critics and adversary.")
    z: int = Field(128, ge=1, le=4096, description="Width of the latent vector z ~ N(0, I).")
    iterations: int = Field(5000, ge=1, description="Updates of each generator.")
    batch: int = Field(32, ge=1, description="Real pairs and generated pairs in an update.")
    learning_rate: float = Field(2e-4, gt=0, le=1, description="Of Adam, for all networks.")
    ema: float = Field(0.0, ge=0, lt=1, description="Decay of the generators' moving average; 0 samples the last ones.")
    threshold: float = Field(0.8, gt=0, lt=1, description="A generated label at or above this is vessel.")
    relative_threshold: bool = Field(
        False, description="Take the threshold as a share of each generator's own brightest labels, for short runs."
    )
    checkpoint_every: int = Field(200, ge=1, description="Generator updates between two checkpoints.")


class PrivGan:
    """Synthesizer `privgan`: see the module."""

    Settings = PrivGanSettings

    def __init__(self, settings: PrivGanSettings, context: Context) -> None:
        """Refuse patches that no generator makes."""
        doublings(context.patches.size)
        self._settings, self._context, self._device = settings, context, torch.device(context.device)

    def schedule(self) -> Schedule:
        """See `Synthesizer.schedule`: no step is private, so that a privacy setting is refused."""
        return Schedule(steps=0, units=1)

    def work(self) -> int:
        """See `Synthesizer.work`: updates of the adversary in its warm-up, then of the generators."""
        return self._settings.warm_up + self._settings.iterations

    def fit(
        self, patches: PatchSet, engine: EngineFactory | None, *, seed: int, folder: Path, progress: Progress
    ) -> None:
        """See `Synthesizer.fit`.

        Raises:
            SettingsError: An engine is given, or there are fewer subjects than pairs.
        """
        if engine is not None:
            raise SettingsError(
                "privgan gives no differential privacy; leave privacy out of this source, or take another synthesizer"
            )
        s = self._settings
        splits = splits_of(patches, s.pairs, seed)
        game = self._game(seed)
        checkpoint = game.checkpoint(folder / CHECKPOINT)
        done = checkpoint.load()
        curve = Curve(folder / "curve.json", done)
        progress.start("train", self.work(), s.warm_up + done if done else 0)
        if not done:
            self._warm_up(game, patches, splits, seed, progress)
        for iteration in range(done, s.iterations):
            z = torch.Generator().manual_seed(seed_for(seed, "privgan", "z", str(iteration)))
            rows = stream(seed, "privgan", "rows", str(iteration))
            self._update_critics(game, patches, splits, z, rows)
            if iteration >= s.delay:
                self._update_adversary(game, z)
            self._update_generators(game, z)
            if (iteration + 1) % s.checkpoint_every == 0 or iteration + 1 == s.iterations:
                curve.add(iteration + 1, {"adversary guesses right": self._guessed(game, z)})
                curve.save()
                checkpoint.save(iteration + 1)
            progress.advance("no differential privacy")
        progress.finish()
        for index in range(s.pairs):
            checkpoint.finish(weights_of(folder, index), f"average-{index}" if s.ema else f"generator-{index}")

    def load(self, folder: Path, patches: PatchSet) -> Mixture:
        """See `Synthesizer.load`."""
        del patches
        s, provenance = self._settings, self._context.provenance
        trained = [
            TrainedGenerator(G, weights_of(folder, index), s.z, s.threshold, provenance, relative=s.relative_threshold)
            for index, G in enumerate(self._game(0).generators)
        ]
        return Mixture(trained)

    def _warm_up(
        self, game: Game, patches: PatchSet, splits: Sequence[IntArray], seed: int, progress: Progress
    ) -> None:
        """Teach the adversary which subjects belong to which pair, from the real pairs themselves."""
        s = self._settings
        for update in range(s.warm_up):
            rows = stream(seed, "privgan", "warm-up", str(update))
            chosen = np.concatenate([rows.choice(split, s.batch) for split in splits])
            self._teach(game, torch.from_numpy(patches.pairs(chosen)).to(self._device))
            progress.advance("no differential privacy")

    def _update_critics(
        self,
        game: Game,
        patches: PatchSet,
        splits: Sequence[IntArray],
        z: torch.Generator,
        rows: np.random.Generator,
    ) -> None:
        """Each critic goes down -mean log D_i(x) - mean log(1 - D_i(G_i(z))) on subjects of its own."""
        s = self._settings
        latent = self._latent(z)
        for G, D, optimiser, split in zip(game.generators, game.critics, game.critic_optimisers, splits, strict=True):
            real = torch.from_numpy(patches.pairs(rows.choice(split, s.batch))).to(self._device)
            with torch.no_grad():
                synthetic = G(latent)
            # -log sigmoid(s) is softplus(-s), -log(1 - sigmoid(s)) is softplus(s).
            loss = functional.softplus(-D(real)).mean() + functional.softplus(D(synthetic)).mean()
            _step(optimiser, loss)

    def _update_adversary(self, game: Game, z: torch.Generator) -> None:
        """The adversary D_p learns which generator made a pair."""
        latent = self._latent(z)
        with torch.no_grad():
            made = torch.cat([G(latent) for G in game.generators])
        self._teach(game, made)

    def _teach(self, game: Game, pairs: Tensor) -> None:
        """D_p goes down -mean log p_i, for as many pairs of each i, one i after the other."""
        _step(game.adversary_optimiser, functional.cross_entropy(game.adversary(pairs), self._makers()))

    def _update_generators(self, game: Game, z: torch.Generator) -> None:
        """Each generator goes down -mean log D_i(G_i(z)) + lambda success(D_p, G_i(z))."""
        s = self._settings
        latent = self._latent(z)
        for network in (*game.critics, game.adversary):
            network.requires_grad_(False)
        for index, (G, D) in enumerate(zip(game.generators, game.critics, strict=True)):
            made = G(latent)
            loss = functional.softplus(-scores(D, made)).mean()
            if s.privacy_weight > 0:
                loss = loss + s.privacy_weight * success(scores(game.adversary, made), index)
            _step(game.generator_optimisers[index], loss)
            game.averages[index].update(G)
        for network in (*game.critics, game.adversary):
            network.requires_grad_(True)

    @torch.no_grad()
    def _guessed(self, game: Game, z: torch.Generator) -> float:
        """Share of generated pairs whose maker the adversary names: 1 / N is chance."""
        latent = self._latent(z)
        guesses = game.adversary(torch.cat([G(latent) for G in game.generators])).argmax(1)
        return float((guesses == self._makers()).float().mean())

    def _makers(self) -> Tensor:
        return torch.arange(self._settings.pairs, device=self._device).repeat_interleave(self._settings.batch)

    def _latent(self, z: torch.Generator) -> Tensor:
        return torch.randn(self._settings.batch, self._settings.z, 1, 1, generator=z).to(self._device)

    def _game(self, seed: int) -> Game:
        """All networks with their initial weights."""
        s = self._settings
        weights = torch.Generator().manual_seed(seed_for(seed, "privgan", "weights"))
        size, rate = self._context.patches.size, s.learning_rate
        return game_of(s.pairs, size, s.features, s.z, rate=rate, ema=s.ema, weights=weights, device=self._device)


def _step(optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
    optimiser.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    optimiser.step()
