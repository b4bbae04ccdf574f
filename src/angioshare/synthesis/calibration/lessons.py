"""What simulated subjects from all over a prior look like, in numbers. Public, and the same for every cohort.

Simulating them is most of the cost of a calibration and depends on nothing but the prior, the way patches are cut and
the code, so they are kept in the user's cache and serve every run, epsilon and seed from there.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from time import monotonic, sleep

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

import angioshare.patches
import angioshare.simulator
from angioshare.errors import AngioShareError, BusyError, DataError
from angioshare.patches.extract import PatchSettings
from angioshare.progress import Progress
from angioshare.rng import seed_for, stream
from angioshare.rundir import atomic_path, locked
from angioshare.simulator.many import simulate_each
from angioshare.simulator.prior import Prior
from angioshare.synthesis import simulated
from angioshare.synthesis.calibration import features as measuring
from angioshare.synthesis.calibration.features import NAMES, features
from angioshare.synthesis.simulated import cut_simulated
from angioshare.types import FloatArray

FILE = "lessons.safetensors"
"""Name of a source's own copy."""

_SEED = 1
"""Of all lessons: they are public knowledge, and no run needs its own."""

_AT_ONCE = 8

_WAIT_S = 2.0
"""Between two looks at what another process has simulated."""

_PATIENCE_S = 900.0
"""After so long without anything new, lessons are simulated here as well: a folder may know no locks."""


def places(prior: Prior, count: int) -> FloatArray:
    """Where lessons lie in the prior's range: shares (count, p); a longer list begins with the shorter one.

    Example:
        >>> from angioshare.simulator.prior import WIDE
        >>> bool((places(WIDE, 3)[:2] == places(WIDE, 2)).all())
        True
    """
    return stream(_SEED, "calibrated", "lessons").random((count, len(prior)))


def lessons(
    prior: Prior, count: int, patches: PatchSettings, *, folder: Path, workers: int, progress: Progress
) -> FloatArray:
    """Simulate lessons and measure them, or take those that were measured before.

    Of processes that want the same lessons, one at a time simulates; the others wait and take what it found.

    Args:
        prior: Where they come from.
        count: How many subjects.
        patches: How a subject's patches are cut.
        folder: Of the source; a complete list is kept there, so that a run can go on without the cache.
        workers: Processes that simulate; 0 takes one for each core.
        progress: Told of each subject.

    Returns:
        Features of their patches (count, patches, d), float32; rows of NaN where a small head gave fewer patches.

    Raises:
        DataError: The copy in `folder` belongs to other settings.
    """
    own = folder / FILE
    if own.exists():
        kept = _read(own)
        if kept is None or len(kept) != count:
            raise DataError(f"{own} is damaged or of another run; delete it to simulate {count} subjects anew")
        progress.start("simulate lessons", count, count)
        progress.finish()
        return kept
    shared = cache_folder(os.environ) / f"{_key(prior, patches)}.safetensors"
    found, shares = _known(shared, patches), places(prior, count)
    progress.start("simulate lessons", count, min(len(found), count))
    heard = monotonic()
    while len(found) < count:
        with _turn(shared.with_suffix(".lock")) as mine:
            before, found = len(found), max(found, _known(shared, patches), key=len)  # others may have gone on
            heard = monotonic() if len(found) > before else heard
            waits = not mine and monotonic() - heard < _PATIENCE_S
            progress.advance("another process simulates them" if waits else "", min(len(found), count) - before)
            if waits:
                sleep(_WAIT_S)
            elif len(found) < count:
                rows = range(len(found), min(len(found) + _AT_ONCE * max(workers, 1), count))
                seeds = [seed_for(_SEED, "calibrated", "lesson", str(row)) for row in rows]
                sites = [prior.site(shares[row]) for row in rows]
                made = simulate_each(list(zip(sites, seeds, strict=True)), workers)
                parts = cut_simulated(made, patches, seed=_SEED, progress=progress)
                measured = [_padded(features(part.image, part.label), patches.per_subject) for part in parts]
                found = np.concatenate([found, measured])
                with suppress(AngioShareError, OSError):  # a cache that cannot be written costs time, nothing else
                    _write(shared, found)
    progress.finish()
    _write(own, found[:count])
    return found[:count]


def _known(shared: Path, patches: PatchSettings) -> FloatArray:
    """Features in the cache, perhaps of no lesson."""
    found = _read(shared)
    return np.zeros((0, patches.per_subject, len(NAMES)), np.float32) if found is None else found


@contextmanager
def _turn(path: Path) -> Iterator[bool]:
    """Whether the next lessons are this process's to simulate: not while another process simulates the same ones."""
    with ExitStack() as stack:
        mine = True
        try:
            stack.enter_context(locked(path))
        except BusyError:
            mine = False
        except DataError:
            pass  # nobody else can write there either
        yield mine


def cache_folder(environment: Mapping[str, str]) -> Path:
    """The folder of lessons: `$XDG_CACHE_HOME/angioshare/lessons` or `~/.cache/angioshare/lessons`.

    Example:
        >>> cache_folder({"XDG_CACHE_HOME": "/cache"}).as_posix()
        '/cache/angioshare/lessons'
    """
    base = environment.get("XDG_CACHE_HOME") or str(Path(environment.get("HOME", "/")) / ".cache")
    return Path(base) / "angioshare" / "lessons"


def _key(prior: Prior, patches: PatchSettings) -> str:
    """Name what lessons depend on: prior, patches, and the code that simulates, cuts and measures."""
    state = hashlib.sha256(f"{prior!r} {patches.model_dump_json()}".encode())
    code = [Path(str(measuring.__file__)), Path(str(simulated.__file__))]
    for package in (angioshare.simulator, angioshare.patches):
        code += sorted(Path(str(package.__file__)).parent.glob("*.py"))
    for path in code:
        state.update(path.read_bytes())
    return state.hexdigest()[:32]


def _padded(found: FloatArray, rows: int) -> FloatArray:
    whole = np.full((rows, len(NAMES)), np.nan, np.float32)
    whole[: len(found)] = found[:rows]
    return whole


def _read(path: Path) -> FloatArray | None:
    """Features (n, patches, d) in a file; None if there are none that fit."""
    try:
        found = load_file(path)["features"]
    except (OSError, SafetensorError, KeyError):
        return None
    return found if found.ndim == 3 and found.shape[2] == len(NAMES) else None


def _write(path: Path, found: FloatArray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        save_file({"features": found}, temporary)
