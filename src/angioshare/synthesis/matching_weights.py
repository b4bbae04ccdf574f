"""Simulated pairs weighted so that their mean features match a noisy mean: maximum entropy with slack.

Of all weights under which the mean features come near the target, these stay nearest to uniform ones. How near is near
enough the noise says: where it drowns a feature, the weights leave it as the simulator has it.
"""

import numpy as np

from angioshare.patches.patchset import PatchSet
from angioshare.rng import stream
from angioshare.types import FloatArray, Provenance

_ITERATIONS = 50
_ENOUGH = 1e-12


def match_weights(numbers: FloatArray, target: FloatArray, slack: FloatArray) -> FloatArray:
    """Find weights w_i proportional to exp(lambda . numbers_i) whose mean is near the target.

    lambda minimises log mean_i exp(lambda . (numbers_i - target)) + lambda' diag(slack) lambda / 2, which is convex, by
    Newton's method with halved steps.

    Args:
        numbers: Of each pair, shape (n, d).
        target: Mean that is sought, shape (d,).
        slack: Variance with which each entry of the target is known, shape (d,), > 0.

    Returns:
        Shape (n,), > 0, sum 1.

    References:
        Dudik, Phillips & Schapire (2007), Maximum entropy density estimation with generalized regularization.

    Example:
        >>> numbers = np.array([[-1.0], [0.0], [1.0]])
        >>> exact, drowned = (match_weights(numbers, np.array([0.5]), np.array([slack])) for slack in (1e-9, 1e9))
        >>> (exact @ numbers).round(3), drowned.round(3)
        (array([0.5]), array([0.333, 0.333, 0.333]))
    """
    away = numbers - target
    tilt = np.zeros(len(target))
    value, weight = _dual(away, tilt, slack)
    for _ in range(_ITERATIONS):
        mean = weight @ away
        slope = mean + slack * tilt
        curvature = (away * weight[:, None]).T @ away - np.outer(mean, mean) + np.diag(slack)
        step = np.linalg.solve(curvature, slope)
        if slope @ step < _ENOUGH:
            break
        length = 1.0
        while length > _ENOUGH:
            lower, found = _dual(away, tilt - length * step, slack)
            if lower <= value - 0.1 * length * float(slope @ step):
                break
            length /= 2
        tilt, value, weight = tilt - length * step, lower, found
    return weight


def _dual(away: FloatArray, tilt: FloatArray, slack: FloatArray) -> tuple[float, FloatArray]:
    """The dual function and the weights at a place."""
    exponent = away @ tilt
    top = float(exponent.max())
    raised = np.exp(exponent - top)
    return top + float(np.log(raised.mean())) + float(slack @ tilt**2) / 2, np.asarray(raised / raised.sum())


class Weighted:
    """A trained synthesizer that hands out simulated pairs in proportion to weights."""

    def __init__(self, pool: PatchSet, weights: FloatArray, provenance: Provenance) -> None:
        self._pool, self._weights, self._provenance = pool, weights, provenance

    def sample(self, n: int, seed: int) -> PatchSet:
        """Draw `n` pairs, as evenly as the weights allow; where one weighs more than 1 / n, it comes more than once."""
        rng = stream(seed, "matching", "draw")
        at = (rng.random() + np.arange(n)) / max(n, 1)
        rows = np.minimum(np.searchsorted(np.cumsum(self._weights), at), len(self._weights) - 1)
        return PatchSet(image=self._pool.image[rows], label=self._pool.label[rows], provenance=self._provenance)
