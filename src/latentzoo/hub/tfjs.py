r"""TensorFlow.js: a JSON manifest of names, shapes and types, and files of plain numbers beside it.

    [{"paths": ["NAME.bin"], "weights": [{"name": ..., "shape": [...], "dtype": "float32", "quantization": {...}}]}]

stands by itself ("layers", weights only), or under `weightsManifest` in a model's JSON, whose `modelTopology.node` is
the graph. Quantised numbers q are

.. math:: w = s \, q + m

with the scale s and the least value m of their tensor, or half-precision numbers. The graph is data: it is given as
records, and who runs it admits each operation by name.

References:
    | TensorFlow.js: Machine Learning for the Web and Beyond (Smilkov et al., 2019)
    | https://arxiv.org/abs/1901.05350
"""

import json
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from torch import Tensor

from latentzoo.errors import CheckpointError
from latentzoo.hub.folder import inside
from latentzoo.hub.storage import dense

LARGEST = 2**25  # bytes of a manifest or a graph
PLAIN = {"float32": torch.float32, "int32": torch.int32}
QUANTISED = {"float16": torch.float16, "uint8": torch.uint8, "uint16": torch.uint16}


class Quantisation(msgspec.Struct):
    """How a tensor's numbers are stored."""

    dtype: Literal["float16", "uint8", "uint16"]
    scale: float | None = None
    min: float = 0.0


class Weight(msgspec.Struct):
    """The declaration of one tensor."""

    name: str
    shape: list[int]
    dtype: Literal["float32", "int32"]
    quantization: Quantisation | None = None


class Group(msgspec.Struct):
    """Tensors that stand one after another in the files of `paths`, joined."""

    paths: list[str]
    weights: list[Weight]


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads a manifest, or a model, and the numbers beside it.

    Returns:
        The tensors, floats in single precision and whole numbers as int32; the graph's nodes as `records["graph"]`.

    Raises:
        CheckpointError: If its numbers are not beside it, or it names a file elsewhere.
        ValueError: If it is damaged, or declares more or less than there is.
    """
    if path.stat().st_size > LARGEST:
        raise ValueError(f"a manifest of more than {LARGEST} bytes")
    content = json.loads(path.read_bytes())
    model = content if isinstance(content, dict) else {"weightsManifest": content}
    if not isinstance(model.get("weightsManifest"), list):
        raise ValueError("it has no manifest of weights, as models of TensorFlow.js do")
    tensors: dict[str, Tensor] = {}
    for group in msgspec.convert(model["weightsManifest"], list[Group]):
        found = numbers(path.parent, group)
        if twice := tensors.keys() & found.keys():
            raise ValueError(f"it has two tensors of the name '{min(twice)[:80]}'")
        tensors |= found
    topology = model.get("modelTopology") or {}
    return tensors, {"graph": topology["node"]} if "node" in topology else {}


def numbers(folder: Path, group: Group) -> dict[str, Tensor]:
    """The tensors of one group.

    Raises:
        CheckpointError: If a file of numbers is not beside the manifest.
        ValueError: If a tensor is declared twice, leaves the file, or the file has more bytes than are declared.
    """
    data = bytearray()
    for name in group.paths:
        part = inside(folder, name)
        if not part.is_file():
            raise CheckpointError(
                f"{part}: the numbers are not beside their manifest; put both into one folder"
            )
        data += part.read_bytes()
    view, start = memoryview(data), 0
    tensors: dict[str, Tensor] = {}
    for weight in group.weights:
        how = weight.quantization
        dtype = PLAIN[weight.dtype] if how is None else QUANTISED[how.dtype]
        if min(weight.shape, default=0) < 0 or weight.name in tensors:
            raise ValueError(
                f"the tensor '{weight.name[:80]}' is declared twice or with a negative side"
            )
        size = dtype.itemsize
        for n in weight.shape:
            size *= n
            if size > len(data) - start:
                raise ValueError(
                    f"the tensor '{weight.name[:80]}' is declared beyond the end of its file"
                )
        stored = dense(dtype, weight.shape, view[start : start + size]).tensor()
        tensors[weight.name] = restored(stored, weight)
        start += size
    if start != len(data):
        raise ValueError(f"{start} bytes are declared and {len(data)} are there")
    return tensors


def restored(stored: Tensor, weight: Weight) -> Tensor:
    """The numbers that were stored, in the declared type.

    Raises:
        ValueError: If a quantised tensor has no scale.
    """
    how = weight.quantization
    if how is None:
        return stored
    if how.dtype != "float16":
        if how.scale is None:
            raise ValueError(f"the tensor '{weight.name[:80]}' has no scale")
        stored = stored.double() * how.scale + how.min  # TensorFlow.js computes in doubles, too
    return stored.to(PLAIN[weight.dtype])
