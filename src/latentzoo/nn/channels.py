r"""Grey pictures: a network of one channel meets three equal ones at every border.

.. math:: x \longmapsto (x, x, x), \qquad (r, g, b) \longmapsto \tfrac13 (r + g + b)

Users: StyleGAN2(-ADA), StyleGAN-XL, StyleSwin, DCGAN, NVAE, DDGAN, DiffAE, SN-DPM, galaxygrad, and the
diffusions of `diffusion.generator`, `diffusion.preconditioned` and `diffusion.latent`.
"""

from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import SpecError

GREY, COLOUR = 1, 3


def coloured(x: Float[Tensor, "B C H W"]) -> Float[Tensor, "B 3 H W"]:
    """The picture of three channels of what a network of one or three channels makes."""
    return x.expand(-1, COLOUR, -1, -1) if x.shape[1] == GREY else x


def seen(image: Float[Tensor, "B 3 H W"], channels: int) -> Float[Tensor, "B C H W"]:
    """A picture as a network of one or three channels sees it: their mean, or as it is."""
    return image.mean(1, keepdim=True) if channels == GREY else image


def require(channels: int) -> int:
    """The number of channels of a network's pictures, which is known to mean grey or colour.

    Raises:
        SpecError: If it is neither 1 nor 3.
    """
    if channels not in (GREY, COLOUR):
        raise SpecError(
            f"the network's pictures have {channels} channels, and what they mean is not known; "
            "give a network of grey pictures (1) or of colours (3)"
        )
    return channels
