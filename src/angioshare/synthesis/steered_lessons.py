"""What readers of simulated sites teach: a reader of all of them, and in which directions single sites move it. Public.

1. Subjects of the prior are simulated, each from a site of its own, and the first reader is trained on all their pairs.
2. For each subject that reader is trained a little further on this subject's pairs alone: its move.
3. The principal directions of the moves are kept.

None of it depends on the cohort, the run, its epsilon or its seed, so it is made once and kept in the user's cache.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from time import sleep

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from torch import Tensor

import angioshare.models
import angioshare.patches
import angioshare.segmentation
import angioshare.simulator
from angioshare.errors import BusyError, DataError, SettingsError
from angioshare.models.gains import Gains, with_gains
from angioshare.parallel import run_jobs
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store, read_manifest, write_store
from angioshare.progress import Progress, Weighted
from angioshare.protocols import Context
from angioshare.rng import seed_for, stream
from angioshare.rundir import atomic_path, locked
from angioshare.segmentation.fit import batches, flushed_denormals, soft_dice_loss
from angioshare.segmentation.folded import folded_forward
from angioshare.segmentation.settings import UnetSettings
from angioshare.segmentation.trained import TrainedUnet
from angioshare.simulator.many import simulate_each
from angioshare.simulator.prior import prior_of
from angioshare.synthesis import readers, simulated, steered_directions
from angioshare.synthesis.calibration.lessons import cache_folder
from angioshare.synthesis.paces import learning, simulating
from angioshare.synthesis.readers import READER, ReaderSettings, first_reader, in_steps
from angioshare.synthesis.simulated import cut_simulated, fewer
from angioshare.synthesis.steered_directions import Directions, learn_directions
from angioshare.types import FloatArray

DIRECTIONS = "directions.safetensors"
"""File of the directions, beside the first reader."""

MOST_NUMBERS = 32
"""Directions that are kept; a run takes as many of the first as it asks for."""

_SEED = 1
"""Of all lessons: they are public knowledge, and no run needs its own."""

_FIRST = ("first_iterations", "first_batch", "first_learning_rate")
"""Settings of the first training, which lessons depend on."""

_WAIT_S = 2.0
"""Between two looks at whether another process has made them."""


@dataclass(frozen=True, kw_only=True)
class Moving:
    """How a reader is trained further on one subject: the same for simulated and for real ones.

    Attributes:
        steps: Steps of Adam on the soft Dice.
        batch: Windows in each; one for all of them, of one patch each.
        crop: Edge of a window in pixels, at most that of a patch.
        learning_rate: Of Adam.
        levels: How many levels have gains, see `models.gains`: all weights would mostly move at random.
    """

    steps: int
    batch: int
    crop: int
    learning_rate: float
    levels: int

    def move(self, reader: TrainedUnet, patches: PatchSet) -> FloatArray:
        """The gains and shifts (D,) that it ends with, a mean over the second half of the steps; zeros without patches.

        Guarantees:
            It depends on the reader and these patches alone: the seed is the same for every subject. Nothing is raised,
            since that would reveal something; a training that breaks down gives numbers that are not finite.
        """
        gains = Gains(reader.network, self.levels, folded_forward)
        total, kept = np.zeros_like(gains.flat()), range(self.steps // 2, self.steps)
        if len(patches) == 0:
            return total
        optimiser = torch.optim.Adam([gains.values], lr=self.learning_rate)
        settings, device = UnetSettings(batch=self.batch), gains.values.device
        corners = stream(_SEED, "readers", "crop")
        with flushed_denormals():
            for step, pairs in enumerate(batches(patches, settings, _SEED, self.steps)):
                image, label = (part.to(device) for part in self._window(pairs, corners))
                loss = soft_dice_loss(gains(reader.standardised(image)), label)
                optimiser.zero_grad()
                torch.autograd.backward(loss)
                optimiser.step()
                if step in kept:
                    total += gains.flat()
        return np.asarray(total / len(kept), np.float32)

    def seconds(self, size: int, width: int) -> float:
        """How long it takes on one core, where patches have this edge and the reader's finest level this width."""
        return learning(self.steps * self.batch, min(self.crop, size), width)

    def moved(self, reader: TrainedUnet, move: FloatArray) -> TrainedUnet:
        """Give a reader the gains and shifts (D,), in place, and return it."""
        with_gains(reader.network, self.levels, move)
        return reader

    def _window(self, pairs: tuple[Tensor, Tensor], corners: np.random.Generator) -> tuple[Tensor, Tensor]:
        """The same window of all images and labels (n, 1, h, w)."""
        image, label = pairs
        edge = min(self.crop, image.shape[-1])
        top, left = corners.integers(0, image.shape[-1] - edge + 1, 2)
        window = (..., slice(top, top + edge), slice(left, left + edge))
        return image[window], label[window]


@dataclass(frozen=True, kw_only=True)
class _Move:
    """The move of one simulated subject, left in a file; a job of `parallel`."""

    pairs: Path
    subject: int
    reader: Path
    moving: Moving
    device: str
    out: Path

    def steps(self) -> int:
        """See `Job.steps`."""
        return 1

    def done(self) -> bool:
        """See `Job.done`."""
        return self.out.exists()

    def run(self, progress: Progress) -> None:
        """See `Job.run`."""
        store = open_store(self.pairs)
        pairs = store.pairs(np.flatnonzero(store.subject == self.subject))
        own = PatchSet(image=pairs[:, 0], label=pairs[:, 1].astype(np.uint8), provenance="public")
        move = self.moving.move(TrainedUnet.load(self.reader, self.device), own)
        with atomic_path(self.out) as temporary:
            save_file({"move": move}, temporary)
        progress.advance()


@dataclass(frozen=True, kw_only=True)
class Lessons:
    """How lessons are made.

    Attributes:
        count: Simulated subjects.
        extent: Share of its slices that is simulated of each.
        reader: Prior, network and its first training.
        context: How patches are cut, where networks run, and where a public cohort's patches stand.
        moving: How a reader is trained further on one subject.
    """

    count: int
    extent: float
    reader: ReaderSettings
    context: Context
    moving: Moving

    def work(self) -> int:
        """Steps that progress is told of: those of the first training, and all else by its time; see `readers`."""
        return self.count * (self._scanning() + self._move()) + self.reader.first_iterations

    def _scanning(self) -> int:
        return in_steps(simulating(1, self.extent), self.reader, self.context.patches.size)

    def _move(self) -> int:
        size = self.context.patches.size
        return in_steps(self.moving.seconds(size, self.reader.channels[0]), self.reader, size)

    def learn(self, folder: Path, progress: Progress) -> tuple[TrainedUnet, Directions]:
        """Make the lessons in the user's cache, or take those that are there; a copy is left in `folder`.

        Of processes that want the same lessons, one at a time works; a killed one's parts are gone on with.

        Args:
            folder: Of the source.
            progress: Told of subjects, steps, and subjects again.

        Returns:
            The first reader, and `MOST_NUMBERS` directions or as many as the subjects allow.

        Raises:
            DataError: What stands in the cache or the copy in `folder` is damaged.
        """
        if (folder / DIRECTIONS).exists():
            progress.advance(steps=self.work())
        else:
            self._copy(self._shared(folder, progress), folder)
        return TrainedUnet.load(folder / READER, self.context.device), _read(folder / DIRECTIONS)

    def _shared(self, folder: Path, progress: Progress) -> Path:
        """The folder where they stand."""
        shared = cache_folder(os.environ).with_name("readers") / self.key()
        while not (shared / DIRECTIONS).exists():
            try:
                with locked(shared / "lock"):
                    self._make(shared, progress)
                    return shared
            except BusyError:
                progress.advance("another process makes them", 0)
                sleep(_WAIT_S)
            except DataError:  # a cache that cannot be written or locked costs time, nothing else
                self._make(folder / "lessons", progress)
                return folder / "lessons"
        progress.advance(steps=self.work())
        return shared

    def _copy(self, made: Path, folder: Path) -> None:
        """Leave a copy beside the run, directions last: with them it is whole. What is damaged is not copied."""
        _read(made / DIRECTIONS)
        for name in (READER, DIRECTIONS):
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(made / name, temporary)

    def _make(self, folder: Path, progress: Progress) -> None:
        """Make them, or go on where a killed process stopped."""
        if (folder / DIRECTIONS).exists():
            return
        pairs, reader, moves = folder / "pairs", folder / READER, folder / "moves"
        moves.mkdir(parents=True, exist_ok=True)
        if not pairs.exists():
            self._simulate(pairs, Weighted(progress, self._scanning()))
        store = open_store(pairs)
        public = PatchSet(image=store.image, label=store.label, provenance="public")
        first_reader(reader, self.reader, public, self.context, seed=_SEED, progress=progress)
        jobs = [
            _Move(
                pairs=pairs,
                subject=n,
                reader=reader,
                moving=self.moving,
                device=self.context.device,
                out=moves / str(n),
            )
            for n in range(len(store.subjects))
        ]
        workers = self.reader.workers or os.cpu_count() or 1
        moved = Weighted(progress, self._move())
        run_jobs(jobs, task="move the reader to each site", workers=workers, progress=moved)
        made = np.stack([load_file(job.out)["move"] for job in jobs])
        made = made[np.isfinite(made).all(axis=1)]
        if len(made) < 2:
            raise SettingsError(
                f"the move of {len(jobs) - len(made)} of {len(jobs)} simulated sites is no number, and 2 that are are "
                "needed at least; lower move_learning_rate"
            )
        directions = learn_directions(made, min(MOST_NUMBERS, len(made) - 1))
        with atomic_path(folder / DIRECTIONS) as temporary:
            save_file({"mean": directions.mean, "axes": directions.axes, "places": directions.places}, temporary)
        shutil.rmtree(moves)
        shutil.rmtree(pairs)

    def _simulate(self, path: Path, progress: Progress) -> None:
        """Subjects of the prior, each from a site of its own, cut into patches and told apart."""
        prior, workers = prior_of(self.reader.site, self.reader.known), self.reader.workers
        shares = stream(_SEED, "readers", "lessons").random((self.count, len(prior)))
        wanted = [(prior.site(row), seed_for(_SEED, "readers", "lesson", str(n))) for n, row in enumerate(shares)]
        few = fewer(self.context.patches, self.extent)
        progress.start("simulate sites for readers", self.count)
        made = simulate_each(wanted, workers, self.extent)
        write_store(path, cut_simulated(made, few, seed=_SEED, progress=progress), few, seed=_SEED)
        progress.finish()

    def key(self) -> str:
        """Name what lessons depend on: settings, and the code that simulates, cuts and trains."""
        reader = self.reader.model_dump_json(include={"site", "known", "channels", *_FIRST})
        cut, device = self.context.patches.model_dump_json(), self.context.device
        text = f"{self.count} {self.extent} {reader} {cut} {self.moving!r} {device}"
        if self.context.public is not None:
            text += f" {self.reader.public_share} {read_manifest(self.context.public)['sha256']}"
        state = hashlib.sha256(text.encode())
        code = [Path(__file__), *(Path(str(one.__file__)) for one in (steered_directions, simulated, readers))]
        for package in (angioshare.simulator, angioshare.patches, angioshare.segmentation, angioshare.models):
            code += sorted(Path(str(package.__file__)).parent.glob("*.py"))
        for path in code:
            state.update(path.read_bytes())
        return state.hexdigest()[:32]


def _read(path: Path) -> Directions:
    try:
        found = load_file(path)
        return Directions(mean=found["mean"], axes=found["axes"], places=found["places"])
    except (OSError, SafetensorError, KeyError) as error:
        raise DataError(f"{path} is damaged ({error}); delete it to learn directions anew") from error
