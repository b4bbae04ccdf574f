"""Rule 8: in several processes each unit belongs to one, and the sum of all is noised once."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as multiprocessing
from torch import Tensor, distributed, nn

from angioshare.privacy.engine import PrivateEngine
from angioshare.privacy.entropy import KeyStream
from angioshare.privacy.noise import GaussianNoise
from angioshare.privacy.plan import PrivacyPlan
from angioshare.privacy.selection import PoissonSelector
from angioshare.team import Team
from angioshare.types import IntArray

UNITS, WIDTH, STEPS, SYNTHETIC = 11, 4_000, 3, 5
FAILED = (AssertionError, pytest.fail.Exception)


def plan(noise_multiplier: float) -> PrivacyPlan:
    return PrivacyPlan(
        unit="patch", n_units=UNITS, n_subjects=1, patches_per_subject=UNITS, sampling_probability=0.5,
        noise_multiplier=noise_multiplier, steps=STEPS,
    )  # fmt: skip


class EachNoises(Team):
    """Every process believes that it is the one that noises, and all sums are added."""

    def as_leader_has(self, parts: list[Tensor]) -> list[Tensor]:
        noised = [GaussianNoise().add_to(part, 1.0) for part in parts] if self.rank else list(parts)
        return super().as_leader_has(super().sum_at_leader(noised))


class EveryoneOwnsAll(Team):
    """A unit's gradient is added by each process."""

    def own(self, units: IntArray) -> IntArray:
        return units


class NobodyAddsUp(Team):
    """Each process goes on with its own share."""

    def sum_at_leader(self, parts: list[Tensor]) -> list[Tensor]:
        return list(parts)


def gradients(team: Team, noise_multiplier: float) -> list[Tensor]:
    """A few steps of one engine with the same test seed in every process."""
    torch.manual_seed(1)
    critic = nn.Sequential(nn.Linear(WIDTH, 1, bias=False))
    real, synthetic = torch.randn(UNITS, WIDTH), torch.randn(SYNTHETIC, WIDTH)
    engine = PrivateEngine(
        plan=plan(noise_multiplier), critic=critic, synthetic_rows=SYNTHETIC, ledger=None, run="test", team=team,
        noise=GaussianNoise(KeyStream(test_seed=2)),
        selector=PoissonSelector(UNITS, 0.5, KeyStream(test_seed=3 if team.leads else 99)),
    )  # fmt: skip
    found = []
    for _ in range(STEPS):
        draw = engine.draw()
        engine.step_gradient(
            draw, real[torch.from_numpy(draw.indices.copy())], None, team.share(synthetic), torch.neg, lambda s: s
        )
        found.append(critic[0].weight.grad.clone().flatten())
    return found


def work(rank: int, size: int, folder: str, make: Callable[[], Team], noise_multiplier: float) -> None:
    torch.set_num_threads(1)
    os.environ.pop("OMP_NUM_THREADS", None)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=size)
    np.save(f"{folder}/{rank}.npy", torch.stack(gradients(make(), noise_multiplier)).numpy())
    distributed.destroy_process_group()


def of_two(folder: Path, make: Callable[[], Team], noise_multiplier: float) -> list[np.ndarray]:
    folder.mkdir()
    multiprocessing.spawn(work, (2, str(folder), make, noise_multiplier), nprocs=2)
    return [np.load(folder / f"{rank}.npy") for rank in range(2)]


def check_sum_is_the_one_of_a_single_process(folder: Path, make: Callable[[], Team]) -> None:
    """With hardly any noise: every drawn unit and every synthetic row counts once, and all processes have the same."""
    alone = torch.stack(gradients(Team(), 1e-9)).numpy()
    first, second = of_two(folder / "sum", make, 1e-9)
    assert np.array_equal(first, second)
    assert np.abs(first - alone).max() < 1e-6


def check_noise_is_added_once(folder: Path, make: Callable[[], Team]) -> None:
    """At test seeds the noise of two processes is the noise of one, to the last digit but the sum's rounding."""
    big = 1e3
    alone = torch.stack(gradients(Team(), big)).numpy()
    first, second = of_two(folder / "noise", make, big)
    assert np.array_equal(first, second)
    assert np.abs(first - alone).max() < 1e-4 * big / (0.5 * UNITS)
    spread = first.std() * (0.5 * UNITS) / big  # 12,000 numbers: 4 standard errors are 0.026
    assert abs(spread - 1) < 0.03


@pytest.mark.slow
@pytest.mark.parametrize("check", [check_sum_is_the_one_of_a_single_process, check_noise_is_added_once])
def test_two_processes_make_one_release(check: Callable[..., None], tmp_path: Path) -> None:
    check(tmp_path, Team)


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [EachNoises, EveryoneOwnsAll, NobodyAddsUp])
def test_check_of_teams_catches(mutant: type[Team], tmp_path: Path) -> None:
    with pytest.raises(FAILED):
        check_sum_is_the_one_of_a_single_process(tmp_path, mutant)


def test_each_unit_belongs_to_one_process_for_ever() -> None:
    teams = [Team(), Team(), Team()]
    for rank, team in enumerate(teams):
        team.rank, team.size = rank, 3
    units = np.array([0, 2, 3, 7, 8, 11])
    assert sorted(np.concatenate([team.own(units) for team in teams])) == units.tolist()
    assert all(set(team.own(units[::2])) <= set(team.own(units)) for team in teams)
    assert sum(team.share_of(10) for team in teams) == 10
