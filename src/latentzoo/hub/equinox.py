"""Equinox's `.eqx`: the arrays of a model one after another, each a record of numpy's `.npy` format, without names.

They are named by their place, "0", "1", ...: the order is that of the model's fields, which a family's key rules know.

References:
    | Equinox: neural networks in JAX via callable PyTrees and filtered transformations (Kidger and Garcia, 2021)
    | https://arxiv.org/abs/2111.00254
    | NEP 1, A simple file format for numpy arrays (Kern, 2007)
"""

import math
import mmap
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentzoo.hub.records import NUMBERS

MAGIC = b"\x93NUMPY"
HEADER = 4096  # bytes of a record's header
RECORDS = 10_000


class NoNumbers(ValueError):
    """A record of texts, objects or other things that are no plain numbers."""


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads the records; no pickled object is ever loaded.

    Returns:
        The arrays by their place, and nothing beside them.

    Raises:
        ValueError: If it is damaged, holds objects, or declares more than it has.
    """
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    tensors: dict[str, Tensor] = {}
    while data.tell() < len(data):
        if len(tensors) == RECORDS:
            raise ValueError(f"it has more than {RECORDS} records")
        tensors[str(len(tensors))] = record(data, len(data))
    return tensors, {}


def record(data: mmap.mmap | BytesIO, end: int) -> Tensor:
    """The next record of data that have so many bytes, as a tensor of its own.

    Raises:
        NoNumbers: If the record does not hold plain numbers.
        ValueError: If it is not sound.
    """
    version = np.lib.format.read_magic(data)
    headers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in headers:
        raise ValueError(f"a record of numpy's format {version}, which is not read")
    try:
        shape, columns, dtype = headers[version](data, max_header_size=HEADER)
    except (SyntaxError, TokenError) as error:  # numpy tries to read what Python 2 wrote
        raise ValueError(f"a record whose header is not sound: {error}") from error
    if f"{dtype.kind}{dtype.itemsize}" not in NUMBERS:
        raise NoNumbers(f"a record of {str(dtype)[:40]}, which is no plain number")
    size = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or size > end - data.tell():
        raise ValueError(f"a record of shape {shape} is declared on {end - data.tell()} bytes")
    flat = np.frombuffer(bytearray(data.read(size)), dtype)
    flat = flat.astype(dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(flat.reshape(shape, order="F" if columns else "C"))
