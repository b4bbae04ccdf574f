"""A small cohort on disk, made by the product's own writer, whose output other tests hold against nibabel."""

import numpy as np
import pytest

from angioshare.cohort.writer import WrittenSubject, write_bids_cohort


def phantom(name: str, seed: int, brain: bool = True) -> WrittenSubject:
    rng = np.random.default_rng(seed)
    label = np.zeros((9, 8, 7), np.uint8)
    label[2:7, 3:5, 1:6] = 1
    mask = np.zeros_like(label)
    mask[1:8, 1:7, :] = 1
    return WrittenSubject(
        id=name,
        angio=rng.integers(1, 200, label.shape).astype(np.uint8),
        label=label,
        brain=mask if brain else None,
        spacing_mm=(0.5, 0.6, 0.7),
        affine=np.diag([0.5, 0.6, 0.7, 1.0]),
    )


@pytest.fixture
def subjects():
    return [phantom(f"A{number:03d}", number) for number in range(1, 5)]


@pytest.fixture
def root(tmp_path, subjects):
    write_bids_cohort(tmp_path / "bids", "one", subjects)
    return tmp_path / "bids"
