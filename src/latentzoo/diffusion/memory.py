r"""Many steps, differentiated in the memory of one.

.. math:: x_{i+1} = f(x_i, a_i), \qquad i = 0, \dots, T - 1

The gradient of :math:`x_T` needs what every step saved for its backward pass: T times the
network's activations. A step may be *forgotten*: it is run without a trace, and once more, from
:math:`x_i`, when the backward pass reaches it. The gradient is the same; one forward pass is paid
for each forgotten step. Or it is kept *lean* (`latentzoo.diffusion.kept`): in less than half of the
memory, for what its normalisations and activations cost once more.

    | True     all steps are forgotten: the memory of one step, and T states
    | "sqrt"   so are all states but every sqrt(T)-th: two more forward passes instead of one
    | "lean"   all steps are kept lean
    | False    all steps are kept whole
    | "auto"   the first steps are kept, as many as a quarter of the free memory holds: whole in the first
    |          quarter of that, lean in the rest

Gradients with respect to the start, and to what a single step reads, are bit for bit the same
whatever is chosen. Where several steps read one tensor from outside, its gradient is a sum that
rounding may order in another way; a state that carries the tensor along has it in the same order.

References:
    | Training Deep Nets with Sublinear Memory Cost (Chen et al., 2016)
    | https://arxiv.org/abs/1604.06174
"""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from latentzoo.diffusion.kept import Kept
from latentzoo.errors import LatentzooError, SpecError

X = TypeVar("X", bound=Tensor | tuple[Tensor, ...])
Item = TypeVar("Item")
Recompute = bool | str
"""True, False, "auto", "lean" or "sqrt"; what the families take as their argument `recompute`."""

SHARE = 0.25
"""The part of the free memory that "auto" may fill."""
WHOLE = 0.25
"""The part of that in which it keeps steps whole."""
NEAR = 1e-2
"""How near, relative and absolute, a step that is run again must come to where it went."""


def fold(
    step: Callable[[X, Item], X], x: X, items: Sequence[Item], *, recompute: Recompute = "auto"
) -> X:
    """Runs `x = step(x, item)` over the items.

    Arguments:
        step: One step, a pure function of the state: no random numbers, nothing changed outside of
            it. It may close over anything, tensors that need a gradient included.
        x: The first state, a tensor or a tuple of tensors; all states have its shape.
        items: What each step is given: a level, an index, a noise.
        recompute: What is kept for the backward pass, see above.

    Returns:
        The last state.

    Raises:
        SpecError: If `recompute` is none of the five choices.
    """
    if recompute not in ("auto", "sqrt", "lean", True, False):
        raise SpecError(
            f"recompute={recompute!r} is unknown; choose 'auto', 'sqrt', 'lean', True or False"
        )
    if recompute is False or not torch.is_grad_enabled():
        for item in items:
            x = step(x, item)
        return x
    if recompute == "sqrt":
        stride = math.isqrt(max(len(items) - 1, 0)) + 1
        segments = [items[i : i + stride] for i in range(0, len(items), stride)]
        walk = lambda x, segment: fold(step, x, segment, recompute=True)
        return fold(walk, x, segments, recompute=True)
    budget = Budget(recompute, _tensors(x)[0].device)
    for item in items:
        x = budget.run(step, x, item)
    return x


class Budget:
    """Creates the memory that the steps of one forward pass share, whatever each of them is.

    Arguments:
        recompute: True, False, "auto" or "lean", see above.
        device: Where the steps run.

    Raises:
        SpecError: If `recompute` is none of the four.
    """

    def __init__(self, recompute: Recompute, device: torch.device) -> None:
        if recompute not in ("auto", "lean", True, False):
            raise SpecError(
                f"recompute={recompute!r} is unknown here; choose 'auto', 'lean', True or False"
            )
        share = SHARE * _free(device) if recompute == "auto" else 0.0
        limits = {"auto": (WHOLE * share, share), "lean": (0.0, math.inf)}
        limits |= {True: (0.0, 0.0), False: (math.inf, math.inf)}
        self.whole, self.bytes = limits[recompute]
        self._kept = Kept()

    def run(self, step: Callable[[X, Item], X], x: X, item: Item) -> X:
        """Runs `step(x, item)`, a pure function as for `fold`, and keeps what is saved for its
        gradient while there is room; the last of all such steps tells how much it is."""
        if not torch.is_grad_enabled():
            return step(x, item)
        bytes = self._kept.bytes + self._kept.last
        if bytes < self.bytes:
            with self._kept.step(lean=bytes >= self.whole):
                return step(x, item)
        return _forget(step, x, item)


def _tensors(x: Any) -> tuple[Tensor, ...]:
    return x if isinstance(x, tuple) else (x,)


def _free(device: torch.device) -> float:
    """The bytes that are free on a device; 0 where it does not say."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    try:
        if device.type == "cpu":  # counts what is only kept to read files faster as free
            found = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text())
            return 1024.0 * int(found[1]) if found else 0.0
    except OSError:
        pass
    return 0.0


def _forget(step: Callable[[X, Item], X], x: X, item: Item) -> X:
    """Runs one step without a trace; its gradient runs it again."""
    single, inputs = not isinstance(x, tuple), _tensors(x)
    call = lambda inputs: _tensors(step(inputs[0] if single else inputs, item))
    plain = tuple(v.detach() for v in inputs)
    with torch.no_grad(), _Outside() as outside:
        outputs = call(plain)
    run = _Run(call, len(inputs), tuple(outside.found), outputs)
    # Asked for by a function, since a step within a step that is run again has stand-ins for them.
    result = _Again.apply(run, *inputs, *(v.view_as(v) for v in run.outside))
    return result[0] if single else result


class _Outside(TorchFunctionMode):
    """Finds the tensors with a gradient that a function reads from outside, or puts others there.

    Arguments:
        stand_ins: What to put in the place of each; None to find them, while gradients are off.
    """

    def __init__(self, stand_ins: dict[Tensor, Tensor] | None = None) -> None:
        super().__init__()
        self.stand_ins = stand_ins
        self.found: dict[Tensor, None] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        if self.stand_ins is None:
            self.find((*args, *kwargs.values()))
            return func(*args, **kwargs)
        return func(*self.put(args), **dict(zip(kwargs, self.put(kwargs.values()), strict=True)))

    def find(self, values: Iterable[Any]) -> None:
        for v in values:
            if isinstance(v, Tensor):
                if v.requires_grad:
                    self.found[v] = None
            elif isinstance(v, (tuple, list)):
                self.find(v)

    def put(self, values: Iterable[Any]) -> list[Any]:
        stand_ins = self.stand_ins or {}
        return [
            stand_ins.get(v, v)
            if isinstance(v, Tensor)
            else type(v)(self.put(v))
            if type(v) in (tuple, list)
            else v
            for v in values
        ]


@dataclass
class _Run:
    """One run of a step.

    Arguments:
        call: From its states to the next ones.
        inputs: How many states it starts from.
        outside: The tensors with a gradient that it reads beside them.
        outputs: The next states, until they are handed on.
    """

    call: Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
    inputs: int
    outside: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class _Again(torch.autograd.Function):
    """A step that left no trace; its gradient runs it again, on leaves of its own."""

    @staticmethod
    def forward(ctx: Any, run: _Run, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.run, (outputs, run.outputs) = run, (run.outputs, ())
        given = {v.untyped_storage().data_ptr() for v in tensors}
        # What is handed on as it came would be taken for a change in place.
        outputs = tuple(
            v.clone() if v.untyped_storage().data_ptr() in given else v for v in outputs
        )
        ctx.save_for_backward(*tensors, *outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        run, count, twice = ctx.run, len(grads), torch.is_grad_enabled()
        needed = ctx.needs_input_grad[1:]
        tensors, outputs = ctx.saved_tensors[:-count], ctx.saved_tensors[-count:]
        leaves = [v.detach().requires_grad_(n) for v, n in zip(tensors, needed, strict=True)]
        ends = [v.detach().requires_grad_(twice) for v in grads]
        stand_ins = dict(zip(run.outside, leaves[run.inputs :], strict=True))
        with torch.enable_grad(), _Outside(stand_ins) if stand_ins else nullcontext():
            again = run.call(tuple(leaves[: run.inputs]))
        if not all(map(_near, again, outputs)):
            raise LatentzooError(
                "a step came to another state when it was run again, so it is not a pure "
                "function: remove its side effects or use recompute=False"
            )
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        found = _pull(again, wanted, ends, twice=twice)
        if twice:
            sources = [v for v, needs in zip(tensors, needed, strict=True) if needs]
            found = _Twice.apply(found, [*wanted, *ends], *sources, *grads)
        each = iter(found)
        return None, *(next(each) if needs else None for needs in needed)


class _Twice(torch.autograd.Function):
    """A gradient that can be differentiated once more."""

    @staticmethod
    def forward(
        ctx: Any, found: Sequence[Tensor], leaves: list[Tensor], *sources: Tensor
    ) -> tuple[Tensor, ...]:
        ctx.found, ctx.leaves = found, leaves
        return tuple(v.detach() for v in found)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grads: Tensor
    ) -> tuple[Tensor | None, ...]:
        return None, None, *_pull(ctx.found, ctx.leaves, grads)


def _pull(
    outputs: Sequence[Tensor],
    leaves: list[Tensor],
    grads: Sequence[Tensor],
    *,
    twice: bool = False,
) -> tuple[Tensor, ...]:
    """The gradient with respect to leaves, given that with respect to outputs."""
    with torch.enable_grad():
        # A number instead of `grad_outputs`, for which torch would import all of sympy: 30 MB.
        pairs = zip(outputs, grads, strict=True)
        parts = [(output * grad).sum() for output, grad in pairs if output.requires_grad]
        if not parts:
            return tuple(torch.zeros_like(leaf) for leaf in leaves)
        total = torch.stack(parts).sum() if len(parts) > 1 else parts[0]
    return torch.autograd.grad(
        total, leaves, create_graph=twice, allow_unused=True, materialize_grads=True
    )


def _near(again: Tensor, before: Tensor) -> bool:
    return torch.allclose(again, before, rtol=NEAR, atol=NEAR, equal_nan=True)
