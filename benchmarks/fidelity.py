"""Claim: a Frechet distance takes less time than the plain formula by scipy, and equals it to 1e-6."""

import numpy as np
from scipy.linalg import sqrtm

from angioshare.metrics.features import feature_network
from angioshare.metrics.frechet import frechet_distance
from timing import arguments, interleaved, tell

SAMPLES, LENGTH = 2000, 768


def plain(a: np.ndarray, b: np.ndarray) -> float:
    """The formula as it is written."""
    covariance_a, covariance_b = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    shift = a.mean(axis=0) - b.mean(axis=0)
    return float(shift @ shift + np.trace(covariance_a + covariance_b - 2 * sqrtm(covariance_a @ covariance_b).real))


if __name__ == "__main__":
    options = arguments(__doc__, rounds=3)
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(2, LENGTH, LENGTH)) / LENGTH**0.5
    a, b = (rng.normal(size=(SAMPLES, LENGTH)) @ one for one in mix)
    off = abs(frechet_distance(a, b) - plain(a, b)) / plain(a, b)
    if off > 1e-6:
        raise SystemExit(f"distances differ by {off:.1e}")
    patches = rng.uniform(-1, 1, (SAMPLES, 96, 96)).astype(np.float32)
    work = {
        "plain formula, scipy": lambda: plain(a, b),
        "angioshare": lambda: frechet_distance(a, b),
        f"scattering features of {SAMPLES} patches of 96 x 96": lambda: feature_network()(patches),
    }
    title = f"{__doc__} {SAMPLES} samples of {LENGTH} features; relative difference {off:.0e}"
    tell(title, interleaved(work, options.rounds), "plain formula, scipy", options.json)
