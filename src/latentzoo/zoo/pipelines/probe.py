r"""What one run of a pipeline shows before the first step: its draws, and whether gradients are its networks'.

Networks are run once for each shape of their inputs; where they would run again they give the same
again. The picture is then not the right one, but the way from each draw to it is: a value that was
made of others gets a gradient that is not zero, and hands on one that is not zero. A draw that no
gradient reaches does nothing.

A gradient may be cut in silence, by activations that are rounded or weights that come from a disk.
So each network J is tried in one direction v, along what that changes,

.. math:: \Big\langle y, \frac{N(x + hv) - N(x - hv)}{2h} \Big\rangle \approx \langle J^\top y, v \rangle,
    \qquad y = N(x + hv) - N(x - hv)
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from latentzoo.errors import SpecError

STEPS = 0.1, 0.01, 0.001, 0.0001
"""h, in units of the input's spread: rounded activations do not see small ones, and a network bends
over large ones; one of them has to hold."""
BETWEEN = 0.75, 1.33
"""What the quotient of the two sides may be."""
FLOOR = 1e-7
"""A gradient below this part of the largest one is rounding."""


class Probe:
    """Creates the caller of networks for a first run.

    Arguments:
        whole: Whether a network is run at each call: a pipeline may read what a call left elsewhere, as its attention.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self.whole = whole
        self.seen: dict[Any, Any] = {}
        self.tried: set[int] = set()

    def key(self, network: Any, args: Any, kwargs: Any) -> Any:
        """What a network is run once for: the shapes that it is given."""
        return id(network), *(x.shape for x in _tensors((args, kwargs)))

    def __call__(
        self, call: Callable[..., Any], network: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """What a network gives, with a gradient from everywhere to everywhere."""
        key = self.key(network, args, kwargs)
        sources = [x for x in _tensors((args, kwargs)) if x.requires_grad]
        if self.whole or key not in self.seen:
            self.seen[key] = answer(call, args, kwargs)
            if sources and id(network) not in self.tried:
                self.tried.add(id(network))
                judge(call, network, args, kwargs)
        reach = lambda x: Reach.apply(x, *sources) if isinstance(x, Tensor) else x
        return pytree.tree_map(reach, self.seen[key])


def answer(call: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """What a network says to a copy of what it is given, without a gradient."""
    own_args, own_kwargs = copied((args, kwargs))
    with torch.no_grad():
        return call(*own_args, **own_kwargs)


def copied(given: Any) -> Any:
    """What a network is given, of which it may empty a list, and its pipeline write into a tensor."""
    return pytree.tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, given)


class Reach(torch.autograd.Function):
    """A value that counts as made of its sources; 0.618, as ones cancel. It keeps none of them, as a pipeline may
    write into what it gave."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *sources: Tensor) -> Tensor:
        ctx.like = [(x.shape, {"dtype": x.dtype, "device": x.device}) for x in sources]
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        any_ = 0.618 * float(grads[0].any())
        return None, *(torch.full(shape, any_, **kind) for shape, kind in ctx.like)


def alive(image: Tensor, drawn: list[Tensor]) -> list[bool]:
    """Which draws have an influence on a picture.

    Raises:
        SpecError: If the picture has no gradient, as one of its steps is lost.
    """
    if not image.requires_grad:
        return [False] * len(drawn)
    try:
        with torch.enable_grad():  # the caller may have turned gradients off
            total = image.float().sum()
        grads = torch.autograd.grad(total, drawn, allow_unused=True)
    except RuntimeError as error:
        reason = str(error).partition(";")[0].partition(": [")[0]
        raise SpecError(
            f"the picture cannot be differentiated ({reason}); take another pipeline"
        ) from error
    power = [0.0 if g is None else g.abs().max().item() for g in grads]
    most = max((p for p in power if math.isfinite(p)), default=0.0)
    return [not p <= FLOOR * most for p in power]


def judge(call: Callable[..., Any], network: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """Holds a network's gradient against differences of it.

    Raises:
        SpecError: If they are not of one function.
    """
    leaves, spec = pytree.tree_flatten((args, kwargs))
    at = [i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.requires_grad]
    x = [leaves[i].detach() for i in at]
    rng = torch.Generator().manual_seed(1)
    v = [float(t.float().std(correction=0)) * torch.randn(t.shape, generator=rng).to(t) for t in x]

    def at_(points: list[Tensor]) -> list[Tensor]:
        new = [*leaves]
        for i, point in zip(at, points, strict=True):
            new[i] = point
        a, k = pytree.tree_unflatten(new, spec)
        found = (y for y in pytree.tree_leaves(call(*a, **k)) if isinstance(y, Tensor))
        return [y for y in found if y.is_floating_point()]

    found: list[float] = []
    for h in STEPS:
        q = _quotient(at_, x, v, h)
        if (q is None and not found) or (q is not None and BETWEEN[0] < q < BETWEEN[1]):
            return
        found += [] if q is None else [q]  # outputs that are rounded do not change by a small step
    name = type(network).__name__
    with torch.no_grad():
        once, again = at_(x), at_(x)
    if not all(
        torch.allclose(a, b, rtol=1e-2, atol=1e-2) for a, b in zip(once, again, strict=True)
    ):
        raise SpecError(
            f"{name} gives another output at each call, as it draws numbers of its own; take one that is a function "
            "of its input"
        )
    if not all(map(math.isfinite, found)):
        raise SpecError(
            f"the gradient of {name} is not finite, though its output is; is it offloaded to a disk? "
            "load it whole"
        )
    raise SpecError(
        f"the gradient of {name} is {found[0]:.2g} times what a difference of its outputs shows, "
        "so something in it cuts the gradient (activations that are quantised?); quantise weights "
        "only, or load it in bfloat16"
    )


def _quotient(
    call: Callable[[list[Tensor]], list[Tensor]], x: list[Tensor], v: list[Tensor], h: float
) -> float | None:
    """The gradient's slope along a difference of outputs, over the difference's own; None if the
    outputs do not change, or are not finite themselves."""
    with torch.no_grad():
        plus = call([a + h * b for a, b in zip(x, v, strict=True)])
        minus = call([a - h * b for a, b in zip(x, v, strict=True)])
    y = [a - b for a, b in zip(plus, minus, strict=True)]
    with torch.enable_grad():
        x = [t.detach().requires_grad_() for t in x]
        pairs = [(m, d) for m, d in zip(call(x), y, strict=True) if m.requires_grad]
        total = torch.stack([(m * d).float().sum() for m, d in pairs]).sum() if pairs else None
    difference = _dot(y, y) / (2 * h)
    if not difference or not math.isfinite(difference):
        return None
    if total is None:
        return 0.0
    return _dot(torch.autograd.grad(total, x, materialize_grads=True), v) / difference


def _tensors(given: Any) -> list[Tensor]:
    return [x for x in pytree.tree_leaves(given) if isinstance(x, Tensor)]


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    return sum(float((s.double() * t.double()).sum()) for s, t in zip(a, b, strict=True))
