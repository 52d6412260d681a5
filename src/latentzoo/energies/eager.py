r"""A mean of many energies, differentiated in the memory of one.

.. math:: E(x) = \frac1R \sum_{r=1}^{R} E_r(x), \qquad \nabla E = \frac1R \sum_r \nabla E_r

An energy is one number per picture, so the gradient of each term is known as soon as the term is:
it is taken at once and added up, and the backward pass only scales the sum. Nothing is computed
twice, as it would be if each term were checkpointed.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from latentzoo.errors import EnergyError

Terms = Sequence[Callable[[Tensor], Tensor]]
"""Functions of pictures (N, 3, H, W), each to one number per picture, (N,)."""


def mean(terms: Terms, image: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N"]:
    """The mean of terms, differentiable as often as is wanted, but by the pictures alone.

    Raises:
        EnergyError: If a term does not depend on the pictures through autograd.
    """
    if torch.is_grad_enabled() and image.requires_grad:
        return _Mean.apply(image, terms)
    return torch.stack([term(image) for term in terms]).mean(0)


class _Mean(torch.autograd.Function):
    """The mean of terms, with its gradient from the forward pass."""

    @staticmethod
    def forward(ctx: Any, image: Tensor, terms: Terms) -> Tensor:
        values, gradient = [], torch.zeros_like(image)
        for term in terms:
            with torch.enable_grad():
                x = image.detach().requires_grad_()
                value = term(x)
                if not value.requires_grad:
                    raise EnergyError(
                        "the energy of a copy does not depend on the image through autograd (is "
                        "its input detached?); use a kernel without gradients: pcn or slice"
                    )
                gradient += torch.autograd.grad(value.sum(), x)[0]
            values.append(value.detach())
        ctx.terms = terms
        ctx.save_for_backward(image, gradient / len(terms))
        return torch.stack(values).mean(0)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        image, gradient = ctx.saved_tensors
        if (
            torch.is_grad_enabled()
        ):  # to be differentiated once more, so the terms are needed again
            values = [checkpoint(term, image, use_reentrant=False) for term in ctx.terms]
            mean = torch.stack(values).mean(0)  # pyright: ignore[reportArgumentType]
            (gradient,) = torch.autograd.grad(mean.sum(), image, create_graph=True)
        return grads[0][:, None, None, None] * gradient, None
