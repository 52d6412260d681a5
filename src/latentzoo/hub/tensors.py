r"""The rarer tensors of `torch.save`: what `torch.load(weights_only=True)` admits besides strided views.

A quantised tensor becomes the numbers that it stands for, :math:`x = s (q - z)`. A sparse one stays sparse, as its
dense form may be endlessly larger than the file; a tensor on the device "meta" has a shape and no numbers.
"""

import math
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from latentzoo.hub.machine import Name
from latentzoo.hub.storage import Declared, Storage, View, lazy, rebuild_tensor, shape

NUMERIC = {str(t): t for t in vars(torch).values() if isinstance(t, torch.dtype)}
LAYOUTS = {str(t): t for t in vars(torch).values() if isinstance(t, torch.layout)}


def type_named(name: Any) -> torch.dtype:
    """The type that a file names.

    Raises:
        ValueError: If it names none.
    """
    if str(name) not in NUMERIC:
        raise ValueError(f"{str(name)[:80]} is not a type of numbers")
    return NUMERIC[str(name)]


@dataclass(eq=False)
class Sparse(Declared):
    """A sparse tensor: `parts` are its indices (one tensor, or two of a compressed layout) and its values."""

    layout: torch.layout
    parts: tuple[Declared, ...]
    size: tuple[int, ...]

    def __post_init__(self) -> None:
        self.size = shape(self.size)
        if not all(isinstance(part, Declared) for part in self.parts):
            raise TypeError("a sparse tensor is declared on what are not tensors")

    def tensor(self) -> Tensor:
        parts = [part.tensor() for part in self.parts]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of compressed layouts, "in beta state"
            if self.layout == torch.sparse_coo:
                places, values = parts
                return torch.sparse_coo_tensor(places, values, self.size, check_invariants=True)
            starts, places, values = parts
            return torch.sparse_compressed_tensor(
                starts, places, values, self.size, layout=self.layout, check_invariants=True
            )


@dataclass(eq=False)
class Quantised(Declared):
    """The numbers that a quantised tensor stands for, as float32.

    Arguments:
        whole: The whole numbers q.
        scale: Their scale s, one number, or one for each place along `axis`.
        zero: Which of them is zero, z.
        axis: The dimension that has scales of its own; None if it is one for all.
    """

    whole: View
    scale: Any
    zero: Any
    axis: int | None

    def __post_init__(self) -> None:
        self.size = self.whole.size

    def tensor(self) -> Tensor:
        scale, zero = (
            part.tensor() if isinstance(part, Declared) else torch.tensor(part)
            for part in (self.scale, self.zero)
        )
        whole = self.whole.tensor()
        if self.axis is not None:
            if self.axis not in range(whole.ndim):
                raise ValueError("a quantised tensor has its scales along no dimension of its own")
            sizes = [1] * whole.ndim
            sizes[self.axis] = whole.shape[self.axis]
            scale, zero = scale.view(sizes), zero.view(sizes)
        return ((whole.double() - zero) * scale).float()


@dataclass(eq=False)
class Nested(Declared):
    """Tensors of several shapes in one buffer: `sizes`, `strides` and `offsets` have a row or number for each."""

    buffer: Declared
    sizes: Declared
    strides: Declared
    offsets: Declared

    def __post_init__(self) -> None:
        parts = (self.buffer, self.sizes, self.strides, self.offsets)
        if not all(isinstance(part, Declared) for part in parts):
            raise TypeError("a nested tensor is declared on what are not tensors")
        self.size = self.sizes.size[:1]

    def tensor(self) -> Tensor:
        rows = [part.tensor().tolist() for part in (self.offsets, self.sizes, self.strides)]
        storage = Storage(self.buffer.tensor().dtype, math.prod(self.buffer.size))
        for row in zip(*rows, strict=True):  # refused where one leaves the buffer
            View(storage, row[0], tuple(row[1]), tuple(row[2]))
        flat = self.buffer.tensor().flatten()
        pieces = [torch.as_strided(flat, s, t, o) for o, s, t in zip(*rows, strict=True)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # "in prototype stage"
            return torch.nested.as_nested_tensor(pieces)


@dataclass(eq=False)
class Meta(Declared):
    """A shape and a type without numbers."""

    dtype: torch.dtype
    size: tuple[int, ...]

    def __post_init__(self) -> None:
        self.size = shape(self.size)

    def tensor(self) -> Tensor:
        return torch.empty(self.size, dtype=self.dtype, device="meta")


@dataclass(eq=False)
class Cast(Declared):
    """A tensor whose numbers were brought from another device, in another type."""

    numbers: Declared
    dtype: torch.dtype

    def __post_init__(self) -> None:
        self.size = self.numbers.size

    def tensor(self) -> Tensor:
        return self.numbers.tensor().to(self.dtype)


def rebuild_typed(
    storage: Storage,
    offset: int,
    size: Any,
    stride: Any,
    gradient: Any,
    hooks: Any,
    dtype: Any,
    bits: Any = None,
) -> View:
    """Stands for `torch._utils._rebuild_tensor_v3`: bytes of which the tensor knows the type (float8, uint16)."""
    return View(storage, offset, size, stride, type_named(dtype), *lazy(bits))


def rebuild_sparse(layout: Any, data: Any) -> Sparse:
    """Stands for `torch._utils._rebuild_sparse_tensor`."""
    coordinates = layout == torch.sparse_coo
    parts, size = (data[:2], data[2]) if coordinates else (data[:3], data[3])
    return Sparse(layout, tuple(parts), size)


def rebuild_quantised(
    storage: Storage, offset: int, size: Any, stride: Any, how: Any, *_: Any
) -> Quantised:
    """Stands for `torch._utils._rebuild_qtensor`."""
    kind, scale, zero, *axis = how
    if str(kind) in ("torch.per_tensor_affine", "torch.per_tensor_symmetric"):
        axis = [None]
    return Quantised(View(storage, offset, size, stride), scale, zero, *axis)


def rebuild_with_attributes(function: Any, kind: Any, args: Any, state: Any) -> Any:
    """Stands for `torch._tensor._rebuild_from_type_v2`: a tensor on which somebody has set attributes.

    Raises:
        ValueError: If the tensor is declared by anything but the functions in `REBUILD`.
    """
    if not isinstance(function, Name) or str(function) not in REBUILD:
        raise ValueError(f"a tensor is declared by {str(function)[:80]}")
    return REBUILD[str(function)](*args)


def layout_of(name: Any) -> torch.layout:
    """Stands for `torch.serialization._get_layout`.

    Raises:
        ValueError: If there is no such layout.
    """
    if name not in LAYOUTS:
        raise ValueError(f"{str(name)[:80]} is not a layout")
    return LAYOUTS[name]


REBUILD = {
    "torch._utils._rebuild_tensor": rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": rebuild_typed,
    "torch._utils._rebuild_sparse_tensor": rebuild_sparse,
    "torch._utils._rebuild_qtensor": rebuild_quantised,
    "torch._utils._rebuild_nested_tensor": Nested,
    "torch._utils._rebuild_meta_tensor_no_storage": lambda dtype, size, *_: Meta(
        type_named(dtype), size
    ),
    "torch._utils._rebuild_device_tensor_from_cpu_tensor": lambda data, dtype, *_: Cast(
        data, type_named(dtype)
    ),
}
"""What is computed for torch's own functions that make a tensor."""
