"""Where a training stands, in one file that is never half-written: weights and optimiser states, no generator state.

Random streams are derived from (seed, iteration), so nothing of them is stored; a private engine starts from fresh
entropy at every start, by rule.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from angioshare.errors import DataError
from angioshare.rundir import atomic_path, read_rows, write_text
from angioshare.team import Team

CHECKPOINT = "checkpoint.safetensors"
"""File of a checkpoint."""


class Checkpoint:
    """The state of named networks and optimisers after some iteration."""

    def __init__(
        self, path: Path, *, networks: Mapping[str, nn.Module], optimisers: Mapping[str, torch.optim.Optimizer]
    ) -> None:
        """Speak of these objects; nothing is read or written yet."""
        self._path, self._networks, self._optimisers = path, networks, optimisers
        self.iteration = 0

    def save(self, iteration: int) -> None:
        """Write the state after `iteration` iterations, atomically, for the owner's eyes alone."""
        tensors: dict[str, Tensor] = {}
        for name, network in self._networks.items():
            tensors |= {f"network.{name}.{key}": value for key, value in network.state_dict().items()}
        for name, optimiser in self._optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{name}.{index}.{key}": value for key, value in state.items()}
        self.iteration = iteration
        if not Team().leads:
            return
        with atomic_path(self._path, private=True) as temporary:
            save_file(
                {key: value.contiguous() for key, value in tensors.items()}, temporary, {"iteration": str(iteration)}
            )

    def load(self) -> int:
        """Restore the state; a missing file leaves everything as it is.

        Returns:
            Iterations done, 0 if there is no checkpoint.

        Raises:
            DataError: The file is damaged or of other networks.
        """
        if not self._path.exists():
            return 0
        try:
            with safe_open(self._path, "pt") as handle:
                iteration = int(handle.metadata()["iteration"])
            tensors = load_file(self._path)
            self._take_networks(tensors)
            for name, optimiser in self._optimisers.items():
                _restore(optimiser, {k: v for k, v in tensors.items() if k.startswith(f"optimiser.{name}.")})
        except (SafetensorError, RuntimeError, KeyError, OSError) as error:
            raise DataError(f"checkpoint {self._path} cannot be used ({error}); delete it to train anew") from error
        self.iteration = iteration
        return iteration

    def load_networks(self) -> None:
        """Take the weights of the networks alone, as a start of another training.

        Raises:
            DataError: The file is missing, damaged or of other networks.
        """
        try:
            self._take_networks(load_file(self._path))
        except (SafetensorError, RuntimeError, OSError) as error:
            raise DataError(f"checkpoint {self._path} cannot be used ({error}); delete it to train anew") from error

    def _take_networks(self, tensors: Mapping[str, Tensor]) -> None:
        for name, network in self._networks.items():
            prefix = f"network.{name}."
            network.load_state_dict({k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)})

    def finish(self, path: Path, network: str) -> None:
        """Write the weights of one network: the result. The checkpoint stays."""
        if not Team().leads:
            return
        with atomic_path(path, private=True) as temporary:
            weights = self._networks[network].state_dict()
            save_file({key: value.contiguous() for key, value in weights.items()}, temporary)


def _restore(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put flat `optimiser.<name>.<index>.<key>` tensors back."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        _, _, index, field = key.split(".")
        state.setdefault(int(index), {})[field] = value
    optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})


class Curve:
    """Unprotected numbers over iterations, kept on the private side."""

    def __init__(self, path: Path, done: int) -> None:
        """Go on after `done` iterations; later rows of an interrupted run are dropped."""
        self._path = path
        rows = read_rows(path, "iteration") if path.exists() else []
        self._rows = [row for row in rows if row["iteration"] <= done]

    def add(self, iteration: int, values: Mapping[str, float]) -> None:
        """Append one row."""
        self._rows.append({"iteration": iteration, **values})

    def save(self) -> None:
        """Write all rows atomically, mode 0600."""
        if not Team().leads:
            return
        write_text(self._path, json.dumps(self._rows) + "\n", private=True)
