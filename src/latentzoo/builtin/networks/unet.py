"""A small U-Net `f(x, t)` on a grid: the denoiser of the diffusion models of the avatar world.

At each resolution: residual blocks that know the time, and attention where the grid is small enough. A learned map is
added to the first features, because a face has a fixed place in the picture.

References:
    | Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239
    | Diffusion Models Beat GANs on Image Synthesis (Dhariwal and Nichol, 2021), https://arxiv.org/abs/2105.05233
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.builtin.networks.blocks import Attention, Down, Fourier, Residual, Up

CHANNELS, GRID = 4, 16
"""The latents of avatars: four maps of 16x16."""
WIDTHS = (48, 96, 192)
"""The features of their denoiser on the grids 16x16, 8x8 and 4x4."""


class Stage(nn.Module):
    """Creates the blocks of one resolution on the way down or up.

    Arguments:
        features: The number of features, in and out.
        code: The length of the time features.
        depth: The number of residual blocks.
        attention: Whether each is followed by attention.
    """

    def __init__(self, features: int, code: int, depth: int, attention: bool) -> None:
        super().__init__()
        self.residual = nn.ModuleList(Residual(features, code) for _ in range(depth))
        self.attention = nn.ModuleList(
            Attention(features) if attention else nn.Identity() for _ in range(depth)
        )

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Maps `(B, C, H, W)` to the same shape, given `(B, code)`."""
        for residual, attention in zip(self.residual, self.attention, strict=True):
            x = attention(residual(x, code))
        return x


class UNet(nn.Module):
    """Creates the U-Net.

    Arguments:
        channels: The number of maps, in and out.
        size: The side of the grid.
        widths: The number of features at each resolution, the finest first.
        attention: At how many of the coarsest resolutions there is attention.
        depth: The number of residual blocks per resolution, on each way.
        code: The length of the time features.
    """

    def __init__(
        self,
        *,
        channels: int,
        size: int,
        widths: Sequence[int],
        attention: int = 2,
        depth: int = 2,
        code: int = 128,
    ) -> None:
        super().__init__()
        levels = list(enumerate(widths))
        attends = [level >= len(widths) - attention for level, _ in levels]
        self.time = Fourier(code)
        self.place = nn.Parameter(torch.zeros(1, widths[0], size, size))
        self.first = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.descent = nn.ModuleList(Stage(w, code, depth, attends[i]) for i, w in levels)
        self.down = nn.ModuleList(Down(a, b) for a, b in pairwise(widths))
        self.up = nn.ModuleList(Up(b, a) for a, b in pairwise(widths))
        self.join = nn.ModuleList(nn.Conv2d(2 * w, w, 1) for w in widths[:-1])
        self.ascent = nn.ModuleList(Stage(w, code, depth, attends[i]) for i, w in levels[:-1])
        self.norm = nn.GroupNorm(8, widths[0])
        self.last = nn.Conv2d(widths[0], channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)

    def forward(
        self, x: Float[Tensor, "B C H W"], t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B C H W"]:
        """The field at `x` and times `t` in [0, 1]."""
        code = self.time(t)
        h = self.first(x) + self.place
        skips = []
        for level, stage in enumerate(self.descent):
            h = stage(h, code)
            if level < len(self.down):
                skips.append(h)
                h = self.down[level](h)
        for level in reversed(range(len(self.ascent))):
            h = self.join[level](torch.cat([self.up[level](h), skips[level]], dim=1))
            h = self.ascent[level](h, code)
        return self.last(F.silu(self.norm(h)))
