"""Tensors as a file describes them: a view (offset, size, stride) of a storage (a run of equal numbers).

Nothing is copied or allocated until a tensor is asked for. A view may not leave its storage; one whose elements lie on
top of each other (a row that was expanded, windows of a signal) is itself again no copy, and has a bounded number of
elements, so that what is done with it stays within reason.

The rarer tensors (sparse, quantised, nested) are in `hub.tensors`.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from latentzoo.hub.machine import Name

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
    "UntypedStorage": torch.uint8,
    "QUInt8Storage": torch.uint8,  # of quantised tensors: the whole numbers
    "QInt8Storage": torch.int8,
    "QInt32Storage": torch.int32,
}
OVERLAID = 2**24
"""Elements of a view that its storage does not have as many of: one picture's noise for all pictures, say."""


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
    """A run of equal numbers in a file.

    Arguments:
        dtype: Their type.
        numel: How many.
        data: Their bytes, of exactly that length; None until the file's reader has found them.
        big_endian: Whether each has its highest byte first.
    """

    dtype: torch.dtype
    numel: int
    data: memoryview | None = None
    big_endian: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.numel, int) or isinstance(self.numel, bool) or self.numel < 0:
            raise ValueError("a storage's number of elements is not a whole number")
        if self.data is not None:
            self.place(self.data)

    @property
    def nbytes(self) -> int:
        """The size of the numbers in bytes."""
        return self.numel * self.dtype.itemsize

    def place(self, data: memoryview) -> None:
        """Gives the storage its bytes.

        Raises:
            ValueError: If they are more or fewer than declared.
        """
        if len(data) != self.nbytes:
            raise ValueError(
                f"a storage of {self.nbytes} bytes is declared and {len(data)} are there"
            )
        self.data = data

    def part(self, offset: int, numel: int) -> "Part":
        """A run inside of this one, as legacy files declare it."""
        return Part(self.dtype, numel, whole=self, offset=offset)

    @cached_property
    def flat(self) -> Tensor:
        """The numbers, (numel,), their bytes as in the file: a view of it where it is aligned and writable.

        Raises:
            ValueError: If the file has no bytes for it.
        """
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
class Part(Storage):
    """A run inside of another storage; see `Storage.part`."""

    whole: Storage | None = None
    offset: int = 0

    @cached_property
    def flat(self) -> Tensor:
        """The numbers of the part, (numel,).

        Raises:
            ValueError: If the part leaves its storage.
        """
        if self.whole is None or not 0 <= self.offset <= self.whole.numel - self.numel:
            raise ValueError("a part of a storage leaves it")
        return self.whole.flat[self.offset : self.offset + self.numel]


class Declared(ABC):
    """A tensor as a file declares it; checked when it is made, and given its memory when it is asked for."""

    size: tuple[int, ...]

    @abstractmethod
    def tensor(self) -> Tensor:
        """The tensor.

        Raises:
            ValueError: If what it is declared on does not hold it.
        """


@dataclass(eq=False)
class View(Declared):
    """A strided view of a storage.

    Arguments:
        storage: The storage.
        offset: Where it begins, in elements.
        size: Its shape.
        stride: How far the neighbours in each dimension are, in elements.
        dtype: The type that its bytes are read as; the storage's own by default.
        conjugate: Whether it stands for the complex conjugate of the numbers in the storage.
        negative: Whether it stands for their negatives.
    """

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype | None = None
    conjugate: bool = False
    negative: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.storage, Storage):
            raise TypeError("a tensor is declared on what is not a storage")
        self.size, self.stride = shape(self.size), shape(self.stride)
        if len(self.size) != len(self.stride) or len(shape((self.offset,))) != 1:
            raise ValueError("a tensor is declared with a size or stride that is none")
        elements = math.prod(self.size)
        reach = sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True))
        there = self.numel
        if elements and (self.offset + reach + 1 > there or elements > max(there, OVERLAID)):
            whole = "x".join(map(str, self.size))
            raise ValueError(
                f"a tensor of {whole} = {elements} elements is declared on a storage of {there}"
            )

    @property
    def numel(self) -> int:
        """How many elements of the view's type the storage has."""
        return self.storage.nbytes // (self.dtype or self.storage.dtype).itemsize

    def tensor(self) -> Tensor:
        flat, dtype = self.storage.flat, self.dtype or self.storage.dtype
        if 0 in self.size:
            return torch.empty(self.size, dtype=dtype)
        if dtype != flat.dtype:
            flat = flat[: self.numel * dtype.itemsize // flat.dtype.itemsize].view(dtype)
        if self.storage.big_endian:
            flat = swapped(flat)
        numbers = torch.as_strided(flat, self.size, self.stride, self.offset)
        if self.conjugate:
            numbers = numbers.conj().resolve_conj()
        return -numbers if self.negative else numbers


def swapped(flat: Tensor) -> Tensor:
    """Numbers, (n,), with the bytes of each in reverse; of complex ones, those of each part."""
    size = flat.dtype.itemsize // (2 if flat.dtype.is_complex else 1)
    return flat.view(torch.uint8).view(-1, size).flip(1).flatten().view(flat.dtype)


def shape(numbers: Any) -> tuple[int, ...]:
    """Sizes, strides or places as a file gives them.

    Raises:
        TypeError, ValueError: If they are none.
    """
    if not isinstance(numbers, (list, tuple)) or len(numbers) > 32:
        raise TypeError("a tensor is declared with a size or stride that is none")
    if not all(type(n) is int and 0 <= n < 2**48 for n in numbers):
        raise ValueError("a tensor is declared with a size or stride that is none")
    return tuple(numbers)


def dense(dtype: torch.dtype, shape: Sequence[int], data: memoryview) -> View:
    """A tensor whose numbers stand one after the other, the last dimension fastest, and fill their bytes.

    Raises:
        ValueError: If there are more or fewer bytes than its shape has.
    """
    stride = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    return View(Storage(dtype, math.prod(shape), data), 0, tuple(shape), tuple(stride))


def rebuild_tensor(
    storage: Storage,
    offset: int,
    size: Any,
    stride: Any,
    gradient: Any = False,
    hooks: Any = None,
    bits: Any = None,
) -> View:
    """Stands for `torch._utils._rebuild_tensor` and `_v2`."""
    conjugate, negative = lazy(bits)
    return View(storage, offset, size, stride, None, conjugate, negative)


def lazy(bits: Any) -> tuple[bool, bool]:
    """Whether torch notes of a tensor that it had yet to be conjugated, and negated.

    Raises:
        ValueError: If it notes something else.
    """
    bits = bits or {}
    if not isinstance(bits, Mapping) or bits.keys() - {"conj", "neg"}:
        raise ValueError(f"a tensor is declared with the properties {str(bits)[:80]}")
    return bool(bits.get("conj")), bool(bits.get("neg"))


def rebuild_parameter(data: Declared, *_: Any) -> Declared:
    """Stands for `torch._utils._rebuild_parameter`, with or without attributes, and `torch.nn.Parameter` itself.

    Raises:
        TypeError: If the data are no tensor.
    """
    if not isinstance(data, Declared):
        raise TypeError("a parameter is declared on what is not a tensor")
    return data
