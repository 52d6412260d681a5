r"""How far a face's apparent age is from a given one, as a likelihood.

.. math:: E(x) = \frac{(a(x) - \mu)^2}{2 \sigma^2}

The age a(x) in years is what a network takes the face for. It is a negative log-likelihood, of an observer who says
":math:`\mu \pm \sigma`": weight 1 samples its posterior.

References:
    | face-api.js (Muehler, 2018), https://github.com/justadudewhohacks/face-api.js
    | Deep expectation of real and apparent age from a single image (Rothe et al., 2018)
    | https://doi.org/10.1007/s11263-016-0940-3
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from latentzoo.energies.base import Energy
from latentzoo.errors import SpecError
from latentzoo.guides import networks
from latentzoo.guides.preprocess import at_least_single, in_type_of
from latentzoo.guides.roles import Ages

TARGET = re.compile(r"\s*(?P<mean>\d+(\.\d+)?)\s*(?:(?:\+-|\+/-|±)\s*(?P<std>\d+(\.\d+)?)\s*)?")
OLDEST = 120.0


class Age(Energy):
    """Creates the energy of an age.

    Arguments:
        network: Says how old a face looks.
        mean: The age that is wanted, in years.
        std: How exactly, in years.

    Raises:
        SpecError: If the age or its deviation is out of range.
    """

    def __init__(self, network: Ages, mean: float, std: float) -> None:
        super().__init__()
        if not 0 <= mean <= OLDEST or not 0 < std <= OLDEST:
            raise SpecError(
                f"the age {mean:g} +- {std:g} is out of range; give years from 0 to {OLDEST:g} and a deviation"
            )
        self.network, self.mean, self.std = network.eval().requires_grad_(False), mean, std

    @property
    def settled(self) -> Mapping[str, Any]:
        return self.network.settled

    def years(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        """The ages that the faces look, in years."""
        return at_least_single(self.network.years(in_type_of(image, self.network)))

    def readings(self, image: Float[Tensor, "B 3 H W"]) -> dict[str, Float[Tensor, "B"]]:
        return {"years": self.years(image)}

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        return ((self.years(image) - self.mean) / self.std).square() / 2


def build(
    target: str, *, model: str = "face-api", face: str | Sequence[float] | None = None
) -> Age:
    """Reads `70 +- 5`, an age in years and how exactly it is wanted; the deviation is 5 years where it is left out.

    Arguments:
        target: The age.
        model: The network, a card's name (`latentzoo show age`) or `module:Class`.
        face: Where the face is: "ffhq" (the default of networks that ask) as FFHQ aligns it, "whole" if it fills the
            picture, or its left, top and side in shares of the longer side.

    Raises:
        SpecError: If the target is no age.
        UnknownName: If there is no such network.
    """
    found = TARGET.fullmatch(target)
    if found is None:
        raise SpecError(f"'{target}' is no age; write it in years, e.g. \"70 +- 5\"")
    network = networks.need(model, "age", Ages, face=face)
    return Age(network, float(found["mean"]), float(found["std"] or 5))
