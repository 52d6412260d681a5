r"""Denoising diffusion GAN (DDGAN): a diffusion of two to four steps, each a draw of a GAN.

From :math:`x_T \sim \mathcal{N}(0, I)`, each step draws a picture and goes back to less noise,

.. math:: \hat{x}_t = G(x_t, t, u_t), \qquad
    x_{t-1} = \mu_t(\hat{x}_t, x_t) + \sigma_t \, \varepsilon_t \sim q(x_{t-1} \mid x_t, \hat{x}_t)

with Gaussian :math:`u_t` and :math:`\varepsilon_t`; the last step gives the picture itself. The
image is a function of three blocks: `start` is :math:`x_T`, `code` the :math:`u_t` and `noise` the
:math:`\varepsilon_t`, in the order of their use. The network is an NCSN++ whose normalisations are
modulated by the code.

References:
    | Tackling the Generative Learning Trilemma with Denoising Diffusion GANs (Xiao et al., 2022)
    | https://arxiv.org/abs/2112.07804
    |
    | Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021)
    | https://arxiv.org/abs/2011.13456
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import accumulate, pairwise
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from msgspec import Meta
from torch import Tensor, nn

from latentzoo.compiling import outermost
from latentzoo.diffusion import memory
from latentzoo.diffusion.reverse import posterior
from latentzoo.diffusion.schedule import VP, Discrete
from latentzoo.generator import Generator
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule, prefixed
from latentzoo.nn import channels as pictures
from latentzoo.nn.adm import Conditional, Stage
from latentzoo.nn.attention import attend
from latentzoo.nn.ddpm import time_features
from latentzoo.nn.fir import blur, downsample, upsample
from latentzoo.nn.levels import attending
from latentzoo.nn.levels import require as require_levels
from latentzoo.nn.pointwise import Pointwise
from latentzoo.options import Count, Natural, Weight
from latentzoo.space import Space

STEPS = 1000
"""More steps than a diffusion without adversary has; each has a noise of a picture's size."""


class DDGAN(Generator):
    r"""Creates a DDGAN generator.

    Arguments:
        network: The network :math:`G(x_t, t, u_t)`.
        schedule: The noise at each of the :math:`T` times; part of the model.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.
    """

    def __init__(
        self, network: "NCSNpp", schedule: Discrete, *, recompute: memory.Recompute = "auto"
    ) -> None:
        super().__init__()
        self.network, self.size = network, network.size
        self.recompute: memory.Recompute = recompute
        T = len(schedule.alpha_bar)
        self.levels = schedule.levels(range(T - 1, -2, -1))
        shape = (network.channels, *self.size)
        self.space = Space(start=shape, code=(T, network.code), noise=(T - 1, *shape))

    def repeated(self) -> Iterator[nn.Module]:
        return outermost(self)

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        x_T, code, noise = self.space.split(z).values()

        def step(x_t: Tensor, k: int) -> Tensor:
            t, s = self.levels[k : k + 2]
            x_0 = self.network(x_t, x_t.new_full((len(x_t),), t.time), code[:, k])
            return posterior(x_t, x_0, t, s).push(noise[:, k]) if s.sigma > 0 else x_0

        steps = range(len(self.levels) - 1)
        image = memory.fold(step, x_T, steps, recompute=self.recompute)
        return pictures.coloured((image + 1) / 2)


def ddgan_schedule(steps: int, beta_min: float = 0.1, beta_max: float = 20.0) -> Discrete:
    """The variance preserving path, read at `steps` + 1 times; what is lost before the first of
    them counts as nothing, so that the last step gives the picture."""
    path = VP(beta_min, beta_max).levels(1e-3 + (1 - 1e-3) * i / steps for i in range(steps + 1))
    return Discrete.from_betas(1 - (t.alpha / s.alpha) ** 2 for s, t in pairwise(path))


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


def build(
    *,
    resolution: Count = 256,
    width: Count = 64,
    mult: Sequence[Count] = (1, 1, 2, 2, 4, 4),
    depth: Count = 2,
    attention: Collection[Count] | None = None,
    levels: Collection[Natural] | None = None,
    code: Count = 100,
    style: Count = 256,
    mapping: Count = 4,
    channels: Count = 3,
    steps: Annotated[int, Meta(ge=1, le=STEPS)] = 2,
    beta_min: Weight = 0.1,
    beta_max: Weight = 20.0,
    recompute: memory.Recompute = "auto",
) -> DDGAN:
    """Creates a DDGAN generator; the defaults are those of CelebA-HQ 256.

    Arguments:
        attention: The sides at which there is attention; None for those of `levels`, or for 16.
        levels: The levels that attend, 0 that of the picture, as tensors tell them.
        steps: The number of steps the network was trained for.
        beta_min: The rate of noise at the start of the path.
        beta_max: The rate of noise at its end.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.
        others: See `NCSNpp`.

    Raises:
        SpecError: If `attention` and `levels` are not the same.
    """
    network = NCSNpp(
        resolution=resolution,
        width=width,
        mult=mult,
        depth=depth,
        attention=[resolution >> i for i in attending(resolution, attention, levels)],
        code=code,
        style=style,
        mapping=mapping,
        channels=channels,
    )
    return DDGAN(network, ddgan_schedule(steps, beta_min, beta_max), recompute=recompute)


def official(network: NCSNpp) -> list[Rule]:
    """The rules of the published files, which number the modules in the order of execution."""
    kinds = ResBlock | Attention | Pyramid
    units = [name for name, module in network.named_modules() if isinstance(module, kinds)]
    rules = [
        Rule(f"z_transform.{2 * j + 1}.{{t}}", f"mapping.{j}.{{t}}")
        for j in range(len(network.mapping))
    ]
    for n, unit in enumerate(["time.0", "time.1", "stem", *units, "norm", "head"]):
        parts = [
            Rule("{t}", "{t}"),
            Rule("Conv_0.{t}", "conv1.{t}"),
            Rule("Conv_1.{t}", "conv2.{t}"),
            Rule("Conv_2.{t}", "skip.{t}"),
            Rule("Dense_0.{t}", "time.{t}"),
            Rule("GroupNorm_0.style.{t}", "norm1.style.{t}"),
            Rule("GroupNorm_1.style.{t}", "norm2.style.{t}"),
            Rule("GroupNorm_0.{t}", "norm.{t}"),
            Rule("Conv2d_0.{t}", "conv.{t}"),
        ]
        for k, ours in enumerate(("q", "k", "v", "out")):
            parts.append(Rule(f"NIN_{k}.W", f"{ours}.weight", "i o -> o i 1 1"))
            parts.append(Rule(f"NIN_{k}.b", f"{ours}.bias"))
        rules += prefixed(f"all_modules.{n}.", parts, f"{unit}.")
    return rules


KEYS: dict[str, Callable[[DDGAN], list[Rule]]] = {
    "official": lambda g: prefixed("module.", official(g.network), "network."),
    "bare": lambda g: prefixed("", official(g.network), "network."),
}
"""The published files were saved from a parallel wrapper (`module.`); `bare` is without."""


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the network from the tensors, and what these do not tell from the training's arguments, if they are there.

    Without them, attention is taken to be at 16 pixels, as in every published model, which gives the resolution.
    """
    bare = {k.removeprefix("module."): v for k, v in checkpoint.tensors.items()}
    if "z_transform.1.weight" not in bare or "all_modules.3.Conv_0.weight" not in bare:
        return None
    kinds = {"Conv_0": "b", "NIN_0": "a", "Conv2d_0": "p"}  # a block, attention, the pyramid
    names = [k.split(".") for k in bare if k.startswith("all_modules.")]
    units = {int(n): kinds[part] for _, n, part, *_ in names if part in kinds}
    levels = "".join(units[n] for n in sorted(units)).split("bp")
    starts = accumulate((len(level) + 2 for level in levels[:-1]), initial=3)
    width = bare["all_modules.2.weight"].shape[0]
    attends = [level for level, parts in enumerate(levels) if parts[1:2] == "a"]
    config = {
        "width": width,
        "mult": [bare[f"all_modules.{n}.Conv_0.weight"].shape[0] // width for n in starts],
        "depth": levels[0].count("b"),
        "levels": attends,
        "code": bare["z_transform.1.weight"].shape[1],
        "style": bare["z_transform.1.weight"].shape[0],
        "channels": bare["all_modules.2.weight"].shape[1],
        "mapping": sum(k.startswith("z_transform.") and k.endswith("weight") for k in bare),
    }
    config["resolution"] = 16 << attends[0] if attends else 256
    assumed = {
        "resolution": f"{config['resolution']}, as if attention were at 16 pixels, as in published models",
        "steps": "2, as for CelebA-HQ",
        "beta_min": "0.1, as in published models",
        "beta_max": "20, as in published models",
    }
    arguments = checkpoint.records.get("args") or {}
    names = {"image_size": "resolution", "num_timesteps": "steps"}
    for name in (*names, "beta_min", "beta_max"):
        if name in arguments:
            config[names.get(name, name)] = arguments[name]
            del assumed[names.get(name, name)]
    dialect = "bare" if "z_transform.1.weight" in checkpoint.tensors else "official"
    return {"config": config, "keys": dialect, "assumed": assumed}
