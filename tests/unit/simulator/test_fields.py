import numpy as np
import pytest

from angioshare.simulator.fields import smooth_field, upsample

LOW, HIGH = np.zeros(3), np.array([60.0, 50.0, 40.0])


def test_the_fast_grid_equals_the_field_at_its_points():
    field = smooth_field(np.random.default_rng(0), 7.0, LOW, HIGH)
    axes = [np.linspace(-3, 55, 9), np.linspace(0, 50, 7), np.linspace(5, 44, 5)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    assert field.on_axes(*axes) == pytest.approx(field.at(points), abs=1e-4)


@pytest.mark.parametrize("band", [False, True])
def test_fields_have_mean_zero_and_standard_deviation_one(band):
    field = smooth_field(np.random.default_rng(1), 2.0, LOW, HIGH, band=band)
    values = field.at(np.random.default_rng(2).uniform(LOW, HIGH, (20_000, 3)))
    assert abs(values.mean()) < 0.1
    assert values.std() == pytest.approx(1, abs=0.15)


def test_a_longer_correlation_length_changes_more_slowly():
    points = np.random.default_rng(2).uniform(LOW, HIGH - 1, (5_000, 3))
    rough = []
    for length in (3.0, 6.0, 12.0):
        field = smooth_field(np.random.default_rng(3), length, LOW, HIGH)
        rough.append(np.std(field.at(points + np.array([1.0, 0, 0])) - field.at(points)))
    assert rough[0] > 1.5 * rough[1] > 2 * rough[2]


def test_upsampling_equals_interpolation_along_each_axis():
    coarse = np.random.default_rng(4).random((4, 3, 5))
    fine = upsample(coarse, (7, 5, 5), (2, 2, 1))
    for j in range(3):
        for k in range(5):
            assert fine[:, 2 * j, k] == pytest.approx(np.interp(np.arange(7) / 2, np.arange(4), coarse[:, j, k]))
