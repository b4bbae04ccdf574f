import numpy as np
import pytest

from angioshare.rng import stream
from angioshare.simulator.acquisition import acquire, add_ghosts, add_noise, slab_profile
from angioshare.simulator.grid import draw_grid
from angioshare.simulator.parameters import unflatten

SMALL = {"acquisition.matrix_i": 40, "acquisition.matrix_j": 44, "acquisition.matrix_k": 30}


def setting(**changes):
    parameters = unflatten(SMALL | {f"acquisition.{name}": value for name, value in changes.items()})
    return parameters, draw_grid(parameters, stream(0, "pose"))


def noisy(level, **changes):
    parameters, grid = setting(**changes)
    return add_noise(np.full(grid.shape, level, dtype=np.float32), parameters, grid, np.random.default_rng(0))


@pytest.mark.parametrize("grain", [0.0, 0.6])
def test_noise_is_rician(grain):
    dark = noisy(0.0, noise=0.1, noise_centre=0.0, grain_voxel=grain)
    bright = noisy(5.0, noise=0.1, noise_centre=0.0, grain_voxel=grain)
    assert dark.mean() == pytest.approx(0.1 * np.sqrt(np.pi / 2), rel=0.03)
    assert bright.mean() == pytest.approx(5.0 + 0.1**2 / 10, rel=0.003)
    assert bright.std() == pytest.approx(0.1, rel=0.03)


def test_more_noise_means_a_larger_standard_deviation_and_none_means_none():
    spread = [noisy(1.0, noise=level).std() for level in (0.0, 0.05, 0.1, 0.2)]
    assert spread[0] == 0
    assert spread == sorted(spread)


def test_parallel_imaging_raises_the_noise_in_the_middle():
    image = noisy(3.0, noise=0.1, noise_centre=1.2)
    assert image[15:25, 17:27].std() > 1.3 * np.concatenate((image[:5].ravel(), image[-5:].ravel())).std()


def test_grain_makes_neighbours_alike():
    fine, coarse = noisy(3.0, grain_voxel=0.0), noisy(3.0, grain_voxel=0.8)
    alike = [np.corrcoef(image[:-1].ravel(), image[1:].ravel())[0, 1] for image in (fine, coarse)]
    assert alike[0] < 0.1 < alike[1]


def test_slices_dim_at_the_borders_between_slabs_alone():
    parameters, grid = setting(slab_count=3, slab_edge_loss=0.2, slab_edge_mm=1.5)
    profile = slab_profile(parameters, grid)
    assert profile[[9, 10, 19, 20]] == pytest.approx(0.8, abs=0.05)
    assert profile[[0, 5, 15, 29]] == pytest.approx(1.0, abs=0.01)


def test_ghosts_are_weak_copies_away_from_the_artery():
    signal = np.zeros((40, 44, 30), dtype=np.float32)
    signal[20, 22, 15] = 4.0
    image = add_ghosts(signal, signal, 0.05, np.random.default_rng(0))
    assert image[20, 22, 15] == pytest.approx(4.0)
    assert np.sort(image.ravel())[-3:-1] == pytest.approx([0.2, 0.2])
    assert add_ghosts(signal, signal, 0.0, np.random.default_rng(0)) == pytest.approx(signal)


def test_shading_grows_with_its_parameter():
    spread = []
    for bias in (0.0, 0.15, 0.4):
        parameters, grid = setting(bias=bias, noise=0.0, slab_edge_loss=0.0, bias_length_mm=25.0)
        flat = np.ones(grid.shape, dtype=np.float32)
        image = acquire(
            parameters,
            flat,
            np.zeros_like(flat),
            flat > 0,
            grid,
            slab_profile(parameters, grid),
            np.random.default_rng(0),
        )
        spread.append(image.std())
    assert spread[0] == 0
    assert spread[1] > 1
    assert spread[2] > spread[1]


def test_blur_keeps_the_sum_and_lowers_the_peak():
    images = []
    for blur in (0.0, 0.8):
        parameters, grid = setting(blur_mm=blur, noise=0.0, bias=0.0, slab_edge_loss=0.0, ghost=0.0)
        point = np.full(grid.shape, 1.0, dtype=np.float32)
        point[18:21, 20:23, 15] = 4.0
        image = acquire(
            parameters,
            point,
            np.zeros_like(point),
            point > 0,
            grid,
            slab_profile(parameters, grid),
            np.random.default_rng(0),
        )
        images.append(image.astype(float))
    assert images[1].max() < images[0].max()
    assert images[1].mean() == pytest.approx(images[0].mean(), rel=0.01)
