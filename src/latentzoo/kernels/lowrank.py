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
none unless directions found in half of the chains capture 0.9 of the others' variance.

References:
    | Dimension-independent likelihood-informed MCMC (Cui, Law and Marzouk, 2016)
    | https://arxiv.org/abs/1411.3688
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.kernels.anneal import Anneal
from latentzoo.kernels.types import Point, Potential
from latentzoo.rng import Rng

CAPTURED = 0.9
"""The least part of the held-out gradient variance that a reference must capture."""


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
        x = z - self.mean
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
        w, r = z, self.reference
        x = r.colour(w)
        point = self.phi.evaluate(r.mean + x, gradient=gradient)
        shrunk = ((w @ r.directions).square() * (r.scale.square() - 1)).sum(1)
        phi = point.phi + shrunk / 2 + x @ r.mean + r.mean.square().sum() / 2
        grad = r.colour(point.z + point.grad) - w if gradient else point.grad
        return Point(w, phi, grad, point.terms)


def fit(
    z: Float[Tensor, "T B D"], grad: Float[Tensor, "T B D"], *, rank: int = 128
) -> Reference | None:
    """Fits a reference to latents and gradients of chains at the posterior.

    Arguments:
        z: Latents of B >= 4 chains at T times.
        grad: The gradients of phi there.
        rank: The most directions to keep.

    Returns:
        The reference, or None if the informed directions are not few.
    """
    half = z.shape[1] // 2
    found, _ = _directions(grad[:, :half].flatten(0, 1), rank)
    other = grad[:, half:].flatten(0, 1)
    other = other - other.mean(0)
    if (other @ found).square().sum() < CAPTURED * other.square().sum():
        return None
    directions, c = _directions(grad.flatten(0, 1), rank)
    kappa = (c + (c.square() + 4 * c).sqrt()) / 2
    mean = directions @ (z.flatten(0, 1).mean(0) @ directions)
    return Reference(directions, (1 + kappa).rsqrt(), mean)


def pilot(
    phi: Potential, z: Float[Tensor, "B D"], rng: Rng, *, steps: int
) -> tuple[Reference | None, Float[Tensor, "B D"]]:
    """Anneals chains to the posterior and fits a reference to what they saw there.

    The run then goes on from `reference.whiten(z)` under `Whitened(phi, reference)`, by a kernel
    without a ramp, `Anneal(ramp=0)` or `GHMC(ramp=0)`.

    Arguments:
        phi: The potential.
        z: Where the chains start, draws of the prior.
        rng: One noise stream per chain.
        steps: The gradients each chain may spend.

    Returns:
        The reference, or None if one would do harm, and where the chains are.
    """
    kernel, seen = Anneal(tail=0.0).plan(steps), []
    state = kernel.init(phi, z, rng)
    for step in range(1, steps):
        state, _ = kernel.step(phi, state, rng)
        if state.beta[0] == 1 and step >= steps // 2 and step % 4 == 0:
            seen.append((state.z, state.grad))
    if not seen or len(z) < 4:
        return None, state.z
    return fit(*map(torch.stack, zip(*seen, strict=True))), state.z


def _directions(grad: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """The main directions of gradients (N, D) and the variances along them."""
    centred = grad - grad.mean(0)
    rank = min(rank, max(len(grad) // 4, 1), grad.shape[1])
    _, s, v = torch.linalg.svd(centred, full_matrices=False)
    return v[:rank].T, s[:rank].square() / max(len(grad) - 1, 1)
