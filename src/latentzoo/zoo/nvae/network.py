r"""The decoder of NVAE: each group joins the features that the next one depends on.

.. math:: s_{g+1} = f_g(s_g \oplus z_g)
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.nn import channels as pictures
from latentzoo.options import Count, Natural
from latentzoo.zoo.nvae.cells import Cell, NormedConv
from latentzoo.zoo.nvae.distributions import Group


class NVAEDecoder(nn.Module):
    """Creates the decoder of NVAE, which alone is needed for generation.

    Arguments:
        groups: The number of groups at each resolution, from the smallest on; each has twice the side of the last.
        width: The number of channels at the smallest resolution; it is halved whenever the side doubles.
        side: The smallest side.
        latents: The number of channels of a group.
        cells: The number of cells between two groups.
        post: The number of cells after the last group at each further resolution; each has twice the last one's side.
        components: The number of components of a pixel's distribution; 1 is a Gaussian.
        channels: The number of the picture's channels: 3, or 1 where a pixel is black or white.
        gated: Whether the cells end with squeeze and excitation.

    Attributes:
        shapes: The shape (L, h, w) of each group.
    """

    def __init__(
        self,
        *,
        groups: Sequence[int],
        width: Count,
        side: Count = 8,
        latents: Count = 20,
        cells: Natural = 2,
        post: Sequence[int] = (2,),
        components: Count = 10,
        channels: Count = 3,
        gated: bool = True,
    ) -> None:
        super().__init__()
        self.shapes = [
            (latents, side << i, side << i) for i, n in enumerate(groups) for _ in range(n)
        ]
        image_side = side << (len(groups) - 1 + len(post))
        self.size = (image_side, image_side)
        self.constant = nn.Parameter(torch.rand(width, side, side))
        self.between, self.prior, self.combine = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for i, n in enumerate(groups):
            c = width >> i
            for j in range(n):
                if i + j > 0:
                    up = [Cell(2 * c, c, 6, up=True, gated=gated)] if j == 0 else []
                    same = [Cell(c, c, 6, up=False, gated=gated) for _ in range(cells)]
                    self.between.append(nn.Sequential(*up, *same))
                    self.prior.append(NormedConv(c, 2 * latents, 1))
                self.combine.append(NormedConv(c + latents, c, 1))
        c = width >> (len(groups) - 1)
        self.post = nn.Sequential()
        for n in post:
            self.post.append(Cell(c, c // 2, 3, up=True, gated=gated))
            c //= 2
            self.post.extend([Cell(c, c, 3, up=False, gated=gated) for _ in range(n - 1)])
        parameters = 6 if components == 1 else 10 * components
        self.out = NormedConv(c, parameters if pictures.require(channels) == 3 else 1, 3)

    def forward(self, groups: Sequence[Group]) -> Float[Tensor, "B C H W"]:
        """Maps the noises (B, L, h, w) of the groups, each with its rule, to the output's parameters: see `mean`."""
        s = self.constant.expand(len(groups[0][0]), -1, -1, -1)
        for g, (eps, place) in enumerate(groups):
            if g == 0:
                mu = rho = torch.zeros_like(eps)
            else:
                s = self.between[g - 1](s)
                mu, rho = self.prior[g - 1](F.elu(s)).chunk(2, dim=1)
            s = self.combine[g](torch.cat([s, place(mu, rho, eps)], dim=1))
        return self.out(F.elu(self.post(s)))
