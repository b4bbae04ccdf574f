"""Two sets of patches from wherever they stand, side by side, as `angioshare fidelity` shows them.

A set is a run folder (`RUN` or `RUN:SOURCE`, `RUN:train`, `RUN:test`), a folder of patches, a folder that holds
`patches.npz`, or an `.npz` file with `image` of shape (n, h, w) and maybe `label`.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from angioshare.config import SourceSettings
from angioshare.errors import DataError, SettingsError
from angioshare.metrics.features import feature_network, features_of
from angioshare.metrics.fidelity import fidelity
from angioshare.metrics.similarity import REACH, pairwise_similarity
from angioshare.patches.patchset import PatchSet
from angioshare.patches.scale import scale_patch
from angioshare.patches.store import open_store
from angioshare.progress import Progress
from angioshare.rng import stream
from angioshare.stages.arrays import read_arrays
from angioshare.stages.folder import open_run
from angioshare.stages.run import Run
from angioshare.stages.sample import REAL_PAIRS, pairs_of
from angioshare.synthesis.registry import PUBLIC_COHORT
from angioshare.types import REVEALING, FloatArray, Json, Provenance


@dataclass(frozen=True, kw_only=True)
class NamedSet:
    """Patches and where they are from.

    Attributes:
        name: What it is, without any path.
        image: Shape (n, h, w), in [-1, 1].
        vessel_share: Share of labelled pixels; None without labels.
        provenance: What the patches reveal; `"unprotected"` where nobody says.
        scaled: Whether patches were scaled to [-1, 1] here, each by itself.
        cache: Private folder of a run for features, or None.
    """

    name: str
    image: FloatArray
    vessel_share: float | None
    provenance: Provenance
    scaled: bool = False
    cache: Path | None = None


def compare_sets(
    a: str, b: str, *, features: str, patches: int, similar: int, cache: Path | None, state: Path, progress: Progress
) -> Json:
    """Measure set A against set B.

    Args:
        a: The set that is judged.
        b: The set that it is held against, for example real patches.
        features: Name or file of the feature network.
        patches: At most so many of each set are compared, chosen by a public seed.
        similar: At most so many of each are compared pair by pair.
        cache: Folder where features are kept; None takes that of a run, or keeps none.
        state: The user's state folder.
        progress: Told of patches.

    Returns:
        Keys `fid`, `fid_infinity`, `kid`, `density`, `coverage`, `distance` (what `fid` may be called), `features`,
        `preparation`, `provenance`, and for each set `a` (its name), `n_a`, `ssim_a`, `ssim_sd_a`, `ssim_n_a`,
        `vessel_share_a`, `scaled_a`.

    Raises:
        DataError: A set cannot be used, or they are of different size.
        SettingsError: There is no such set, source or network.
    """
    sets = {"a": open_set(a, state=state), "b": open_set(b, state=state)}
    if sets["a"].image.shape[1:] != sets["b"].image.shape[1:]:
        raise DataError(
            f"patches of {sets['a'].image.shape[1:]} and {sets['b'].image.shape[1:]} pixels are not compared; cut both "
            "sets to one size"
        )
    network = feature_network(features)
    found: Json = {}
    vectors = {}
    for which, one in sets.items():
        image = _some(one.image, patches, which)
        vectors[which] = features_of(network, image, cache=cache or one.cache, progress=progress)
        found |= {which: one.name, f"n_{which}": len(image), f"scaled_{which}": one.scaled}
        found |= {f"{key}_{which}": value for key, value in _alone(one, similar, which).items()}
    compared = fidelity(vectors["a"], vectors["b"])
    return {
        "fid": compared.frechet,
        "fid_infinity": compared.extrapolated,
        "kid": compared.kernel,
        "density": compared.density,
        "coverage": compared.coverage,
        "features": network.name,
        "distance": network.title,
        "preparation": network.preparation,
        "provenance": max((one.provenance for one in sets.values()), key=REVEALING.index),
        **found,
    }


def open_set(where: str, *, state: Path) -> NamedSet:
    """Find a set of patches.

    Raises:
        DataError: What stands there cannot be used.
        SettingsError: There is no such thing, or the run has no such source.
    """
    path, source = Path(where), ""
    if not path.exists():
        start, colon, source = where.rpartition(":")
        path = Path(start) if colon and Path(start).is_dir() else path
    if (path / "run.json").is_file():
        return _of_run(open_run(path, state=state), source)
    if (path / "manifest.json").is_file():
        return _named(path.name, open_store(path))
    if (path / "patches.npz").is_file():
        return _read_npz(path / "patches.npz")
    if path.is_file():
        return _read_npz(path)
    raise SettingsError(
        f"{where} holds no patches; give a run folder (RUN or RUN:SOURCE), a folder of patches, a folder with "
        "patches.npz, or an .npz file"
    )


def _of_run(run: Run, wanted: str) -> NamedSet:
    """The pairs of one source of a run, or its real patches."""
    cache = run.private / "features"
    if wanted in ("train", "test"):
        folder = run.private / ("patches" if wanted == "train" else "test-patches")
        if not folder.is_dir():
            raise SettingsError(f"{run.root} has no {wanted} patches yet; run `angioshare evaluate {run.root}` first")
        return _named(wanted, open_store(folder), cache)
    run.require("sample")
    source = _source(run, wanted)
    return _named(source.name, pairs_of(run, source), cache)


def _source(run: Run, wanted: str) -> SourceSettings:
    """The named source; without a name the first private one, or else the first that makes images of its own."""
    sources = run.config.sources
    if wanted:
        for source in sources:
            if source.name == wanted:
                return source
        names = ", ".join(["train", "test", *(source.name for source in sources)])
        raise SettingsError(f"{run.root} has no source {wanted!r}; choose one of {names}")
    made = [source for source in sources if source.synthesizer not in (*REAL_PAIRS, PUBLIC_COHORT)]
    private = [source for source in made if source.privacy]
    return [*private, *made, *sources][0]


def _named(name: str, patches: PatchSet, cache: Path | None = None) -> NamedSet:
    share = float(np.mean([np.count_nonzero(one) / one.size for one in patches.label])) if len(patches) else None
    return NamedSet(name=name, image=patches.image, vessel_share=share, provenance=patches.provenance, cache=cache)


def _read_npz(file: Path) -> NamedSet:
    """Read `image` and maybe `label`."""
    held = read_arrays(file, ["image"], ["label"])
    image, label = held["image"], held.get("label")
    if image.ndim != 3 or image.dtype.kind not in "buif" or not image.size or not np.isfinite(image).all():
        raise DataError(
            f"{file}: image is {image.dtype} {image.shape}; give finite numbers of shape (n, h, w), none of them 0"
        )
    if label is not None and (label.shape != image.shape or label.dtype.kind not in "buif"):
        raise DataError(
            f"{file}: label is {label.dtype} {label.shape} and image {image.shape}; give numbers of one shape"
        )
    inside = image.dtype.kind == "f" and float(np.abs(image).max()) <= 1
    share = None if label is None else float(np.count_nonzero(label) / label.size)
    return NamedSet(
        name=file.stem,
        image=np.asarray(image, np.float32) if inside else scale_patch(image),
        vessel_share=share,
        provenance="unprotected",
        scaled=not inside,
    )


def _some(image: FloatArray, wanted: int, which: str) -> FloatArray:
    """All patches, or some, in random order."""
    return image[stream(0, "fidelity", which).permutation(len(image))[:wanted]]


def _alone(one: NamedSet, similar: int, which: str) -> Json:
    """Numbers of one set by itself."""
    image = _some(one.image, similar, which)
    if len(image) < 2 or min(image.shape[1:]) <= 2 * REACH:
        return {"ssim": None, "ssim_sd": None, "ssim_n": 0, "vessel_share": one.vessel_share}
    found = pairwise_similarity(image, threads=len(os.sched_getaffinity(0)))
    return {"ssim": found.mean, "ssim_sd": found.sd, "ssim_n": len(image), "vessel_share": one.vessel_share}
