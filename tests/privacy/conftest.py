"""Tiny plans, critics and ledgers; nothing here touches the user's own registry."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from angioshare.privacy.ledger import Ledger
from angioshare.privacy.plan import PrivacyPlan


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tensors of a few hundred numbers are slower on several threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def plan() -> Callable[..., PrivacyPlan]:
    def make(**changes: object) -> PrivacyPlan:
        settings: dict[str, object] = {
            "unit": "patch",
            "n_units": 40,
            "n_subjects": 4,
            "patches_per_subject": 10,
            "sampling_probability": 0.2,
            "noise_multiplier": 4.0,
            "clip_norm": 1.0,
            "steps": 200,
            "delta": 1e-5,
        }
        return PrivacyPlan(**{**settings, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture
def critic() -> nn.Sequential:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 4, 4, 2, 1, bias=False),
        nn.InstanceNorm2d(4),
        nn.LeakyReLU(0.2),
        nn.Conv2d(4, 6, 3, 2, 1),
        nn.GroupNorm(2, 6),
        nn.Flatten(),
        nn.Linear(24, 1),
    ).double()


@pytest.fixture
def rows() -> Callable[[int], Tensor]:
    def make(count: int) -> Tensor:
        return torch.randn(count, 2, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    return make


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.open(tmp_path / "ledger.jsonl", subjects={"sub-1": "a1", "sub-2": "b2"})
