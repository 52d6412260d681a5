r"""Preconditioning by the few directions that the energy informs, where there are only few.

The gradients of a batch that has arrived show those directions: in one of curvature
:math:`\kappa`, the gradient of a Gaussian posterior varies by :math:`c = \kappa^2 / (1 + \kappa)`.
The eigenvectors V and eigenvalues of the gradients' covariance give the reference measure

.. math:: \mathcal{N}(m, C), \qquad C^{-1} = I + V \, \mathrm{diag}(\kappa) \, V^\top, \qquad
    \kappa = \tfrac12 (c + \sqrt{c^2 + 4 c}), \qquad m = V V^\top \bar{z}

and in the coordinates :math:`w = C^{-1/2} (z - m)` the posterior is again a standard Gaussian times
the exponential of a potential, so that every kernel works unchanged:

.. math:: \tilde\phi(w) = \phi(z) + \tfrac12 |z|^2 - \tfrac12 |w|^2, \qquad
    \nabla \tilde\phi(w) = C^{1/2} (z + \nabla \phi(z)) - w

Where the gradients of other chains lie outside the span, such a reference does harm: `fit` gives
none unless directions found in half of the chains capture 0.9 of the others' variance. Where no
direction is three times narrower than the prior there is little to win, and none is given either; nor
where the latents are spread more widely along the narrow ones than :math:`\kappa` says, as behind a
wall, whose gradients are large and rare. The kernel `anneal` learns one by itself.

References:
    | Dimension-independent likelihood-informed MCMC (Cui, Law and Marzouk, 2016)
    | https://arxiv.org/abs/1411.3688
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.kernels.types import Point, Potential

CAPTURED = 0.9
"""The least part of the held-out gradient variance that a reference must capture."""
NARROW = 1 / 3
"""How narrow the narrowest direction must be for a reference to be worth its while."""
WIDER = 5.0
"""How many times larger than the reference's the latents' variance in narrow directions may be."""
FEWEST = 16
"""Of how many chains a kernel learns a reference."""
AT_ONCE = 2**16
"""How many numbers of rows are looked at together."""
SEEN = 1e-12
"""The least part of the largest variance that a direction has which rounding did not make."""


@dataclass(frozen=True)
class Reference:
    """A Gaussian that differs from the prior in a few directions.

    Attributes:
        directions: Orthonormal columns V, (D, R).
        scale: The standard deviations along them, (R,).
        mean: The mean m, (D,).
    """

    directions: Float[Tensor, "D R"]
    scale: Float[Tensor, "R"]
    mean: Float[Tensor, "D"]

    def colour(self, w: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Multiplies by the square root of C."""
        return w + ((w @ self.directions) * (self.scale - 1)) @ self.directions.T

    def latent(self, w: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """The latent z of whitened coordinates w."""
        return self.mean + self.colour(w)

    def whiten(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """The whitened coordinates w of a latent z: the inverse of `latent`."""
        return self.bleach(z - self.mean)

    def bleach(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Divides by the square root of C: the inverse of `colour`."""
        return x + ((x @ self.directions) * (1 / self.scale - 1)) @ self.directions.T


class Whitened(Potential):
    """Creates the potential of the whitened coordinates; it has the terms of the original.

    Arguments:
        phi: The potential of the latent.
        reference: The Gaussian to whiten by.
    """

    def __init__(self, phi: Potential, reference: Reference) -> None:
        self.phi, self.reference, self.names, self.chains = phi, reference, phi.names, phi.chains

    def select(self, index: Tensor) -> "Whitened":
        return Whitened(self.phi.select(index), self.reference)

    def evaluate(self, z: Float[Tensor, "B D"], *, gradient: bool = True) -> Point:
        """Computes the potential (B,) at whitened coordinates (B, D)."""
        return self.seen(self.phi.evaluate(self.reference.latent(z), gradient=gradient), z)

    def seen(self, point: Point, w: Float[Tensor, "B D"]) -> Point:
        """A point of the latent as one of its whitened coordinates w."""
        r = self.reference
        phi = point.phi + self._shift(w)
        grad = r.colour(point.z + point.grad) - w if point.grad.shape[1] else point.grad
        return Point(w, phi, grad, point.terms)

    def plain(self, point: Point) -> Point:
        """A point of whitened coordinates as one of the latent: the inverse of `seen`."""
        r, w = self.reference, point.z
        z, back = r.latent(w), r.bleach(point.grad + w)
        return Point(z, point.phi - self._shift(w), back - z, point.terms)

    def _shift(self, w: Tensor) -> Tensor:
        """Half of |z|^2 - |w|^2, without the difference of large numbers."""
        r = self.reference
        shrunk = ((w @ r.directions).square() * (r.scale.square() - 1)).sum(1)
        return shrunk / 2 + r.colour(w) @ r.mean + r.mean.square().sum() / 2


def fit(
    z: Float[Tensor, "T B D"], grad: Float[Tensor, "T B D"], *, rank: int = 128
) -> Reference | None:
    """Fits a reference to latents and gradients of chains at the posterior.

    Arguments:
        z: Latents of B >= 4 chains at T times.
        grad: The gradients of phi there.
        rank: The most directions to keep.

    Returns:
        The reference, or None if the informed directions are not few, or not narrow.
    """
    half = z.shape[1] // 2
    found, _ = main_directions(grad[:, :half], rank)
    if _captured(grad[:, half:], found) < CAPTURED:
        return None
    del found  # before there are others
    directions, c = main_directions(grad, rank)
    kappa = (c + (c.square() + 4 * c).sqrt()) / 2
    scale, narrow = (1 + kappa).rsqrt(), (1 + kappa).rsqrt() < NARROW
    along = torch.cat([latent @ directions for latent in z])
    if not narrow.any() or (along.var(0) / scale.square())[narrow].mean() > WIDER:
        return None
    return Reference(directions, scale, directions @ along.mean(0))


class Learned(NamedTuple):
    """A reference as a kernel carries it: its directions shared out among the chains.

    A chain that fails takes its directions along, which leaves a reference as valid as before.

    Attributes:
        basis: Directions, or until there is a reference the gradients seen so far, (B, T, D).
        scale: The standard deviations along them; 0 where there is no direction, (B, T).
        centre: The mean along them, (B, T).
    """

    basis: Float[Tensor, "B T D"]
    scale: Float[Tensor, "B T"]
    centre: Float[Tensor, "B T"]

    @classmethod
    def nothing(cls, like: Float[Tensor, "B D"], times: int) -> "Learned":
        """Room for gradients at so many times."""
        chains, dim = like.shape
        zero = like.new_zeros(chains, times)
        return cls(like.new_zeros(chains, times, dim), zero, zero)

    def fit(self, z: Float[Tensor, "B D"], times: int) -> "Learned":
        """The reference of the first `times` gradients seen, or nothing if the gate stays shut; see `fit`."""
        seen = self.basis[:, :times].transpose(0, 1)
        found = fit(z.expand(times, -1, -1), seen) if times and len(z) >= FEWEST else None
        if found is None:
            return Learned.nothing(z, 0)
        centre = found.mean @ found.directions
        return Learned(*(_shared(x, len(z)) for x in (found.directions.T, found.scale, centre)))

    @property
    def reference(self) -> Reference | None:
        """The reference, if there is one."""
        used = self.scale > 0
        if not used.any():
            return None
        rows = self.basis.flatten(0, 1) if used.all() else self.basis[used]
        return Reference(rows.T, self.scale[used], rows.T @ self.centre[used])


def main_directions(
    grad: Float[Tensor, "*N D"], rank: int
) -> tuple[Float[Tensor, "D R"], Float[Tensor, "R"]]:
    r"""The main directions of gradients and the variances along them; at most one for every four gradients.

    With the gradients less their mean as the rows of X, the directions are the right singular vectors of X. Where it
    has fewer rows than columns, they come from the smaller product, in float64, and X is never whole:

    .. math:: X X^\top = U S^2 U^\top, \qquad V = X^\top U S^{-1}
    """
    count, dim = grad[..., 0].numel(), grad.shape[-1]
    rank = min(rank, max(count // 4, 1), dim)
    if count > dim:
        _, s, v = torch.linalg.svd(torch.cat(list(_centred(grad)), 1), full_matrices=False)
        v = v[:rank].clone(memory_format=torch.contiguous_format)
        return v.T, s[:rank].square() / max(count - 1, 1)
    product = sum(x.double() @ x.double().T for x in _centred(grad))
    values, u = (x.flip(-1)[..., :rank] for x in torch.linalg.eigh(product))
    seen = values > SEEN * values[0].clamp(min=0)
    values, u = values[seen], u[:, seen]
    v, columns = grad.new_empty(len(values), dim), 0
    for x in _centred(grad):
        v[:, columns : (columns := columns + x.shape[1])] = (u / values.sqrt()).T @ x.double()
    return v.T, (values / max(count - 1, 1)).to(grad.dtype)


def _captured(grad: Float[Tensor, "*N D"], directions: Float[Tensor, "D R"]) -> float:
    """The part of the gradients' variance that lies along some directions."""
    whole = sum(x.square().sum() for x in _centred(grad))
    parts = zip(_centred(grad), directions.split(width(grad)), strict=True)
    along = torch.stack([x @ v for x, v in parts]).sum(0)
    return float(along.square().sum() / whole)


def _centred(grad: Float[Tensor, "*N D"]) -> Iterator[Float[Tensor, "M d"]]:
    """The gradients as rows, less their mean, some columns at a time."""
    for part in grad.split(width(grad), -1):
        rows = part.flatten(0, -2)
        yield rows - rows.mean(0)


def width(x: Float[Tensor, "*N D"]) -> int:
    """How many columns of rows are looked at together, where all would need as much memory again."""
    return max(AT_ONCE // max(x[..., 0].numel(), 1), 1)


def _shared(x: Float[Tensor, "R ..."], chains: int) -> Float[Tensor, "B T ..."]:
    """Rows shared out among chains, filled up with zeros."""
    times = -(-len(x) // chains)
    spare = times * chains - len(x)
    whole = torch.cat([x, x.new_zeros(spare, *x.shape[1:])]) if spare else x
    return whole.view(chains, times, *x.shape[1:])
