"""NIfTI files, read as if a stranger had made them, and written with nothing but a minimal header.

The header is judged before a byte of image is allocated, and a compressed stream is never unpacked beyond what the
header promises. Single files alone (`.nii`, `.nii.gz`; NIfTI-1 and NIfTI-2): no pairs, no colours, no complex numbers,
no time series.
"""

import gzip
import io
import math
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from angioshare.cohort.names import printable
from angioshare.cohort.volume import Volume, oriented
from angioshare.errors import DataError, SettingsError
from angioshare.rundir import atomic_path
from angioshare.types import FloatArray

MAX_VOXELS = 2**28
"""More voxels than this in one scan are refused (an adult head at 0.25 mm has about 2**27.6)."""
MAX_SPACING_MM = 20.0
MAX_OFFSET = 2**24
"""The image must start within this many bytes; between header and image stand extensions that are skipped unread."""
SLACK_BYTES = 2**20
"""A stream may go on for this long after its image; a longer one is a bomb or another file."""
SPACING_TOLERANCE = 0.01
"""Voxel sizes of header and affine may differ by this share."""

_GZIP_BEST_RATIO = 1032  # no deflate stream can grow by more
_TYPES = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_WRITABLE = ("uint8", "int16", "uint16", "int32", "float32")
_STREAM_ERRORS = (OSError, EOFError, zlib.error)


def read_volume(path: Path) -> Volume:
    """Read a scan or mask, turned to RAS+ without interpolation.

    Args:
        path: A `.nii` or `.nii.gz` file.

    Returns:
        Voxels as stored (float32 where the header scales them), spacing in mm in (0, 20], affine.

    Raises:
        DataError: The file is missing, damaged, truncated, hostile, or of a kind that is not read.

    Edge cases: a trailing axis of length 1 is dropped; an image whose voxels are not finite is refused here.
    """
    try:
        with _opened(path) as stream:
            header = _header(path, stream)
            dtype, shape = _layout(path, header)
            affine = _affine(path, header)
            raw = _voxel_bytes(path, stream, header, dtype.itemsize * math.prod(shape))
    except _STREAM_ERRORS as error:
        raise DataError(f"{printable(path)} is damaged or truncated ({printable(error)}); copy it again") from error
    voxels = _scaled(path, np.frombuffer(raw, dtype).reshape(shape, order="F"), header)
    return oriented(voxels, affine)


def _opened(path: Path) -> io.BufferedIOBase:
    """Open by name: compressed or plain."""
    if not path.is_file():
        raise DataError(f"{printable(path)} is missing; restore it or drop its subject")
    if path.name.endswith(".nii.gz"):
        return gzip.open(path, "rb")
    if path.name.endswith(".nii"):
        return path.open("rb")
    raise DataError(f"{printable(path)} must end in .nii or .nii.gz; convert it")


def _header(path: Path, stream: io.BufferedIOBase) -> nib.Nifti1Header:
    """Read the first bytes and say which of the two versions they are."""
    block = stream.read(348)
    sizes = {int.from_bytes(block[:4], "little"), int.from_bytes(block[:4], "big")}
    kind: type[nib.Nifti1Header] = nib.Nifti1Header
    if 540 in sizes:
        kind, block = nib.Nifti2Header, block + stream.read(540 - 348)
    elif 348 not in sizes:
        raise DataError(f"{printable(path)}: header size {min(sizes)} must be 348 or 540; this is no NIfTI file")
    if len(block) not in sizes:
        raise DataError(f"{printable(path)} ends within its header, after {len(block)} bytes; copy it again")
    header = kind(block, endianness="<" if int.from_bytes(block[:4], "little") == len(block) else ">", check=False)
    magic = bytes(header["magic"])[:3]
    if magic not in (b"n+1", b"n+2"):
        raise DataError(
            f"{printable(path)}: magic {magic!r} must be b'n+1' or b'n+2'; convert it to a single NIfTI file"
        )
    return header


def _layout(path: Path, header: nib.Nifti1Header) -> tuple[np.dtype[np.generic], tuple[int, int, int]]:
    """Judge type and size before anything is allocated."""
    code = int(header["datatype"])
    if code not in _TYPES:
        raise DataError(f"{printable(path)}: data type {code} is not read; store integers or floats of one channel")
    dtype = np.dtype(_TYPES[code]).newbyteorder(header.endianness)
    if int(header["bitpix"]) != 8 * dtype.itemsize:
        raise DataError(
            f"{printable(path)}: {int(header['bitpix'])} bits a voxel contradict data type {code}; rewrite it"
        )
    dim = [int(side) for side in header["dim"]]
    sides = dim[1 : dim[0] + 1]
    if not 3 <= dim[0] <= 7 or min(sides) < 1 or any(side != 1 for side in sides[3:]):
        raise DataError(f"{printable(path)}: dimensions {dim} must be those of one 3-D scan; split it")
    count = math.prod(sides)
    if count > MAX_VOXELS:
        raise DataError(f"{printable(path)}: {count} voxels are more than {MAX_VOXELS}; crop or resample it")
    return dtype, (sides[0], sides[1], sides[2])


def _affine(path: Path, header: nib.Nifti1Header) -> FloatArray:
    """Judge where the voxels lie, and how large they are."""
    name, units = printable(path), int(header["xyzt_units"]) & 7
    if units not in (0, 2):
        raise DataError(f"{name}: unit of length {units} must be 2 (mm) or 0 (unsaid, read as mm); rewrite the header")
    sides = np.array(header["pixdim"][1:4], np.float64)
    if not (np.isfinite(sides).all() and (sides > 0).all() and (sides <= MAX_SPACING_MM).all()):
        raise DataError(f"{name}: voxel size {sides.tolist()} mm must lie in (0, {MAX_SPACING_MM:g}]; mend the header")
    try:
        with np.errstate(all="ignore"):
            affine = np.array(header.get_best_affine(), np.float64)
    except (ValueError, nib.spatialimages.HeaderDataError) as error:
        raise DataError(f"{name}: its orientation cannot be read ({printable(error)}); mend the header") from error
    if not np.isfinite(affine).all() or np.abs(affine).max() > 1e6:
        raise DataError(f"{name}: affine holds {affine[:3].tolist()}, not finite numbers below 1e6; mend the header")
    columns = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.abs(columns - sides) <= SPACING_TOLERANCE * sides).all():
        raise DataError(
            f"{name}: voxel size {sides.round(4).tolist()} mm in the header contradicts {columns.round(4).tolist()} mm "
            "in the affine by more than 1 %; resample the scan or mend the header"
        )
    if abs(np.linalg.det(affine[:3, :3] / columns)) < 1e-2:
        raise DataError(f"{name}: the affine's axes lie in one plane (determinant near 0); mend the header")
    return affine


def _voxel_bytes(path: Path, stream: io.BufferedIOBase, header: nib.Nifti1Header, size: int) -> bytearray:
    """Read exactly the image, and see that the stream ends soon after it."""
    offset = float(header["vox_offset"])
    start = int(header["sizeof_hdr"]) + 4
    if not (offset == 0 or start <= offset <= MAX_OFFSET) or offset != int(offset):
        raise DataError(f"{printable(path)}: the image starts at byte {offset:g}, not in [{start}, {MAX_OFFSET}]")
    begin = int(offset) or start
    on_disk = path.stat().st_size
    packed = isinstance(stream, gzip.GzipFile)
    if begin + size > on_disk * (_GZIP_BEST_RATIO if packed else 1):
        raise DataError(
            f"{printable(path)} is truncated: {on_disk} bytes of file cannot hold the {size} bytes of image that its "
            "header promises; copy it again"
        )
    stream.seek(begin)
    raw = bytearray(size)
    view, done = memoryview(raw), 0
    while done < size and (got := stream.readinto(view[done:])):
        done += got
    if done < size:
        raise DataError(f"{printable(path)} is truncated: {done} of {size} bytes of image; copy it again")
    if len(stream.read(SLACK_BYTES + 1)) > SLACK_BYTES:
        raise DataError(f"{printable(path)} goes on for more than {SLACK_BYTES} bytes after its image; rewrite it")
    return raw


def _scaled(
    path: Path, stored: npt.NDArray[np.generic], header: nib.Nifti1Header
) -> npt.NDArray[np.integer[Any]] | npt.NDArray[np.float32]:
    """Apply the header's scaling; integers without one stay integers, floats become float32."""
    slope, inter = float(header["scl_slope"]), float(header["scl_inter"])
    if not (math.isfinite(slope) and (slope == 0 or math.isfinite(inter))):
        raise DataError(f"{printable(path)}: scaling {slope:g} x + {inter:g} must be finite; mend the header")
    identity = slope == 0 or (slope == 1 and inter == 0)
    if identity and stored.dtype.kind in "iu":
        return stored.astype(stored.dtype.newbyteorder("="), copy=False)
    with np.errstate(over="ignore", invalid="ignore"):
        voxels = (stored if identity else stored.astype(np.float64) * slope + inter).astype(np.float32)
    bad = voxels.size - int(np.isfinite(voxels).sum())
    if bad:
        raise DataError(
            f"{printable(path)}: {bad} of {voxels.size} voxels are not finite as float32; replace NaN and infinity"
        )
    return voxels


def write_volume(path: Path, volume: Volume, *, private: bool = False) -> None:
    """Write a scan or mask atomically, with a fresh minimal header and no time: the same voxels give the same bytes.

    Args:
        path: Where; the name ends in `.nii` or `.nii.gz`.
        volume: What; boolean voxels are written as uint8, else one of uint8, int16, uint16, int32, float32.
        private: The file is for its owner's eyes alone (mode 0600).

    Raises:
        SettingsError: The name or the type cannot be written.
        DataError: The folder cannot be written, or the disk is full; an old file still stands.
    """
    voxels = volume.voxels.astype(np.uint8) if volume.voxels.dtype == np.bool_ else volume.voxels
    if voxels.dtype.name not in _WRITABLE:
        raise SettingsError(f"{printable(path)}: voxels of {voxels.dtype} must be one of {_WRITABLE}; convert them")
    if not path.name.endswith((".nii", ".nii.gz")):
        raise SettingsError(f"{printable(path)} must end in .nii or .nii.gz; rename it")
    voxels = voxels.astype(voxels.dtype.newbyteorder("<"), copy=False)
    header = nib.Nifti1Header(endianness="<")
    header.set_data_dtype(voxels.dtype)
    header.set_data_shape(voxels.shape)
    header.set_qform(volume.affine, code=1)
    header.set_sform(volume.affine, code=1)
    header.set_xyzt_units("mm")
    header["magic"], header["vox_offset"], header["scl_slope"], header["scl_inter"] = b"n+1", 352, 1, 0
    with atomic_path(path, private=private) as temporary, temporary.open("wb") as file:
        if path.name.endswith(".gz"):
            with gzip.GzipFile(filename="", fileobj=file, mode="wb", compresslevel=6, mtime=0) as packed:
                _write_stream(packed, header, voxels)
        else:
            _write_stream(file, header, voxels)


def _write_stream(stream: io.BufferedIOBase, header: nib.Nifti1Header, voxels: npt.NDArray[np.generic]) -> None:
    """Write header, four bytes that say "no extension", and voxels in the order of the format."""
    stream.write(header.binaryblock + b"\0\0\0\0")
    for k in range(voxels.shape[2]):
        stream.write(voxels[:, :, k].tobytes(order="F"))
