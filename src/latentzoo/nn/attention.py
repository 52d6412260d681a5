r"""Attention, in the memory of its inputs.

.. math:: y = \operatorname{softmax}(q k^\top / \sqrt c) \, v

torch has a kernel for it that never holds the N x N matrix, but takes it only for tensors whose
channels are last in memory, and it cannot be differentiated twice. Here the channels are brought
last, and a second derivative goes by the formula. So does all on a processor where few tokens are looked at: that is
faster for heads of any width, as nothing is copied, and the matrix grows with N only, to FEW / c times the size of q.

Users: ADM, DDPM, EDM, LDM, DDGAN, the avatars' U-Nets, those of diffusers.

References:
    | Attention Is All You Need (Vaswani et al., 2017), https://arxiv.org/abs/1706.03762
    | FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness
    | (Dao et al., 2022), https://arxiv.org/abs/2205.14135
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode

from latentzoo.errors import SpecError

FEW = 64
"""How many tokens to look at are few."""


def attend(
    q: Float[Tensor, "B H N c"], k: Float[Tensor, "B H M c"], v: Float[Tensor, "B H M c"]
) -> Float[Tensor, "B H N c"]:
    """Lets N tokens look at M tokens, for each of H heads of width c."""
    if k.shape[-2] <= FEW and q.device.type == "cpu" and q.element_size() >= 4:
        return (q * q.shape[-1] ** -0.5 @ k.mT).softmax(-1) @ v
    q, k, v = (x if x.stride(-1) == 1 else x.contiguous() for x in (q, k, v))
    differentiated = torch.is_grad_enabled() and any(x.requires_grad for x in (q, k, v))
    if not differentiated or torch.compiler.is_compiling():
        return scaled_dot_product_attention(q, k, v)
    return _Attention.apply(q, k, v)


def count_heads(channels: int, heads: int | None, width: int | None) -> int:
    """How many heads a layer has: as many as are given, else those of a width; one where neither is given.

    Arguments:
        channels: The number of the layer's channels.
        heads: The number of heads.
        width: The number of channels of each.

    Raises:
        SpecError: If they do not divide the channels.
    """
    if channels % (heads or width or channels):
        said = f"{heads} heads" if heads else f"heads of {width} channels"
        raise SpecError(f"{channels} channels do not divide into {said}; give another number")
    return heads or channels // (width or channels)


class _Attention(torch.autograd.Function):
    """The fast kernel with its own gradient, whose gradient is that of the formula."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.leaves = q, k, v = [x.detach().requires_grad_() for x in (q, k, v)]
        with torch.enable_grad():
            ctx.y = scaled_dot_product_attention(q, k, v)
        return ctx.y.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if not torch.is_grad_enabled():
            return torch.autograd.grad(ctx.y, ctx.leaves, grads, retain_graph=True)
        inputs, needed = ctx.saved_tensors, ctx.needs_input_grad
        wanted = [x for x, needs in zip(inputs, needed, strict=True) if needs]
        with sdpa_kernel(SDPBackend.MATH):
            q, k, v = inputs
            y = scaled_dot_product_attention(q, k, v)
        found = iter(torch.autograd.grad(y, wanted, grads, create_graph=True))
        return tuple(next(found) if needs else None for needs in needed)


class Attending(TorchFunctionMode):
    """Creates a mode in which the networks of other people attend by `attend`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is scaled_dot_product_attention:
            named = [name for name in kwargs if name not in ("query", "key", "value")]
            further = [*args[3:], *(kwargs[name] for name in named)]
            if not any(isinstance(value, Tensor) or value for value in further):  # as they are
                q, k, v = (
                    *args[:3],
                    *(kwargs[n] for n in ("query", "key", "value") if n in kwargs),
                )
                return attend(q, k, v)
        return func(*args, **kwargs)
