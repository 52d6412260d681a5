r"""Energies: what the picture should be, as a number per image that is small where it is.

.. math:: \phi(z) = \sum_k \lambda_k \, E_k(G(z))

Energies form an algebra. Read as :math:`e^{-E}`, what a picture is worth,

- `300 * Clip("a baby") + 50 * Identity("ada.png")` wants both: a `Sum` whose terms keep their weights apart, so that
  each can be logged in its own units;
- `a | b` wants either: values add;
- `~a` does not want it: its value is what `a` leaves of one;
- `PerChain([a, b, ...])` wants a of the first chain, b of the second, and so on.

References:
    | Compositional Visual Generation with Energy Based Models (Du et al., 2020)
    | https://arxiv.org/abs/2004.06030
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from latentzoo.errors import SpecError


class Energy(nn.Module, ABC):
    """A differentiable function of images; deterministic, and each image's energy does not depend on the batch.

    Attributes:
        usual: The weight that a run gives it where the user gives none; 1 if it is a negative log-likelihood.
        reward: Whether it is a score that can be raised without end, so that a run says how its latents look.
    """

    usual: float = 1.0
    reward: bool = False

    @abstractmethod
    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        """Rates images of shape (B, 3, H, W), nominally in [0, 1]; returns one energy per image, shape (B,)."""

    @property
    def chains(self) -> int | None:
        """How many chains it is for, if each has a target of its own; None for any number."""
        return None

    @property
    def settled(self) -> Mapping[str, Any]:
        """The options that it found itself, as where a face is; a record tells them, see `guides.roles.Settling`."""
        return {}

    @property
    def assumed(self) -> Mapping[str, str]:
        """What of its inputs nobody examined, by what it is, in words; a run says it, and its record tells it."""
        return {}

    def readings(self, image: Float[Tensor, "B 3 H W"]) -> dict[str, Float[Tensor, "B"]]:
        """What it sees in images in units of its own, by the quantity: an age in years, a probability."""
        del image
        return {}

    def select(self, index: Int64[Tensor, "b"]) -> "Energy":
        """The energy of the chains at `index`; itself where all have the same target."""
        del index
        return self

    def about(self, target: str) -> "Energy | None":
        """The same energy of another target, with the same networks; None where it is made anew."""
        del target
        return None

    def __add__(self, other: "Energy") -> "Sum":
        return Sum(*Sum.terms(self), *Sum.terms(other))

    def __mul__(self, weight: float) -> "Sum":
        return Sum(*((weight * w, energy) for w, energy in Sum.terms(self)))

    __rmul__ = __mul__

    def __or__(self, other: "Energy") -> "Either":
        return Either(*Either.terms(self), *Either.terms(other))

    def __invert__(self) -> "Not":
        return Not(self)


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

    @property
    def chains(self) -> int | None:
        return shared_chains(self.energies)

    def select(self, index: Int64[Tensor, "b"]) -> Energy:
        if self.chains is None:
            return self
        return Sum(*((weight, energy.select(index)) for weight, energy in Sum.terms(self)))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        total = torch.zeros(len(image), device=image.device, dtype=image.dtype)
        for weight, energy in zip(self.weights, self.energies, strict=True):
            total = total + weight * energy(image)
        return total


class Either(Energy):
    r"""Creates the energy that is small where any of its terms is.

    .. math:: E(x) = -\log \sum_k e^{-E_k(x)}

    A weight inside says how sharp the choice is, one outside how much it counts: terms that differ by far less than 1,
    as those of CLIP do, are hardly told apart before they are weighted, `500 * a | 500 * b`.

    Arguments:
        energies: The terms; at least one.

    Raises:
        SpecError: If there is no term.
    """

    def __init__(self, *energies: Energy) -> None:
        super().__init__()
        if not energies:
            raise SpecError("there is nothing to choose from; give at least one energy")
        self.energies = nn.ModuleList(energies)

    @staticmethod
    def terms(energy: Energy) -> Iterator[Energy]:
        """Yields the terms of a choice, or the energy itself."""
        if isinstance(energy, Either):
            yield from energy.energies  # pyright: ignore[reportReturnType]
        else:
            yield energy

    @property
    def chains(self) -> int | None:
        return shared_chains(self.energies)

    def select(self, index: Int64[Tensor, "b"]) -> Energy:
        if self.chains is None:
            return self
        return Either(*(energy.select(index) for energy in Either.terms(self)))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        return -torch.stack([-energy(image) for energy in self.energies]).logsumexp(0)


class Not(Energy):
    r"""Creates the energy that is large where another is small, up to a cap.

    .. math:: E(x) = -\log \bigl( 1 - (1 - e^{-C}) \, e^{-\max(E'(x), 0)} \bigr) \;\in\; (0, C]

    Where E' is minus the logarithm of a probability p, this is that of 1 - p; the cap C keeps it, and its slope, which
    is at most e^C - 1, finite where p is 1. Below 0, where E' can be no such logarithm, it is the constant C.

    Arguments:
        energy: What is not wanted.
        cap: The bound C.

    Raises:
        SpecError: If the cap is not positive and finite.
    """

    def __init__(self, energy: Energy, *, cap: float = 5.0) -> None:
        super().__init__()
        if not 0 < cap < float("inf"):
            raise SpecError(f"the cap {cap} is not allowed; a cap is positive and finite")
        self.energy, self.cap = energy, cap

    @property
    def chains(self) -> int | None:
        return self.energy.chains

    def select(self, index: Int64[Tensor, "b"]) -> Energy:
        return self if self.chains is None else Not(self.energy.select(index), cap=self.cap)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        value = self.energy(image)
        half = math.log(2)  # below, 1 - p cancels; above, log(1 - p) does
        small, large = value.clamp(0, half), value.clamp(min=half)
        near = torch.log((-small - self.cap).exp() - torch.expm1(-small))
        far = torch.log1p(math.expm1(-self.cap) * (-large).exp())
        return -torch.where(value < half, near, far)


class PerChain(Energy):
    """Creates the energy that has a target of its own for every chain.

    A run passes it the pictures of all chains in their order, or takes the part of some chains by `select`: so it works
    in micro-batches, and after a chain has stopped.

    Arguments:
        energies: The energy of each chain; chains that share one are rated together.

    Raises:
        SpecError: If there are none, or one of them is such an energy itself; and when called, if there are not as
            many pictures.
    """

    def __init__(self, energies: Sequence[Energy]) -> None:
        super().__init__()
        if not energies or any(energy.chains is not None for energy in energies):
            raise SpecError(
                "targets per chain need one plain energy for each chain; give a list of them"
            )
        self.energies = nn.ModuleList(dict.fromkeys(energies))
        number = {energy: k for k, energy in enumerate(self.energies)}
        self.place = tuple(number[energy] for energy in energies)

    @property
    def chains(self) -> int | None:
        return len(self.place)

    def select(self, index: Int64[Tensor, "b"]) -> Energy:
        return PerChain([self.energies[self.place[i]] for i in index.tolist()])  # pyright: ignore[reportArgumentType]

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        if len(image) != len(self.place):
            raise SpecError(
                f"there are targets for {len(self.place)} chains and {len(image)} pictures; give one picture per chain"
            )
        place = torch.tensor(self.place, device=image.device)
        rows = [(place == k).nonzero().flatten() for k in range(len(self.energies))]
        value = [energy(image[at]) for energy, at in zip(self.energies, rows, strict=True)]
        return torch.cat(value)[torch.cat(rows).argsort()]


def shared_chains(energies: Iterable[Any]) -> int | None:
    """How many chains several energies are for.

    Raises:
        SpecError: If they do not agree.
    """
    counts = sorted({energy.chains for energy in energies} - {None})
    if len(counts) > 1:
        raise SpecError(
            f"the energies have targets for {' and '.join(map(str, counts))} chains; give one per chain everywhere"
        )
    return counts[0] if counts else None


class Function(Energy):
    """Creates an energy from any differentiable function of images, (B, 3, H, W) -> (B,)."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Tensor:
        return self.function(image)
