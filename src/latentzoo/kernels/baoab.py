r"""One step of underdamped Langevin dynamics with the prior rotated exactly.

In :math:`(z, p)` the Gaussian prior alone turns every pair of coordinates about the origin, so its
flow R over an angle is known; the potential only kicks (B), friction and noise act on the momentum
alone (O). A step is B R O R B:

.. math::
    p &\leftarrow p - \tan(h/2) \, \beta \nabla \phi(z) \\
    (z, p) &\leftarrow (c z + s p, \; c p - s z), \qquad c = \cos(h/2), \; s = \sin(h/2) \\
    p &\leftarrow \eta \, p + \sqrt{1 - \eta^2} \, \xi, \qquad \eta = e^{-\gamma h} \\
    (z, p) &\leftarrow (c z + s p, \; c p - s z) \\
    p &\leftarrow p - \tan(h/2) \, \beta \nabla \phi(z)

With the tangent for the usual :math:`h/2`, the variance of the positions is exact for every
Gaussian posterior and every stable step, :math:`\kappa \tan^2(h/2) < 1`; without a potential the
step is exact. What it does wrong is the shadow work

.. math:: W = \beta \, (\phi(z') - \phi(z))
    + \sum_{\text{kicks}} \left( \tfrac12 |u|^2 - \langle u, p \rangle \right),
    \qquad u = \tan(h/2) \, \beta \nabla \phi

in which :math:`|z|^2` never enters. R and O leave the prior alone, so accepting with
:math:`\min(1, e^{-W})`, and turning the momentum round on rejection, makes the posterior exactly
invariant.

References:
    | Rational construction of stochastic numerical methods for molecular sampling
    | (Leimkuhler and Matthews, 2012)
    | https://arxiv.org/abs/1203.5428
    | Hybrid Monte Carlo on Hilbert spaces (Beskos, Pinski, Sanz-Serna and Stuart, 2011)
    | https://doi.org/10.1016/j.spa.2011.06.003
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.kernels.types import Point, Potential


class Move(NamedTuple):
    """Where a step leads.

    Attributes:
        point: The new place.
        p: The new momentum, (B, D).
        work: The shadow work W, (B,): how much the step got the energy wrong.
        slopes: The lengths of the gradients at its two ends, each (B, 1), where kicks may have been cut.
    """

    point: Point
    p: Float[Tensor, "B D"]
    work: Float[Tensor, "B"]
    slopes: tuple[Tensor, ...] = ()


def baoab(
    phi: Potential,
    point: Point,
    p: Float[Tensor, "B D"],
    xi: Float[Tensor, "B D"] | None,
    *,
    h: Float[Tensor, "B"],
    beta: Float[Tensor, "B"],
    gamma: float = 1.0,
    longest: float | None = None,
) -> Move:
    """Makes one step; it takes one gradient, at its end.

    Arguments:
        phi: The potential.
        point: Where the chains are, with the gradient.
        p: The momentum, (B, D).
        xi: Standard normal noise for O, (B, D), or None to leave O out.
        h: The step size as an angle, (B,), below pi.
        beta: The inverse temperature of the potential, (B,).
        gamma: The friction, per unit of time.
        longest: How long a kick may be; longer ones are cut to it, and the work is that of what is left.
    """
    h, beta = h[:, None], beta[:, None]
    half = h / 2
    k, c, s = beta * half.tan(), half.cos(), half.sin()

    # In place from the first kick on: a latent may have millions of numbers, and each copy counts.
    slopes = [] if longest is None else [_length(point.grad)]
    first = k if longest is None else _cut(k, slopes[0], longest)
    work = _kick_work(first, point.grad, p)
    p = torch.addcmul(p, first, point.grad, value=-1)
    z = (c * point.z).addcmul_(s, p)
    p.mul_(c).addcmul_(s, point.z, value=-1)
    if xi is not None:
        eta = (-gamma * h).exp()
        p.mul_(eta).addcmul_((1 - eta**2).sqrt(), xi)
        del xi
    _turn(z, p, c, s)
    new = phi.evaluate(z)
    slopes += [] if longest is None else [_length(new.grad)]
    last = k if longest is None else _cut(k, slopes[1], longest)
    work = work + _kick_work(last, new.grad, p) + beta * (new.phi - point.phi)[:, None]
    return Move(new, p.addcmul_(last, new.grad, value=-1), work[:, 0], tuple(slopes))


def calm(
    p: Float[Tensor, "B D"],
    grad: Float[Tensor, "B D"],
    slope: Float[Tensor, "B 1"],
    fastest: float,
) -> None:
    """Cuts the momentum along a gradient of length `slope` to `fastest`, either way, in place."""
    slope = slope + 1e-12
    along = (p * grad).sum(1, keepdim=True) / slope
    p.addcmul_((along.clamp(-fastest, fastest) - along) / slope, grad)


def _turn(z: Tensor, p: Tensor, c: Tensor, s: Tensor) -> None:
    """R, in place."""
    sz = s * z
    z.mul_(c).addcmul_(s, p)
    p.mul_(c).sub_(sz)


def _length(x: Tensor) -> Tensor:
    return torch.linalg.vector_norm(x, dim=1, keepdim=True)


def _cut(k: Tensor, slope: Tensor, longest: float) -> Tensor:
    """The strength of a kick, (B, 1), less where it would be too long."""
    return torch.minimum(k, longest / slope)


def _kick_work(k: Tensor, grad: Tensor, p: Tensor) -> Tensor:
    """What a kick by u = k grad does to the energy, (B, 1): the sum of u (u / 2 - p)."""
    return (k / 2 * grad).sub_(p).mul_(grad).sum(1, keepdim=True) * k
