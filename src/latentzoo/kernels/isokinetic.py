r"""Isokinetic dynamics: a momentum of fixed length that the gradient only turns.

With :math:`S(z) = \phi(z) + |z|^2 / 2` and :math:`|p| = \sqrt d`, the flow

.. math:: \dot z = p, \qquad
    \dot p = -\tfrac{d}{d - 1} \left(I - \tfrac{p p^\top}{d}\right) \nabla S(z)

moves at a speed that no height of S can raise, and leaves :math:`e^{-S(z)}` with p uniform on its sphere
invariant. (In the papers' notation p is :math:`\sqrt d \, u` and time is theirs over :math:`\sqrt d`, so that a unit of
time moves a coordinate by about one standard deviation of the prior, as in `baoab`.) It is split into
a drift A, :math:`z \leftarrow z + h p`, and a kick B, whose flow at a constant gradient is known: with
:math:`u = p / \sqrt d`, :math:`e = -\nabla S / |\nabla S|`, :math:`c = \langle u, e \rangle` and
:math:`\delta = h \sqrt d \, |\nabla S| / (d - 1)`,

.. math:: u \leftarrow \frac{u + e \, (\sinh \delta + c \, (\cosh \delta - 1))}{q}, \qquad
    q = \cosh \delta + c \, \sinh \delta

O turns p at random, towards decoherence after a length L,

.. math:: p \leftarrow \sqrt d \, \frac{p + \nu \xi}{|p + \nu \xi|}, \qquad \nu^2 = e^{2 h / L} - 1

What a step of A and B does wrong is the work :math:`W = S(z') - S(z) + (d - 1) \sum_B \log q`; O does none.

References:
    | Microcanonical Hamiltonian Monte Carlo (Robnik, De Luca, Silverstein and Seljak, 2022)
    | https://arxiv.org/abs/2212.08549
    | Fluctuation without dissipation: microcanonical Langevin Monte Carlo (Robnik and Seljak, 2023)
    | https://arxiv.org/abs/2303.18221
    | Symplectic analytically integrable decomposition algorithms (Omelyan, Mryglod and Folk, 2003)
    | https://doi.org/10.1016/S0010-4655(02)00754-3
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.kernels.baoab import Move
from latentzoo.kernels.types import Point, Potential

MINIMAL_NORM = 0.1931833275037836
"""Where the outer kicks of the five-stage integrator of least error stand."""


def on_sphere(p: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    """Brings momenta to length sqrt(d).

    Raises:
        SpecError: If d is 1, where there is no direction to turn to.
    """
    dim = p.shape[1]
    if dim < 2:
        raise SpecError(
            "a momentum of fixed length cannot turn in a latent of one number; take anneal"
        )
    return p * (math.sqrt(dim) / p.norm(dim=1, keepdim=True))


def turned(
    p: Float[Tensor, "B D"], xi: Float[Tensor, "B D"], *, h: Tensor, length: Tensor
) -> Float[Tensor, "B D"]:
    """O: turns momenta at random for a time h, with decoherence after `length`, each (B,)."""
    nu = (2 * h / length).expm1().sqrt()[:, None]
    return on_sphere(torch.addcmul(p, nu, xi))


def leapfrog(
    phi: Potential, point: Point, p: Float[Tensor, "B D"], *, h: Float[Tensor, "B"]
) -> Move:
    """Makes the step B(h/2) A(h) B(h/2); it takes one gradient."""
    p, first = _kick(point, p, h / 2)
    new = phi.evaluate(torch.addcmul(point.z, h[:, None], p))
    p, second = _kick(new, p, h / 2)
    return Move(new, p, first + second + _rise(point, new))


def minimal_norm(
    phi: Potential, point: Point, p: Float[Tensor, "B D"], *, h: Float[Tensor, "B"]
) -> Move:
    """Makes the step B(lh) A(h/2) B((1 - 2l)h) A(h/2) B(lh) with l = 0.193; it takes two gradients."""
    outer, half = MINIMAL_NORM * h, h[:, None] / 2
    p, first = _kick(point, p, outer)
    middle = phi.evaluate(torch.addcmul(point.z, half, p))
    p, second = _kick(middle, p, h - 2 * outer)
    new = phi.evaluate(torch.addcmul(middle.z, half, p))
    p, third = _kick(new, p, outer)
    return Move(new, p, first + second + third + _rise(point, new))


def _kick(point: Point, p: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """B: the turned momentum, and (d - 1) log q, (B,), in powers of exp(-delta), which do not overflow."""
    dim = p.shape[1]
    slope = point.z + point.grad
    size = slope.norm(dim=1)
    delta = math.sqrt(dim) * h * size / (dim - 1)
    e = slope * (-1 / size.clamp(min=1e-30))[:, None]
    c = (p * e).sum(1).clamp(-math.sqrt(dim), math.sqrt(dim)) / math.sqrt(dim)
    zeta = (-delta).exp()
    along = math.sqrt(dim) * (1 - zeta) * (1 + zeta + c * (1 - zeta))
    new = on_sphere(torch.addcmul(2 * zeta[:, None] * p, along[:, None], e))
    q = ((1 + c) + (1 - c) * zeta.square()).clamp(min=1e-30)
    return new, (dim - 1) * (delta - math.log(2) + q.log())


def _rise(old: Point, new: Point) -> Tensor:
    """S(z') - S(z), without the difference of large norms."""
    return new.phi - old.phi + ((new.z - old.z) * (new.z + old.z)).sum(1) / 2
