"""Arrays of numpy in the place of tensors: inside of a pickle, and as the records of `numpy.savez`.

A dictionary that holds no tensor of torch at all, and arrays of plain numbers, is a state dict whose arrays stand for
tensors. Beside tensors an array is what it was: a record, as a training's history. Arrays of texts or objects are no
weights; they are left aside, and the checkpoint tells of which.

    npz:  NAME.npy per array, each a header and its numbers

References:
    | NEP 1, A simple file format for numpy arrays (Kern, 2007)
"""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, no_type_check

import numpy as np
import torch
from torch import Tensor

from latentzoo.errors import CheckpointError
from latentzoo.hub import archive, equinox, records
from latentzoo.hub.checkpoint import ASIDE
from latentzoo.hub.machine import Built
from latentzoo.hub.storage import Declared

RECORD = ".npy"


@dataclass(eq=False)
class Array(Declared):
    """Creates a tensor that is declared as an array of plain numbers."""

    values: np.ndarray

    def __post_init__(self) -> None:
        self.size = self.values.shape

    def tensor(self) -> Tensor:
        plain = self.values.astype(self.values.dtype.newbyteorder("="), copy=False)
        return torch.from_numpy(plain if plain.flags.writeable else plain.copy())


def leaves(value: Any) -> Iterator[Any]:
    """What is anywhere inside of dictionaries, lists and inert objects, itself among it, each once."""
    seen: set[int] = set()
    left = [value]
    while left:
        value = left.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        yield value
        inner = value.state if isinstance(value, Built) and not is_array(value) else value
        if isinstance(inner, (Mapping, list, tuple)):
            left.extend(inner.values() if isinstance(inner, Mapping) else inner)


def holds_tensors(value: Any) -> bool:
    """Whether there is a tensor anywhere inside of a value."""
    return any(isinstance(leaf, Declared) for leaf in leaves(value))


def is_array(value: Any) -> bool:
    """Whether a value is an array of numpy, of whatever numbers or objects."""
    return isinstance(value, Built) and str(value.of) in records.ARRAYS


def as_tensors(root: Any) -> Any:
    """The object of a file in whose dictionaries without tensors arrays of plain numbers are declared as tensors.

    Raises:
        ValueError: If an array is damaged, or a dictionary contains itself.
    """
    return _declared(root, "", records.Trail()) if any(map(is_array, leaves(root))) else root


@no_type_check
def _declared(value: Any, name: str, trail: records.Trail) -> Any:
    if not isinstance(value, Mapping):
        return value
    own = not holds_tensors(value)
    with trail.into(value, name):
        return {
            key: Array(records.array(inner))
            if own and is_array(inner) and records.is_plain(inner)
            else _declared(inner, str(key), trail)
            for key, inner in value.items()
        }


def is_npz(path: Path) -> bool:
    """Whether an archive is one of `numpy.savez`: nothing but arrays.

    Raises:
        CheckpointError: If the archive is made to harm.
        BadZipFile: If it is damaged.
    """
    with archive.open_zip(path) as file:
        names = list(archive.members(file))
    return bool(names) and all(name.endswith(RECORD) for name in names)


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads the arrays of `numpy.savez`; no pickled object is ever loaded.

    Returns:
        The tensors by their names, and the names of the arrays that are left aside.

    Raises:
        CheckpointError: If no array holds plain numbers.
        ValueError: If an array is damaged.
    """
    tensors: dict[str, Tensor] = {}
    aside: list[str] = []
    with archive.open_zip(path) as file:
        for member, info in archive.members(file).items():
            name = member.removesuffix(RECORD)
            try:
                tensors[name] = equinox.record(io.BytesIO(file.read(member)), info.file_size)
            except equinox.NoNumbers:
                aside.append(name)
    if not tensors:
        some = ", ".join(aside[:4])
        raise CheckpointError(f"none of its arrays holds plain numbers ({some}); save the weights")
    return tensors, {ASIDE: aside} if aside else {}
