r"""The networks of a small radiance field: a code becomes three planes, a point of space looks its features up on them.

.. math:: P = S(z) \qquad (\sigma, c)(x) = f\big(P_1(x_1, x_2), P_2(x_1, x_3), P_3(x_3, x_2)\big)

and a picture becomes the moments of a code, together with the place it seems to be taken from.

References:
    | Efficient Geometry-aware 3D Generative Adversarial Networks (Chan et al., 2022), https://arxiv.org/abs/2112.07945
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.builtin.networks.blocks import Down, Residual, Up

AXES = ((0, 1), (0, 2), (2, 1))


class Planes(nn.Module):
    """Creates the network from codes `(B, dim)` to planes `(B, 3, channels, 32, 32)`.

    Arguments:
        dim: The length of the code.
        channels: The number of features on each plane.
        widths: The number of features on the grids 4, 8, 16 and 32.
    """

    def __init__(
        self, dim: int, channels: int, widths: tuple[int, int, int, int] = (96, 64, 48, 32)
    ) -> None:
        super().__init__()
        self.start = nn.Linear(dim, 16 * widths[0])
        layers: list[nn.Module] = []
        for width, finer in pairwise(widths):
            layers += [Residual(width), Up(width, finer)]
        self.layers = nn.Sequential(
            *layers,
            nn.GroupNorm(8, widths[-1]),
            nn.SiLU(),
            nn.Conv2d(widths[-1], 3 * channels, 3, padding=1),
        )

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 C h w"]:
        """The planes of codes."""
        return self.layers(self.start(z).unflatten(1, (-1, 4, 4))).unflatten(1, (3, -1))


class Field(nn.Module):
    """Creates the network from what a point finds on the planes to its density and colour.

    Arguments:
        channels: The number of features on each plane.
        hidden: The width of the network.
        extent: Half the side of the cube that the planes span.
    """

    def __init__(self, channels: int, hidden: int, extent: float) -> None:
        super().__init__()
        self.inner = nn.Conv1d(3 * channels, hidden, 1)
        self.outer = nn.Conv1d(hidden, 4, 1)
        self.extent = extent

    def forward(
        self, planes: Float[Tensor, "B 3 C h w"], points: Float[Tensor, "B N 3"]
    ) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B N 3"]]:
        """The density per unit of length and the colour in [0, 1] at points of the world."""
        where = points[..., AXES].transpose(1, 2) / self.extent
        found = F.grid_sample(
            planes.flatten(0, 1),
            where.flatten(0, 1)[:, None],
            padding_mode="border",
            align_corners=False,
        )
        feature = found.squeeze(2).unflatten(0, (-1, 3)).flatten(1, 2)
        density, colour = self.outer(F.silu(self.inner(feature))).split([1, 3], dim=1)
        return 20 * F.softplus(density.squeeze(1) - 3), colour.sigmoid().mT


class Reading(NamedTuple):
    """What a picture says.

    Attributes:
        mean: The mean of the code's posterior, with shape (B, dim).
        log_std: The logarithm of its standard deviation, with shape (B, dim).
        camera: The normal numbers of the camera, with shape (B, 2).
    """

    mean: Tensor
    log_std: Tensor
    camera: Tensor


class Reader(nn.Module):
    """Creates the encoder of pictures `(B, 3, 32, 32)` in [0, 1], taken from anywhere.

    Arguments:
        dim: The length of the code.
        widths: The number of features on the grids 16, 8 and 4.
    """

    def __init__(self, dim: int, widths: tuple[int, int, int] = (32, 64, 96)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width, coarser in pairwise((3, *widths)):
            layers += [Down(width, coarser), Residual(coarser)]
        self.layers = nn.Sequential(*layers, nn.GroupNorm(8, widths[-1]), nn.SiLU())
        self.out = nn.Linear(16 * widths[-1], 2 * dim + 2)
        self.dim = dim

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Reading:
        """The posterior of codes, and the camera, of pictures."""
        out = self.out(self.layers(2 * image - 1).flatten(1))
        mean, log_std, camera = out.split([self.dim, self.dim, 2], dim=1)
        return Reading(mean, 4 * torch.tanh(log_std / 4), camera)
