"""Tensors as a file describes them: a view (offset, size, stride) of a storage (a run of equal numbers).

Nothing is copied or allocated until a tensor is asked for, and then never more than the file holds: a view may neither
leave its storage nor have more elements than it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentzoo.hub.pickles import Name

DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}


def dtype_of(storage: Any) -> torch.dtype:
    """The type of a storage's numbers, from the name of its class.

    Raises:
        ValueError: If it is not one of the plain types.
    """
    if (
        isinstance(storage, Name)
        and storage.module in ("torch", "torch.storage")
        and storage.name in DTYPES
    ):
        return DTYPES[storage.name]
    raise ValueError(f"{str(storage)[:80]} is not a storage of plain numbers")


@dataclass(eq=False)
class Storage:
    """A run of equal numbers in a file, little-endian.

    Arguments:
        dtype: Their type.
        numel: How many.
        data: Their bytes, of exactly that length; None until the file's reader has found them.
    """

    dtype: torch.dtype
    numel: int
    data: memoryview | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.numel, int) or isinstance(self.numel, bool) or self.numel < 0:
            raise ValueError("a storage's number of elements is not a whole number")
        if self.data is not None:
            self.place(self.data)

    @property
    def nbytes(self) -> int:
        return self.numel * self.dtype.itemsize

    def place(self, data: memoryview) -> None:
        """Gives the storage its bytes."""
        if len(data) != self.nbytes:
            raise ValueError(
                f"a storage of {self.nbytes} bytes is declared and {len(data)} are there"
            )
        self.data = data

    @cached_property
    def flat(self) -> Tensor:
        """The numbers, (numel,): a view of the file where its bytes are aligned and writable."""
        if self.numel == 0:
            return torch.empty(0, dtype=self.dtype)
        if self.data is None:
            raise ValueError("a storage has no bytes in the file")
        address = np.frombuffer(self.data, np.uint8).__array_interface__["data"][0]
        shared = address % self.dtype.itemsize == 0 and not self.data.readonly
        data = self.data if shared else bytearray(self.data)
        if self.dtype == torch.bool:  # any other byte than 0 and 1 is not a bool
            return torch.frombuffer(data, dtype=torch.uint8) != 0
        return torch.frombuffer(data, dtype=self.dtype)


@dataclass(eq=False)
class View:
    """A tensor as declared: a strided view of a storage, checked when it is made."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.storage, Storage):
            raise TypeError("a tensor is declared on what is not a storage")
        if not all(
            isinstance(n, (list, tuple)) and len(n) <= 32 for n in (self.size, self.stride)
        ):
            raise TypeError("a tensor is declared with a size or stride that is none")
        self.size, self.stride = tuple(self.size), tuple(self.stride)
        numbers = (self.offset, *self.size, *self.stride)
        sound = all(type(n) is int and 0 <= n < 2**48 for n in numbers)
        if not sound or len(self.size) != len(self.stride):
            raise ValueError("a tensor is declared with a size or stride that is none")
        elements = math.prod(self.size)
        reach = sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        if elements and max(self.offset + reach + 1, elements) > self.storage.numel:
            shape = "x".join(map(str, self.size))
            raise ValueError(
                f"a tensor of {shape} = {elements} elements is declared on a storage of {self.storage.numel}"
            )

    def tensor(self) -> Tensor:
        """The tensor."""
        if 0 in self.size:
            return torch.empty(self.size, dtype=self.storage.dtype)
        return torch.as_strided(self.storage.flat, self.size, self.stride, self.offset)


def dense(dtype: torch.dtype, shape: Sequence[int], data: memoryview) -> View:
    """A tensor whose numbers stand one after the other, the last dimension fastest, and fill their bytes.

    Raises:
        ValueError: If there are more or fewer bytes than its shape has.
    """
    stride = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    return View(Storage(dtype, math.prod(shape), data), 0, tuple(shape), tuple(stride))


def rebuild_tensor(storage: Storage, offset: int, size: Any, stride: Any, *_: Any) -> View:
    """Stands for `torch._utils._rebuild_tensor` and `_v2`."""
    return View(storage, offset, size, stride)


def rebuild_parameter(data: View, *_: Any) -> View:
    """Stands for `torch._utils._rebuild_parameter`."""
    if not isinstance(data, View):
        raise TypeError("a parameter is declared on what is not a tensor")
    return data
