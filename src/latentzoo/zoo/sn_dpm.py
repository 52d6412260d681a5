r"""SN-DPM and NPR-DPM: diffusion whose reverse steps have the optimal variance of each pixel.

The network has two heads, the noise :math:`\hat\varepsilon = \mathrm{E}[\varepsilon \mid x_t]` and what its uncertainty
is computed from: the expected square of the noise (SN-DPM) or of the error of the first head (NPR-DPM),

.. math:: h = \mathrm{E}[\varepsilon^2 \mid x_t], \quad v = h - \hat\varepsilon^2 \qquad \text{or} \qquad
    h = v = \mathrm{E}[(\varepsilon - \hat\varepsilon)^2 \mid x_t]

A step is the one of DDPM or DDIM, with the doubt about the picture, through its weight :math:`c` in the mean, added to
the variance:

.. math:: x_s = \mu(x_t) + \sqrt{\sigma^2 + c^2 \mathrm{Cov}[x_0]} \; \varepsilon_s, \qquad
    \mathrm{Cov}[x_0] = \frac{\sigma_t^2}{\alpha_t^2} \, v, \qquad
    c = \alpha_s - \sqrt{\sigma_s^2 - \sigma^2} \, \frac{\alpha_t}{\sigma_t}

The latent is the block `start`, :math:`x_T`, and `noise`, the :math:`\varepsilon_s` in the order of the steps; the last
step, into the picture, has none.

References:
    | Estimating the Optimal Covariance with Imperfect Mean in Diffusion Probabilistic Models (Bao et al., 2022)
    | https://arxiv.org/abs/2206.07309
    |
    | Analytic-DPM: an Analytic Estimate of the Optimal Reverse Variance in Diffusion Probabilistic Models
    | (Bao et al., 2022), https://arxiv.org/abs/2201.06503
"""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.parametrisation import Estimate, from_eps
from latentzoo.diffusion.process import ReverseProcess
from latentzoo.diffusion.reverse import Gaussian, ddim, posterior
from latentzoo.diffusion.sampler import Learned, require_eta
from latentzoo.diffusion.schedule import Discrete, Level, linear_betas
from latentzoo.errors import SpecError, UnknownName
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.nn import channels as pictures
from latentzoo.nn import ddpm
from latentzoo.nn.levels import attending
from latentzoo.nn.levels import require as require_levels
from latentzoo.options import Count, Natural, Positive, Share
from latentzoo.rng import Rng

UNCERTAINTY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "eps2": lambda eps, head: head - eps**2,
    "epsc": lambda eps, head: head,
    "none": lambda eps, head: torch.zeros_like(eps),
}
"""The variance of the noise, from the noise and the second head; "none" is for networks that have no second head."""

PIXEL = {"ddpm": 2.0, "ddim": 1.0}
"""The forward processes, and how far the last noise may move a pixel: its expected distance in units of 1/255."""


class SNDPM(ReverseProcess):
    r"""Creates a generator with optimal reverse variances.

    Arguments:
        network: The network, from (B, C, H, W) and times (B,) to its heads (B, C or 2 C, H, W).
        schedule: The noise at the network's N times.
        head: What the second head predicts, a key of `UNCERTAINTY`.
        steps: The number of steps, from 2 to N.
        forward_type: "ddpm", or "ddim", whose mean has the predicted noise even where the picture was clipped.
        eta: How much of each step of DDIM is fresh noise, in [0, 1].
        clip_pixel: How far noise may move a pixel in the steps to the lowest levels, see `PIXEL`; 0 for any distance.
        clip_index: How many levels above the picture this concerns.
        white_box_steps: How many of the noises are part of the latent, the first ones; None for all. The others are
            fixed by the seed.
        seed: The seed of the fixed noises.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError, UnknownName: If an option is out of range or does not exist.
    """

    def __init__(
        self,
        network: "UNet",
        schedule: Discrete,
        *,
        head: str = "eps2",
        steps: int = 50,
        forward_type: str = "ddpm",
        eta: float = 1.0,
        clip_pixel: float | None = None,
        clip_index: int = 1,
        white_box_steps: int | None = None,
        seed: int = 0,
        recompute: Recompute = "auto",
    ) -> None:
        N = len(schedule.alpha_bar)
        if not 2 <= steps <= N:
            raise SpecError(f"{steps} steps do not fit {N} times; give a number from 2 to {N}")
        if head not in UNCERTAINTY:
            raise UnknownName("second head", head, UNCERTAINTY)
        if (head == "none") != (network.heads == 1):
            raise SpecError(f"the head '{head}' does not fit a network with {network.heads}")
        if forward_type not in PIXEL:
            raise UnknownName("forward process", forward_type, PIXEL)
        require_eta(eta)
        if not 0 <= clip_index <= steps:
            raise SpecError(f"clip_index={clip_index} is out of range; give one from 0 to {steps}")
        times = [n - 1 for n in (0, *trajectory(steps, N))]
        eta = 1.0 if forward_type == "ddpm" else eta
        super().__init__(
            shape=(network.channels, *network.size),
            size=network.size,
            pairs=list(pairwise(schedule.levels(reversed(times)))),
            sampler=Learned(self.step, eta),
            white_box_steps=white_box_steps,
            seed=seed,
            recompute=recompute,
        )
        self.network, self.uncertainty = network, UNCERTAINTY[head]
        self.forward_type, self.eta = forward_type, eta
        pixel = PIXEL[forward_type] if clip_pixel is None else clip_pixel
        self.limit = (pixel * 2 / 255 * math.sqrt(math.pi / 2)) ** 2 if pixel else math.inf
        self.limited, self.unit = times[clip_index], 1000 / N

    def show(self, x_0: Tensor) -> Tensor:
        return pictures.coloured((x_0 + 1) / 2)

    def see(self, image: Tensor) -> Tensor:
        return 2 * pictures.seen(image, self.network.channels) - 1

    def estimate(self, x_t: Tensor, t: Level) -> Estimate:
        return self._read(self.heads(x_t, t)[0], x_t, t)

    def step(self, x_t: Tensor, t: Level, s: Level) -> Gaussian:
        """The distribution of `x_s`, given pictures (B, C, H, W) with noise."""
        eps, second = self.heads(x_t, t)
        q = self._read(eps, x_t, t)
        p = (
            posterior(x_t, q.x_0, t, s)
            if self.forward_type == "ddpm"
            else ddim(q, t, s, eta=self.eta)
        )
        if s.sigma == 0:
            return p
        variance = p.std**2
        c = s.alpha - math.sqrt(max(s.sigma**2 - variance, 0.0)) * t.alpha / t.sigma
        doubt = ((t.sigma / t.alpha) ** 2 * self.uncertainty(eps, second)).clamp(0, 1)
        limit = self.limit if s.time <= self.limited else math.inf
        least = torch.finfo(doubt.dtype).tiny  # the root of 0 has no gradient
        return p._replace(std=(variance + c**2 * doubt).clamp(least, limit).sqrt())

    def _read(self, eps: Tensor, x_t: Tensor, t: Level) -> Estimate:
        return Estimate(from_eps(eps, x_t, t).x_0.clamp(-1, 1), eps)

    def heads(self, x_t: Tensor, t: Level) -> tuple[Tensor, Tensor]:
        """Both predictions, of the shape of `x_t`; a single one is given twice."""
        both = self.network(x_t, x_t.new_full((len(x_t),), t.time * self.unit))
        return both[:, : self.network.channels], both[:, -self.network.channels :]

    def encode(self, image: Float[Tensor, "B 3 H W"], rng: Rng) -> Float[Tensor, "B D"]:
        """Finds latents of images by the DPM-Encoder, with the state before the picture refined.

        Raises:
            SpecError: If noises are fixed, or `eta` is 0.
        """
        if self.eta == 0:
            raise SpecError("an image has no latent where pixels have no noise; give eta above 0")
        return super().encode(image, rng)


def trajectory(steps: int, N: int) -> list[int]:
    """The times of a chain, rising from 1 to N in nearly equal strides."""
    stride, at, times = (N - 1) / (steps - 1), 1.0, []
    for _ in range(steps):
        times.append(round(at))
        at += stride
    return times


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


def build(
    *,
    N: Count = 1000,
    resolution: Count = 64,
    attn_resolutions: Collection[Count] | None = None,
    levels: Collection[Natural] | None = None,
    head: str = "eps2",
    steps: Count = 50,
    forward_type: str = "ddpm",
    eta: Share = 1.0,
    clip_pixel: Positive | None = None,
    clip_index: Natural = 1,
    white_box_steps: Natural | None = None,
    seed: Natural = 0,
    recompute: Recompute = "auto",
    **config: Any,
) -> SNDPM:
    """Builds a generator; the defaults are those of CelebA 64.

    Arguments:
        N: The number of times the network knows.
        resolution: The side of the picture.
        attn_resolutions: The sides at which attention follows each residual block; None for those of `levels`, or 16.
        levels: The levels of these sides, 0 that of the picture, as tensors tell them.
        config: See `UNet`; the others, see `SNDPM`.

    Raises:
        SpecError: If `attn_resolutions` and `levels` are not the same.
    """
    attends = [resolution >> i for i in attending(resolution, attn_resolutions, levels)]
    heads = 1 if head == "none" else 2
    return SNDPM(
        UNet(resolution=resolution, attn_resolutions=attends, heads=heads, **config),
        Discrete.from_betas(linear_betas(n=N)),
        head=head,
        steps=steps,
        forward_type=forward_type,
        eta=eta,
        clip_pixel=clip_pixel,
        clip_index=clip_index,
        white_box_steps=white_box_steps,
        seed=seed,
        recompute=recompute,
    )


KEYS: dict[str, Callable[[SNDPM], list[Rule]]] = {
    "official": lambda _: [Rule("{x*}", "network.{x}")],
}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the network from the tensors.

    What the second head predicts is not in the file; its name may tell. Attention is taken to be at 16 pixels, as in
    every published network, which gives the resolution.
    """
    shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}
    if not shapes.keys() >= {"temb.dense.0.weight", "conv_in.weight", "conv_out.weight"}:
        return None
    count = lambda template: sum(template.format(i) in shapes for i in range(len(shapes)))
    ch = shapes["conv_in.weight"][0]
    levels = range(count("down.{}.block.0.conv1.weight"))
    attends = [i for i in levels if f"down.{i}.attn.0.q.weight" in shapes]
    name = "" if checkpoint.path is None else checkpoint.path.name
    named = [head for head in ("eps2", "epsc") if head in name]
    config: dict[str, Any] = {
        "ch": ch,
        "ch_mult": [shapes[f"down.{i}.block.0.conv1.weight"][0] // ch for i in levels],
        "num_res_blocks": count("down.0.block.{}.conv1.weight"),
        "levels": attends,
        "head": named[0] if len(named) == 1 else "eps2",
        "channels": shapes["conv_in.weight"][1],
        "mode": "complex" if "before_out.conv1.weight" in shapes else "simple",
    }
    config["resolution"] = 16 << attends[0] if attends else 64
    assumed = {
        "resolution": f"{config['resolution']}, as if attention were at 16 pixels, as in published networks",
        "N": "1000 times of linear noise, as in published networks",
    }
    if "conv_out2.weight" not in shapes:
        config["head"] = "none"
    else:
        why = "by the file's name" if len(named) == 1 else "which its name does not tell either"
        assumed["head"] = f"{config['head']}, {why}"
    return {"config": config, "keys": "official", "assumed": assumed}
