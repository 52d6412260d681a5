r"""The map of StyleSwin: from a latent, through a style drawn towards its mean, to an image.

.. math:: w = \bar{w} + \psi (f(z) - \bar{w})
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.generator import Generator
from latentzoo.nn import channels as pictures
from latentzoo.nn.truncation import MeanStyle
from latentzoo.space import Space
from latentzoo.zoo.styleswin.network import StyleSwinNetwork

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class StyleSwin(Generator):
    r"""Creates a StyleSwin generator; its latent is the block `style`.

    Arguments:
        network: The network.
        truncation: The truncation :math:`\psi`, at most 1, which leaves the styles as they are.
        samples: From how many latents, of a fixed seed, the mean style is estimated.
        mean: The brightness in [0, 1] that is 0 to the network; ImageNet's colours by default, which a network of grey
            pictures does not have.
        std: The brightness of its unit.

    Raises:
        SpecError: If the truncation is out of range, or the units of grey pictures are missing.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: StyleSwinNetwork,
        *,
        truncation: float = 1.0,
        samples: int = 50_000,
        mean: float | None = None,
        std: float | None = None,
    ) -> None:
        super().__init__()
        if not -math.inf < truncation <= 1:
            raise SpecError(f"the truncation {truncation} is out of range; give at most 1")
        self.network, self.truncation = network, truncation
        if network.channels == pictures.GREY and (mean is None or std is None):
            raise SpecError(
                "the file does not say in which units this network's grey pictures are; give mean= and std=, "
                "0.5 and 0.5 where it was trained on [-1, 1]"
            )
        units = {"mean": (mean, IMAGENET_MEAN), "std": (std, IMAGENET_STD)}
        for name, (given, usual) in units.items():
            unit = torch.tensor(usual if given is None else (given,))[:, None, None]
            self.register_buffer(name, unit, persistent=False)
        self.w_mean = MeanStyle(network.style_dim, draws=samples)
        self.space, self.size = Space(style=(network.style_dim,)), network.size

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        w = self.network.mapping(self.space.split(z)["style"])
        if self.truncation < 1:
            w = torch.lerp(self.mean_style(), w, self.truncation)
        return pictures.coloured(self.network(w) * self.std + self.mean)

    def mean_style(self) -> Float[Tensor, "D"]:
        """The mean of w over `samples` latents."""
        return self.w_mean(self.network.mapping, like=self.network.constant)
