"""The network of SN-DPM and NPR-DPM: the U-Net of DDPM, with a second head."""

from collections.abc import Collection, Iterable, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.nn import channels as pictures
from latentzoo.nn import ddpm
from latentzoo.nn.levels import require as require_levels
from latentzoo.options import Count


class UNet(nn.Module):
    """Creates the network of DDPM, with a second head on its last features.

    Arguments:
        resolution: The side of the pictures.
        ch: The number of channels at the highest resolution.
        ch_mult: The number of channels at each resolution, in units of that.
        num_res_blocks: The number of residual blocks at each resolution.
        attn_resolutions: The sides at which attention follows each of them.
        heads: 2, or 1 for a network that predicts the noise only.
        mode: "simple", or "complex" with a residual block before the second head.
        channels: The number of the pictures' channels: 3, or 1 where they are grey.
    """

    def __init__(
        self,
        *,
        resolution: Count = 64,
        ch: Count = 128,
        ch_mult: Sequence[Count] = (1, 2, 2, 2, 4),
        num_res_blocks: Count = 2,
        attn_resolutions: Collection[Count] = (16,),
        heads: Count = 2,
        mode: str = "simple",
        channels: Count = 3,
    ) -> None:
        super().__init__()
        self.channels = pictures.require(channels)
        self.size = require_levels((resolution, resolution), len(ch_mult))
        self.heads, time = heads, 4 * ch
        self.temb = Time(ch, time)
        self.conv_in = nn.Conv2d(channels, ch, 3, padding=1)
        widths = [ch * m for m in ch_mult]
        attends = [resolution >> i in attn_resolutions for i in range(len(widths))]
        last, skips = len(widths) - 1, [ch]

        self.down = nn.ModuleList()
        for i, c in enumerate(widths):
            inputs = [skips[-1], *[c] * (num_res_blocks - 1)]
            down = ddpm.Downsample(c) if i < last else None
            self.down.append(
                ddpm.Level(inputs, c, attention=attends[i], time=time, downsample=down)
            )
            skips += [c] * (num_res_blocks + (i < last))
        self.mid = ddpm.Middle(widths[-1], time)
        up, h = [], widths[-1]
        for i, c in reversed(list(enumerate(widths))):
            inputs = [width + skips.pop() for width in (h, *[c] * num_res_blocks)]
            passage = ddpm.Upsample(c) if i > 0 else None
            up.append(ddpm.Level(inputs, c, attention=attends[i], time=time, upsample=passage))
            h = c
        self.up = nn.ModuleList(reversed(up))
        self.norm_out = ddpm.normalise(h)
        self.conv_out = nn.Conv2d(h, channels, 3, padding=1)
        if heads == 2:
            self.norm_out2 = ddpm.normalise(h)
            self.conv_out2 = nn.Conv2d(h, channels, 3, padding=1)
            self.before_out = ddpm.ResnetBlock(h, h, time) if mode == "complex" else None

    def forward(
        self, x: Float[Tensor, "B C H W"], t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B D H W"]:
        """Maps pictures with noise, at times from 0 to 999, to the predictions of the heads, one after the other."""
        time = self.temb(t)
        skips = [self.conv_in(x)]
        for level in cast(Iterable[ddpm.Level], self.down):
            for block, attention in level.units():
                skips.append(attention(block(skips[-1], time)))
            if level.downsample is not None:
                skips.append(level.downsample(skips[-1]))
        h = self.mid(skips[-1], time)
        for level in cast(Iterable[ddpm.Level], reversed(self.up)):
            for block, attention in level.units():
                h = attention(block(torch.cat([h, skips.pop()], dim=1), time))
            if level.upsample is not None:
                h = level.upsample(h)
        eps = self.conv_out(F.silu(self.norm_out(h)))
        if self.heads == 1:
            return eps
        if self.before_out is not None:
            h = self.before_out(h, time)
        return torch.cat([eps, self.conv_out2(F.silu(self.norm_out2(h)))], dim=1)


class Time(nn.Module):
    """Creates the embedding of the time."""

    def __init__(self, ch: int, time: int) -> None:
        super().__init__()
        self.ch = ch
        self.dense = nn.ModuleList([nn.Linear(ch, time), nn.Linear(time, time)])

    def forward(self, t: Tensor) -> Tensor:
        """Maps times (B,) to features (B, time)."""
        first, second = self.dense
        return second(F.silu(first(ddpm.time_features(t, self.ch))))
