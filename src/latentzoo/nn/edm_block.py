r"""The parts of EDM's U-Nets, with the names of their checkpoints: `conv0.resample_filter`.

A block resamples (:math:`r`) before its first convolution, and reads the features :math:`e` of noise
and class after it,

.. math:: y = c \, \bigl(W_1 \, s(m(W_0 \, r(s(n_0(x))), e)) + \mathrm{skip}(r(x))\bigr), \qquad
    a(y) = c \, (y + W_o \, \mathrm{softmax}(q k^\top / \sqrt{d}) \, v)

with group normalisations `n` and the SiLU `s`. In DDPM++ and NCSN++ the features are added before the
second normalisation and :math:`c = 1 / \sqrt{2}`; in ADM they scale and shift it and :math:`c = 1`.
Every map has shape (B, C, H, W).

Users: `nn.edm`.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from latentzoo.nn.attention import attend

HALF = math.sqrt(0.5)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """Creates the record of what the blocks of a network have in common.

    Arguments:
        features: The number of features of noise and class.
        modulate: Whether these scale and shift (ADM), or are added (DDPM++, NCSN++).
        head_width: The number of channels of each head; None for one head.
        taps: The length of the filter of resampling, whose values are the file's.
    """

    features: int
    modulate: bool
    head_width: int | None = None
    taps: int = 2

    def normalise(self, channels: int) -> nn.GroupNorm:
        """Creates the group normalisation of this lineage: 32 groups, of four channels or more."""
        return nn.GroupNorm(min(32, channels // 4), channels, eps=1e-5 if self.modulate else 1e-6)


def binomial(taps: int) -> Tensor:
    """Creates the filter of a row of Pascal's triangle on both axes, of gain 1: (1, 1, T, T)."""
    row = torch.tensor([math.comb(taps - 1, k) for k in range(taps)]) / 2 ** (taps - 1)
    return torch.outer(row, row)[None, None]


def resample(x: Tensor, taps: Tensor, rate: int) -> Tensor:
    """Doubles (`rate` 1) or halves (-1) the sides of (B, C, H, W) by a filter (1, 1, T, T)."""
    C, T = x.shape[1], taps.shape[-1]
    f, pad = taps.to(x.dtype).expand(C, 1, T, T), (T - 1) // 2
    if rate < 0:
        return F.conv2d(x, f, stride=2, padding=pad, groups=C)
    return F.conv_transpose2d(x, 4 * f, stride=2, padding=pad, groups=C)


class Resample(nn.Module):
    """Creates a change of the sides by a factor of two; see `resample`."""

    resample_filter: Tensor

    def __init__(self, rate: int, taps: int) -> None:
        super().__init__()
        self.rate = rate
        self.register_buffer("resample_filter", binomial(taps))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to (B, C, H', W')."""
        return resample(x, self.resample_filter, self.rate)


class Convolution(nn.Conv2d):
    """Creates a convolution, of what is resampled first where `rate` is not 0; see `resample`."""

    resample_filter: Tensor

    def __init__(self, i: int, o: int, kernel: int, rate: int = 0, taps: int = 2) -> None:
        super().__init__(i, o, kernel, padding=kernel // 2)
        self.rate = rate
        self.register_buffer("resample_filter", binomial(taps) if rate else None)

    def forward(self, input: Tensor) -> Tensor:
        """Maps (B, i, H, W) to (B, o, H', W')."""
        x = resample(input, self.resample_filter, self.rate) if self.rate else input
        return super().forward(x)


class Aside(Convolution):
    """Creates what takes the halved picture beside the way down into it."""


class Fused(nn.Conv2d):
    """Creates the halving of what runs beside the way down: a wide convolution, then the filter without a border."""

    resample_filter: Tensor

    def __init__(self, i: int, o: int, taps: int) -> None:
        super().__init__(i, o, 3, padding=1 + (taps - 1) // 2, bias=True)
        self.register_buffer("resample_filter", binomial(taps))

    def forward(self, input: Tensor) -> Tensor:
        """Maps (B, i, 2H, 2W) to (B, o, H, W)."""
        o, T = len(self.weight), self.resample_filter.shape[-1]
        f = self.resample_filter.to(input.dtype).expand(o, 1, T, T)
        h = self._conv_forward(input, self.weight, None)
        return F.conv2d(h, f, self.bias, stride=2, groups=o)


class Block(nn.Module):
    """Creates a residual block, with attention or without.

    Arguments:
        i: The number of channels in.
        o: The number of channels out.
        kind: What all blocks of the network have in common.
        rate: 1 doubles the sides, -1 halves them, 0 leaves them.
        attention: Whether attention follows.
    """

    def __init__(
        self, i: int, o: int, kind: Kind, *, rate: int = 0, attention: bool = False
    ) -> None:
        super().__init__()
        self.i, self.modulate = i, kind.modulate
        self.scale = 1.0 if kind.modulate else HALF
        self.norm0, self.conv0 = kind.normalise(i), Convolution(i, o, 3, rate, kind.taps)
        self.affine = nn.Linear(kind.features, 2 * o if kind.modulate else o)
        self.norm1, self.conv1 = kind.normalise(o), Convolution(o, o, 3)
        self.skip: nn.Module | None = None
        if i != o or (rate and not kind.modulate):
            self.skip = Convolution(i, o, 1, rate, kind.taps)
        elif rate:
            self.skip = Resample(rate, kind.taps)
        self.heads = o // (kind.head_width or o) if attention else 0
        if self.heads:
            self.norm2, self.qkv = kind.normalise(o), Convolution(o, 3 * o, 1)
            self.proj = Convolution(o, o, 1)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """Maps (B, i, H, W) and the features (B, F) to (B, o, H', W')."""
        h = self.conv0(F.silu(self.norm0(x)))
        e = self.affine(features)[..., None, None]
        if self.modulate:
            scale, shift = e.chunk(2, dim=1)
            h = self.norm1(h) * (1 + scale) + shift
        else:
            h = self.norm1(h + e)
        h = self.conv1(F.silu(h)) + (x if self.skip is None else self.skip(x))
        h = h * self.scale
        return self.attend(h) * self.scale if self.heads else h

    def attend(self, x: Tensor) -> Tensor:
        """Lets all positions look at each other: maps (B, o, H, W) to the same shape."""
        qkv = self.qkv(self.norm2(x)).flatten(2)
        q, k, v = rearrange(qkv, "b (h c n) x -> n b h x c", h=self.heads, n=3)
        return x + self.proj(rearrange(attend(q, k, v), "b h x c -> b (h c) x").reshape(x.shape))
