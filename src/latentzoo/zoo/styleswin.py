r"""StyleSwin: a generator of window attention, whose tokens are styled by :math:`w`.

The mapping turns the latent into a style :math:`f(z)`, and the truncation :math:`\psi` draws it towards its mean,
:math:`w = \bar{w} + \psi (f(z) - \bar{w})`. From a learned map of :math:`4 \times 4` tokens, each resolution has two
blocks

.. math:: x \leftarrow x + P \, (a_0(\tilde{x}) \oplus a_1(\tilde{x})), \qquad
    x \leftarrow x + \mathrm{MLP}(\tilde{x}), \qquad
    \tilde{x} = \gamma(w) \, \frac{x - \mu(x)}{\sigma(x)} + \beta(w)

where half of the heads, :math:`a_0`, attends within plain windows and the other half, :math:`a_1`, within windows
shifted by half their side. Each resolution adds to the colours of the image, in units of ImageNet's deviation around
its mean.

References:
    | StyleSwin: Transformer-based GAN for High-resolution Image Generation (Zhang et al., 2022)
    | https://arxiv.org/abs/2112.10762
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo import options
from latentzoo.errors import SpecError
from latentzoo.generator import Generator
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.dialects import binomial
from latentzoo.hub.keys import Rule
from latentzoo.nn import channels as pictures
from latentzoo.nn import fir
from latentzoo.nn.mapping import Linear, Mapping
from latentzoo.nn.truncation import MeanStyle
from latentzoo.options import Count, Positive
from latentzoo.space import Space

WINDOW = 8
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class StyleSwin(Generator):
    r"""Creates a StyleSwin generator; its latent is the block `style`.

    Arguments:
        network: The network.
        truncation: The truncation :math:`\psi`, at most 1, which leaves the styles as they are.
        samples: From how many latents, of a fixed seed, the mean style is estimated.
        mean: The brightness in [0, 1] that is 0 to the network; ImageNet's colours by default, which a network of grey
            pictures does not have.
        std: The brightness of its unit.

    Raises:
        SpecError: If the truncation is out of range, or the units of grey pictures are missing.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: "StyleSwinNetwork",
        *,
        truncation: float = 1.0,
        samples: int = 50_000,
        mean: float | None = None,
        std: float | None = None,
    ) -> None:
        super().__init__()
        if not -math.inf < truncation <= 1:
            raise SpecError(f"the truncation {truncation} is out of range; give at most 1")
        self.network, self.truncation = network, truncation
        if network.channels == pictures.GREY and (mean is None or std is None):
            raise SpecError(
                "the file does not say in which units this network's grey pictures are; give mean= and std=, "
                "0.5 and 0.5 where it was trained on [-1, 1]"
            )
        units = {"mean": (mean, IMAGENET_MEAN), "std": (std, IMAGENET_STD)}
        for name, (given, usual) in units.items():
            unit = torch.tensor(usual if given is None else (given,))[:, None, None]
            self.register_buffer(name, unit, persistent=False)
        self.w_mean = MeanStyle(network.style_dim, draws=samples)
        self.space, self.size = Space(style=(network.style_dim,)), network.size

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        w = self.network.mapping(self.space.split(z)["style"])
        if self.truncation < 1:
            w = torch.lerp(self.mean_style(), w, self.truncation)
        return pictures.coloured(self.network(w) * self.std + self.mean)

    def mean_style(self) -> Float[Tensor, "D"]:
        """The mean of w over `samples` latents."""
        return self.w_mean(self.network.mapping, like=self.network.constant)


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


class Stage(nn.Module):
    """Creates the two blocks of one resolution, the passage to the next, and the colours they add to the image.

    Arguments:
        blocks: The blocks.
        upsample: The passage to twice the resolution, except in the last stage.
        c: The width after it.
        channels: The number of the image's channels.
    """

    def __init__(
        self, blocks: Sequence["Block"], upsample: "Upsample | None", c: int, channels: int
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


class Block(nn.Module):
    """Creates a block: attention in plain and in shifted windows side by side, then an MLP.

    Arguments:
        c: The width.
        style_dim: The size of the style.
        window: The side of the windows.
        shift: By how much the second half of the heads shifts them.
        mlp_ratio: The hidden width of the MLP, in widths.
        qkv_bias: Whether queries, keys and values have a bias.
        scale: What multiplies the products of queries and keys.
    """

    def __init__(
        self,
        c: int,
        style_dim: int,
        window: int,
        shift: int,
        mlp_ratio: float,
        qkv_bias: bool,
        scale: float | None,
    ) -> None:
        super().__init__()
        self.heads = max(c // 32, 4) // 2
        self.norm1 = StyledNorm(c, style_dim)
        self.qkv = nn.Linear(c, 3 * c, bias=qkv_bias)
        self.attn = nn.ModuleList(
            [WindowAttention(self.heads, window, s, scale) for s in (0, shift)]
        )
        self.proj = nn.Linear(c, c)
        self.norm2 = StyledNorm(c, style_dim)
        self.fc1 = nn.Linear(c, int(c * mlp_ratio))
        self.fc2 = nn.Linear(int(c * mlp_ratio), c)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Maps tokens (B, H, W, C) and styles (B, D) to tokens of the same shape."""
        halves = self.qkv(self.norm1(x, w)).unflatten(-1, (3, 2, self.heads, -1)).unbind(4)
        a = [attn(half) for attn, half in zip(self.attn, halves, strict=True)]
        x = x + self.proj(torch.cat(a, dim=-1))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x, w))))


class StyledNorm(nn.Module):
    """Creates an instance norm whose gain and offset are linear in the style."""

    def __init__(self, c: int, style_dim: int) -> None:
        super().__init__()
        self.style = Linear(style_dim, 2 * c)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        gamma, beta = self.style(w)[:, None, None].chunk(2, dim=-1)
        variance, mean = torch.var_mean(x, dim=(1, 2), correction=0, keepdim=True)
        return torch.addcmul(beta, gamma * (variance + 1e-5).rsqrt(), x - mean)


class WindowAttention(nn.Module):
    """Creates attention within square windows, with a learned bias per relative position.

    Shifted windows reach over the right and lower edges to the opposite sides; a mask keeps apart what is not adjacent
    in the map. It has four patterns: the window is in the last row or not, and in the last column or not.

    Arguments:
        heads: The number of heads.
        window: The side of the windows.
        shift: By how much they are moved right and down.
        scale: What multiplies the products of queries and keys.
    """

    index: Tensor
    mask: Tensor

    def __init__(self, heads: int, window: int, shift: int, scale: float | None) -> None:
        super().__init__()
        self.window, self.shift, self.scale = window, shift, scale
        self.bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        at = torch.cartesian_prod(torch.arange(window), torch.arange(window))
        dy, dx = (at[:, None] - at[None] + window - 1).unbind(-1)
        self.register_buffer("index", dy * (2 * window - 1) + dx, persistent=False)
        wrapped = at >= window - shift
        y, x = (wrapped[:, None] != wrapped[None]).unbind(-1)
        apart = torch.stack([torch.zeros_like(x), x, y, y | x]).unflatten(0, (2, 2))
        self.register_buffer("mask", -100.0 * apart, persistent=False)

    def forward(self, qkv: Tensor) -> Tensor:
        """Maps queries, keys and values (B, H, W, 3, heads, d) to values (B, H, W, heads d)."""
        n, s = self.window, self.shift
        bias = self.bias_table[self.index].movedim(-1, 0)
        windows = "t b y x h (i j) d"
        qkv = rearrange(qkv.roll((-s, -s), (1, 2)), f"b (y i) (x j) t h d -> {windows}", i=n, j=n)
        values = self.shifted(qkv, bias) if s else self.attend(qkv, bias)
        values = rearrange(values, f"{windows[2:]} -> b (y i) (x j) (h d)", i=n)
        return values.roll((s, s), (1, 2))

    def shifted(self, qkv: Tensor, bias: Tensor) -> Tensor:
        """Attention over windows that are shifted, where those at the border hold parts of two."""
        rows = [
            zip(row.tensor_split([-1], dim=3), masks, strict=True)
            for row, masks in zip(qkv.tensor_split([-1], dim=2), self.mask, strict=True)
        ]
        parts = [[self.attend(part, bias + mask) for part, mask in row] for row in rows]
        return torch.cat([torch.cat(row, dim=2) for row in parts], dim=1)

    def attend(self, qkv: Tensor, bias: Tensor) -> Tensor:
        """Attention within each window."""
        q, k, v = qkv.flatten(1, 3)
        values = F.scaled_dot_product_attention(q, k, v, attn_mask=bias[None], scale=self.scale)
        return values.unflatten(0, qkv.shape[1:4])


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


def build(
    *,
    truncation: float = 1.0,
    samples: Count = 50_000,
    mean: float | None = None,
    std: Positive | None = None,
    **config: Any,
) -> StyleSwin:
    """Builds a generator from the arguments of `StyleSwin` and of `StyleSwinNetwork`."""
    network = StyleSwinNetwork(**config)
    return StyleSwin(network, truncation=truncation, samples=samples, mean=mean, std=std)


def official(generator: StyleSwin) -> list[Rule]:
    """The names of the official files."""
    n_mlp = len(generator.network.mapping)
    return [
        Rule("{x*}.relative_position_index", None),
        Rule("{x*}.attn_mask2", None),
        Rule("{x*}._float_tensor", None),
        Rule("{x*}.upsample.kernel", None, known=binomial),
        Rule("{x*}.relative_position_bias_table", "network.{x}.bias_table"),
        *(Rule(f"style.{i + 1}.{{x}}", f"network.mapping.fc{i}.{{x}}") for i in range(n_mlp)),
        Rule("{x*}.mlp.{y*}", "network.{x}.{y}"),
        Rule("input.input", "network.constant", "1 c h w -> h w c"),
        Rule("to_rgbs.{i}.conv.weight", "network.layers.{i}.to_rgb.weight", "o i 1 1 -> o i"),
        Rule("to_rgbs.{i}.conv.bias", "network.layers.{i}.to_rgb.bias"),
        Rule("to_rgbs.{i}.bias", "network.layers.{i}.bias", "1 c 1 1 -> c"),
        Rule("{x*}", "network.{x}"),
    ]


KEYS: dict[str, Callable[[StyleSwin], list[Rule]]] = {"official": official}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the configuration of a StyleSwin file from the shapes of its tensors."""
    shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}
    table = "layers.{}.blocks.0.attn.0.relative_position_bias_table"
    stages = sum(table.format(i) in shapes for i in range(len(shapes)))
    if stages == 0 or "style.1.weight" not in shapes:
        return None
    windows = {4 << i: (math.isqrt(shapes[table.format(i)][0]) + 1) // 2 for i in range(stages)}
    width, hidden = shapes["layers.0.blocks.0.mlp.fc2.weight"]
    config = {
        "size": 4 << (stages - 1),
        "style_dim": shapes["style.1.weight"][1],
        "n_mlp": sum(f"style.{i}.weight" in shapes for i in range(len(shapes))),
        "enable_full_resolution": max(4, *(side for side in windows if side == windows[side])),
        "mlp_ratio": hidden / width,
        "channels": shapes["to_rgbs.0.bias"][1],
        "qkv_bias": "layers.0.blocks.0.qkv.bias" in shapes,
    }
    if stages > 4:
        config["channel_multiplier"] = shapes["layers.4.blocks.0.proj.bias"][0] // 256
    assumed = options.defaults(StyleSwinNetwork, "lr_mlp", why="as in published files")
    return {"config": config, "keys": "official", "assumed": assumed}
