r"""The latent posterior: the only file that knows both a generator and its energies.

.. math::
    p(z \mid C) \propto \mathcal{N}(z; 0, I) \, e^{-\phi(z)}, \qquad \phi(z) = \sum_k \lambda_k \, E_k(G(z))

References:
    | Unifying Diffusion Models' Latent Space, with Applications to CycleDiffusion and Guidance
    | (Wu and De la Torre, 2022)
    | https://arxiv.org/abs/2210.05559, section 4.3
"""

from collections.abc import Iterator, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.energies.base import Energy, Sum, shared_chains
from latentzoo.errors import EnergyError, SpecError
from latentzoo.generator import Generator
from latentzoo.kernels.types import Point, Potential


class Posterior(Potential):
    """Creates the posterior of a generator's latent under weighted energies.

    Arguments:
        generator: The map G.
        energies: The energies by name; a weighted one is `500 * Clip("...")`. The terms of a sum
            are logged apart.
        micro_batch: How many chains go through the networks at once; the memory is that of so
            many, the result the same up to rounding. None takes all at once.

    Raises:
        SpecError: If `micro_batch` is not positive.
    """

    def __init__(
        self,
        generator: Generator,
        energies: Mapping[str, Energy],
        *,
        micro_batch: int | None = None,
    ) -> None:
        if micro_batch is not None and micro_batch < 1:
            raise SpecError(
                f"micro_batch is {micro_batch}; give a positive number of chains, or none for all"
            )
        self.generator, self.micro_batch = generator, micro_batch
        self.terms = dict(_named_terms(energies))
        self.names = tuple(self.terms)
        self.dim = generator.space.dim
        self.chains = shared_chains([generator, *(energy for _, energy in self.terms.values())])

    def evaluate(self, z: Float[Tensor, "B D"], *, gradient: bool = True) -> Point:
        """Computes phi (B,), the unweighted energies (B, K) and, where asked, the gradient (B, D).

        Raises:
            EnergyError: If an energy has another shape than (B,) or does not depend on the image
            through autograd.
            SpecError: If the energies have targets for another number of chains.
        """
        if self.chains not in (None, len(z)):
            raise SpecError(
                f"the energies have {self.chains} targets, one per chain, and there are {len(z)} latents; "
                "evaluate all chains, or take those of some by `select`"
            )
        size = self.micro_batch or max(len(z), 1)
        if self.chains is None or size >= len(z):
            parts = [self._evaluate(part, gradient) for part in z.split(size)]
        else:
            each = torch.arange(len(z)).split(size)
            parts = [self.select(index)._evaluate(z[index], gradient) for index in each]
        return parts[0] if len(parts) == 1 else Point(*map(torch.cat, zip(*parts, strict=True)))

    def select(self, index: Tensor) -> "Posterior":
        """The posterior of some chains, where each has a target of its own."""
        if self.chains is None:
            return self
        chosen = {name: w * energy.select(index) for name, (w, energy) in self.terms.items()}
        return Posterior(self.generator.select(index), chosen, micro_batch=self.micro_batch)

    def _evaluate(self, z: Tensor, gradient: bool) -> Point:
        z = z.detach()
        with torch.set_grad_enabled(gradient):
            z.requires_grad_(gradient)
            phi, terms = self._rate(self.generator(z), gradient)
            grad = torch.autograd.grad(phi.sum(), z)[0] if gradient else z.new_empty(len(z), 0)
        return Point(z.detach(), phi.detach(), grad, terms.detach())

    def _rate(self, image: Tensor, gradient: bool) -> tuple[Tensor, Tensor]:
        terms = []
        for name, (_, energy) in self.terms.items():
            value = energy(image).float()
            if value.shape != image.shape[:1]:
                raise EnergyError(
                    f"the energy '{name}' returned shape {tuple(value.shape)} for {len(image)} images; "
                    f"return one number per image, ({len(image)},)"
                )
            if gradient and not value.requires_grad:
                raise EnergyError(
                    f"the energy '{name}' does not depend on the image through autograd (is its input "
                    "detached?); use a kernel without gradients: pcn or slice"
                )
            terms.append(value)
        stacked = torch.stack(terms, dim=1)
        weights = stacked.new_tensor([weight for weight, _ in self.terms.values()])
        return stacked @ weights, stacked

    def images(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        """The images of latents, (B, 3, H, W), without gradients; see `images`."""
        return images(self.generator, z, self.micro_batch)


@torch.no_grad()
def images(
    generator: Generator, z: Float[Tensor, "B D"], micro_batch: int | None = None
) -> Float[Tensor, "B 3 H W"]:
    """Maps latents to images of shape (B, 3, H, W), micro-batch by micro-batch, without gradients."""
    size = micro_batch or len(z)
    if generator.chains is None or size >= len(z):
        return torch.cat([generator(part) for part in z.split(size)])
    each = torch.arange(len(z)).split(size)
    return torch.cat([generator.select(index)(z[index]) for index in each])


def _named_terms(energies: Mapping[str, Energy]) -> Iterator[tuple[str, tuple[float, Energy]]]:
    if not energies:
        raise SpecError(
            "a Posterior needs at least one energy; without any, draw z from the prior"
        )
    for name, energy in energies.items():
        terms = list(Sum.terms(energy))
        for i, term in enumerate(terms):
            yield (name if len(terms) == 1 else f"{name}.{i}"), term
