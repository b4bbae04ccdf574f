"""Votes for prototypes, and the generation that comes of them: the formulas of private evolution.

A subject has one vote vector of length 1, however many patches it gave (the client-normalised votes of Lin et al. 2024
and Lin et al. 2025), so that a subject moves the histogram by at most C = 1. It is spread over near prototypes, since a
dozen votes for single ones would drown in the noise, and sums to zero, since only differences between prototypes tell.
"""

import numpy as np

from angioshare.privacy.release import Release
from angioshare.types import FloatArray


def votes(seen: FloatArray, prototypes: FloatArray, temperature: float) -> FloatArray:
    """Let each subject vote for the prototypes that it resembles.

    With squared distances d, v = softmax(-d / (temperature s)), s their median between prototypes; then v minus its
    mean, divided by its norm.

    Args:
        seen: Embedded subjects, shape (n, k).
        prototypes: Embedded prototypes, shape (K, k), finite. Public.
        temperature: How far votes spread, > 0.

    Returns:
        Shape (n, K).

    Guarantees:
        A row depends on its own subject alone, is finite and has an L2 norm of at most 1 up to rounding: a subject
        whose embedding is not finite gives no vote, since raising would reveal it. Rounding is left to
        `privacy.release`, which bounds every row again.

    Example:
        >>> votes(np.array([[0.1], [np.nan]]), np.array([[0.0], [1.0], [5.0]]), 0.3).round(2).tolist()
        [[0.81, -0.36, -0.45], [0.0, 0.0, 0.0]]
    """
    scale = temperature * max(float(np.median(_squared(prototypes, prototypes))), 1e-12)
    finite = np.isfinite(seen).all(axis=1, keepdims=True)
    # Whatever lies absurdly far away is as far as 1e6, where squares are still finite.
    nearness = -_squared(np.clip(np.where(finite, seen, 0.0), -1e6, 1e6), prototypes) / scale
    share = np.exp(nearness - nearness.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    share -= share.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(share, axis=1, keepdims=True)
    return np.asarray(np.where(finite & (norm > 1e-12), share / np.maximum(norm, 1e-12), 0.0))


def weights(histogram: Release, prototypes: FloatArray, temperature: float, threshold: float) -> FloatArray:
    """Weigh prototypes by a noisy histogram: post-processing.

    A prototype's score is the inner product of the histogram with the votes that the prototype itself would cast: if
    the cohort looked like it, the histogram would lie in that direction. These votes have length 1, so the noise of a
    score is that of one entry of the histogram, and what stays below `threshold` of it counts as nothing.

    Args:
        histogram: Noisy mean of the subjects' votes, shape (K,).
        prototypes: Embedded prototypes, shape (K, k).
        temperature: As in `votes`.
        threshold: Standard deviations of the noise, >= 0.

    Returns:
        Shape (K,), >= 0, sum 1: all alike where no prototype stands out.

    Example:
        >>> near = votes(np.array([[0.0]]), np.array([[0.0], [1.0], [5.0]]), 0.3)[0]
        >>> weights(Release(mean=near, noise_std=0.1), np.array([[0.0], [1.0], [5.0]]), 0.3, 1.0).round(2).tolist()
        [1.0, 0.0, 0.0]
    """
    score = votes(prototypes, prototypes, temperature) @ histogram.mean
    above = np.maximum(score - threshold * histogram.noise_std, 0.0)
    total = above.sum()
    return np.asarray(above / total) if total > 0 else np.full(len(score), 1 / len(score))


def offspring(
    shares: FloatArray, weight: FloatArray, count: int, spread: float, rng: np.random.Generator
) -> FloatArray:
    """Draw children of weighted prototypes, each mutated within the prior.

    Args:
        shares: Parents' places in the prior's range, shape (K, p), in [0, 1].
        weight: Their weights, shape (K,), sum 1.
        count: How many children.
        spread: Standard deviation of a mutation, as a share of each parameter's range, >= 0.
        rng: Stream of choice and mutation.

    Returns:
        Shape (count, p), in [0, 1]. A parent of weight w has between floor and ceiling of w `count` children.

    Example:
        >>> parents, rng = np.array([[0.25], [0.75]]), np.random.default_rng(0)
        >>> offspring(parents, np.array([0.5, 0.5]), 4, 0.0, rng).tolist()
        [[0.25], [0.25], [0.75], [0.75]]
    """
    at = (rng.random() + np.arange(count)) / count
    parents = np.minimum(np.searchsorted(np.cumsum(weight), at), len(shares) - 1)
    moved = shares[parents] + spread * rng.standard_normal((count, shares.shape[1]))
    return np.asarray(np.clip(1 - np.abs(1 - np.abs(moved)), 0, 1))  # what leaves the range is mirrored back


def _squared(a: FloatArray, b: FloatArray) -> FloatArray:
    """Squared distances (n, m) of rows."""
    return np.asarray(((a[:, None] - b[None]) ** 2).sum(axis=-1))
