"""Processes of one's own: when there may be some, and how they end with the one that started them."""

import multiprocessing
import os
import threading
from multiprocessing import process


def allowed_here(workers: int) -> int:
    """How many of the processes that are wanted may be started here.

    A worker of `parallel` is daemonic, so that it ends with its parent, and may have no processes of its own: what it
    is to do side by side it does itself, one after the other.

    Args:
        workers: How many are wanted, >= 1.

    Returns:
        As many, or 1: then the work is done in this process.

    Example:
        >>> allowed_here(4)
        4
    """
    return 1 if process.current_process().daemon else workers


def end_with_parent() -> None:
    """End this process at once when the one that started it is gone, however that ended; as a pool's initializer.

    A pool's workers wait for work, and of a parent that was killed they never hear.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_outlive, args=(parent,), daemon=True).start()


def _outlive(parent: process.BaseProcess) -> None:
    parent.join()
    os._exit(1)
