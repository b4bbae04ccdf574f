"""How much memory a piece of work took at most: of its process, or of the largest child that it started."""

import resource
from pathlib import Path

_STATUS, _RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_FORGET_THE_PEAK = "5"
"""See proc(5), /proc/[pid]/clear_refs."""


class PeakMemory:
    """Largest memory since this was made; only the newest one of a process counts rightly.

    Example:
        >>> peak = PeakMemory()
        >>> block = bytearray(64 << 20)
        >>> peak.mb() is None or peak.mb() > 64
        True
    """

    def __init__(self) -> None:
        """Forget what was used before, where the system can (Linux)."""
        self._children = _largest_child_kb()
        try:
            _RESET.write_text(_FORGET_THE_PEAK, encoding="ascii")
            self._known = True
        except OSError:
            self._known = False

    def mb(self) -> float | None:
        """Return the largest resident memory of one process in MB (10^6 bytes), or None where it cannot be known.

        Edge cases: a child counts once it has ended, and only if it was larger than every child before. Two that run
            side by side are not added up. Pages that processes share count in each, and memory that
            the process has kept of earlier work counts too (see `heap`).
        """
        if not self._known:
            return None
        try:
            lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return None
        own = next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), None)
        if own is None:
            return None
        children = _largest_child_kb()
        return max(own, children if children > self._children else 0) * 1024 / 1e6


def _largest_child_kb() -> int:
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
