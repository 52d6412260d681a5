"""From the objects of a pickle to plain records: numbers, strings, lists and dictionaries.

Tensors are left out, inert objects become dictionaries of their attributes with their `class`, numpy values become
numbers and lists; lists longer than `ELEMENTS` are left out. A pickle can refer to one object from many places, so that
a small file describes an endless tree: how deep and how often one goes down is bounded.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, no_type_check

import numpy as np
import torch

from latentzoo.hub.machine import Built, Name
from latentzoo.hub.storage import Declared, Storage

DEPTH, VISITS, ELEMENTS = 64, 50_000, 4096
LEFT_OUT = object()
ARRAYS = {
    *("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct"),
    *("numpy.core.numeric._frombuffer", "numpy._core.numeric._frombuffer"),
}
"""What makes an array: up to protocol 4, and from protocol 5 on."""
NUMBERS = frozenset(["b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"])
"""Numpy's types of plain numbers: the kind and the bytes of each."""


@no_type_check  # called for each value, where a check at run time costs more than the work
class Trail:
    """Creates the way down into nested values."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.open: set[int] = set()
        self.visits = 0

    @contextmanager
    def into(self, value: Any, name: str) -> Iterator[str]:
        """Goes into a value; gives its path, names joined with dots.

        Raises:
            ValueError: If one is inside of the value already, too deep, or went down too often.
        """
        self.visits += 1
        self.names.append(name)
        path = ".".join(filter(None, self.names))
        try:
            if id(value) in self.open:
                raise ValueError(f"the record {path[:120]!r} contains itself")
            if len(self.names) > DEPTH or self.visits > VISITS:
                raise ValueError(
                    f"the record {path[:120]!r} is nested or repeated beyond all reason"
                )
            self.open.add(id(value))
            yield path
            self.open.remove(id(value))
        finally:
            self.names.pop()


@no_type_check
class Plain:
    """Creates a conversion; its bounds hold for all values it is given together."""

    def __init__(self) -> None:
        self.trail = Trail()

    def __call__(self, value: Any, name: str = "") -> Any:
        """Converts a value; `LEFT_OUT` for tensors, bytes and other things that are no record.

        Raises:
            ValueError: If the value contains itself, or is too deep or too large.
        """
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        if isinstance(value, Name):
            return str(value)
        if isinstance(value, complex):
            return [value.real, value.imag]
        if isinstance(value, torch.layout):
            return str(value)
        if isinstance(value, (Declared, Storage, bytes, bytearray, memoryview)):
            return LEFT_OUT
        with self.trail.into(value, name):
            return self.convert(value)

    def convert(self, value: Any) -> Any:
        """Converts a container or an inert object."""
        if isinstance(value, Mapping):
            return dict(self.items(value))
        if isinstance(value, Built):
            return self.built(value)
        if len(value) > ELEMENTS:
            return LEFT_OUT
        self.trail.visits += len(value)
        values = (self(v, str(i)) for i, v in enumerate(value))
        return [v for v in values if v is not LEFT_OUT]

    def items(self, mapping: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
        """Converts the items of a dictionary, under the names of their keys."""
        for key, value in mapping.items():
            name = str(key) if isinstance(key, (str, int, float, Name)) else type(key).__name__
            if (plain := self(value, name)) is not LEFT_OUT:
                yield name, plain

    def built(self, value: Built) -> Any:
        """Converts an inert object."""
        whole, state = str(value.of), value.state
        if whole.endswith("core.multiarray.scalar"):
            return scalar(*value.args)
        if whole in ARRAYS:
            if not is_plain(value):
                return LEFT_OUT
            values = array(value)
            self.trail.visits += values.size
            return values.tolist() if values.size <= ELEMENTS else LEFT_OUT
        if whole.startswith("omegaconf.") and isinstance(state, dict):
            return self(state.get("_content", state.get("_val")), "content")
        if value.of.module == "pathlib":
            return "/".join(map(str, value.args))
        if isinstance(state, tuple) and len(state) == 2:  # (attributes, slots)
            state = state[0]
        attributes = dict(
            self.items({**value.pairs, **state} if isinstance(state, dict) else value.pairs)
        )
        return attributes if whole == "argparse.Namespace" else {"class": whole, **attributes}


def dtype(record: Any) -> np.dtype:
    """The numpy type that `numpy.dtype("f8", False, True)` and its state describe, of plain numbers only.

    Raises:
        ValueError: If it describes any other type.
    """
    code = record.args[0] if isinstance(record, Built) and record.args else ""
    code = code.lstrip("<|=>") if isinstance(code, str) else ""
    if code not in NUMBERS:
        raise ValueError("a numpy value of an unusual type")
    swapped = isinstance(record.state, tuple) and record.state[1:2] == (">",)
    return np.dtype((">" if swapped else "<") + code)


def scalar(kind: Any, data: Any = None, *_: Any) -> Any:
    """Stands for `numpy.core.multiarray.scalar`.

    Raises:
        ValueError: If the bytes are missing.
    """
    return np.frombuffer(content(data), dtype(kind), count=1)[0].item()


def content(data: Any) -> bytes | bytearray | memoryview:
    """The bytes of a number or an array; those that Python 2 wrote are a text, see `hub.pickles`.

    Raises:
        ValueError: If there are none.
    """
    if isinstance(data, str):
        return data.encode("latin-1")
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise ValueError("a numpy value without its bytes")
    return data


def is_plain(value: Built) -> bool:
    """Whether an array is of plain numbers, as its declaration says, and not of texts or objects."""
    kind = value.args[1:2] if value.of.name == "_frombuffer" else (value.state or ())[2:3]
    try:
        return bool(kind) and dtype(kind[0]) is not None
    except ValueError:
        return False


def array(value: Built) -> np.ndarray:
    """An array of numpy: made of (buffer, type, shape, order), or of nothing and given its content.

    The content is (version, shape, type, whether columns go first, bytes).

    Raises:
        ValueError, TypeError: If it declares more than it holds.
    """
    if value.of.name == "_frombuffer":
        data, kind, shape, order = value.args
    else:
        _, shape, kind, columns, data = value.state
        order = "F" if columns else "C"
    return np.frombuffer(content(data), dtype(kind)).reshape(shape, order=order)
