r"""The latent posterior: the only file that knows both a generator and its energies.

.. math::
    p(z \mid C) \propto \mathcal{N}(z; 0, I) \, e^{-\phi(z)}, \qquad \phi(z) = \sum_k \lambda_k \, E_k(G(z))

It owns devices and number types: chains walk in float32 (or float64) wherever their noise lives,
and the latent is cast at the generator's border, the image at the energies'.

References:
    | Unifying Diffusion Models' Latent Space, with Applications to CycleDiffusion and Guidance
    | (Wu and De la Torre, 2022)
    | https://arxiv.org/abs/2210.05559, section 4.3
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo import compiling
from latentzoo.energies.base import Energy, Function, Sum, shared_chains
from latentzoo.errors import EnergyError, SpecError
from latentzoo.generator import Generator, image, images, required, supported
from latentzoo.kernels.types import Point, Potential

Rated = Energy | Callable[[Tensor], Tensor]
"""An energy, or any function of images, (B, 3, H, W) -> (B,)."""


class Posterior(Potential):
    """Creates the posterior of a generator's latent under weighted energies.

    Arguments:
        generator: The map G.
        energies: The energies by name, or one alone; a weighted one is `500 * Clip("...")`, a
            function of images is taken as it is. The terms of a sum are logged apart.
        micro_batch: How many chains go through the networks at once; the memory is that of so
            many, the result the same up to rounding. None takes all at once.
        compile: Whether the networks are translated (`compiling`), in place, at the first number of chains;
            fewer are filled up to it.
        device: Where the networks are moved; None leaves them where they are.
        dtype: The number type that the generator is cast to; None leaves it as it is.

    Raises:
        SpecError: If `micro_batch` is not positive, `generator` is no `Generator`, an energy cannot
            be called, or its network is on another device than the generator's.
    """

    def __init__(
        self,
        generator: Generator,
        energies: Mapping[str, Rated] | Rated,
        *,
        micro_batch: int | None = None,
        compile: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if micro_batch is not None and (not isinstance(micro_batch, int) or micro_batch < 1):
            raise SpecError(
                f"micro_batch is {micro_batch}; give a positive number of chains, or none for all"
            )
        self.generator, self.micro_batch = required(generator), micro_batch
        self.terms = dict(_named_terms(energies))
        self.names = tuple(self.terms)
        self.dim = generator.space.dim
        self.chains = shared_chains([generator, *(energy for _, energy in self.terms.values())])
        if device is not None or dtype is not None:
            self.generator.to(device=device, dtype=dtype)
        for name, (_, energy) in self.terms.items():
            self._place(name, energy if device is None else energy.to(device))
        if compile:
            for module in self._modules():
                compiling.compile(module)
        self._rows, self.compile = 0, compile or compiling.compiled(generator)

    def _modules(self) -> Iterator[nn.Module]:
        yield self.generator
        yield from (energy for _, energy in self.terms.values())

    def __getstate__(self) -> dict[str, Any]:
        """What another process is sent; torch leaves translations out, so it is told what to translate again."""
        translated = [module for module in self._modules() if compiling.compiled(module)]
        return {**self.__dict__, "translated": translated}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for module in state.pop("translated"):
            compiling.compile(module)
        vars(self).update(state)

    def _place(self, name: str, energy: Energy) -> None:
        """Refuses an energy whose network is elsewhere than the generator's."""
        first = next(chain(energy.parameters(), energy.buffers()), None)
        here = self.generator.place[0]
        if first is not None and here is not None and first.device.type != here.type:
            raise SpecError(
                f"the energy '{name}' is on {first.device} and the generator on {here}; "
                "give Posterior(..., device=...), which moves both"
            )

    @property
    def device(self) -> torch.device:
        """Where the generator is; the CPU if it has no weights."""
        return self.generator.place[0] or torch.device("cpu")

    def evaluate(self, z: Float[Tensor, "B D"], *, gradient: bool = True) -> Point:
        """Computes phi (B,), the unweighted energies (B, K) and, where asked, the gradient (B, D).

        Raises:
            EnergyError: If an energy has another shape than (B,) or does not depend on the image
                through autograd.
            SpecError: If the energies have targets for another number of chains, or the processor
                lacks an operation in the networks' number type.
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
        return Posterior(
            self.generator.select(index),
            chosen,
            micro_batch=self.micro_batch,
            compile=self.compile,
        )

    def scaled(self, factor: float) -> "Posterior":
        """The posterior under all weights times a factor."""
        terms = {name: factor * w * energy for name, (w, energy) in self.terms.items()}
        return Posterior(self.generator, terms, micro_batch=self.micro_batch, compile=self.compile)

    def images(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        """The images of latents, (B, 3, H, W), micro-batch by micro-batch, without gradients."""
        return images(self.generator, z, self.micro_batch)

    def _evaluate(self, z: Tensor, gradient: bool) -> Point:
        if not self.compile:
            return self._networks(z, gradient)
        if not gradient:
            with compiling.plainly():
                return self._networks(z, gradient)
        self._rows = max(self._rows, len(z)) if self.chains is None else len(z)
        with compiling.said():
            point = self._networks(compiling.filled(z, self._rows), gradient)
        return Point(*(each[: len(z)] for each in point))

    def _networks(self, z: Tensor, gradient: bool) -> Point:
        with torch.inference_mode(False), torch.set_grad_enabled(gradient):
            z = (z.clone() if z.is_inference() else z.detach()).requires_grad_(gradient)
            phi, terms = self._rate(image(self.generator, z), gradient)
            phi, terms = phi.to(z.device), terms.to(z.device)
            with supported(self.generator.place[1]):
                grad = torch.autograd.grad(phi.sum(), z)[0] if gradient else z.new_empty(len(z), 0)
        return Point(z.detach(), phi.detach(), grad, terms.detach())

    def _rate(self, x: Tensor, gradient: bool) -> tuple[Tensor, Tensor]:
        if gradient and not x.requires_grad:
            raise EnergyError(
                "the generator's images do not depend on z through autograd (is something detached, or under "
                "no_grad?); use a kernel without gradients: pcn or slice"
            )
        terms = []
        for name, (_, energy) in self.terms.items():
            value = energy(x).to(x.dtype)
            if value.shape != x.shape[:1]:
                raise EnergyError(
                    f"the energy '{name}' returned shape {tuple(value.shape)} for {len(x)} images; "
                    f"return one number per image, ({len(x)},)"
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


def _named_terms(
    energies: Mapping[str, Rated] | Rated,
) -> Iterator[tuple[str, tuple[float, Energy]]]:
    if not isinstance(energies, Mapping):
        energies = {"energy": energies}
    if not energies:
        raise SpecError(
            "a Posterior needs at least one energy; without any, draw z from the prior"
        )
    for name, energy in energies.items():
        terms = list(Sum.terms(_energy(name, energy)))
        for i, term in enumerate(terms):
            yield (name if len(terms) == 1 else f"{name}.{i}"), term


def _energy(name: str, given: Rated) -> Energy:
    if isinstance(given, Energy):
        return given
    if isinstance(given, nn.Module) or callable(given):
        return Function(given)
    raise SpecError(
        f"the energy '{name}' is a {type(given).__name__}; give an energy such as lz.Clip(\"...\"), "
        "or a function of images, (B, 3, H, W) -> (B,)"
    )
