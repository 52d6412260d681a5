r"""What a step keeps for its gradient: all that its operations ask for, or only what is dear.

.. math:: y = W \, \sigma(\mathrm{norm}(x)), \qquad
          \bar x = \mathrm{norm}'(x)^\top \, \sigma'(\mathrm{norm}(x))^\top \, W^\top \, \bar y

A convolution asks for what it read, though that is for the gradient of its weights alone, which a frozen one has not;
an activation asks for the normalised map. Of the three maps above x is enough. The *lean* way keeps that one: what a
cheap function gave is kept as the call that makes it again, bit for bit, from what another operation keeps anyway, and
what only frozen weights were to be multiplied with as its shape.

References:
    | In-Place Activated BatchNorm for Memory-Optimized Training of DNNs (Rota Bulò et al., 2018)
    | https://arxiv.org/abs/1712.02616
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from latentzoo.errors import LatentzooError

CONVOLUTIONS = {torch.conv1d, torch.conv2d, torch.conv3d}
KEEPERS = {F.group_norm, F.layer_norm, F.rms_norm, F.silu, F.gelu}
"""Cheap functions that keep what they read, so that a call of theirs holds nothing more."""
FOLLOWERS = {torch.mul, torch.add, Tensor.mul, Tensor.add}
"""Cheap functions that may follow, with something small."""
NOTED = CONVOLUTIONS | KEEPERS | FOLLOWERS
SMALL = 4
"""By how much more numbers a map has than what is small."""


class Kept:
    """Creates the memory that several steps share: the bytes kept by all of them so far, and by the last one."""

    def __init__(self) -> None:
        self.bytes = self.last = 0
        self._storages: set[int] = set()
        self._lean = _Lean()

    @contextmanager
    def step(self, *, lean: bool) -> Iterator[None]:
        """Within, what a step keeps is counted, and is little if it is lean."""
        self.last = 0
        with saved_tensors_hooks(self._pack, _unpack), self._lean if lean else nullcontext():
            yield
        self.bytes += self.last

    def _pack(self, tensor: Tensor) -> "Tensor | _Call | _Shape":
        if tensor is self._lean.unread:
            return _Shape(tensor)
        kept = _plain(tensor)
        self._count(kept)
        return kept

    def _count(self, kept: "Tensor | _Call") -> None:
        for tensor in [kept] if isinstance(kept, Tensor) else kept.tensors():
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self._storages:
                self._storages.add(storage.data_ptr())
                self.last += storage.nbytes()


class _Lean(TorchFunctionMode):
    """Notes on the tensors that cheap functions give how they are made, and which a convolution need not keep."""

    def __init__(self) -> None:
        super().__init__()
        self.unread: Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func not in NOTED or torch.compiler.is_compiling():  # there a graph says what is kept
            return func(*args, **kwargs)
        if func in CONVOLUTIONS:
            self.unread = args[0] if len(args) > 1 and not args[1].requires_grad else None
            try:
                return func(*args, **kwargs)
            finally:
                self.unread = None
        y = func(*args, **kwargs)
        if y.requires_grad and args and (func in KEEPERS or _call(args[0])):
            _note(func, args, kwargs, y)
        return y


def _note(func: Callable[..., Tensor], args: Any, kwargs: Mapping[str, Any], y: Tensor) -> None:
    """Notes on a tensor how it is made, where that holds little beside the first argument."""
    x, *others = given = (*args, *kwargs.values())
    small = all(SMALL * v.numel() <= y.numel() for v in others if isinstance(v, Tensor))
    alike = y is not x and y.shape == x.shape and y.dtype == x.dtype  # autocast changes the type
    if alike and small:
        inputs = tuple(_plain(v) if isinstance(v, Tensor) else v for v in given)
        versions = tuple(v._version if isinstance(v, Tensor) else 0 for v in inputs)
        y._made_by = _Call(func, inputs, (*kwargs,), versions, y._version)  # pyright: ignore


def _call(tensor: Any) -> "_Call | None":
    """How a tensor is made, if that is known and it was not changed since."""
    call = getattr(tensor, "_made_by", None)
    return call if call is not None and call.version == tensor._version else None


def _plain(tensor: Tensor) -> "Tensor | _Call":
    """A tensor without its graph, which autograd restores and which would be a cycle here; or how it is made."""
    if not tensor.requires_grad:
        return tensor
    return _call(tensor) or tensor.detach()


def _unpack(kept: "Tensor | _Call | _Shape") -> Tensor:
    return kept if isinstance(kept, Tensor) else kept()


@dataclass(slots=True, eq=False)
class _Call:
    """A cheap function, and what it was given.

    Arguments:
        func: The function.
        given: Its arguments, of which some may be calls themselves.
        names: The names of the last of them.
        versions: How often each argument had been changed in place.
        version: How often the result had been.
    """

    func: Callable[..., Tensor]
    given: tuple[Any, ...]
    names: tuple[str, ...]
    versions: tuple[int, ...]
    version: int

    def __call__(self) -> Tensor:
        for value, version in zip(self.given, self.versions, strict=True):
            if isinstance(value, Tensor) and value._version != version:
                raise LatentzooError(
                    "a step changes in place what its gradient needs: use recompute=True or False"
                )
        with torch.no_grad():
            given = [v() if isinstance(v, _Call) else v for v in self.given]
            first = len(given) - len(self.names)
            named = zip(self.names, given[first:], strict=True)
            return self.func(*given[:first], **dict(named))

    def tensors(self) -> Iterator[Tensor]:
        """All that it holds."""
        for value in self.given:
            if isinstance(value, _Call):
                yield from value.tensors()
            elif isinstance(value, Tensor):
                yield value


class _Shape:
    """Keeps of a tensor what a gradient that does not read it asks for."""

    def __init__(self, tensor: Tensor) -> None:
        self.shape, self.stride = tensor.shape, tensor.stride()
        self.kind: Any = {"dtype": tensor.dtype, "device": tensor.device}

    def __call__(self) -> Tensor:
        return torch.empty_strided(self.shape, self.stride, **self.kind)
