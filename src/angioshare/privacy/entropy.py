"""Random bytes that nobody can predict or replay: an AES-CTR key stream under a key from the operating system.

Selection and noise draw from here and from nowhere else. A stream knows its process, so a fork never repeats bytes, and
it can be neither copied nor stored: a checkpoint that held it would let the same noise be drawn twice.
"""

import hashlib
import os
from typing import NoReturn

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from angioshare.errors import PrivacyError


class KeyStream:
    """A cryptographic generator of uniform random bits.

    Args:
        test_seed: None draws the key from the operating system, as every real run must. A number makes the stream
            reproducible, for tests alone; whatever it touched is marked `not private: seeded noise`.

    Guarantees:
        Without a test seed, the bits cannot be told from uniform ones by whoever does not hold the key, which never
        leaves this object (AES-256 in counter mode).

    Example:
        >>> KeyStream(test_seed=1).words(2).tolist() == KeyStream(test_seed=1).words(2).tolist()
        True
        >>> KeyStream().words(2).tolist() == KeyStream().words(2).tolist()
        False
    """

    def __init__(self, *, test_seed: int | None = None) -> None:
        self._seed = test_seed
        self._process = os.getpid()
        self._cipher = self._new_cipher()

    @property
    def seeded(self) -> bool:
        """Whether the bits can be replayed, and nothing made from them is private."""
        return self._seed is not None

    def words(self, count: int) -> npt.NDArray[np.uint64]:
        """Draw `count` uniform 64-bit words, shape (count,)."""
        if os.getpid() != self._process and not self.seeded:
            # A forked child holds a copy of the parent's key: going on would give both the same noise.
            self._process, self._cipher = os.getpid(), self._new_cipher()
        # The key stream itself is wanted, so zeros are what is enciphered, in place.
        bits = np.zeros(count + 2, np.uint64)  # the cipher asks for one block of room
        self._cipher.update_into(bits[:count].data.cast("B"), bits.data.cast("B"))
        return bits[:count]

    def _new_cipher(self) -> CipherContext:
        key = os.urandom(32) if self._seed is None else hashlib.sha256(f"test seed {self._seed}".encode()).digest()
        return Cipher(AES(key), CTR(bytes(16))).encryptor()

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise PrivacyError(
            "the state of a privacy generator must not be copied, pickled or checkpointed: the same noise could be "
            "drawn twice; make a new one at every start"
        )
