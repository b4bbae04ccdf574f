from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from angioshare.cohort.subject import LoadedSubject
from angioshare.errors import DataError
from angioshare.metrics.overlap import dice
from angioshare.patches.patchset import PatchSet
from angioshare.progress import SilentProgress
from angioshare.segmentation import select as select_module
from angioshare.segmentation.infer import segment_volume
from angioshare.segmentation.select import Selection, select_unet
from angioshare.segmentation.settings import SegmentationSettings
from angioshare.segmentation.sharing import mapped
from angioshare.segmentation.trained import TrainedUnet

GRID = SegmentationSettings(
    channels=(4, 8), batch=8, steps=25, learning_rates=(1e-5, 0.02), dropouts=(0.0,), augmentations=(False,)
)


def scene(seed: int, shape: tuple[int, int, int] = (16, 16, 4)) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    image, label = rng.normal(-0.5, 0.1, shape).astype(np.float32), np.zeros(shape, np.uint8)
    for k, start in enumerate(rng.integers(2, 12, shape[2])):
        label[start : start + 2, :, k] = 1
    image[label == 1] = 0.9
    return image, label


@dataclass(frozen=True)
class Phantom:
    """A validation subject that is made when it is read."""

    id: str
    seed: int

    def load(self) -> LoadedSubject:
        angio, label = scene(self.seed)
        return LoadedSubject(angio=angio, label=label, brain=None, spacing_mm=(1.0, 1.0, 1.0), affine=np.eye(4))


SUBJECTS = [Phantom("sub-1", 101), Phantom("sub-2", 102)]


def patches(seed: int = 0) -> PatchSet:
    image, label = (np.moveaxis(part, 2, 0) for part in scene(seed, (16, 16, 12)))
    return PatchSet(image=np.ascontiguousarray(image), label=np.ascontiguousarray(label))


def choose(
    folder: Path, source: PatchSet | None = None, subjects=SUBJECTS, seed: int = 1, workers: int = 1, **changes
) -> Selection:
    return select_unet(
        patches() if source is None else source,
        subjects,
        GRID.model_copy(update=changes),
        folder=folder,
        seed=seed,
        progress=SilentProgress(),
        workers=workers,
    )


def times(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_the_best_is_the_one_with_the_highest_mean_dice_on_validation_volumes(tmp_path):
    selection = choose(tmp_path)
    assert [score.settings.learning_rate for score in selection.scores] == [1e-5, 0.02]
    assert selection.best is selection.scores[1]
    assert selection.best.mean_dice > 0.9 > selection.scores[0].mean_dice
    assert list(selection.best.dice) == ["sub-1", "sub-2"]


def test_scores_are_those_of_the_saved_weights_on_whole_volumes(tmp_path):
    best = choose(tmp_path).best
    angio, label = scene(102)
    found = segment_volume(TrainedUnet.load(best.weights), angio, size=16)
    assert best.dice["sub-2"] == pytest.approx(dice(label, found))


def test_a_second_call_trains_and_measures_nothing_and_says_the_same(tmp_path):
    first, before = choose(tmp_path), times(tmp_path)
    assert choose(tmp_path) == first
    assert times(tmp_path) == before


def test_after_a_loss_only_the_lost_u_net_is_trained_again_and_is_the_same(tmp_path):
    first, before = choose(tmp_path), times(tmp_path)
    (tmp_path / "unet-1.safetensors").unlink()
    assert choose(tmp_path) == first
    assert times(tmp_path)["unet-0.safetensors"] == before["unet-0.safetensors"]


def test_other_patches_or_another_seed_train_anew(tmp_path):
    choose(tmp_path)
    for source, seed in ((patches(5), 1), (patches(5), 2)):
        before = times(tmp_path)
        choose(tmp_path, source, seed=seed)
        assert all(times(tmp_path)[name] > before[name] for name in before)


def test_other_validation_subjects_measure_again_without_training(tmp_path):
    choose(tmp_path)
    before = times(tmp_path)
    assert list(choose(tmp_path, subjects=SUBJECTS[:1]).best.dice) == ["sub-1"]
    assert times(tmp_path)["unet-1.safetensors"] == before["unet-1.safetensors"]


def test_other_turns_measure_again_without_training_and_read_each_slice_so_often(tmp_path, monkeypatch):
    choose(tmp_path)
    before, shown = times(tmp_path), []
    plain = TrainedUnet.probability

    def counted(self, image):
        shown.append(image)
        return plain(self, image)

    monkeypatch.setattr(TrainedUnet, "probability", counted)
    best = choose(tmp_path, turns=4).best
    assert times(tmp_path)["unet-1.safetensors"] == before["unet-1.safetensors"]
    assert times(tmp_path)["unet-1.scores.json"] > before["unet-1.scores.json"]
    assert len(shown) == 2 * 2 * 4  # U-Nets, subjects, turns
    angio, label = scene(102)
    found = segment_volume(TrainedUnet.load(best.weights), angio, size=16, turns=4)
    assert best.dice["sub-2"] == pytest.approx(dice(label, found))


def test_an_interrupted_measurement_leaves_the_u_net_and_goes_on(tmp_path, monkeypatch):
    def full_disk(*args: object, **more: object) -> None:
        raise DataError("disk full")

    monkeypatch.setattr(select_module, "write_json", full_disk)
    with pytest.raises(DataError, match="disk full"):
        choose(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["unet-0.safetensors"]
    before = times(tmp_path)
    monkeypatch.undo()
    choose(tmp_path)
    assert times(tmp_path)["unet-0.safetensors"] == before["unet-0.safetensors"]


def test_scores_of_earlier_weights_never_stand_beside_new_ones(tmp_path, monkeypatch):
    def killed(*args: object, **more: object) -> None:
        raise DataError("killed before measuring")

    choose(tmp_path, seed=1)
    monkeypatch.setattr(select_module, "segment_volume", killed)
    with pytest.raises(DataError):
        choose(tmp_path, seed=2)
    monkeypatch.undo()
    assert choose(tmp_path, seed=2).scores[0].dice == choose(tmp_path / "fresh", seed=2).scores[0].dice


def test_scores_are_for_the_owners_eyes_and_no_patches_are_left_behind(tmp_path):
    choose(tmp_path)
    assert (tmp_path / "unet-0.scores.json").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "unet-0.safetensors",
        "unet-0.scores.json",
        "unet-1.safetensors",
        "unet-1.scores.json",
    ]


def test_without_validation_subjects_there_is_no_choice(tmp_path):
    with pytest.raises(DataError, match="no validation subject"):
        choose(tmp_path, subjects=[])


def test_patches_on_disk_are_mapped_where_they_stand_and_views_and_arrays_are_copied(tmp_path):
    whole = patches()
    np.save(tmp_path / "image.npy", whole.image)
    image = np.load(tmp_path / "image.npy", mmap_mode="r")
    scratch = tmp_path / "scratch"
    with mapped(PatchSet(image=image, label=whole.label), scratch) as shared:
        assert (shared.image, shared.label) == (tmp_path / "image.npy", scratch / "label.npy")
        assert shared.label.stat().st_mode & 0o777 == 0o600
        np.testing.assert_array_equal(shared.open().label, whole.label)
    assert not scratch.exists()
    with mapped(PatchSet(image=image[2:], label=whole.label[2:]), scratch) as shared:
        np.testing.assert_array_equal(shared.open().image, whole.image[2:])


def test_scratch_copies_of_a_killed_process_are_removed(tmp_path):
    (tmp_path / "scratch").mkdir()
    (tmp_path / "scratch" / "old.npy").touch()
    with mapped(patches(), tmp_path / "scratch"):
        assert not (tmp_path / "scratch" / "old.npy").exists()
