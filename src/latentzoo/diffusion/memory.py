r"""Many steps, differentiated in the memory of one.

.. math:: x_{i+1} = f(x_i, a_i), \qquad i = 0, \dots, T - 1

The gradient of :math:`x_T` needs what every step saved for its backward pass: T times the
network's activations. A step may *forget* what it saved and run once more, from :math:`x_i`, when
the backward pass reaches it. The gradient is the same; one forward pass is paid for each forgotten
step.

    | True     each step forgets as soon as the next begins: memory of one step and T states
    | "sqrt"   so do all states but every sqrt(T)-th: two more forward passes instead of one
    | False    no step forgets
    | "auto"   the oldest steps forget where a quarter of the free memory does not hold them all

References:
    | Training Deep Nets with Sublinear Memory Cost (Chen et al., 2016)
    | https://arxiv.org/abs/1604.06174
"""

import math
import os
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from latentzoo.errors import LatentzooError, SpecError

X = TypeVar("X", bound=Tensor | tuple[Tensor, ...])
Item = TypeVar("Item")
Checkpoint = bool | str
"""True, False, "auto" or "sqrt"; what the families take as their argument `checkpoint`."""

SHARE = 0.25
"""The part of the free memory that "auto" may fill."""


def fold(
    step: Callable[[X, Item], X], x: X, items: Sequence[Item], *, checkpoint: Checkpoint = "auto"
) -> X:
    """Runs `x = step(x, item)` over the items.

    Arguments:
        step: One step, a pure function of the state: no random numbers, nothing changed outside of
            it. It may close over anything, tensors that need a gradient included.
        x: The first state, a tensor or a tuple of tensors; all states have its shape.
        items: What each step is given: a level, an index, a noise.
        checkpoint: What is kept for the backward pass, see above.

    Returns:
        The last state.

    Raises:
        SpecError: If `checkpoint` is none of the four choices.
    """
    if checkpoint not in ("auto", "sqrt", True, False):
        raise SpecError(
            f"checkpoint={checkpoint!r} is unknown; choose 'auto', 'sqrt', True or False"
        )
    if checkpoint is False or not torch.is_grad_enabled():
        for item in items:
            x = step(x, item)
        return x
    stride = math.isqrt(max(len(items) - 1, 0)) + 1 if checkpoint == "sqrt" else 1
    budget = SHARE * _free(_tensors(x)[0].device) if checkpoint == "auto" else 0.0
    states = _States(step, x, items, stride)
    kept: deque[_Saved] = deque()
    held: Counter[tuple[int, int]] = Counter()
    last = total = 0
    for i, item in enumerate(items):
        while kept and total + last > budget:
            total -= kept.popleft().forget(held)
        saved = _Saved(states, i, keep=budget > 0 or i == len(items) - 1)
        states[i] = x
        with saved_tensors_hooks(saved.pack, saved.unpack):
            x = step(x, item)
        last = saved.count(held)
        total += last
        kept.append(saved)
    return x


def _tensors(x: Any) -> tuple[Tensor, ...]:
    return x if isinstance(x, tuple) else (x,)


def _free(device: torch.device) -> float:
    """The bytes that are free on a device; 0 where it does not say."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    if device.type == "cpu" and "SC_AVPHYS_PAGES" in os.sysconf_names:
        return float(os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return 0.0


class _States:
    """The states x_i; all but every `stride`-th can be forgotten and are computed again."""

    def __init__(
        self, step: Callable[[Any, Any], Any], x: Any, items: Sequence[Any], stride: int
    ) -> None:
        self.step, self.items, self.stride = step, items, stride
        self.single = not isinstance(x, tuple)
        # In one piece: small blocks that live long, among large ones that do not, would scatter
        # the memory of the steps.
        rows = -(-len(items) // stride)
        self.rows = tuple(v.new_empty(rows, *v.shape) for v in _tensors(x))
        self.between: dict[int, Any] = {}
        self.tracked: dict[int, tuple[bool, ...]] = {}

    def __setitem__(self, i: int, x: Any) -> None:
        self.tracked[i] = tuple(v.requires_grad for v in _tensors(x))
        if i % self.stride == 0:
            for row, v in zip(self.rows, _tensors(x), strict=True):
                row[i // self.stride].copy_(v.detach())

    def __getitem__(self, i: int) -> Any:
        if i % self.stride:
            return self.between[i]
        state = tuple(row[i // self.stride] for row in self.rows)
        return state[0] if self.single else state

    def rerun(self, i: int) -> None:
        """Runs step i once more, for what it saves: that goes to the hooks that are active."""
        if i % self.stride and i not in self.between:
            with torch.no_grad():
                for k in range(i - i % self.stride, i):
                    self.between[k + 1] = self.step(self[k], self.items[k])
        tracked = zip(_tensors(self[i]), self.tracked[i], strict=True)
        inputs = tuple(v.detach().requires_grad_(needs) for v, needs in tracked)
        self.between.pop(i, None)
        with torch.enable_grad():
            self.step(inputs[0] if self.single else inputs, self.items[i])


class _Saved:
    """What step i saved for its backward pass, until it forgets.

    Autograd holds the number of each tensor instead of the tensor. Tensors are kept detached:
    autograd restores their place in the graph, and a reference to it from here would be a cycle.
    """

    def __init__(self, states: _States, i: int, *, keep: bool = True) -> None:
        self.states, self.i, self.keep = states, i, keep
        self.tensors: dict[int, Tensor] = {}
        self.length = 0

    def pack(self, tensor: Tensor) -> int:
        if self.keep:
            self.tensors[self.length] = tensor.detach()
        self.length += 1
        return self.length - 1

    def unpack(self, number: int) -> Tensor:
        if number not in self.tensors:
            self.recall()
        return self.tensors.pop(number)

    def recall(self) -> None:
        again = _Saved(self.states, self.i)
        with saved_tensors_hooks(again.pack, again.unpack):
            self.states.rerun(self.i)
        if again.length != self.length:
            raise LatentzooError(
                f"step {self.i} saved {self.length} tensors, but {again.length} when run again; "
                "it is not a pure function: remove its side effects or use checkpoint=False"
            )
        self.tensors = again.tensors

    def count(self, held: Counter[tuple[int, int]]) -> int:
        """Enters the storages of this step and returns the bytes that no other step holds."""
        new = 0
        for key in {_storage(v) for v in self.tensors.values()}:
            held[key] += 1
            new += key[1] if held[key] == 1 else 0
        return new

    def forget(self, held: Counter[tuple[int, int]]) -> int:
        """Drops the tensors and returns the bytes that no other step holds."""
        freed = 0
        for key in {_storage(v) for v in self.tensors.values()}:
            held[key] -= 1
            freed += key[1] if held[key] == 0 else 0
        self.tensors = {}
        return freed


def _storage(tensor: Tensor) -> tuple[int, int]:
    storage = tensor.untyped_storage()
    return storage.data_ptr(), storage.nbytes()
