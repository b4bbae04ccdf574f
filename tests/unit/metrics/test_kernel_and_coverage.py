import numpy as np
import pytest

from angioshare.errors import DataError
from angioshare.metrics import coverage as coverage_module
from angioshare.metrics import kernel as kernel_module
from angioshare.metrics.coverage import density_and_coverage
from angioshare.metrics.kernel import kernel_distance


def two_sets(n: int = 30, m: int = 40, shift: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 6)) + shift, rng.normal(size=(m, 6))


def mmd_by_loops(a: np.ndarray, b: np.ndarray) -> float:
    def k(x, y):
        return (x @ y / len(x) + 1) ** 3

    within_a = np.mean([k(x, y) for i, x in enumerate(a) for j, y in enumerate(a) if i != j])
    within_b = np.mean([k(x, y) for i, x in enumerate(b) for j, y in enumerate(b) if i != j])
    return within_a + within_b - 2 * np.mean([k(x, y) for x in a for y in b])


def test_the_kernel_distance_is_that_of_loops_over_pairs(monkeypatch):
    monkeypatch.setattr(kernel_module, "ROWS_AT_ONCE", 7)
    assert kernel_distance(*two_sets()) == pytest.approx(mmd_by_loops(*two_sets()))


def test_the_kernel_distance_has_no_bias():
    rng = np.random.default_rng(1)
    values = [kernel_distance(*rng.normal(size=(2, 12, 3))) for _ in range(400)]
    assert abs(np.mean(values)) < 4 * np.std(values) / 20
    assert min(values) < 0


def coverage_by_loops(fake: np.ndarray, real: np.ndarray, k: int) -> tuple[float, float]:
    radius = [np.sort(np.linalg.norm(real - one, axis=1))[k] for one in real]
    held = np.array([[np.linalg.norm(one - f) < r for f in fake] for one, r in zip(real, radius, strict=True)])
    return held.sum() / (k * len(fake)), held.any(axis=1).mean()


@pytest.mark.parametrize("k", [1, 5])
def test_density_and_coverage_are_those_of_loops(monkeypatch, k):
    monkeypatch.setattr(coverage_module, "ROWS_AT_ONCE", 7)
    fake, real = two_sets()
    found = density_and_coverage(fake, real, neighbours=k)
    assert (found.density, found.coverage) == pytest.approx(coverage_by_loops(fake, real, k))


def test_two_sets_of_one_source_have_density_one_and_cover_each_other():
    rng = np.random.default_rng(2)
    found = density_and_coverage(*rng.normal(size=(2, 1500, 4)))
    assert found.density == pytest.approx(1, abs=0.08)
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.02)


def test_a_collapsed_set_covers_little_of_the_real():
    _, real = two_sets(m=400)
    collapsed = np.repeat(real[:3], 100, axis=0) + 1e-6
    assert density_and_coverage(collapsed, real).coverage < 0.1


def test_a_shift_of_both_sets_changes_nothing():
    fake, real = two_sets()
    assert density_and_coverage(fake + 1e4, real + 1e4) == density_and_coverage(fake, real)


def test_too_few_real_samples_are_refused():
    with pytest.raises(DataError, match="give 6 or more"):
        density_and_coverage(np.zeros((9, 2)), np.zeros((5, 2)))
