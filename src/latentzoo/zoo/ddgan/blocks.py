"""The parts of DDGAN's NCSN++: norms that the code modulates, residual blocks, attention, the picture's pyramid."""

import math
from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn

from latentzoo.nn.adm import Conditional
from latentzoo.nn.attention import attend
from latentzoo.nn.fir import blur
from latentzoo.nn.pointwise import Pointwise


def normalise(channels: int, *, affine: bool = True) -> nn.GroupNorm:
    """Creates the group normalisation of NCSN++: four channels or more to a group."""
    return nn.GroupNorm(min(channels // 4, 32), channels, eps=1e-6, affine=affine)


class AdaptiveNorm(nn.Module):
    """Creates a normalisation whose scale and shift are made of the style."""

    def __init__(self, channels: int, style: int) -> None:
        super().__init__()
        self.norm = normalise(channels, affine=False)
        self.style = nn.Linear(style, 2 * channels)
        nn.init.ones_(self.style.bias[:channels])
        nn.init.zeros_(self.style.bias[channels:])

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Maps (B, C, H, W) and the style (B, S) to (B, C, H, W)."""
        scale, shift = self.style(style)[..., None, None].chunk(2, dim=1)
        return scale * self.norm(x) + shift


class ResBlock(Conditional):
    """Creates a residual block.

    Arguments:
        i: The number of channels in.
        o: The number of channels out.
        time: The number of features of the time.
        style: The number of features of the style.
        resample: `downsample`, `upsample`, or None.
    """

    def __init__(
        self,
        i: int,
        o: int,
        time: int,
        style: int,
        resample: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.resample = resample or nn.Identity()
        self.norm1, self.conv1 = AdaptiveNorm(i, style), nn.Conv2d(i, o, 3, padding=1)
        self.time = nn.Linear(time, o)
        self.norm2, self.conv2 = AdaptiveNorm(o, style), nn.Conv2d(o, o, 3, padding=1)
        self.skip = Pointwise(i, o) if i != o or resample else nn.Identity()

    def forward(self, x: Tensor, time: Tensor, style: Tensor) -> Tensor:
        h = self.conv1(self.resample(F.silu(self.norm1(x, style))))
        h = h + self.time(F.silu(time))[..., None, None]
        h = self.conv2(F.silu(self.norm2(h, style)))
        return (self.skip(self.resample(x)) + h) / math.sqrt(2)


class Attention(nn.Module):
    """Creates a self-attention block with a single head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = normalise(channels)
        self.q, self.k, self.v, self.out = (Pointwise(channels, channels) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to the same shape."""
        h = self.norm(x)
        q, k, v = (f(h).flatten(2).mT[:, None] for f in (self.q, self.k, self.v))
        h = attend(q, k, v)[:, 0].mT.reshape(x.shape)
        return (x + self.out(h)) / math.sqrt(2)


class Pyramid(nn.Module):
    """Creates a halving of the pyramid's sides: a blur, then a convolution of stride 2."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(i, o, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, i, 2H, 2W) to (B, o, H, W)."""
        return self.conv(blur(x, (2, 2)))


class Passage(nn.Module):
    """Creates a passage to half the sides, where the picture's pyramid joins the features."""

    def __init__(self, block: ResBlock, pyramid: Pyramid) -> None:
        super().__init__()
        self.block, self.pyramid = block, pyramid

    def forward(self, x: Tensor, pyramid: Tensor, time: Tensor, style: Tensor) -> Tensor:
        """Maps features and pyramid, both of (B, ., 2H, 2W), to their sum (B, o, H, W)."""
        return (self.pyramid(pyramid) + self.block(x, time, style)) / math.sqrt(2)
