"""What the scanner does to the signal: ghosts, blur, slab borders, shading, noise, storage."""

import numpy as np
from scipy import ndimage

from angioshare.simulator.fields import smooth_field
from angioshare.simulator.grid import Grid
from angioshare.simulator.parameters import SimulatorParameters
from angioshare.types import BoolArray, ByteArray, FloatArray


def acquire(
    parameters: SimulatorParameters,
    signal: FloatArray,
    pulsating: FloatArray,
    mask: BoolArray,
    grid: Grid,
    profile: FloatArray,
    rng: np.random.Generator,
) -> ByteArray:
    """Measure a signal.

    Args:
        parameters: The person's own parameters.
        signal: Signal (i, j, k) against white matter.
        pulsating: What the arteries add to it (i, j, k).
        mask: The brain mask.
        grid: The grid.
        profile: Factor (k,) on each slice, see `slab_profile`.
        rng: Stream of shading and noise.

    Returns:
        The stored image, uint8, 0 outside the mask.
    """
    acquisition = parameters.acquisition
    image = add_ghosts(signal, pulsating, acquisition.ghost, rng)
    sigma = acquisition.blur_mm / np.array(grid.spacing_mm[:2])
    if acquisition.blur_mm > 0:
        image = ndimage.gaussian_filter(image, (sigma[0], sigma[1], 0), truncate=3)
    image = image * profile
    axes = grid.axes()
    low, high = np.array([a[0] for a in axes]), np.array([a[-1] for a in axes])
    shading = smooth_field(rng, acquisition.bias_length_mm, low, high).on_axes(*axes)
    image *= np.exp(np.float32(acquisition.bias) * shading)
    image = add_noise(image, parameters, grid, rng)
    stored = np.clip(np.rint(image * acquisition.white_level), 1, 255).astype(np.uint8)
    return np.asarray(stored * mask)


def add_ghosts(signal: FloatArray, pulsating: FloatArray, strength: float, rng: np.random.Generator) -> FloatArray:
    """Add copies of the arteries, moved along the phase-encoding axis by a part of the field of view.

    Args:
        signal: Signal (i, j, k).
        pulsating: What the arteries add to it.
        strength: Size of the copies against the arteries.
        rng: Draws the axis and the distance.
    """
    axis = int(rng.integers(2))
    shift = int(signal.shape[axis] * rng.uniform(0.08, 0.3))
    if strength == 0:
        return signal.copy()
    copies = np.roll(pulsating, shift, axis) + np.roll(pulsating, -shift, axis)
    return np.asarray(signal + np.float32(strength) * np.abs(copies))


def slab_profile(parameters: SimulatorParameters, grid: Grid) -> FloatArray:
    """Return the factor (k,) on each slice: a loss at every border between slabs, the "venetian blind"."""
    acquisition = parameters.acquisition
    extent = grid.shape[2] * grid.spacing_mm[2]
    height = (np.arange(grid.shape[2]) + 0.5) * grid.spacing_mm[2]
    borders = extent * np.arange(1, acquisition.slab_count) / acquisition.slab_count
    profile = np.ones(grid.shape[2])
    for border in borders:
        profile -= acquisition.slab_edge_loss * np.exp(-0.5 * ((height - border) / acquisition.slab_edge_mm) ** 2)
    return profile.astype(np.float32)


def add_noise(image: FloatArray, parameters: SimulatorParameters, grid: Grid, rng: np.random.Generator) -> FloatArray:
    """Add Rician noise: the magnitude of a signal with Gaussian noise in both channels.

    Args:
        image: Signal (i, j, k) against white matter.
        parameters: The person's own parameters.
        grid: The grid.
        rng: Stream of the noise.
    """
    acquisition = parameters.acquisition
    if acquisition.noise == 0:
        return image
    x, y = (np.linspace(-1, 1, n) for n in grid.shape[:2])
    centre = np.exp(-(x[:, None] ** 2 + y[None, :] ** 2) / 0.3)
    sigma = (acquisition.noise * (1 + acquisition.noise_centre * (centre - 0.5))).astype(np.float32)[:, :, None]
    real, imaginary = (_grainy(grid.shape, acquisition.grain_voxel, rng) for _ in range(2))
    return np.asarray(np.hypot(image + sigma * real, sigma * imaginary))


def _grainy(shape: tuple[int, int, int], grain: float, rng: np.random.Generator) -> FloatArray:
    """Unit noise (i, j, k), smeared in plane."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    if grain <= 0:
        return noise
    steps = np.arange(-3, 4)
    kernel = np.exp(-0.5 * (steps / max(grain, 0.1)) ** 2)
    kernel = (kernel / np.sqrt(np.sum(kernel**2))).astype(np.float32)
    for axis in (0, 1):
        noise = ndimage.correlate1d(noise, kernel, axis=axis, mode="wrap")
    return noise
