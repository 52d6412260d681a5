"""Hashes of what a network is given: equal ones mean the same numbers, by places in lists and dictionaries."""

import hashlib
from itertools import count
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils import _pytree as pytree

from latentzoo.zoo.pipelines.stage import PLAIN

OBJECTS = count()


def digest(x: Any) -> str:
    """The hash of all that is in a value. An object that cannot be looked into is never the same again: its place in
    memory may be another's by then, and what is in it may have changed."""
    found = hashlib.blake2b(digest_size=16)
    for place, leaf in digests(x).items():
        found.update(f"{place}={leaf};".encode())
    return found.hexdigest()


def digests(x: Any) -> dict[str, str]:
    """The hash of each leaf of a value by its place, and how lists and dictionaries are in one another."""
    leaves, spec = pytree.tree_flatten_with_path(x)
    hashed = lambda leaf: hashlib.blake2b(_bytes(leaf), digest_size=16).hexdigest()
    return {str(spec): ""} | {pytree.keystr(path): hashed(leaf) for path, leaf in leaves}


def _bytes(x: Any) -> bytes:
    if isinstance(x, Tensor):
        plain = torch.view_as_real(x.detach()) if x.is_complex() else x.detach()
        plain = plain.cpu().flatten().clone(memory_format=torch.contiguous_format)
        plain = plain.view(torch.uint8)
        return f"{x.dtype}{tuple(x.shape)}".encode() + plain.numpy().tobytes()
    if isinstance(x, np.ndarray) and not x.dtype.hasobject:
        return f"{x.dtype}{x.shape}".encode() + x.tobytes()
    if isinstance(x, Image.Image):
        return f"{x.mode}{x.size}".encode() + x.tobytes()
    known = isinstance(x, (*PLAIN, np.generic))
    return repr(x).encode() if known else f"object {next(OBJECTS)}".encode()
