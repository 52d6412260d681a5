"""Other values of an option, by which it shows that it is heard, though what was given is the usual one."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor
from torch.utils import _pytree as pytree

from latentzoo.zoo.pipelines.digest import digest

INVERTED = ("1", "L", "RGB")
"""Modes of pictures that Pillow inverts; others are mirrored."""
NUMBERS = "iufc"
"""The kinds of NumPy's numbers."""


def others(value: Any) -> Iterator[Any]:
    """Other values of an option; none where nothing in it can be changed, as in an object, a function or a set."""
    if isinstance(value, bool):
        return
    for change in (lambda x: x / 2, lambda x: 1.5 * x + 1):
        other = pytree.tree_map(lambda x, change=change: _changed(x, change), value)
        if _differ(value, other):
            yield other
        if not _has_numbers(value):
            return


def _changed(x: Any, change: Callable[[float], float]) -> Any:
    """Another number, text or picture; whatever else there is stays the same."""
    if isinstance(x, bool):
        return x
    if isinstance(x, int):
        return int(change(x))
    if isinstance(x, float):
        return change(x)
    if isinstance(x, str):
        return f"{x} x"
    if isinstance(x, Image.Image):
        return ImageOps.invert(x) if x.mode in INVERTED else ImageOps.mirror(x)
    if isinstance(x, np.ndarray):
        return x / 2 if x.dtype.kind in NUMBERS else x
    return x / 2 if isinstance(x, Tensor) and x.dtype != torch.bool else x


def _differ(one: Any, two: Any) -> bool:
    pairs = zip(pytree.tree_leaves(one), pytree.tree_leaves(two), strict=True)
    return any(a is not b and digest(a) != digest(b) for a, b in pairs)


def _has_numbers(value: Any) -> bool:
    return any(isinstance(x, int | float) for x in pytree.tree_leaves(value))
