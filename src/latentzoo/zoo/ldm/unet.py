"""The U-Net of latent diffusion: that of guided diffusion, or one with transformers that attend to the class."""

from collections.abc import Collection, Sequence

import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from latentzoo.nn import adm, ddpm
from latentzoo.nn.attention import attend, count_heads
from latentzoo.nn.pointwise import Pointwise
from latentzoo.options import Count


def denoiser(
    channels: int,
    *,
    width: int,
    mult: Sequence[Count],
    depth: int,
    attention: Collection[Count],
    heads: int | None = None,
    head_width: int | None = None,
    modulate: bool = False,
    resample: bool = False,
    transformer: int = 0,
    context: int = 0,
) -> adm.UNet:
    """Creates the U-Net.

    Arguments:
        channels: The number of channels of the code.
        width: The number of channels at full resolution.
        mult: The multiple of `width` at each level.
        depth: The number of residual blocks per level.
        attention: The factors of downsampling at which attention follows each residual block.
        heads: The number of heads; None for as many as have `head_width` channels.
        head_width: The number of channels of each head; not read where `heads` is given.
        modulate: Whether the time scales and shifts, or is added.
        resample: Whether residual blocks halve and double the sides, or convolutions.
        transformer: The number of transformer blocks in place of self-attention.
        context: The number of features of each token that they attend to.

    Raises:
        SpecError: If the heads do not divide the channels.
    """
    block = lambda i, o, how=adm.keep: adm.TimeBlock(
        i, o, 4 * width, modulate=modulate, resample=how
    )
    count = lambda c: count_heads(c, heads, head_width)
    plan = adm.Plan(
        width=width,
        mult=mult,
        depth=depth,
        attention=attention,
        residual=block,
        attend=lambda c: (
            SpatialTransformer(c, count(c), context, transformer)
            if transformer
            else adm.AttentionBlock(c, count(c))
        ),
        down=lambda c: block(c, c, adm.halve) if resample else adm.Downsample(c),
        up=lambda c: block(c, c, adm.double) if resample else ddpm.Upsample(c),
    )
    return adm.UNet(channels, channels, 4 * width, plan)


class SpatialTransformer(adm.Conditional):
    """Creates a transformer over all positions, which also attends to the context.

    Arguments:
        channels: The number of channels, in and out.
        heads: The number of heads.
        context: The number of features of each token of the context.
        depth: The number of transformer blocks.
    """

    def __init__(self, channels: int, heads: int, context: int, depth: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.proj_in = Pointwise(channels, channels)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(channels, heads, context) for _ in range(depth)
        )
        self.proj_out = Pointwise(channels, channels)

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        """Maps (B, C, H, W) and tokens (B, n, context) to (B, C, H, W)."""
        h = self.proj_in(self.norm(x)).flatten(2).mT
        for block in self.transformer_blocks:
            h = block(h, context)
        return x + self.proj_out(h.mT.reshape(x.shape))


class TransformerBlock(nn.Module):
    """Creates self-attention, attention to the context and a gated perceptron."""

    def __init__(self, features: int, heads: int, context: int) -> None:
        super().__init__()
        self.attn1 = CrossAttention(features, heads, features)
        self.attn2 = CrossAttention(features, heads, context)
        self.ff = FeedForward(features)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(features) for _ in range(3))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Maps tokens (B, N, F), given the context (B, n, context), to (B, N, F)."""
        h = self.norm1(x)
        x = x + self.attn1(h, h)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class CrossAttention(nn.Module):
    """Creates attention of tokens of `features` to tokens of `context` numbers."""

    def __init__(self, features: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(features, features, bias=False)
        self.to_k = nn.Linear(context, features, bias=False)
        self.to_v = nn.Linear(context, features, bias=False)
        self.to_out = nn.Sequential(nn.Linear(features, features))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Maps tokens (B, N, F), given the context (B, n, context), to (B, N, F)."""
        q, k, v = self.to_q(x), self.to_k(context), self.to_v(context)
        q, k, v = (rearrange(a, "b n (h c) -> b h n c", h=self.heads) for a in (q, k, v))
        return self.to_out(rearrange(attend(q, k, v), "b h n c -> b n (h c)"))


class FeedForward(nn.Module):
    """Creates a gated perceptron; the middle of its three layers is a dropout, without effect."""

    def __init__(self, features: int) -> None:
        super().__init__()
        gate, out = GEGLU(features, 4 * features), nn.Linear(4 * features, features)
        self.net = nn.Sequential(gate, nn.Identity(), out)

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (B, N, F) to the same shape."""
        return self.net(x)


class GEGLU(nn.Module):
    r"""Creates the gated activation :math:`a \, \mathrm{gelu}(b)` of one linear map."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.proj = nn.Linear(i, 2 * o)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., i) to (..., o)."""
        a, gate = self.proj(x).chunk(2, dim=-1)
        return a * F.gelu(gate)
