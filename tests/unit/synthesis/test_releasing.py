import numpy as np
import pytest

from angioshare.errors import DataError
from angioshare.privacy.release import Release
from angioshare.synthesis.releasing import release_once


class Engine:
    """Releases one mean, and fails at a second one."""

    def __init__(self):
        self.left = 1

    def mean(self, vectors):
        self.left -= 1
        assert self.left >= 0, "released twice"
        return Release(mean=vectors.mean(axis=0), noise_std=0.5)


def released(path, engine):
    return release_once(path, lambda: np.ones((3, 2)), engine, numbers=2, made_by="test")


def test_a_release_is_made_once_and_used_ever_after(tmp_path):
    engine = Engine()
    first, second = (released(tmp_path / "release.json", engine) for _ in range(2))
    assert engine.left == 0
    assert (first.noise_std, second.noise_std) == (0.5, 0.5)
    assert first.mean.tolist() == second.mean.tolist() == [1.0, 1.0]


def test_a_mean_without_noise_is_not_used_in_a_private_run(tmp_path):
    path = tmp_path / "release.json"
    assert released(path, None).noise_std == 0
    assert released(path, None).noise_std == 0
    with pytest.raises(DataError, match="made without privacy"):
        released(path, Engine())
