r"""What one run of a pipeline shows before the first step: its draws, which of them matter, and
whether its networks' gradients are those of its networks.

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
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from latentzoo.errors import SpecError

STEP = 0.1
"""h, in units of the input's spread: rounded activations do not see smaller ones."""
BETWEEN = 0.6, 1.6
"""What the quotient of the two sides may be."""
FLOOR = 1e-7
"""A gradient below this part of the largest one is rounding."""


class Probe:
    """Creates the caller of networks for a first run."""

    def __init__(self) -> None:
        self.seen: dict[Any, Any] = {}
        self.tried: set[int] = set()

    def __call__(
        self, call: Callable[..., Any], network: Any, args: Any, kwargs: dict[str, Any]
    ) -> Any:
        """What a network gives, with a gradient from everywhere to everywhere."""
        given = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        key = id(network), *(x.shape for x in given)
        sources = [x for x in given if x.requires_grad]
        if key not in self.seen:
            with torch.no_grad():
                self.seen[key] = call(*args, **kwargs)
            if sources and id(network) not in self.tried:
                self.tried.add(id(network))
                judge(call, network, args, kwargs)
        reach = lambda x: Reach.apply(x, *sources) if isinstance(x, Tensor) else x
        return pytree.tree_map(reach, self.seen[key])


class Reach(torch.autograd.Function):
    """A value that counts as made of its sources; 0.618, as ones cancel."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, *sources: Tensor) -> Tensor:
        ctx.save_for_backward(*sources)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        any_ = 0.618 * float(grads[0].any())
        return None, *(torch.full_like(x, any_) for x in ctx.saved_tensors)


def alive(image: Tensor, drawn: list[Tensor]) -> list[bool]:
    """Which draws have an influence on a picture."""
    if not image.requires_grad:
        return [False] * len(drawn)
    grads = torch.autograd.grad(image.float().sum(), drawn, allow_unused=True)
    power = [0.0 if g is None else g.abs().max().item() for g in grads]
    most = max((p for p in power if math.isfinite(p)), default=0.0)
    return [not p <= FLOOR * most for p in power]


def judge(call: Callable[..., Any], network: Any, args: Any, kwargs: dict[str, Any]) -> None:
    """Holds a network's gradient against a difference of it.

    Raises:
        SpecError: If they are not of one function.
    """
    leaves, spec = pytree.tree_flatten((args, kwargs))
    at = [i for i, x in enumerate(leaves) if isinstance(x, Tensor) and x.requires_grad]
    x = [leaves[i].detach() for i in at]
    rng = torch.Generator().manual_seed(1)
    spread = lambda t: STEP * float(t.float().std(correction=0).clamp_min(1e-6))
    v = [spread(t) * torch.randn(t.shape, generator=rng).to(t) for t in x]

    def at_(points: list[Tensor]) -> list[Tensor]:
        new = [*leaves]
        for i, point in zip(at, points, strict=True):
            new[i] = point
        a, k = pytree.tree_unflatten(new, spec)
        found = [y for y in pytree.tree_leaves(call(*a, **k)) if isinstance(y, Tensor)]
        return [y for y in found if y.is_floating_point()]

    with torch.no_grad():
        plus = at_([a + b for a, b in zip(x, v, strict=True)])
        minus = at_([a - b for a, b in zip(x, v, strict=True)])
    y = [a - b for a, b in zip(plus, minus, strict=True)]
    with torch.enable_grad():
        x = [t.requires_grad_() for t in x]
        middle = at_(x)
        total = sum(((m * d).sum() for m, d in zip(middle, y, strict=True) if m.requires_grad), 0)
    dot = lambda a, b: sum(
        float((s.double() * t.double()).sum()) for s, t in zip(a, b, strict=True)
    )
    grads = (
        torch.autograd.grad(total, x, allow_unused=True, materialize_grads=True)
        if isinstance(total, Tensor)
        else [torch.zeros_like(t) for t in x]
    )
    difference, slope = dot(y, y) / 2, dot(grads, v)
    name = type(network).__name__
    if not math.isfinite(slope) and math.isfinite(difference):
        raise SpecError(
            f"the gradient of {name} is not finite, though its output is; is it offloaded to disk? "
            "load it whole"
        )
    if difference and not BETWEEN[0] < slope / difference < BETWEEN[1]:
        raise SpecError(
            f"the gradient of {name} is {slope / difference:.2g} times what a difference of its "
            "outputs shows, so something in it cuts the gradient (activations that are quantised?); "
            "quantise weights only, or load it in bfloat16"
        )
