"""Random streams with names: one seed, one purpose, one stream (imports NumPy alone).

These streams are reproducible and therefore never used where a guarantee rests on secrecy: selection and noise of a
private run come from `privacy.noise` and `privacy.selection`.
"""

import hashlib

import numpy as np


def seed_for(seed: int, *purpose: str) -> int:
    """Derive a 63-bit seed for one purpose from the user's seed.

    Args:
        seed: The user's seed, any integer.
        purpose: Words that name the purpose, for example `"wgan", "z"`.

    Returns:
        An integer in [0, 2**63); another purpose gives an unrelated one.

    Example:
        >>> seed_for(1, "z") == seed_for(1, "z"), seed_for(1, "z") == seed_for(1, "weights")
        (True, False)
    """
    digest = hashlib.sha256("/".join((str(seed), *purpose)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def stream(seed: int, *purpose: str) -> np.random.Generator:
    """Return the NumPy generator of one purpose.

    Example:
        >>> stream(1, "split").integers(100) == stream(1, "split").integers(100)
        np.True_
    """
    return np.random.default_rng(seed_for(seed, *purpose))
