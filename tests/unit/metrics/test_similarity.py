import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from angioshare.errors import DataError
from angioshare.metrics import similarity
from angioshare.metrics.similarity import block_of_pairs, compiled, pair_values, pairwise_similarity


def scaled(image: np.ndarray) -> np.ndarray:
    low, high = image.min(axis=(1, 2), keepdims=True), image.max(axis=(1, 2), keepdims=True)
    return ((image - low) / (high - low) * 2 - 1).astype(np.float32)


@pytest.fixture(scope="module")
def patches() -> np.ndarray:
    """Smooth, noisy, masked, binary, constant and equal patches."""
    rng = np.random.default_rng(0)
    smooth = scaled(gaussian_filter(rng.normal(size=(6, 40, 33)), (0, 2, 2)))
    smooth[2, :15] = -1
    smooth[3] = np.where(smooth[3] > 0.2, 1, -1)
    noise = scaled(rng.normal(size=(2, 40, 33)))
    flat = np.stack([np.ones((40, 33)), -np.ones((40, 33))]).astype(np.float32)
    return np.concatenate([smooth, noise, flat, smooth[:1]])


def by_loop(patches: np.ndarray, **how) -> list[float]:
    wide = patches.astype(np.float64)
    setting = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 2.0, **how}
    return [
        structural_similarity(one, other, **setting) for i, one in enumerate(wide) for other in wide[i + 1 :]
    ]  # fmt: skip


def test_every_pair_is_as_scikit_image_has_it(patches):
    np.testing.assert_allclose(pair_values(patches), by_loop(patches), atol=1e-6, rtol=0)


def test_mean_and_sd_are_over_all_pairs(patches):
    found, slow = pairwise_similarity(patches), by_loop(patches)
    assert found.pairs == len(slow) == 55
    assert (found.mean, found.sd) == pytest.approx((np.mean(slow), np.std(slow)), abs=1e-6)


def test_another_range_of_intensities_is_taken_as_said(patches):
    bytes_ = (patches + 1) * 127.5
    np.testing.assert_allclose(pair_values(bytes_, data_range=255), by_loop(bytes_, data_range=255), atol=2e-6, rtol=0)


@pytest.mark.parametrize("at_once", [1, 3, 100])
def test_neither_blocks_nor_threads_change_the_result(patches, monkeypatch, at_once):
    monkeypatch.setattr(similarity, "PATCHES_AT_ONCE", at_once)
    np.testing.assert_array_equal(pair_values(patches, threads=3), pair_values(patches))


def test_the_compiled_function_does_what_its_source_says(patches):
    known = similarity._prepare(patches[:3, :13, :14])
    window = similarity.gaussian_window()[:6].astype(np.float32)
    fast, slow = np.zeros((2, 3, 3))
    for function, out in ((compiled(), fast), (block_of_pairs, slow)):
        function(*known, window, np.float32(4e-4), np.float32(3.6e-3), 0, 3, out)
    assert np.count_nonzero(slow) == 3
    np.testing.assert_allclose(fast, slow, atol=1e-6)


def test_half_precision_is_read_as_it_is(patches):
    half = patches.astype(np.float16)
    np.testing.assert_array_equal(pair_values(half), pair_values(half.astype(np.float32)))


@pytest.mark.parametrize(
    ("image", "how"),
    [
        (np.zeros((1, 20, 20)), {}),
        (np.zeros((3, 10, 20)), {}),
        (np.zeros((20, 20)), {}),
        (np.zeros((3, 20, 20)), {"data_range": 0}),
        (np.zeros((3, 20, 20)), {"threads": 0}),
        (np.full((3, 20, 20), np.nan), {}),
    ],
)
def test_what_has_no_similarity_is_refused(image, how):
    with pytest.raises(DataError):
        pairwise_similarity(image, **how)
