"""Part of stage 6: patches of several sources as points of one plane (t-SNE), once with each distance.

Real training patches are always among them, and they move every other point: whatever comes out is unprotected and
stands in one file on the private side, thumbnails included, from which alone the figures are drawn.
"""

import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
from PIL import Image

from angioshare.errors import DataError
from angioshare.metrics.embedding import FEWEST, PERPLEXITY, fitting_perplexity, tsne
from angioshare.metrics.transport import METRICS, distance_matrix
from angioshare.patches.patchset import PatchSet
from angioshare.patches.store import open_store
from angioshare.report.content import Embedding, ReportContent, SourceInfo
from angioshare.report.embedding import embedding_figure, thumbnail_figure
from angioshare.report.figures import encoded
from angioshare.report.tables import main_sources
from angioshare.rng import stream
from angioshare.rundir import atomic_path
from angioshare.stages.run import Run
from angioshare.stages.sample import pairs_of
from angioshare.types import ByteArray, FloatArray, Json

TRAINING = SourceInfo(name="training patches", title="Real training patches", kind="real")
"""The group that every embedding holds; no source can have its name, which has a space."""

PATCHES = 300
"""Patches of each group, unless the settings say otherwise."""

_VERSION = 1
_THUMBNAIL_PIXELS = 48
_DAMAGES = (OSError, ValueError, EOFError, KeyError, TypeError, BadZipFile, zlib.error)


@dataclass(frozen=True, kw_only=True)
class PatchGroup:
    """Patches that are placed under one name.

    Attributes:
        info: What they are called, and what they were made from.
        patches: They; only images are read.
    """

    info: SourceInfo
    patches: PatchSet


def training_group(run: Run) -> PatchGroup:
    """The real training patches of a run."""
    return PatchGroup(info=TRAINING, patches=open_store(run.private / "patches"))


def embed(groups: Sequence[PatchGroup], file: Path, *, count: int = PATCHES, seed: int = 0) -> tuple[Embedding, ...]:
    """Place patches of all groups together, once with each distance, unless `file` holds just that already.

    Args:
        groups: At least one; of the same patch size and with different names.
        file: Where the result is kept, on a private side; for its owner's eyes alone.
        count: At most so many patches of each group, >= 1, in random order.
        seed: Chooses them. Public.

    Returns:
        An embedding for each distance of `METRICS`, of the same patches; none for fewer than four patches.

    Raises:
        DataError: Patches are of different size, or `file` cannot be written.
    """
    sizes = {group.patches.image.shape[1:] for group in groups}
    if len(sizes) != 1:
        raise DataError(f"patches of sizes {sorted(sizes)} cannot be placed together; cut them to one size")
    drawn = [_some(group, count, seed) for group in groups]
    image = np.concatenate(drawn)
    if len(image) < FEWEST:
        return ()
    about: Json = {
        "version": _VERSION,
        "groups": [asdict(group.info) for group in groups],
        "perplexity": fitting_perplexity(len(image), PERPLEXITY),
        "seed": seed,
        "pixels": hashlib.sha256(np.ascontiguousarray(image).data).hexdigest(),
    }
    if _about(file) != about:
        points = {f"points_{name}": tsne(distance_matrix(image, name), seed=seed) for name in METRICS}
        group = np.repeat(np.arange(len(groups)), [len(one) for one in drawn])
        _write(file, about, points, thumbnails=_thumbnails(image), group=group)
    return read_embeddings(file)


def embed_run(run: Run, content: ReportContent) -> tuple[Embedding, ...]:
    """Place real training patches, and those of the best source of each sort that makes images of its own.

    Args:
        run: A run whose sources are scored.
        content: Its report, which knows the best (see `tables.main_sources`).

    Returns:
        See `embed`; nothing where the settings ask for no patches.
    """
    count = run.config.evaluation.embedded_patches
    if not count:
        return ()
    best = [info.name for info in main_sources(content) if info.kind in ("synthesizer", "simulator")]
    groups = [
        PatchGroup(info=content.source(source.name), patches=pairs_of(run, source))
        for source in run.config.sources
        if source.name in best
    ]
    return embed([training_group(run), *groups], run.private / "embedding.npz", count=count, seed=run.config.seed)


def write_embeddings(folder: Path, embeddings: Sequence[Embedding], *, colours: Mapping[str, str]) -> None:
    """Write `tsne` (points) and `tsne-<metric>` (the patches themselves) as PNG and PDF, for the owner's eyes alone.

    Args:
        folder: On a private side; made if need be.
        embeddings: What to draw; nothing writes nothing.
        colours: Colour of each group by its name.

    Raises:
        DataError: The folder cannot be written.
    """
    figures = {f"tsne-{one.metric}": thumbnail_figure(one, colours=colours) for one in embeddings}
    if embeddings:
        figures["tsne"] = embedding_figure(embeddings, colours=colours)
    for name, figure in figures.items():
        for kind in ("png", "pdf"):
            with atomic_path(folder / f"{name}.{kind}", private=True) as temporary:
                temporary.write_bytes(encoded(figure, kind))


def read_embeddings(file: Path) -> tuple[Embedding, ...]:
    """Read what `embed` wrote; nothing where there is no such file.

    Raises:
        DataError: The file is none of ours.
    """
    if not file.exists():
        return ()
    about = _about(file)
    try:
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as held:
            groups = tuple(SourceInfo(**info) for info in about["groups"])
            return tuple(
                Embedding(
                    metric=name,
                    perplexity=about["perplexity"],
                    points=held[f"points_{name}"],
                    thumbnails=held["thumbnails"],
                    group=held["group"],
                    groups=groups,
                )
                for name in METRICS
            )
    except _DAMAGES as error:
        raise DataError(f"{file} holds no embedding ({error}); delete it, and it is made again") from error


def _some(group: PatchGroup, count: int, seed: int) -> FloatArray:
    """Some images of a group in random order, none twice."""
    rows = stream(seed, "embedding", group.info.name).permutation(len(group.patches))[:count]
    return np.asarray(group.patches.image[rows], np.float32)


def _thumbnails(image: FloatArray) -> ByteArray:
    """Images of at most 48 x 48 pixels, black to white."""
    grey = np.round((np.clip(image, -1, 1) + 1) * 127.5).astype(np.uint8)
    factor = -(-max(grey.shape[1:]) // _THUMBNAIL_PIXELS)
    return np.stack([np.asarray(Image.fromarray(one).reduce(factor)) for one in grey])


def _about(file: Path) -> Json:
    """What a file says of itself; nothing where it is missing or damaged."""
    try:
        with file.open("rb") as handle, np.load(handle, allow_pickle=False) as held:
            about: Json = json.loads(str(held["about"]))
    except _DAMAGES:
        return {}
    return about


def _write(file: Path, about: Json, points: dict[str, FloatArray], **more: npt.NDArray[np.generic]) -> None:
    with atomic_path(file, private=True) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(handle, allow_pickle=False, about=np.array(json.dumps(about)), **points, **more)
