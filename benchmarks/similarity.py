"""Claim: SSIM over all pairs of 1,000 patches takes at most 1/50 of the time of a loop over scikit-image.

All 499,500 pairs are taken by us, whole, with everything that is prepared for them (machine code is made before). Of
the loop over scikit-image, 200 pairs are timed in each round, and its time for all is extrapolated from them.
"""

import os

import numpy as np
from scipy.ndimage import gaussian_filter
from skimage.metrics import structural_similarity

from angioshare.metrics.similarity import pair_values
from timing import arguments, interleaved, tell

PATCHES, SAMPLED = 1000, 200


def loop(image: np.ndarray) -> list[float]:
    """SSIM of some pairs, one after the other."""
    return [
        structural_similarity(
            image[0], image[j], gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=2.0
        )
        for j in range(1, SAMPLED + 1)
    ]


if __name__ == "__main__":
    options = arguments(__doc__.splitlines()[0], rounds=3)
    rough = gaussian_filter(np.random.default_rng(0).normal(size=(PATCHES, 96, 96)), (0, 1, 1))
    image = (rough / np.abs(rough).max(axis=(1, 2), keepdims=True)).astype(np.float32)
    wide, cores = image.astype(np.float64), len(os.sched_getaffinity(0))
    error = np.abs(pair_values(image[: SAMPLED + 1])[:SAMPLED] - loop(wide)).max()
    if error > 1e-6:
        raise SystemExit(f"SSIM differs by {error:.1e}")
    seconds = interleaved(
        {
            "scikit-image, double precision (extrapolated)": lambda: loop(wide),
            "scikit-image, single precision (extrapolated)": lambda: loop(image),
            "angioshare, one thread": lambda: pair_values(image),
            f"angioshare, {cores} threads": lambda: pair_values(image, threads=cores),
        },
        options.rounds,
    )
    pairs = PATCHES * (PATCHES - 1) / 2
    seconds = {name: value * (pairs / SAMPLED if "extra" in name else 1) for name, value in seconds.items()}
    title = f"{__doc__.splitlines()[0]} 96 x 96; largest difference {error:.1e}"
    tell(title, seconds, "scikit-image, single precision (extrapolated)", options.json)
