"""Parts of the small networks of the avatar world; every map is `(B, C, H, W)`.

Users: autoencoder, unet, clip, attributes, planes.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.nn.attention import attend


class Residual(nn.Module):
    r"""Creates a residual block :math:`x + f(x)` of two 3x3 convolutions, each after normalisation and SiLU.

    Arguments:
        features: The number of features, in and out.
        code: The length of a conditioning vector that scales and shifts the second normalisation; 0 for none.
        groups: The number of groups of each normalisation.
    """

    def __init__(self, features: int, code: int = 0, groups: int = 8) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, features)
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, features)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        self.film = nn.Linear(code, 2 * features) if code else None
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, code: Tensor | None = None) -> Tensor:
        """Maps `(B, C, H, W)` to the same shape."""
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.film is not None:
            scale, shift = self.film(code)[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        return x + self.conv2(F.silu(h))


class Attention(nn.Module):
    """Creates a self-attention block over all positions, with a residual connection.

    Arguments:
        features: The number of features, in and out.
        heads: The number of heads.
        groups: The number of groups of the normalisation.
    """

    def __init__(self, features: int, heads: int = 4, groups: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, features)
        self.qkv = nn.Conv2d(features, 3 * features, 1)
        self.out = nn.Conv2d(features, features, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(B, C, H, W)` to the same shape."""
        b, c, h, w = x.shape
        qkv = self.qkv(self.norm(x)).view(b, 3, self.heads, c // self.heads, h * w)
        q, k, v = qkv.transpose(-1, -2).unbind(dim=1)
        mixed = attend(q, k, v)
        return x + self.out(mixed.transpose(-1, -2).reshape(b, c, h, w))


class Down(nn.Module):
    """Creates a halving of the resolution: a 2x2 block of pixels becomes features, mixed by a 1x1 convolution."""

    def __init__(self, features: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4 * features, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(B, C, H, W)` to `(B, out, H / 2, W / 2)`."""
        return self.conv(F.pixel_unshuffle(x, 2))


class Up(nn.Module):
    """Creates a doubling of the resolution, the inverse layout of `Down`."""

    def __init__(self, features: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(features, 4 * out, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `(B, C, H, W)` to `(B, out, 2 H, 2 W)`."""
        return F.pixel_shuffle(self.conv(x), 2)


class Fourier(nn.Module):
    r"""Creates the features :math:`(\sin \omega_k t, \cos \omega_k t)` of a time in [0, 1], through a small network.

    Arguments:
        features: The number of features put out, `(B, features)`.
    """

    omega: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        omega = torch.logspace(0, 3, features // 2)
        self.register_buffer("omega", omega, persistent=False)
        self.fc1 = nn.Linear(features, features)
        self.fc2 = nn.Linear(features, features)

    def forward(self, t: Tensor) -> Tensor:
        """Maps `(B,)` to `(B, features)`."""
        angle = t[:, None] * self.omega
        wave = torch.cat([angle.sin(), angle.cos()], dim=1)
        return F.silu(self.fc2(F.silu(self.fc1(wave))))
