r"""Who a face is: an embedding in which the pictures of one person are near each other.

.. math:: E(x) = 1 - \cos\big(f(x), \bar f\big), \qquad \bar f = \frac{1}{R} \sum_r f(x_r)

A person is skin, hair and its colour, facial hair and eyebrows; expression, glasses, clothes and background are not.

References:
    | ArcFace: Additive Angular Margin Loss for Deep Face Recognition (Deng et al., 2018)
    | https://arxiv.org/abs/1801.07698
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo import picture
from latentzoo.builtin.networks.recognizer import Tower
from latentzoo.builtin.weights import fill, tensors
from latentzoo.energies.base import Energy
from latentzoo.errors import SpecError

FEATURES = 128


class Embedding(nn.Module):
    """Creates the embedding: pictures `(B, 3, H, W)` to unit vectors `(B, 128)`; other sizes than 64 are resized."""

    def __init__(self) -> None:
        super().__init__()
        self.tower = Tower(FEATURES, widths=(32, 64, 96))

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B N"]:
        """The unit vectors of pictures."""
        if image.shape[-2:] != (64, 64):
            image = F.interpolate(image, (64, 64), mode="bilinear", antialias=True)
        return F.normalize(self.tower(image), dim=1)


def embedding() -> Embedding:
    """The trained embedding."""
    return fill(Embedding(), tensors("avatar-id"))


class AvatarIdentity(Energy):
    """Creates the energy of a person.

    Arguments:
        references: Pictures of the person: paths, or tensors `(1, 3, H, W)` in [0, 1].

    Raises:
        SpecError: There is no reference.
    """

    target: Tensor
    usual = 100.0

    def __init__(self, *references: str | Path | Float[Tensor, "1 3 H W"]) -> None:
        super().__init__()
        if not references:
            raise SpecError("an identity needs at least one reference picture; give its path")
        self.network = embedding()
        with torch.no_grad():
            each = torch.cat([self.network(image) for image in _read(references)])
        self.register_buffer("target", F.normalize(each.mean(0), dim=0), persistent=False)

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B"]:
        """The energy of pictures, in [0, 2]."""
        return 1 - self.network(image) @ self.target


def _read(references: Sequence[str | Path | Tensor]) -> list[Tensor]:
    return [x if isinstance(x, Tensor) else picture.read(x) for x in references]
