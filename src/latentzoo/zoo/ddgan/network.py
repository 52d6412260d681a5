"""The network of DDGAN: an NCSN++ that draws a picture from one with noise, its time and a code."""

from collections.abc import Collection, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentzoo.nn import channels as pictures
from latentzoo.nn.adm import Stage
from latentzoo.nn.ddpm import time_features
from latentzoo.nn.fir import downsample, upsample
from latentzoo.nn.levels import require as require_levels
from latentzoo.options import Count
from latentzoo.zoo.ddgan.blocks import Attention, Passage, Pyramid, ResBlock, normalise


class NCSNpp(nn.Module):
    """Creates the NCSN++ of DDGAN.

    Every residual block halves the variance that its sum doubled. On the way down, the picture is
    halved beside the features and added to them at each resolution.

    Arguments:
        resolution: The picture's side in pixels.
        width: The number of channels at full resolution, and of features of the time.
        mult: The multiple of `width` at each level; the sides halve from one to the next.
        depth: The number of residual blocks per level on the way down (one more on the way up).
        attention: The sides at which there is attention; always at the lowest point.
        code: The length of the Gaussian code of each step.
        style: The number of features made of it.
        mapping: The number of layers that make them.
        channels: The number of the picture's channels: 3, or 1 where it is grey.
    """

    def __init__(
        self,
        *,
        resolution: int,
        width: int,
        mult: Sequence[Count],
        depth: int,
        attention: Collection[Count],
        code: int,
        style: int,
        mapping: int,
        channels: int = 3,
    ) -> None:
        super().__init__()
        self.size = require_levels((resolution, resolution), len(mult))
        self.code, self.width = code, width
        self.channels = pictures.require(channels)
        block = lambda i, o, resample=None: ResBlock(i, o, 4 * width, style, resample)
        attend = lambda level, c: [Attention(c) for _ in range(resolution >> level in attention)]

        sizes = [code] + mapping * [style]
        self.mapping = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(sizes))
        self.time = nn.ModuleList([nn.Linear(width, 4 * width), nn.Linear(4 * width, 4 * width)])
        self.stem = nn.Conv2d(channels, width, 3, padding=1)

        self.down, c, p, skips = nn.ModuleList(), width, channels, [width]
        for level, m in enumerate(mult):
            for _ in range(depth):
                self.down.append(Stage([block(c, m * width), *attend(level, m * width)]))
                c = m * width
                skips.append(c)
            if level < len(mult) - 1:
                self.down.append(Passage(block(c, c, downsample), Pyramid(p, c)))
                p = c
                skips.append(c)
        self.middle = Stage([block(c, c), Attention(c), block(c, c)])
        self.up = nn.ModuleList()
        for level, m in reversed(list(enumerate(mult))):
            for j in range(depth + 1):
                parts = [block(c + skips.pop(), m * width)]
                c = m * width
                if j == depth:
                    parts += attend(level, c) + [block(c, c, upsample) for _ in range(level > 0)]
                self.up.append(Stage(parts))
        self.norm, self.head = normalise(c), nn.Conv2d(c, channels, 3, padding=1)

    def style(self, code: Tensor) -> Tensor:
        """The features (B, style) of a code (B, code), which counts by its direction only."""
        h = code * torch.rsqrt(code.square().mean(1, keepdim=True) + 1e-8)
        for layer in self.mapping:
            h = F.silu(layer(h))
        return h

    def forward(self, x: Tensor, t: Tensor, code: Tensor) -> Tensor:
        """Draws pictures (B, channels, H, W) in [-1, 1] at `x`, of that shape, the times `t` (B,) and a
        code (B, code)."""
        first, second = self.time
        given = second(F.silu(first(time_features(t, self.width)))), self.style(code)
        h, pyramid = self.stem(x), x
        skips = [h]
        for stage in self.down:
            if isinstance(stage, Passage):
                h = pyramid = stage(h, pyramid, *given)
            else:
                h = stage(h, *given)
            skips.append(h)
        h = self.middle(h, *given)
        for stage in self.up:
            h = stage(torch.cat((h, skips.pop()), dim=1), *given)
        return torch.tanh(self.head(F.silu(self.norm(h))))
