r"""The map of BigGAN-deep: from a latent to an image of one class at one truncation.

.. math:: z' = \psi \sqrt2 \, \mathrm{erf}^{-1} \left( \mathrm{erf}(b / \sqrt2) \, \mathrm{erf}(z / \sqrt2) \right)
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.generator import Generator
from latentzoo.space import Space
from latentzoo.zoo.biggan_deep.network import BigGANDeepNetwork
from latentzoo.zoo.biggan_deep.norms import statistics_row


class BigGANDeep(Generator):
    r"""Creates a BigGAN-deep generator of one class at one truncation.

    Its latent is the block `style`.

    Arguments:
        network: The network.
        class_index: The class, from 0 to the number of classes - 1.
        truncation: The truncation :math:`\psi` in (0, 1].
        bound: Where the normal is truncated, in standard deviations; `None` for a plain normal.

    Raises:
        SpecError: If the class does not exist, or the truncation or the bound is out of range.
    """

    label: Tensor
    row: Tensor

    def __init__(
        self,
        network: BigGANDeepNetwork,
        *,
        class_index: int = 0,
        truncation: float = 1.0,
        bound: float | None = 2.0,
    ) -> None:
        super().__init__()
        z_dim, classes = network.embeddings.weight.shape
        if not 0 <= class_index < classes:
            raise SpecError(
                f"the class {class_index} does not exist; give a number from 0 to {classes - 1}"
            )
        if not 0 < truncation <= 1:
            raise SpecError(
                f"the truncation {truncation} is out of range; give a number in (0, 1]"
            )
        if bound is not None and bound <= 0:
            raise SpecError(f"the bound {bound} is out of range; give a positive number or none")
        self.network, self.truncation, self.bound = network, truncation, bound
        self.register_buffer(
            "label", F.one_hot(torch.tensor(class_index), classes).float(), persistent=False
        )
        self.register_buffer("row", statistics_row(truncation, network.n_stats), persistent=False)
        self.space, self.size = Space(style=(z_dim,)), network.size

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        style = self.truncation * truncated(self.space.split(z)["style"], self.bound)
        return (self.network(style, self.label.expand(len(z), -1), self.row) + 1) / 2


def truncated(z: Tensor, bound: float | None) -> Tensor:
    """Carries a standard normal to one truncated at plus and minus `bound`, of the same shape."""
    if bound is None:
        return z
    return math.sqrt(2) * torch.erfinv(
        math.erf(bound / math.sqrt(2)) * torch.erf(z / math.sqrt(2))
    )
