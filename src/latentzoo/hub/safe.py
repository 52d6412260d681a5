"""Safetensors files: a header of names, types, shapes and places, then the numbers; nothing to execute."""

import json
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor

CARD = "latentzoo"  # the metadata entry in which `convert` leaves the card


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads a file.

    Returns:
        Its tensors, and its metadata; the card that `convert` wrote is `records["card"]`.

    Raises:
        SafetensorError, ValueError: If it is damaged.
    """
    with safe_open(path, framework="pt") as file:
        metadata: dict[str, Any] = dict(file.metadata() or {})
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if CARD in metadata:
        metadata["card"] = json.loads(metadata.pop(CARD))
        if not isinstance(metadata["card"], dict):
            raise ValueError("the card in its metadata is not a table")
    return tensors, metadata
