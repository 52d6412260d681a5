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
from collections.abc import Callable

from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.energies.base import Energy
from latentzoo.errors import SpecError
from latentzoo.guides import faces

TARGET = re.compile(r"\s*(?P<mean>\d+(\.\d+)?)\s*(?:(?:\+-|\+/-|±)\s*(?P<std>\d+(\.\d+)?)\s*)?")
OLDEST = 120.0


class Age(Energy):
    """Creates the energy of an age.

    Arguments:
        network: From faces to ages in years, (B, 3, h, w) to (B,).
        mean: The age that is wanted, in years.
        std: How exactly, in years.
        cut: Takes the face out of a picture.

    Raises:
        SpecError: If the age or its deviation is out of range.
    """

    def __init__(
        self,
        network: nn.Module,
        mean: float,
        std: float,
        *,
        cut: Callable[[Tensor], Tensor] = faces.FFHQ,
    ) -> None:
        super().__init__()
        if not 0 <= mean <= OLDEST or not 0 < std <= OLDEST:
            raise SpecError(
                f"the age {mean:g} +- {std:g} is out of range; give years from 0 to {OLDEST:g} and a deviation"
            )
        self.network, self.mean, self.std, self.cut = network, mean, std, cut

    def years(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        """The ages that the faces look, in years."""
        return self.network(self.cut(image))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        return ((self.years(image) - self.mean) / self.std).square() / 2


def build(target: str, *, model: str | None = None, face: str = "ffhq") -> Age:
    """Reads `70 +- 5`, an age in years and how exactly it is wanted; the deviation is 5 years where it is left out.

    Arguments:
        target: The age.
        model: The network, `face-api`.
        face: Where the face is: `ffhq` as FFHQ aligns it, or `whole` if it fills the picture.

    Raises:
        SpecError: If the target is no age, or the network is none.
    """
    found = TARGET.fullmatch(target)
    if found is None:
        raise SpecError(f"'{target}' is no age; write it in years, e.g. \"70 +- 5\"")
    if model not in (None, faces.MODEL):
        raise SpecError(f"'{model}' tells no age; the model is {faces.MODEL}")
    return Age(faces.Years(), float(found["mean"]), float(found["std"] or 5), cut=faces.cut(face))
