r"""The U-Nets of EDM's files, with the names of their checkpoints: `enc.32x32_block0.conv0`.

`Song` is DDPM++ or NCSN++, `Dhariwal` is ADM. The features of the noise :math:`\tau` and of a class,
as the unit vector :math:`\ell` of K, are

.. math:: e = s(W_1 \, s(W_0 (\gamma(\tau) + W_\ell \sqrt{K} \ell))) \qquad \text{or} \qquad
    e = s(W_1 \, s(W_0 \, \gamma(\tau)) + W_\ell \ell)

with waves :math:`\gamma` and the SiLU `s`. Every map has shape (B, C, H, W).

Users: `zoo.edm`.

References:
    | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022)
    | https://arxiv.org/abs/2206.00364
    | Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021)
    | https://arxiv.org/abs/2011.13456
    | Diffusion Models Beat GANs on Image Synthesis (Dhariwal and Nichol, 2021)
    | https://arxiv.org/abs/2105.05233
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentzoo.nn import adm, ddpm
from latentzoo.nn.edm_block import HALF, Aside, Block, Convolution, Fused, Kind, Resample


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Creates the plan of a U-Net.

    Arguments:
        side: The picture's side in pixels.
        channels: The number of channels in.
        outputs: The number of channels out.
        width: The number of channels that `mult` multiplies.
        mult: The multiple at each level; the sides halve from one level to the next.
        depth: The number of blocks per level (on the way up, one more).
        attention: The sides at which blocks have attention.
        noise: The number of waves that tell the noise.
        classes: The number of classes; 0 if there are none.
        kind: What the blocks have in common.
    """

    side: int
    channels: int
    outputs: int
    width: int
    mult: Sequence[int]
    depth: int
    attention: Collection[int]
    noise: int
    kind: Kind
    classes: int = 0


class UNet(nn.Module, ABC):
    """A U-Net of EDM's files: a subclass says how noise and class become features, and what its ends are."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.plan, self.kind = plan, plan.kind
        self.map_layer0 = nn.Linear(plan.noise, plan.kind.features)
        self.map_layer1 = nn.Linear(plan.kind.features, plan.kind.features)
        self.enc, self.dec = nn.ModuleDict(), nn.ModuleDict()

    @abstractmethod
    def embed(self, noise: Tensor, label: Tensor | None) -> Tensor:
        """The features (B, F) of what is told of the noise (B,) and of classes as unit vectors (B, K)."""

    @abstractmethod
    def finish(self, x: Tensor, image: Tensor) -> Tensor:
        """The output, from the end of the way up and the picture that was made on it."""

    def forward(self, x: Tensor, noise: Tensor, label: Tensor | None = None) -> Tensor:
        """Maps (B, i, H, W), what is told of the noise (B,), and classes as unit vectors (B, K) to (B, o, H, W)."""
        features = self.embed(noise, label)
        return self.finish(*self.up(self.down(x, features), features))

    def descend(self, first: int, *, aside: str | None = None) -> list[int]:
        """Creates the way down; gives the channels after each of its parts that the way up reads.

        Arguments:
            first: The number of channels after the first convolution.
            aside: What runs beside it: None, "skip" (the picture, halved) or "residual" (convolutions of it).
        """
        plan, kind, c, beside = self.plan, self.kind, first, self.plan.channels
        skips = []
        for level, multiple in enumerate(plan.mult):
            side = plan.side >> level
            at, o = f"{side}x{side}", plan.width * multiple
            if level == 0:
                self.enc[f"{at}_conv"] = Convolution(plan.channels, c, 3)
            else:
                self.enc[f"{at}_down"] = Block(c, c, kind, rate=-1)
            if level > 0 and aside == "skip":
                self.enc[f"{at}_aux_down"] = Resample(-1, kind.taps)
                self.enc[f"{at}_aux_skip"] = Aside(beside, c, 1)
            if level > 0 and aside == "residual":
                self.enc[f"{at}_aux_residual"] = Fused(beside, c, kind.taps)
                beside = c
            skips.append(c)
            for j in range(plan.depth):
                self.enc[f"{at}_block{j}"] = Block(c, o, kind, attention=side in plan.attention)
                c = o
                skips.append(c)
        return skips

    def climb(self, skips: list[int], *, all_look: bool, pictures: str | None = None) -> int:
        """Creates the way up; gives the channels at its end.

        Arguments:
            skips: The channels of what it reads from the way down.
            all_look: Whether all blocks of a level with attention have it, or the last one.
            pictures: Where the picture is made: None for not here, "last" at the end, "all" at each level.
        """
        plan, kind, c = self.plan, self.kind, skips[-1]
        for level in reversed(range(len(plan.mult))):
            side, lowest = plan.side >> level, level == len(plan.mult) - 1
            at, o = f"{side}x{side}", plan.width * plan.mult[level]
            if lowest:
                self.dec[f"{at}_in0"] = Block(c, c, kind, attention=True)
                self.dec[f"{at}_in1"] = Block(c, c, kind)
            else:
                self.dec[f"{at}_up"] = Block(c, c, kind, rate=1)
            for j in range(plan.depth + 1):
                looks = side in plan.attention and (all_look or j == plan.depth)
                self.dec[f"{at}_block{j}"] = Block(c + skips.pop(), o, kind, attention=looks)
                c = o
            if pictures == "all" and not lowest:
                self.dec[f"{at}_aux_up"] = Resample(1, kind.taps)
            if pictures == "all" or (pictures == "last" and level == 0):
                self.dec[f"{at}_aux_norm"] = kind.normalise(c)
                self.dec[f"{at}_aux_conv"] = Convolution(c, plan.outputs, 3)
        return c

    def down(self, x: Tensor, features: Tensor) -> list[Tensor]:
        """The maps of the way down that the way up reads, of pictures (B, C, H, W)."""
        skips, aside = [], x
        for part in self.enc.values():
            if isinstance(part, Resample):
                aside = part(aside)
            elif isinstance(part, Aside):
                x = skips[-1] = x + part(aside)
            elif isinstance(part, Fused):
                x = skips[-1] = aside = (x + part(aside)) * HALF
            else:
                x = part(x, features) if isinstance(part, Block) else part(x)
                skips.append(x)
        return skips

    def up(self, skips: list[Tensor], features: Tensor) -> tuple[Tensor, Tensor]:
        """The end of the way up (B, C, H, W), and the picture made on it; the number 0 where none is."""
        x = h = skips[-1]
        image = x.new_zeros(())
        for part in self.dec.values():
            if isinstance(part, Block):
                joined = x if x.shape[1] == part.i else torch.cat((x, skips.pop()), dim=1)
                x = part(joined, features)
            elif isinstance(part, Resample):
                image = part(image)
            elif isinstance(part, nn.GroupNorm):
                h = F.silu(part(x))
            else:
                image = image + part(h)
        return x, image


class Waves(nn.Module):
    """Creates `count` frequencies as random as NCSN++ has them: the file's, a buffer."""

    freqs: Tensor

    def __init__(self, count: int) -> None:
        super().__init__()
        self.register_buffer("freqs", 16 * torch.randn(count))

    def forward(self, noise: Tensor) -> Tensor:
        """Maps what is told of the noise (B,) to sines, then cosines: (B, 2 count)."""
        angle = noise[:, None] * (2 * math.pi * self.freqs).to(noise.dtype)
        return torch.cat((angle.sin(), angle.cos()), dim=1)


class Song(UNet):
    """Creates DDPM++ or NCSN++ as EDM has them.

    Arguments:
        plan: The levels and their sizes.
        fourier: Whether the waves have random frequencies, or a geometric row of them.
        aside: What runs beside the way down, see `UNet.descend`.
        pictures: Whether each level of the way up adds a picture ("all"), or the last one makes it ("last").
    """

    def __init__(
        self,
        plan: Plan,
        *,
        fourier: bool = False,
        aside: str | None = None,
        pictures: str = "last",
    ) -> None:
        super().__init__(plan)
        self.map_noise = Waves(plan.noise // 2) if fourier else None
        self.map_label = nn.Linear(plan.classes, plan.noise) if plan.classes else None
        self.climb(self.descend(plan.width, aside=aside), all_look=False, pictures=pictures)

    def embed(self, noise: Tensor, label: Tensor | None) -> Tensor:
        waves = self.map_noise or (lambda tau: ddpm.time_features(tau, self.plan.noise))
        e = waves(noise)
        if self.map_label is not None and label is not None:
            e = e + self.map_label(label * math.sqrt(self.plan.classes))
        return F.silu(self.map_layer1(F.silu(self.map_layer0(e))))

    def finish(self, x: Tensor, image: Tensor) -> Tensor:
        return image


class Dhariwal(UNet):
    """Creates ADM as EDM has it.

    Arguments:
        plan: The levels and their sizes.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        k = plan.classes
        self.map_label = nn.Linear(k, plan.kind.features, bias=False) if k else None
        last = self.climb(self.descend(plan.width * plan.mult[0]), all_look=True)
        self.out_norm = plan.kind.normalise(last)
        self.out_conv = Convolution(last, plan.outputs, 3)

    def embed(self, noise: Tensor, label: Tensor | None) -> Tensor:
        e = F.silu(self.map_layer0(adm.time_features(noise, self.plan.noise)))
        e = self.map_layer1(e)
        if self.map_label is not None and label is not None:
            e = e + self.map_label(label)
        return F.silu(e)

    def finish(self, x: Tensor, image: Tensor) -> Tensor:
        return self.out_conv(F.silu(self.out_norm(x)))
