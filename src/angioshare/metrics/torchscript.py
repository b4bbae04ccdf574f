"""Feature networks that come as a TorchScript file: the FID Inception, or one that the user gives.

A TorchScript file is a program: give only one that you trust. What it wants to be shown stands in a small JSON file of
the same name beside it (``net.json`` for ``net.pt``, see `NetworkInput`); without one it is shown what the FID
Inception expects.
"""

import hashlib
import re
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, ValidationError, model_validator
from torch import Tensor
from torch.nn import functional

from angioshare.errors import DataError, SettingsError
from angioshare.rundir import read_json
from angioshare.settings import Settings
from angioshare.types import FloatArray

INCEPTION = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
"""SHA-256 of the FID Inception of 2015-12-05, pool3, as TorchScript; with this file alone a distance is called FID."""

PATCHES_AT_ONCE = 16


class NetworkInput(Settings):
    """What a feature network is shown."""

    name: str = Field("", max_length=40, pattern=r"^[a-z0-9-]*$", description="Its name; the file's name by default.")
    size: int = Field(299, ge=8, le=1024, description="Height and width in pixels; patches are resized bilinearly.")
    channels: int = Field(3, ge=1, le=3, description="Copies of the grey image.")
    low: float = Field(-1.0, description="Value of the darkest pixel that a patch may have.")
    high: float = Field(1.0, description="Value of the brightest.")

    @model_validator(mode="after")
    def _in_order(self) -> "NetworkInput":
        if not self.low < self.high:
            raise ValueError(f"low={self.low} must lie below high={self.high}")
        return self


class TorchScriptNetwork:
    """Fulfils `features.FeatureNetwork`.

    Attributes:
        name: `"inception"` for the FID Inception, else from the JSON file or the file's name, with the beginning of its
            digest.
        title: `"FID"` for the FID Inception, else `"FD-<name>"`.
        identity: Digest of the file and of what it is shown.
        preparation: In words, what it is shown.
    """

    def __init__(self, file: Path) -> None:
        """Load a network.

        Raises:
            SettingsError: The JSON file beside it holds something else than `NetworkInput`.
            DataError: The file is missing or no TorchScript.
        """
        self._input = _input_of(file)
        digest, self._network = _load(file)
        shown = self._input
        slug = shown.name or re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-") or "network"
        self.name = "inception" if digest == INCEPTION else f"{slug}-{digest[:8]}"
        self.title = "FID" if digest == INCEPTION else f"FD-{self.name}"
        self.identity = f"{digest} {shown.model_dump_json()}"
        self.preparation = (
            f"patches resized bilinearly to {shown.size} x {shown.size}, {shown.channels} equal channels, "
            f"in [{shown.low:g}, {shown.high:g}]"
        )

    def __call__(self, image: FloatArray) -> npt.NDArray[np.float32]:
        """Features of patches.

        Args:
            image: Shape (n, h, w), in [-1, 1].

        Returns:
            Shape (n, d), float32; maps (n, d, h, w) are averaged over their pixels.

        Raises:
            DataError: The network refuses such an input, or gives something else than features.
        """
        parts = []
        with torch.inference_mode():
            for first in range(0, len(image), PATCHES_AT_ONCE):
                part = np.ascontiguousarray(image[first : first + PATCHES_AT_ONCE], np.float32)
                parts.append(self._features(torch.from_numpy(part)).numpy())
        return np.concatenate(parts)

    def _features(self, image: Tensor) -> Tensor:
        """Features of a batch, shape (n, h, w) to (n, d)."""
        shown = self.shown(image)
        try:
            found = self._network(shown)
        except RuntimeError as error:
            raise DataError(
                f"{self.name} refuses an input of {tuple(shown.shape)} ({str(error).splitlines()[-1]}); describe what "
                "it expects in a JSON file of the same name beside it"
            ) from error
        found = found[0] if isinstance(found, (tuple, list)) else found
        if not isinstance(found, Tensor) or found.ndim not in (2, 4) or len(found) != len(image):
            raise DataError(f"{self.name} gives no features of shape (n, d) or (n, d, h, w); cut off its last layers")
        return (found if found.ndim == 2 else found.mean(dim=(2, 3))).float()

    def shown(self, image: Tensor) -> Tensor:
        """What the network is shown of patches in [-1, 1]: (n, h, w) to (n, channels, size, size)."""
        to = self._input
        grey = image[:, None]
        smaller = to.size < max(grey.shape[2:])  # only then are there pixels to be averaged
        resized = functional.interpolate(
            grey, size=(to.size, to.size), mode="bilinear", align_corners=False, antialias=smaller
        )
        return (to.low + (resized + 1) * ((to.high - to.low) / 2)).expand(-1, to.channels, -1, -1).contiguous()


def _input_of(file: Path) -> NetworkInput:
    """What stands in the JSON file beside a network, or the default."""
    beside = file.with_suffix(".json")
    if not beside.exists():
        return NetworkInput()
    try:
        return NetworkInput.model_validate(read_json(beside))
    except ValidationError as error:
        clauses = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
        raise SettingsError(
            f"{beside}: {clauses}; it may hold {', '.join(NetworkInput.model_fields)} of a feature network"
        ) from error


def _load(file: Path) -> tuple[str, torch.jit.ScriptModule]:
    """Digest and network."""
    try:
        with file.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the published network exists in no newer format
            network = torch.jit.load(str(file), map_location="cpu")
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(
            f"{file} is no feature network ({str(error).splitlines()[0]}); give a TorchScript file"
        ) from error
    return digest, network.eval()
