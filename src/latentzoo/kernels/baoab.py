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
invariant. R is made of three shears, in place:

.. math:: z \leftarrow z + \tau p, \quad p \leftarrow p - s z, \quad z \leftarrow z + \tau p,
    \qquad \tau = \tan(h/4)

References:
    | Rational construction of stochastic numerical methods for molecular sampling
    | (Leimkuhler and Matthews, 2012)
    | https://arxiv.org/abs/1203.5428
    | Hybrid Monte Carlo on Hilbert spaces (Beskos, Pinski, Sanz-Serna and Stuart, 2011)
    | https://doi.org/10.1016/j.spa.2011.06.003
    | A fast algorithm for general raster rotation (Paeth, 1986)
"""

import math
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softshrink

from latentzoo.kernels.types import Point, Potential


class Move(NamedTuple):
    """Where a step leads.

    Attributes:
        point: The new place.
        p: The new momentum, (B, D).
        work: The shadow work W, (B,): how much the step got the energy wrong.
        slopes: The lengths of the gradients at its two ends, each (B,), where it has taken them.
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
    h: float | Float[Tensor, "B"],
    beta: float | Float[Tensor, "B"],
    gamma: float = 1.0,
    longest: float = math.inf,
) -> Move:
    """Makes one step; it takes one gradient, at its end.

    Arguments:
        phi: The potential.
        point: Where the chains are, with the gradient.
        p: The momentum, (B, D).
        xi: Standard normal noise for O, (B, D), or None to leave O out.
        h: The step size as an angle, below pi: one for all chains, or (B,).
        beta: The inverse temperature of the potential, in the same form.
        gamma: The friction, per unit of time.
        longest: How long a kick may be; longer ones are cut to it, and the work is that of what is left.
    """
    lib: Any = math if isinstance(h, float) else torch
    k = beta * lib.tan(h / 2)
    tau, s = _column(lib.tan(h / 4)), _column(lib.sin(h / 2))

    # In place from the first kick on: a latent may have millions of numbers, and each copy counts.
    first = _length(point.grad)
    kick = (longest / first).clamp(max=k)
    gain = _gain(kick, point.grad, first, p)
    p = torch.addcmul(p, kick[:, None], point.grad, value=-1)
    z = _plus(point.z, tau, p)
    _plus(p, -s, z, out=p)
    _plus(z, tau, p, out=z)
    if xi is not None:
        p.mul_(_column(lib.exp(-gamma * h)))
        _plus(p, _column(lib.sqrt(-lib.expm1(-2 * gamma * h))), xi, out=p)
        del xi
    _plus(z, tau, p, out=z)
    _plus(p, -s, z, out=p)
    new = phi.evaluate(_plus(z, tau, p, out=z))
    last = _length(new.grad)
    kick = (longest / last).clamp(max=k)
    work = beta * (new.phi - point.phi) - gain - _gain(kick, new.grad, last, p)
    # Where phi is finite no energy is -inf: what overflows goes up.
    work.nan_to_num_(torch.nan, posinf=torch.inf, neginf=torch.inf)
    return Move(new, p.addcmul_(kick[:, None], new.grad, value=-1), work, (first, last))


def calm(
    p: Float[Tensor, "B D"],
    grad: Float[Tensor, "B D"],
    slope: Float[Tensor, "B"],
    fastest: float,
) -> None:
    """Cuts the momentum along a gradient of length `slope` to `fastest`, either way, in place."""
    over = softshrink(_component(p, grad, slope), fastest)
    p.addcmul_((over / slope)[:, None], grad, value=-1)


def _column(x: float | Tensor) -> float | Tensor:
    """One number for each chain as a column, (B, 1); one for all as it is."""
    return x[:, None] if isinstance(x, Tensor) else x


def _plus(x: Tensor, a: float | Tensor, y: Tensor, out: Tensor | None = None) -> Tensor:
    """x + a y."""
    if isinstance(a, Tensor):
        return torch.addcmul(x, a, y, out=out)
    return torch.add(x, y, alpha=a, out=out)


def _length(x: Tensor) -> Tensor:
    """The length of each row, (B,), never 0, and finite where its square is not."""
    return torch.linalg.vector_norm(x, dim=1).clamp_(1e-12, torch.finfo(x.dtype).max)


def _component(p: Tensor, grad: Tensor, slope: Tensor) -> Tensor:
    """p along a gradient of length `slope`, (B,); what overflows is left out, as no momentum is longer than tens."""
    return (torch.linalg.vecdot(p, grad) / slope).nan_to_num_(0.0, 0.0, 0.0)


def _gain(k: Tensor, grad: Tensor, slope: Tensor, p: Tensor) -> Tensor:
    """What a kick by u = k grad takes out of the energy, (B,): <u, p> - |u|^2 / 2."""
    u = k * slope
    return u * _component(p, grad, slope).sub_(u, alpha=0.5)
