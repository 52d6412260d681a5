"""A checkpoint as data: tensors by name, and the plain records that stood beside them."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from latentzoo.errors import CheckpointError

ASIDE = "left aside"
"""The record of what stood among the weights and holds no numbers: its names."""


@dataclass(frozen=True)
class Checkpoint:
    """Creates the content of a weights file; every reader in `latentzoo.hub` returns one.

    Arguments:
        tensors: The tensors by their names in the file, nested dictionaries joined with dots.
        records: Plain values only (numbers, strings, lists, dictionaries): constructor arguments, options, metadata.
        path: Where the file is.
        container: Which reader read it, e.g. "safetensors", "torch", "nvidia".
    """

    tensors: dict[str, Tensor]
    records: dict[str, Any] = field(default_factory=dict)
    path: Path | None = None
    container: str = "safetensors"

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of the tensors, by the same names."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}

    @property
    def aside(self) -> dict[str, str]:
        """What of the file was left aside and why, as `Generator.assumed`; empty if nothing was."""
        names = self.records.get(ASIDE)
        if not isinstance(names, list):
            return {}
        return {
            ASIDE: f"arrays without plain numbers are no weights ({', '.join(map(str, names))})"
        }

    def over(self, base: "Checkpoint") -> "Checkpoint":
        """This checkpoint with the tensors of another one wherever it has none of its own.

        Raises:
            CheckpointError: If the other has no tensor of a name, or one of another shape.
        """
        for name, tensor in self.tensors.items():
            if name not in base.tensors or base.tensors[name].shape != tensor.shape:
                raise CheckpointError(
                    f"{self.path}: changes '{name}' {tuple(tensor.shape)}, which {base.path} does not have; "
                    "is that its base?"
                )
        return replace(self, tensors={**base.tensors, **self.tensors})
