"""Rules 3, 6 and 7: noise of the right size on every number, never twice. Chance failures: below 1 in 10**6 runs."""

import copy
import os
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy import stats
from torch import Tensor

from angioshare.errors import PrivacyError, SettingsError
from angioshare.privacy.entropy import KeyStream
from angioshare.privacy.noise import GaussianNoise

CHANCE = 1e-8
FAILED = (AssertionError, pytest.fail.Exception)
SIZES = (60_000, 3_000, 60_001)


class TooSmall(GaussianNoise):
    def add_to(self, value: Tensor, std: float) -> Tensor:
        return super().add_to(value, 0.8 * std)


class SlightlySmall(GaussianNoise):
    def add_to(self, value: Tensor, std: float) -> Tensor:
        return super().add_to(value, 0.9 * std)


class SlightlyLarge(GaussianNoise):
    def add_to(self, value: Tensor, std: float) -> Tensor:
        return super().add_to(value, 1.1 * std)


class OverTheBatch(GaussianNoise):
    def add_to(self, value: Tensor, std: float) -> Tensor:
        return super().add_to(value, std / 32)


class OneTensorWithout(GaussianNoise):
    def add_to(self, value: Tensor, std: float) -> Tensor:
        return value if value.numel() == 3_000 else super().add_to(value, std)


class SameTwice(GaussianNoise):
    memory: dict[int, Tensor]

    def normal(self, count: int) -> Tensor:
        self.memory = getattr(self, "memory", {})
        return self.memory.setdefault(count, super().normal(count)).clone()


class SharedBetweenTensors(GaussianNoise):
    def normal(self, count: int) -> Tensor:
        long = self.long = getattr(self, "long", super().normal(70_000))
        return long[:count].clone() if count < 60_001 else super().normal(count)


class UniformNoise(GaussianNoise):
    def normal(self, count: int) -> Tensor:
        return (torch.rand(count, dtype=torch.float64) - 0.5) * 12**0.5


class HalfPrecision(GaussianNoise):
    def add_to(self, value: Tensor, std: float) -> Tensor:
        return super().add_to(value, std).half().to(value.dtype)


def check_noise_is_gaussian_and_fresh(make: Callable[[], GaussianNoise]) -> None:
    noise, std = make(), 0.37
    steps = [[(noise.add_to(torch.zeros(n), std) / std).double().numpy() for n in SIZES] for _ in range(4)]
    for step in steps:
        for tensor in step:
            assert stats.kstest(tensor, "norm").pvalue > CHANCE
            z = (tensor.var() - 1) / np.sqrt(2 / tensor.size)
            assert abs(z) < stats.norm.isf(CHANCE)
            assert len(np.unique(tensor)) > 0.9 * tensor.size, "numbers are coarser than float32"
    for index, size in enumerate(SIZES):
        together = sum(step[index] for step in steps) / 2
        assert stats.kstest(together, "norm").pvalue > CHANCE, "the sum over steps has another size"
        for a in range(4):
            for b in range(a):
                assert abs(steps[a][index] @ steps[b][index]) / np.sqrt(size) < stats.norm.isf(CHANCE)
    for step in steps:
        assert abs(step[0] @ step[2][:-1]) / np.sqrt(SIZES[0]) < stats.norm.isf(CHANCE), "tensors share noise"
        assert abs(step[0][:3_000] @ step[1]) / np.sqrt(3_000) < stats.norm.isf(CHANCE), "tensors share noise"


def test_noise_is_gaussian_and_fresh() -> None:
    check_noise_is_gaussian_and_fresh(GaussianNoise)


@pytest.mark.parametrize(
    "mutant",
    [
        TooSmall, SlightlySmall, SlightlyLarge, OverTheBatch, OneTensorWithout, SameTwice, SharedBetweenTensors,
        UniformNoise, HalfPrecision,
    ],
)  # fmt: skip
def test_check_of_noise_catches(mutant: type[GaussianNoise]) -> None:
    with pytest.raises(FAILED):
        check_noise_is_gaussian_and_fresh(mutant)


class Seeded(GaussianNoise):
    """Takes the user's seed, as a reproducible training loop would."""

    def __init__(self) -> None:
        super().__init__(KeyStream(test_seed=0))


def check_each_start_has_other_noise(make: Callable[[], GaussianNoise]) -> None:
    assert not torch.equal(make().normal(10), make().normal(10))
    assert not make().seeded


def test_each_start_has_other_noise() -> None:
    check_each_start_has_other_noise(GaussianNoise)


def test_check_of_starts_catches_a_seeded_generator() -> None:
    with pytest.raises(FAILED):
        check_each_start_has_other_noise(Seeded)


class Checkpointed(GaussianNoise):
    """Noise whose state can be stored and restored."""

    def __init__(self) -> None:
        super().__init__()
        self._stream = None  # type: ignore[assignment]
        self.state = torch.Generator().get_state()


def check_state_cannot_be_stored(make: Callable[[], GaussianNoise]) -> None:
    with pytest.raises(PrivacyError, match="checkpoint"):
        copy.deepcopy(make())
    with pytest.raises(PrivacyError, match="checkpoint"):
        copy.deepcopy({"optimizer": 1, "noise": make()})


def test_state_cannot_be_stored() -> None:
    check_state_cannot_be_stored(GaussianNoise)


def test_check_of_storing_catches_a_checkpointed_generator() -> None:
    with pytest.raises(FAILED):
        check_state_cannot_be_stored(Checkpointed)


def test_stream_refuses_every_protocol_of_storing() -> None:
    for protocol in range(6):
        with pytest.raises(PrivacyError, match="checkpoint"):
            KeyStream().__reduce_ex__(protocol)


def test_a_forked_child_draws_other_bits() -> None:
    stream, (read, write) = KeyStream(), os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, stream.words(4).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(read, 32) != stream.words(4).tobytes()


def test_words_are_uniform_bits() -> None:
    bits = np.unpackbits(KeyStream().words(20_000).view(np.uint8))
    assert abs(bits.sum() - bits.size / 2) / np.sqrt(bits.size / 4) < stats.norm.isf(CHANCE)


def test_noise_is_added_to_the_value() -> None:
    value = torch.full((2, 3), 5.0)
    noised = GaussianNoise(KeyStream(test_seed=1)).add_to(value, 1e-6)
    assert noised.shape == (2, 3)
    assert torch.allclose(noised, value, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64])
def test_narrow_sums_are_refused(dtype: torch.dtype) -> None:
    with pytest.raises(PrivacyError, match="too narrow"):
        GaussianNoise().add_to(torch.zeros(2, dtype=dtype), 1.0)


@pytest.mark.parametrize("std", [0.0, -1.0, float("nan"), float("inf")])
def test_noise_without_size_is_refused(std: float) -> None:
    with pytest.raises(PrivacyError, match="std"):
        GaussianNoise().add_to(torch.zeros(2), std)


def test_a_single_summand_is_refused() -> None:
    with pytest.raises(SettingsError, match="summands"):
        GaussianNoise(summands=1)


class OnAGrid(GaussianNoise):
    """Multiplies radius and sine in float32."""

    def _box_muller(self, pairs: int) -> npt.NDArray[np.float64]:
        return super()._box_muller(pairs).astype(np.float32).astype(np.float64)


def check_noise_lies_on_no_coarse_grid(make: Callable[[], GaussianNoise]) -> None:
    """Hardly any number may be one that float32 sums can make: multiples of 2^-34, here, out of 2^-48 or finer."""
    scaled = make().normal(20_000).numpy() * np.sqrt(2) * 2.0**34
    assert (np.abs(scaled - np.round(scaled)) < 1e-3).mean() < 0.02


def test_noise_lies_on_no_coarse_grid() -> None:
    check_noise_lies_on_no_coarse_grid(GaussianNoise)


@pytest.mark.parametrize("mutant", [OnAGrid])
def test_check_of_grids_catches(mutant: type[GaussianNoise]) -> None:
    with pytest.raises(AssertionError):
        check_noise_lies_on_no_coarse_grid(mutant)
