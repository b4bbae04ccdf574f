"""Patch sets on disk: plain arrays that are mapped into memory, and a manifest that says what they are.

A store is a folder: `image.npy` (float16), `label.npy` (uint8), `centre.npy` (int32, real patches only) and
`manifest.json`. It is written subject by subject under another name and renamed when whole. Real patches never leave
the private side: the folder has mode 0700 and its files 0600. Why this format: `docs/decisions/0004-patch-store.md`.
"""

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, get_args

import numpy as np
import numpy.typing as npt

from angioshare.cohort.names import printable, refuse_duplicates, subject_id
from angioshare.errors import DataError, SettingsError
from angioshare.patches.extract import PatchSettings, SubjectPatches
from angioshare.patches.patchset import PatchSet
from angioshare.rundir import atomic_path, locked, read_json, write_json
from angioshare.types import Json, Provenance

VERSION = 1
_DTYPES: dict[str, np.dtype[Any]] = {"image": np.dtype("<f2"), "label": np.dtype("u1"), "centre": np.dtype("<i4")}
_CHUNK = 1024  # patches written at a time: bounds memory to some 20 MB


def write_store(
    path: Path,
    subjects: Iterable[SubjectPatches],
    settings: PatchSettings,
    *,
    seed: int,
    provenance: Provenance = "unprotected",
) -> None:
    """Write the patches of a cohort, a real one as a rule, one subject in memory at a time.

    Args:
        path: Folder to make; it must not exist.
        subjects: Patches; each subject is taken when the one before is on disk.
        settings: How they were cut; kept in the manifest.
        seed: The seed that they were cut with; kept in the manifest.
        provenance: What made them. Names of subjects are kept only where they are real.

    Raises:
        SettingsError: `path` exists, or another process writes it.
        DataError: The disk is full, the folder cannot be written, there is no subject, or one stands twice.

    Guarantees:
        A kill at any moment leaves either the whole store or none under this name.
    """
    with _fresh(path) as folder:
        rows: list[Json] = []
        square = (settings.size, settings.size)
        with (
            _growing(folder, "image", square) as image,
            _growing(folder, "label", square) as label,
            _growing(folder, "centre", (3,)) as centre,
        ):
            for patches in subjects:
                refuse_duplicates([*(row["id"] for row in rows), patches.subject], "the patch store")
                image.append(patches.image)
                label.append(patches.label)
                centre.append(patches.centre)
                rows.append({"id": patches.subject, "count": len(patches.image), "vessel": patches.n_vessel})
        if not rows:
            raise DataError(f"{printable(path)}: 0 subjects give no patches; give 1 at least")
        more = {"settings": settings.model_dump(mode="json"), "seed": seed}
        _write_manifest(folder, image.shape, rows if provenance == "unprotected" else [], provenance, more)


def write_patchset(path: Path, patches: PatchSet, meta: Json) -> None:
    """Write any patch set, synthetic ones above all.

    Args:
        path: Folder to make; it must not exist.
        patches: What to write; those of one subject must stand together.
        meta: Whatever should be known later: synthesizer, seed, statement.

    Raises:
        SettingsError: `path` exists, or another process writes it.
        DataError: The disk is full, the folder cannot be written, or subjects are mixed.

    Edge cases: images become float16, in steps of at most 0.0005.
    """
    changes = np.flatnonzero(np.diff(patches.subject)) + 1
    blocks = np.split(np.asarray(patches.subject), changes) if len(patches.subject) else []
    rows: list[Json] = [{"id": patches.subjects[block[0]], "count": len(block)} for block in blocks]
    refuse_duplicates((row["id"] for row in rows), "the patch set (subjects must stand in blocks)")
    with _fresh(path) as folder:
        for name, values in (("image", patches.image), ("label", patches.label)):
            with _growing(folder, name, values.shape[1:]) as array:
                array.append(values)
        _write_manifest(folder, patches.image.shape, rows, patches.provenance, {"meta": meta})


def write_in_parts(
    path: Path, parts: Iterable[PatchSet], size: tuple[int, int], *, provenance: Provenance, meta: Json
) -> None:
    """Write a synthetic set that is made part by part, with one part in memory at a time.

    Args:
        path: Folder to make; it must not exist.
        parts: Pairs of this size; each is taken when the one before is on disk. There may be none.
        size: Height and width of a patch.
        provenance: What all of them together reveal.
        meta: As in `write_patchset`.

    Raises:
        SettingsError: `path` exists, or another process writes it.
        DataError: The disk is full, or the folder cannot be written.

    Guarantees:
        A kill at any moment leaves either the whole set or none under this name.
    """
    with _fresh(path) as folder:
        with _growing(folder, "image", size) as image, _growing(folder, "label", size) as label:
            for part in parts:
                image.append(part.image)
                label.append(part.label)
        _write_manifest(folder, image.shape, [], provenance, {"meta": meta})


def open_store(path: Path, *, verify: bool = False) -> PatchSet:
    """Map a patch set into memory; nothing is read until it is used.

    Args:
        path: Folder that `write_store` or `write_patchset` made.
        verify: Read all and compare checksums, about 1 s a GB.

    Returns:
        Arrays that cannot be written; `PatchSet.pairs` reads them without keeping their pages.

    Raises:
        DataError: A file is missing, damaged, or does not match the manifest.
    """
    manifest = read_manifest(path)
    shape, subjects = (manifest["count"], *manifest["size"]), manifest["subjects"]
    if verify:
        _verify(path, manifest["sha256"])
    return PatchSet(
        image=_mapped(path / "image.npy", shape),
        label=_mapped(path / "label.npy", shape),
        subject=np.repeat(np.arange(len(subjects)), np.array([row["count"] for row in subjects], np.int64)),
        subjects=tuple(row["id"] for row in subjects),
        provenance=manifest["provenance"],
    )


def open_public(path: Path) -> PatchSet:
    """Map the patches of a public cohort into memory.

    Raises:
        DataError: See `open_store`; or they are others: real patches that were put there, say.
    """
    patches = open_store(path)
    if patches.provenance != "public":
        raise DataError(
            f"{printable(path)} holds patches that are {patches.provenance}, not public; delete it and begin anew"
        )
    return patches


def read_manifest(path: Path) -> Json:
    """Read and check the manifest of a store.

    Returns:
        Keys `version`, `count`, `size`, `provenance`, `subjects` (rows of `id`, `count`), `sha256`, and `settings`
        and `seed`, or `meta`.

    Raises:
        DataError: It is missing or not one of ours.
    """
    file = path / "manifest.json"
    manifest = read_json(file)
    try:
        rows, digests = manifest["subjects"], manifest["sha256"]
        ids = [subject_id(row["id"], file) for row in rows]
        refuse_duplicates(ids, file)
        sound = (
            manifest["version"] == VERSION
            and all(_natural(value) for value in (manifest["count"], *(row["count"] for row in rows)))
            and (not rows or sum(row["count"] for row in rows) == manifest["count"])
            and manifest["provenance"] in get_args(Provenance)
            and len(manifest["size"]) == 2
            and all(_natural(side) for side in manifest["size"])
            and {"image", "label"} <= set(digests) <= set(_DTYPES)
        )
    except (KeyError, TypeError) as error:
        raise DataError(f"{printable(file)} lacks or garbles {error}; delete the store and redo it") from error
    if not sound:
        raise DataError(
            f"{printable(file)} contradicts itself or is not of version {VERSION}; delete the store and redo it"
        )
    return manifest


def export_npz(path: Path, patches: PatchSet) -> None:
    """Write `image` and `label` as one compressed `.npz`, atomically; subjects are not written.

    Args:
        path: Where; the name ends in `.npz`. Unprotected patches get mode 0600.
        patches: What.

    Raises:
        SettingsError: The name does not end in `.npz`.
        DataError: The folder cannot be written, or the disk is full.
    """
    if path.suffix != ".npz":
        raise SettingsError(f"{printable(path)} must end in .npz; rename it")
    with atomic_path(path, private=patches.provenance == "unprotected") as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, image=patches.image, label=patches.label)


class _Growing:
    """A `.npy` file that grows by rows; its header is written anew when the number of rows is known."""

    def __init__(self, file: BinaryIO, dtype: np.dtype[Any], row: tuple[int, ...]) -> None:
        self._file, self._dtype, self._row, self._count = file, dtype, row, 0
        self._write_header()

    def append(self, rows: npt.NDArray[Any]) -> None:
        """Write rows, a part at a time."""
        if rows.shape[1:] != self._row:
            raise DataError(f"patches of shape {rows.shape[1:]} do not fit a store of {self._row}; cut them alike")
        for at in range(0, len(rows), _CHUNK):
            self._file.write(np.ascontiguousarray(rows[at : at + _CHUNK], self._dtype).data)
        self._count += len(rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array so far."""
        return (self._count, *self._row)

    def finish(self) -> None:
        """Write the final header over the first, which is as long: NumPy leaves room for the count to grow."""
        self._file.seek(0)
        self._write_header()

    def _write_header(self) -> None:
        head = {"descr": self._dtype.str, "fortran_order": False, "shape": self.shape}
        np.lib.format.write_array_header_1_0(self._file, head)


@contextmanager
def _growing(folder: Path, name: str, row: tuple[int, ...]) -> Iterator[_Growing]:
    """Open a growing array, and flush it to disk when the block ends well."""
    with os.fdopen(os.open(folder / f"{name}.npy", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        array = _Growing(file, _DTYPES[name], row)
        yield array
        array.finish()
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _fresh(path: Path) -> Iterator[Path]:
    """Give a folder that is renamed to `path` when the block ends well, and removed when it does not."""
    work = path.with_name(f".{path.name}.part")
    try:
        if path.exists():
            raise SettingsError(f"{printable(path)} exists; delete it to make it again, or choose another name")
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(work / ".lock"):
            _clear(work)
            try:
                yield work
                (work / ".lock").unlink()
                work.rename(path)
            except BaseException:
                shutil.rmtree(work, ignore_errors=True)
                raise
    except OSError as error:
        raise DataError(
            f"cannot write {printable(path)}: {error.strerror or error}; free space or choose another folder"
        ) from error


def _clear(work: Path) -> None:
    """Remove what a killed writer left."""
    for name in ("image.npy", "label.npy", "centre.npy", "manifest.json"):
        (work / name).unlink(missing_ok=True)


def _write_manifest(folder: Path, shape: tuple[int, ...], rows: list[Json], provenance: Provenance, more: Json) -> None:
    """Write what the arrays are, last of all."""
    manifest = {
        "version": VERSION,
        "count": shape[0],
        "size": list(shape[1:]),
        "provenance": provenance,
        "subjects": rows,
        "sha256": {file.stem: _sha256(file) for file in sorted(folder.glob("*.npy"))},
    }
    write_json(folder / "manifest.json", {**manifest, **more}, private=True)


def _mapped(file: Path, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Map one array, and see that it is what the manifest says."""
    try:  # nothing cannot be mapped
        array: npt.NDArray[Any] = np.load(file, mmap_mode="r" if shape[0] else None, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{printable(file)} is missing or damaged ({printable(error)}); redo the store") from error
    dtype = _DTYPES[file.stem]
    if array.shape != shape or array.dtype != dtype:
        raise DataError(
            f"{printable(file)} holds {array.dtype} {array.shape}, its manifest says {dtype} {shape}; redo the store"
        )
    return array


def _natural(value: object) -> bool:
    """Whether a value from JSON is a count."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _verify(path: Path, digests: dict[str, str]) -> None:
    """Compare checksums."""
    for name, digest in digests.items():
        file = path / f"{name}.npy"
        if not file.is_file() or _sha256(file) != digest:
            raise DataError(f"{printable(file)} differs from its checksum in the manifest; redo the store")


def _sha256(file: Path) -> str:
    """Checksum of a file, read in pieces."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
