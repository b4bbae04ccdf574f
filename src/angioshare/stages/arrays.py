"""Arrays out of `.npz` files that anybody may have written: their headers are believed only as far as they are bounded.

A file of a kilobyte may promise terabytes, and one of megabytes may unpack to many gigabytes. So each header is read
before its array, and held against what the archive says and against `MOST_BYTES`, before anything is allocated.
"""

import math
import zlib
from collections.abc import Sequence
from lzma import LZMAError
from pathlib import Path
from tokenize import TokenError
from typing import IO, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import numpy.typing as npt

from angioshare.cohort.names import printable
from angioshare.errors import DataError

MOST_BYTES = 2**31
"""An array of more bytes is refused: 100,000 patches of 96 x 96 in half precision are fewer."""

_DAMAGES = (
    OSError, ValueError, EOFError, TypeError, AttributeError, RuntimeError, ArithmeticError, SyntaxError, TokenError,
    MemoryError, BadZipFile, zlib.error, LZMAError,
)  # fmt: skip
"""What reading a damaged or hostile archive may raise."""


def read_arrays(
    file: Path, needed: Sequence[str], maybe: Sequence[str] = (), *, cure: str = "make it again"
) -> dict[str, npt.NDArray[Any]]:
    """Read arrays by name; no pickle is read.

    Args:
        file: An `.npz` file.
        needed: Arrays that must be there.
        maybe: Arrays that may be.
        cure: What to do about a damaged file.

    Raises:
        DataError: The file is missing, damaged or none of these, lacks an array, or one is too large.
    """
    try:
        with ZipFile(file) as archive:
            held = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
            if lacking := [name for name in needed if name not in held]:
                raise DataError(f"{printable(file)} lacks the array {lacking[0]}; give an .npz file that holds it")
            return {name: _read(file, archive, name) for name in (*needed, *(name for name in maybe if name in held))}
    except _DAMAGES as error:
        raise DataError(
            f"{printable(file)} is missing, damaged or no .npz file ({printable(error)}); {cure}"
        ) from error


def _read(file: Path, archive: ZipFile, name: str) -> npt.NDArray[Any]:
    """Read one array, once its header is found true."""
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as member:
        shape, dtype = _header(member)
        size, there = math.prod(shape) * dtype.itemsize, entry.file_size - member.tell()
    if dtype.hasobject:
        raise DataError(
            f"{printable(file)}: {name} is {printable(dtype)} {shape}, so this is no .npz file of plain numbers; write "
            "it anew without objects"
        )
    if size > MOST_BYTES:
        raise DataError(
            f"{printable(file)}: {name} is {printable(dtype)} {shape}, {size} bytes, more than {MOST_BYTES}; give "
            "fewer, or a smaller type"
        )
    if size != there:
        raise DataError(
            f"{printable(file)}: {name} is {printable(dtype)} {shape}, {size} bytes, and the archive holds {there}; "
            "make it again"
        )
    with archive.open(entry) as member:
        array: npt.NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
    return array


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(member)
    return shape, dtype
