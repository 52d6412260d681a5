"""The network of StyleSwin: two blocks at each resolution, what they add to the image, and the way to the next."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.errors import SpecError
from latentzoo.nn import channels as pictures
from latentzoo.nn import fir
from latentzoo.nn.mapping import Mapping
from latentzoo.options import Count, Positive
from latentzoo.zoo.styleswin.blocks import Block

WINDOW = 8


class StyleSwinNetwork(nn.Module):
    """Creates the network of StyleSwin.

    Arguments:
        size: The image's side, a power of two from 8 on.
        style_dim: The size of the latent and of the style.
        n_mlp: The number of layers of the mapping.
        channel_multiplier: The unit of the widths from 64 x 64 on.
        lr_mlp: The learning rate of the mapping that its weights were scaled for.
        enable_full_resolution: Up to this side a window is the whole map.
        mlp_ratio: The hidden width of the blocks' MLPs, in widths.
        qkv_bias: Whether queries, keys and values have a bias.
        qk_scale: What multiplies the products of queries and keys; one over the root of the head's
            width by default.
        channels: The number of the picture's channels: 3, or 1 where it is grey.
    """

    def __init__(
        self,
        *,
        size: Count,
        style_dim: Count = 512,
        n_mlp: Count = 8,
        channel_multiplier: Count = 2,
        lr_mlp: Positive = 0.01,
        enable_full_resolution: Count = 8,
        mlp_ratio: Positive = 4,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        channels: Count = 3,
    ) -> None:
        super().__init__()
        self.channels = pictures.require(channels)
        sides = [2**i for i in range(2, size.bit_length())]
        if len(sides) < 2 or sides[-1] != size:
            raise SpecError(f"StyleSwin has no size {size}; give a power of two from 8 on")
        widths = [512 if side < 64 else 256 * channel_multiplier * 64 // side for side in sides]
        self.size, self.style_dim = (size, size), style_dim
        self.mapping = Mapping(style_dim, style_dim, layers=n_mlp, lr=lr_mlp)
        self.constant = nn.Parameter(torch.randn(4, 4, widths[0]))
        self.layers = nn.ModuleList()
        for side, c, c_next in zip(sides, widths, [*widths[1:], widths[-1]], strict=True):
            window = side if side <= enable_full_resolution else WINDOW
            shift = window // 2 if side > window else 0
            blocks = [
                Block(c, style_dim, window, shift, mlp_ratio, qkv_bias, qk_scale) for _ in range(2)
            ]
            upsample = Upsample(c, c_next, 2 * side) if side < size else None
            self.layers.append(Stage(blocks, upsample, c_next, channels))

    def forward(self, w: Float[Tensor, "B D"]) -> Float[Tensor, "B C H W"]:
        """Maps styles (B, D) to images in the network's units."""
        x = self.constant.expand(len(w), -1, -1, -1)
        image = x.new_zeros(len(w), self.channels, *x.shape[1:3])
        for layer in self.layers:
            x, image = layer(x, image, w)
        return image


class Upsample(nn.Module):
    """Creates the passage to twice the resolution, where each token learns its position.

    Arguments:
        c: The width of the input.
        c_next: The width of the output.
        side: The side of the output.
    """

    sines: Tensor

    def __init__(self, c: int, c_next: int, side: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(c)
        self.reduction = nn.Linear(c, c_next, bias=False)
        self.alpha = nn.Parameter(torch.zeros(1))
        half = c_next // 4
        frequency = torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))
        angle = torch.arange(1, side + 1)[:, None] * frequency
        self.register_buffer(
            "sines", torch.cat([angle.sin(), angle.cos()], dim=1), persistent=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (B, H, W, C) to (B, 2H, 2W, C_next)."""
        x = F.interpolate(x.movedim(-1, 1), scale_factor=2, mode="bilinear").movedim(1, -1)
        column, row = self.reduction(self.norm(x)).chunk(2, dim=-1)
        position = self.alpha * self.sines
        return torch.cat([column + position, row + position[:, None]], dim=-1)


class Stage(nn.Module):
    """Creates the two blocks of one resolution, the passage to the next, and the colours they add to the image.

    Arguments:
        blocks: The blocks.
        upsample: The passage to twice the resolution, except in the last stage.
        c: The width after it.
        channels: The number of the image's channels.
    """

    def __init__(
        self, blocks: Sequence[Block], upsample: Upsample | None, c: int, channels: int
    ) -> None:
        super().__init__()
        self.blocks, self.upsample = nn.ModuleList(blocks), upsample
        self.to_rgb = nn.Linear(c, channels)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, image: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        """Maps tokens (B, H, W, C) and an image (B, channels, H, W), both to twice the resolution if there is one."""
        for block in self.blocks:
            x = block(x, w)
        if self.upsample is not None:
            x, image = self.upsample(x), fir.upsample(image)
        return x, image + (self.to_rgb(x) + self.bias).movedim(-1, 1)
