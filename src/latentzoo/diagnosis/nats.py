r"""How strong the guidance was, between two bounds, from states and their gradients alone.

Of all laws with a mean m the prior moved there is nearest to the prior, and of all laws with a Fisher information
:math:`\mathrm{tr} J` a Gaussian has the least entropy (Stam). With :math:`g = \nabla \phi(z)` and Stein's identity,
:math:`\mathbb{E} |z|^2 = d - \mathbb{E} \langle z, g \rangle` and :math:`\mathrm{tr} J = d + \mathbb{E} \langle z, g
\rangle + \mathbb{E} |g|^2`, so that

.. math:: \tfrac12 |\mathbb{E} z|^2 \;\le\; \mathrm{KL}(p \,\|\, \mathcal{N}(0, I)) \;\le\;
    -\tfrac12 \mathbb{E} \langle z, g \rangle
    + \tfrac d2 \log\left(1 + \frac{\mathbb{E} \langle z, g \rangle + \mathbb{E} |g|^2}{d}\right)

Both hold for every posterior, and are equalities for a prior that is moved, the second also for one that is narrowed
alike in all directions. So that a few steep directions among many do not leave them far apart, the logarithm is taken
along main directions of the gradients one by one, and of the mean for the rest (Fischer's inequality); the directions
come from one half of the chains and the means from the other, both ways. A fast ramp could not tell more: the work that
it does on the chains bounds the strength from above as well, and further off.

References:
    | Some inequalities satisfied by the quantities of information of Fisher and Shannon (Stam, 1959)
    | https://doi.org/10.1016/S0019-9958(59)90348-1
    | Über den Hadamardschen Determinantensatz (Fischer, 1908)
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.kernels.lowrank import main_directions

MOST, EACH = 8, 8
"""How many main directions are told apart, at most, and how many chains each needs."""
FEWEST = 4
"""From how many chains the bounds are told, at least."""


class Bounds(NamedTuple):
    """The least and the most nats, each with its standard error."""

    least: float
    least_error: float
    most: float
    most_error: float


def bounds(z: Float[Tensor, "B D"], grad: Float[Tensor, "B D"]) -> Bounds | None:
    """The bounds of KL(p(z|C) || prior) from draws; None of fewer than 4 chains.

    Arguments:
        z: The states.
        grad: The gradients of phi there.
    """
    chains = len(z)
    if chains < FEWEST:
        return None
    total = z.double().sum(0)
    norm2, with_total = z.double().square().sum(1), (z.double() * total).sum(1)
    rest = norm2.sum() - norm2
    others = total.square().sum() - 2 * with_total + norm2 - rest
    least = (total.square().sum() - norm2.sum()) / (chains * (chains - 1)) / 2
    least_without = others / ((chains - 1) * (chains - 2)) / 2

    halves = [_most(z[1 - h :: 2], grad[1 - h :: 2], grad[h::2]) for h in (0, 1)]
    return Bounds(
        max(float(least), 0.0),
        _jackknife(least_without),
        sum(most for most, _ in halves) / 2,
        math.hypot(*(error for _, error in halves)) / 2,
    )


def _most(z: Tensor, grad: Tensor, other: Tensor) -> tuple[float, float]:
    """The upper bound by one half of the chains along main directions of the other, and its standard error."""
    (chains, dim), rank = z.shape, min(MOST, len(other) // EACH)
    found = main_directions(other.float(), rank)[0].to(z) if rank > 0 else z.new_zeros(dim, 0)
    rest, y = dim - found.shape[1], grad @ found
    along = (z * grad).double().sum(1)
    each = ((z @ found) * y + y.square()).double()
    left = along + grad.double().square().sum(1) - each.sum(1)
    excess = torch.cat([each, left[:, None] / max(rest, 1)], 1)
    mean, weight = excess.mean(0), torch.ones(excess.shape[1], dtype=torch.float64)
    mean, weight[-1] = mean.clamp(min=-1 + 1e-9), rest  # by chance alone it may be as low
    value = (weight * mean.log1p()).sum() - along.mean()
    # a logarithm of a mean is too low, by half of the mean's relative variance
    value = value + (weight * excess.var(0) / chains / (1 + mean).square()).sum() / 2
    influence = (weight * (excess - mean) / (1 + mean)).sum(1) - (along - along.mean())
    return float(value) / 2, float(influence.std()) / 2 / math.sqrt(chains)


def _jackknife(without: Float[Tensor, "B"]) -> float:
    """The standard error of an estimate from what it is without each chain."""
    return float(without.std(correction=0)) * math.sqrt(len(without) - 1)
