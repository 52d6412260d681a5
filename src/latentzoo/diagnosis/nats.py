r"""How strong the guidance was, between two bounds, from states and their gradients alone.

Of all laws with a mean m the prior moved there is nearest to the prior, and of all laws with a Fisher information
:math:`\mathrm{tr} J` a Gaussian has the least entropy (Stam). With :math:`g = \nabla \phi(z)` and Stein's identity,
:math:`\mathbb{E} |z|^2 = d - \mathbb{E} \langle z, g \rangle` and :math:`\mathrm{tr} J = d + \mathbb{E} \langle z, g
\rangle + \mathbb{E} |g|^2`, so that

.. math:: \tfrac12 |\mathbb{E} z|^2 \;\le\; \mathrm{KL}(p \,\|\, \mathcal{N}(0, I)) \;\le\;
    -\tfrac12 \mathbb{E} \langle z, g \rangle
    + \tfrac d2 \log\left(1 + \frac{\mathbb{E} \langle z, g \rangle + \mathbb{E} |g|^2}{d}\right)

Both hold for every posterior, and are equalities for a prior that is moved, the second also for one that is narrowed
alike in all directions. A few steep directions among many leave them far apart. A fast ramp could not tell more: the
work that it does on the chains bounds the strength from above as well, and further off.

References:
    | Some inequalities satisfied by the quantities of information of Fisher and Shannon (Stam, 1959)
    | https://doi.org/10.1016/S0019-9958(59)90348-1
"""

import math
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

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
    chains, dim = z.shape
    if chains < FEWEST:
        return None
    total = z.double().sum(0)
    norm2, with_total = z.double().square().sum(1), (z.double() * total).sum(1)
    rest = norm2.sum() - norm2
    others = total.square().sum() - 2 * with_total + norm2 - rest
    least = (total.square().sum() - norm2.sum()) / (chains * (chains - 1)) / 2
    least_without = others / ((chains - 1) * (chains - 2)) / 2

    along, slope2 = (z * grad).double().sum(1), grad.double().square().sum(1)
    without = lambda x: (x.sum() - x) / (chains - 1)
    most_without = _most(without(along), without(slope2), dim)
    return Bounds(
        max(float(least), 0.0),
        _jackknife(least_without),
        float(_most(along.mean(), slope2.mean(), dim)),
        _jackknife(most_without),
    )


def _most(along: Tensor, slope2: Tensor, dim: int) -> Tensor:
    """The upper bound of the means of the two products."""
    excess = ((along + slope2) / dim).clamp(min=-1 + 1e-9)  # by chance alone it may be as low
    return (-along + dim * excess.log1p()) / 2


def _jackknife(without: Float[Tensor, "B"]) -> float:
    """The standard error of an estimate from what it is without each chain."""
    return float(without.std(correction=0)) * math.sqrt(len(without) - 1)
