r"""Energies: what the picture should be, as a number per image that is small where it is.

.. math:: \phi(z) = \sum_k \lambda_k \, E_k(G(z))

Energies form an algebra: `300 * Clip("a baby") + 50 * Identity("ada.png")` is a `Sum` whose terms
keep their weights apart, so that each can be logged in its own units.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.errors import SpecError


class Energy(nn.Module, ABC):
    """A differentiable function of images; deterministic, and each image's energy does not depend on the batch."""

    @abstractmethod
    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        """Rates images of shape (B, 3, H, W), nominally in [0, 1]; returns one energy per image, shape (B,)."""

    def __add__(self, other: "Energy") -> "Sum":
        return Sum(*Sum.terms(self), *Sum.terms(other))

    def __mul__(self, weight: float) -> "Sum":
        return Sum(*((weight * w, energy) for w, energy in Sum.terms(self)))

    __rmul__ = __mul__


class Sum(Energy):
    """Creates the weighted sum of energies.

    Arguments:
        weighted: Pairs of a non-negative weight and an energy.

    Raises:
        SpecError: If a weight is negative or not finite.
    """

    def __init__(self, *weighted: tuple[float, Energy]) -> None:
        super().__init__()
        for weight, _ in weighted:
            if not 0 <= weight < float("inf"):
                raise SpecError(
                    f"the weight {weight} is not allowed; an energy's weight is finite and not negative"
                )
        self.weights = tuple(float(weight) for weight, _ in weighted)
        self.energies = nn.ModuleList(energy for _, energy in weighted)

    @staticmethod
    def terms(energy: Energy) -> Iterator[tuple[float, Energy]]:
        """Yields the (weight, energy) pairs of a sum, or the energy itself with weight 1."""
        if isinstance(energy, Sum):
            yield from zip(energy.weights, energy.energies, strict=True)  # pyright: ignore[reportReturnType]
        else:
            yield 1.0, energy

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        total = torch.zeros(len(image), device=image.device, dtype=image.dtype)
        for weight, energy in zip(self.weights, self.energies, strict=True):
            total = total + weight * energy(image)
        return total


class Function(Energy):
    """Creates an energy from any differentiable function of images, (B, 3, H, W) -> (B,)."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Tensor:
        return self.function(image)
