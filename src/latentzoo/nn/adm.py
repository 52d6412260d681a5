r"""The U-Net of the ADM lineage, with the names of its checkpoints: `input_blocks.1.0.in_layers`.

A residual block resamples between its first activation and convolution; how the time and a context
enter its second half :math:`g` is its own matter,

.. math:: f(x) = \mathrm{skip}(r(x)) + g(W_1 \, r(s(n_1(x))), \, \text{time}, \text{context})

where `n` is a group normalisation, `s` the SiLU and `r` the identity, a halving or a doubling of
the sides. An attention block looks at all positions. Every map has shape (B, C, H, W).

Users: `nn.openai` and `zoo.ldm` (the U-Net), `zoo.diffae` (the U-Net and the semantic
encoder), `zoo.ddgan` (the stages).

References:
    | Diffusion Models Beat GANs on Image Synthesis (Dhariwal and Nichol, 2021)
    | https://arxiv.org/abs/2105.05233
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from latentzoo.nn.attention import attend
from latentzoo.nn.pointwise import Pointwise, Pointwise1d

Resample = Callable[[Tensor], Tensor]


def time_features(t: Tensor, features: int) -> Tensor:
    """Embeds times (B,) as cosines, then sines, of frequencies 1 to 1/10000: (B, features)."""
    half = features // 2
    frequency = torch.exp(
        torch.arange(half, device=t.device, dtype=t.dtype) * (-math.log(10000) / half)
    )
    angle = t[:, None] * frequency
    return torch.cat((angle.cos(), angle.sin()), dim=1)


def keep(x: Tensor) -> Tensor:
    """Leaves the sides as they are."""
    return x


def halve(x: Tensor) -> Tensor:
    """Halves the sides by the mean of 2x2 pixels."""
    return F.avg_pool2d(x, 2)


def double(x: Tensor) -> Tensor:
    """Doubles the sides by the nearest pixel."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def normalise(channels: int) -> nn.GroupNorm:
    """Creates the group normalisation of this lineage: 32 groups."""
    return nn.GroupNorm(min(32, channels), channels)


class Conditional(nn.Module):
    """A part of a network that also reads what is given beside the map: the time, a context."""


class Stage(nn.ModuleList):
    """Creates one numbered block of a network: parts in sequence."""

    def forward(self, x: Tensor, *given: Any) -> Tensor:
        """Maps (B, i, H, W) and what is given to (B, o, H', W')."""
        for part in self:
            x = part(x, *given) if isinstance(part, Conditional) else part(x)
        return x


class Residual(Conditional, ABC):
    """The frame of a residual block: its first half and its skip connection.

    Arguments:
        i: The number of channels in.
        o: The number of channels out.
        resample: What happens to the sides.
    """

    def __init__(self, i: int, o: int, resample: Resample = keep) -> None:
        super().__init__()
        self.resample = resample
        self.in_layers = nn.Sequential(normalise(i), nn.SiLU(), nn.Conv2d(i, o, 3, padding=1))
        self.skip_connection = nn.Identity() if i == o else Pointwise(i, o)

    @abstractmethod
    def finish(self, h: Tensor, time: Any, context: Any, /) -> Tensor:
        """The second half, where time and context enter: maps (B, o, H, W) to the same shape."""

    def forward(self, x: Tensor, time: Any = None, context: Any = None) -> Tensor:
        """Maps (B, i, H, W), the time's features and the context to (B, o, H', W')."""
        norm, act, conv = self.in_layers
        h = conv(self.resample(act(norm(x))))
        return self.skip_connection(self.resample(x)) + self.finish(h, time, context)


def second_half(o: int) -> nn.Sequential:
    """Creates the layers after the first convolution; the third is a dropout, without effect."""
    return nn.Sequential(normalise(o), nn.SiLU(), nn.Identity(), nn.Conv2d(o, o, 3, padding=1))


def project(features: int, o: int) -> nn.Sequential:
    """Creates the projection of an embedding (B, features) to (B, o)."""
    return nn.Sequential(nn.SiLU(), nn.Linear(features, o))


class TimeBlock(Residual):
    """Creates a residual block that reads the time.

    Arguments:
        i: The number of channels in.
        o: The number of channels out.
        time: The number of features of the time.
        modulate: Whether the time scales and shifts the second normalisation, or is added before.
        resample: What happens to the sides.
    """

    def __init__(
        self, i: int, o: int, time: int, *, modulate: bool, resample: Resample = keep
    ) -> None:
        super().__init__(i, o, resample)
        self.modulate = modulate
        self.emb_layers = project(time, 2 * o if modulate else o)
        self.out_layers = second_half(o)

    def finish(self, h: Tensor, time: Tensor, context: Any) -> Tensor:
        e = self.emb_layers(time)[..., None, None]
        if not self.modulate:
            return self.out_layers(h + e)
        norm, *rest = self.out_layers
        scale, shift = e.chunk(2, dim=1)
        h = norm(h) * (1 + scale) + shift
        for layer in rest:
            h = layer(h)
        return h


class Downsample(nn.Module):
    """Creates a halving of the sides by a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, 2H, 2W) to (B, C, H, W)."""
        return self.op(x)


HEADS_FIRST, PARTS_FIRST = "(h n c)", "(n h c)"
"""How the channels of an attention block are divided: heads, then query, key and value; or these, then heads."""


class AttentionBlock(nn.Module):
    """Creates a self-attention block.

    Arguments:
        channels: The number of channels, in and out.
        heads: The number of heads.
        order: `HEADS_FIRST` or `PARTS_FIRST`.
    """

    def __init__(self, channels: int, heads: int, order: str = HEADS_FIRST) -> None:
        super().__init__()
        self.heads, self.order = heads, order
        self.norm = normalise(channels)
        self.qkv = Pointwise1d(channels, 3 * channels)
        self.proj_out = Pointwise1d(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, H, W) to the same shape."""
        qkv = self.qkv(self.norm(x.flatten(2)))
        q, k, v = rearrange(qkv, f"b {self.order} x -> n b h x c", h=self.heads, n=3)
        h = rearrange(attend(q, k, v), "b h x c -> b (h c) x")
        return x + self.proj_out(h).reshape(x.shape)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Creates the plan of a network: how many levels, and what they are made of.

    Arguments:
        width: The number of channels that `mult` multiplies.
        mult: The multiple at each level; the sides halve from one level to the next.
        depth: The number of residual blocks per level (on the way up, one more).
        attention: The factors of downsampling at which attention follows each residual block.
        residual: Creates a residual block from its channels in and out.
        attend: Creates an attention block from its channels.
        down: Creates a passage to half the sides from its channels.
        up: Creates a passage to twice the sides from its channels.
    """

    width: int
    mult: Sequence[float]
    depth: int
    attention: Collection[int]
    residual: Callable[[int, int], nn.Module]
    attend: Callable[[int], nn.Module]
    down: Callable[[int], nn.Module]
    up: Callable[[int], nn.Module]

    def channels(self, level: int) -> int:
        """The number of channels of a level."""
        return int(self.mult[level] * self.width)

    def parts(self, i: int, level: int) -> list[nn.Module]:
        """Creates a residual block of a level, from `i` channels, and the attention after it."""
        o = self.channels(level)
        return [self.residual(i, o)] + [self.attend(o) for _ in range(2**level in self.attention)]

    def contract(self, i: int) -> tuple[nn.ModuleList, list[int]]:
        """Creates the way down from `i` channels, and lists the channels after each stage."""
        c = self.channels(0)
        stages, channels = [Stage([nn.Conv2d(i, c, 3, padding=1)])], [c]
        for level in range(len(self.mult)):
            for _ in range(self.depth):
                stages.append(Stage(self.parts(c, level)))
                c = self.channels(level)
                channels.append(c)
            if level < len(self.mult) - 1:
                stages.append(Stage([self.down(c)]))
                channels.append(c)
        return nn.ModuleList(stages), channels

    def middle(self, c: int) -> Stage:
        """Creates the lowest part: a residual block, attention, a residual block."""
        return Stage([self.residual(c, c), self.attend(c), self.residual(c, c)])


class UNet(nn.Module):
    """Creates a U-Net.

    Arguments:
        i: The number of channels in.
        o: The number of channels out.
        features: The number of features of the time that the residual blocks read.
        plan: The levels and their parts.
        classes: The number of classes whose features are added to those of the time; 0 for none.
    """

    def __init__(self, i: int, o: int, features: int, plan: Plan, *, classes: int = 0) -> None:
        super().__init__()
        self.width = plan.width
        self.label_emb = nn.Embedding(classes, features) if classes else None
        self.time_embed = nn.Sequential(
            nn.Linear(plan.width, features), nn.SiLU(), nn.Linear(features, features)
        )
        self.input_blocks, skips = plan.contract(i)
        c = skips[-1]
        self.middle_block = plan.middle(c)
        stages = []
        for level in reversed(range(len(plan.mult))):
            for j in range(plan.depth + 1):
                parts = plan.parts(c + skips.pop(), level)
                c = plan.channels(level)
                parts += [plan.up(c) for _ in range(level > 0 and j == plan.depth)]
                stages.append(Stage(parts))
        self.output_blocks = nn.ModuleList(stages)
        self.out = nn.Sequential(normalise(c), nn.SiLU(), nn.Conv2d(c, o, 3, padding=1))

    def forward(
        self, x: Tensor, t: Tensor, context: Any = None, label: Tensor | None = None
    ) -> Tensor:
        """Maps (B, i, H, W), times (B,), what the parts know as context, and classes (B,) to (B, o, H, W)."""
        time = self.time_embed(time_features(t, self.width))
        if self.label_emb is not None and label is not None:
            time = time + self.label_emb(label)
        given = time, context
        skips = []
        for stage in self.input_blocks:
            x = stage(x, *given)
            skips.append(x)
        x = self.middle_block(x, *given)
        for stage in self.output_blocks:
            x = stage(torch.cat((x, skips.pop()), dim=1), *given)
        return self.out(x)


def read_plan(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """Reads width, multiples, depth and attention of a U-Net from its tensors, by our names.

    A stage of the way up that ends in a passage is the last of its level.
    """
    passage = re.compile(r"output_blocks\.(\d+)\.[12]\.(?:conv|in_layers\.0)\.weight")
    stages = len({k.split(".")[1] for k in tensors if k.startswith("output_blocks.")})
    depth = min((int(m[1]) for k in tensors if (m := passage.fullmatch(k))), default=stages - 1)
    first = [1 + level * (depth + 1) for level in range(stages // (depth + 1))]
    width = tensors["time_embed.0.weight"].shape[1]
    rows = (len(tensors[f"input_blocks.{n}.0.in_layers.2.weight"]) for n in first)
    return {
        "width": width,
        "mult": [n // width if n % width == 0 else n / width for n in rows],
        "depth": depth,
        "attention": [
            2**k for k, n in enumerate(first) if f"input_blocks.{n}.1.norm.weight" in tensors
        ],
    }
