"""A checkpoint as data: tensors by name, and the plain records that stood beside them."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor


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
