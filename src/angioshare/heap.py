"""Memory that a training has freed stays with the process, since its next step asks for the same again.

The C library gives blocks of some MiB back to the system as soon as they are free, and each comes back as pages that
the system must find and zero. A network of a few million numbers frees and asks for hundreds of such blocks a step.
"""

import ctypes
import os

# Names and numbers of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGEST, _LARGEST_IN_OLD_GLIBC = 1 << 30, 1 << 25
_CHOSEN_BY_USER = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed, up to 1 GiB in one block.

    Returns:
        Whether it will: not where another C library is used (macOS, musl), nor where the environment chooses otherwise
        by `MALLOC_TRIM_THRESHOLD_` or `MALLOC_MMAP_THRESHOLD_`.

    Edge cases: called twice, it does the same again. The process never shrinks below its peak,
        and blocks of tens of MiB may leave gaps: 400 MiB in use can hold 1.1 GiB, which then stays so.

    References:
        mallopt(3).

    Example:
        >>> keep_freed_memory() in (True, False)
        True
    """
    if any(name in os.environ for name in _CHOSEN_BY_USER):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    kept = any(mallopt(_MMAP_THRESHOLD, size) for size in (_LARGEST, _LARGEST_IN_OLD_GLIBC))
    return bool(kept and mallopt(_TRIM_THRESHOLD, 2**31 - 1))
