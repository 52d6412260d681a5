r"""Parts of the DDPM network, with the names of its checkpoints: `down.0.block.1.conv1`.

A residual block adds the time between its convolutions, an attention block looks at all positions
with one head,

.. math:: f(x) = x + W_2 \, s(n_2(W_1 \, s(n_1(x)) + W_t \, s(t))), \qquad
    a(x) = x + W_o \, \mathrm{softmax}(q k^\top / \sqrt{C}) \, v

where `n` is a group normalisation and `s` the SiLU. Every map has shape (B, C, H, W).

Users: `zoo.ldm` (the first stage, without time), `zoo.sn_dpm` (the U-Net), `zoo.ddgan` (the time's
features).

References:
    | Denoising Diffusion Probabilistic Models (Ho et al., 2020)
    | https://arxiv.org/abs/2006.11239
"""

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentzoo.nn.attention import attend
from latentzoo.nn.pointwise import Pointwise


def time_features(t: Tensor, features: int) -> Tensor:
    """Embeds times (B,) as sines, then cosines, of frequencies 1 to 1/10000: (B, features)."""
    half = features // 2
    frequency = torch.exp(
        torch.arange(half, device=t.device, dtype=t.dtype) * (-math.log(10000) / (half - 1))
    )
    angle = t[:, None] * frequency
    return torch.cat((angle.sin(), angle.cos()), dim=1)


def normalise(channels: int) -> nn.GroupNorm:
    """Creates the group normalisation of this lineage: 32 groups."""
    return nn.GroupNorm(32, channels, eps=1e-6)


class ResnetBlock(nn.Module):
    """Creates a residual block.

    Arguments:
        i: The number of channels in.
        o: The number of channels out.
        time: The number of features of the time; 0 for a block that does not know it.
    """

    def __init__(self, i: int, o: int, time: int = 0) -> None:
        super().__init__()
        self.norm1, self.conv1 = normalise(i), nn.Conv2d(i, o, 3, padding=1)
        self.temb_proj = nn.Linear(time, o) if time else None
        self.norm2, self.conv2 = normalise(o), nn.Conv2d(o, o, 3, padding=1)
        self.nin_shortcut = Pointwise(i, o) if i != o else None

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """Maps (B, i, H, W), and the time (B, features), to (B, o, H, W)."""
        h = self.conv1(F.silu(self.norm1(x)))
        if self.temb_proj is not None:
            h = h + self.temb_proj(F.silu(time))[..., None, None]  # type: ignore[arg-type]
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (x if self.nin_shortcut is None else self.nin_shortcut(x))


class AttnBlock(nn.Module):
    """Creates an attention block with a single head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = normalise(channels)
        self.q, self.k, self.v, self.proj_out = (Pointwise(channels, channels) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to the same shape."""
        h = self.norm(x)
        q, k, v = (f(h).flatten(2).mT[:, None] for f in (self.q, self.k, self.v))
        h = attend(q, k, v)[:, 0].mT.reshape(x.shape)
        return x + self.proj_out(h)


class Downsample(nn.Module):
    """Creates a halving of the sides: a convolution of stride 2, zeros to the right and below."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, 2H, 2W) to (B, C, H, W)."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Creates a doubling of the sides: the nearest pixel, then a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, C, 2H, 2W)."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class Level(nn.Module):
    """Creates the blocks of one resolution and the passage to the next.

    Arguments:
        channels: The number of channels in, for each residual block.
        o: The number of channels out, of each of them.
        attention: Whether an attention block follows each residual block.
        time: The number of features of the time; 0 for none.
        downsample: The passage down, if any.
        upsample: The passage up, if any.
    """

    def __init__(
        self,
        channels: Sequence[int],
        o: int,
        *,
        attention: bool,
        time: int = 0,
        downsample: Downsample | None = None,
        upsample: Upsample | None = None,
    ) -> None:
        super().__init__()
        self.block = nn.ModuleList([ResnetBlock(i, o, time) for i in channels])
        self.attn = nn.ModuleList([AttnBlock(o) for _ in channels if attention])
        self.downsample, self.upsample = downsample, upsample

    def units(self) -> Iterator[tuple[ResnetBlock, nn.Module]]:
        """Pairs each residual block with what follows it: an attention block or the identity."""
        follow = self.attn or [nn.Identity()] * len(self.block)
        return zip(self.block, follow, strict=True)  # type: ignore[arg-type]

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """Maps (B, i, H, W) through all of it, in a network without skips."""
        for block, attention in self.units():
            x = attention(block(x, time))
        for passage in (self.downsample, self.upsample):
            x = x if passage is None else passage(x)
        return x


class Middle(nn.Module):
    """Creates the lowest part: a residual block, attention, a residual block."""

    def __init__(self, channels: int, time: int = 0) -> None:
        super().__init__()
        self.block_1, self.attn_1 = ResnetBlock(channels, channels, time), AttnBlock(channels)
        self.block_2 = ResnetBlock(channels, channels, time)

    def forward(self, x: Tensor, time: Tensor | None = None) -> Tensor:
        """Maps (B, C, H, W) to the same shape."""
        return self.block_2(self.attn_1(self.block_1(x, time)), time)
