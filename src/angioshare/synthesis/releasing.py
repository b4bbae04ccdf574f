"""A release that is made once: stored as soon as it is made, and used ever after; a second one would cost again."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from angioshare.errors import DataError
from angioshare.privacy.release import Release
from angioshare.protocols import EngineFactory
from angioshare.rundir import read_json, write_json
from angioshare.types import FloatArray

_DELETED = (
    "without it a new release would be charged, which a target epsilon forbids: a run in another folder begins anew"
)


def release_once(
    path: Path, vectors: Callable[[], FloatArray], engine: EngineFactory | None, *, numbers: int, made_by: str
) -> Release:
    """Read the stored mean of one vector per unit, or release it and store it.

    Args:
        path: Where it stands, on the private side.
        vectors: Gives one row for each unit, shape (n, numbers); called only if there is no stored mean.
        engine: Releases under a guarantee; None takes the mean as it is.
        numbers: Length of a vector.
        made_by: Names what the numbers mean.

    Raises:
        DataError: What is stored is damaged or means something else. It is never made anew: that would be charged.

    Guarantees:
        A crash after the charge and before the store counts a release that nobody saw, never the other way round.
    """
    if path.exists():
        found = _stored(path, numbers, made_by)
        if engine is not None and found.noise_std == 0:
            raise DataError(f"{path} was made without privacy, which this run must not use; {_DELETED}")
        return found
    rows = vectors()
    release = Release(mean=rows.mean(axis=0), noise_std=0.0) if engine is None else engine.mean(rows)
    write_json(path, {"mean": release.mean.tolist(), "noise_std": release.noise_std, "by": made_by}, private=True)
    return release


def _stored(path: Path, numbers: int, made_by: str) -> Release:
    value = read_json(path)
    try:
        release = Release(mean=np.array(value["mean"], np.float64), noise_std=float(value["noise_std"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{path} is damaged ({error}); {_DELETED}") from error
    if release.mean.shape != (numbers,) or not np.isfinite(release.mean).all() or value.get("by") != made_by:
        raise DataError(
            f"{path} holds {release.mean.shape} numbers of other settings, not the {numbers} asked for; go back to "
            f"those settings; {_DELETED}"
        )
    return release
