r"""Latent diffusion of avatars.

A denoiser :math:`v_\theta` on latents of 4 x 16 x 16 numbers and a decoder :math:`D` to pictures of 64 x 64. On the
path :math:`z_t = \cos(\tfrac{\pi}{2} t)\, z_0 + \sin(\tfrac{\pi}{2} t)\, \varepsilon` the reverse process goes through
:math:`T` steps from :math:`t = 1`, where :math:`z_1` is the block `start`, to :math:`t = 0`, equal in the time
:math:`u` of :math:`\tan(\tfrac{\pi}{2} t) = 3 \tan(\tfrac{\pi}{2} u)`, which puts more of them near the noise,

.. math:: z_s = \mu(z_t, v_\theta(z_t, t)) + \eta\, \tilde\sigma\, \varepsilon_s, \qquad x = D(z_0)

With :math:`\eta = 0` (DDIM) the start is all there is. With :math:`\eta > 0` every step but the last reads a noise:
the first `white_box_steps` of them are the block `noise`, the others are fixed.

References:
    | High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022), https://arxiv.org/abs/2112.10752
    | Denoising Diffusion Implicit Models (Song et al., 2021), https://arxiv.org/abs/2010.02502
    | Progressive Distillation for Fast Sampling of Diffusion Models (Salimans and Ho, 2022)
    | https://arxiv.org/abs/2202.00512
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.builtin.networks.autoencoder import Decoder, Encoder
from latentzoo.builtin.networks.unet import CHANNELS, GRID, WIDTHS, UNet
from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.parametrisation import Estimate, from_v
from latentzoo.diffusion.process import ReverseProcess
from latentzoo.diffusion.sampler import DDIM, Pairs
from latentzoo.diffusion.schedule import Level, Schedule
from latentzoo.errors import SpecError
from latentzoo.generator import Generator
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.options import Count, Natural, Share

SHIFT = 3.0
"""How far the steps crowd towards the noise, where the colours of large areas are decided."""


@dataclass(frozen=True)
class Cosine(Schedule):
    r"""Creates the variance preserving path on a quarter of a circle, :math:`\alpha_t = \cos(\pi t / 2)` on [0, 1]."""

    def __call__(self, t: float) -> Level:
        return Level(t, math.sin(math.pi / 2 * (1 - t)), math.sin(math.pi / 2 * t))

    @classmethod
    def shifted(cls, u: float) -> Level:
        r"""The level where the ratio of noise to signal is :data:`SHIFT` times that of the time `u`."""
        return cls()(2 / math.pi * math.atan(SHIFT * math.tan(math.pi / 2 * u)))


def shifted(steps: int) -> Pairs:
    """The steps of a chain, equal in u.

    Raises:
        SpecError: If there are none.
    """
    if steps < 1:
        raise SpecError(f"{steps} steps do not make a chain; give 1 or more")
    return list(pairwise(Cosine.shifted(1 - i / steps) for i in range(steps + 1)))


class LatentDiffusion(ReverseProcess):
    """Creates the generator.

    Arguments:
        denoiser: The network that predicts v, `(B, 4, 16, 16)` and times `(B,)` to `(B, 4, 16, 16)`.
        encoder: Finds the latents of pictures.
        decoder: Makes the pictures of latents.
        steps: The number of steps T.
        eta: How much of each step is fresh noise: 0 for DDIM, 1 for DDPM.
        white_box_steps: How many of the T - 1 noises are part of the latent; None for all.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If there are no steps, `eta` is not in [0, 1], or too many noises are asked for.
    """

    refine = 8

    def __init__(
        self,
        denoiser: nn.Module,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        steps: int = 10,
        eta: float = 0.0,
        white_box_steps: int | None = None,
        recompute: Recompute = "auto",
    ) -> None:
        super().__init__(
            shape=(CHANNELS, GRID, GRID),
            size=(64, 64),
            pairs=shifted(steps),
            sampler=DDIM(eta),
            white_box_steps=white_box_steps,
            recompute=recompute,
        )
        self.denoiser, self.encoder, self.decoder = denoiser, encoder, decoder

    def estimate(self, x_t: Float[Tensor, "B 4 16 16"], t: Level) -> Estimate:
        return from_v(self.denoiser(x_t, x_t.new_full((len(x_t),), t.time)), x_t, t)

    def show(self, x_0: Float[Tensor, "B 4 16 16"]) -> Float[Tensor, "B 3 64 64"]:
        return self.decoder(x_0)

    def see(self, image: Float[Tensor, "B 3 64 64"]) -> Float[Tensor, "B 4 16 16"]:
        return self.encoder(image)


def build(
    *,
    widths: Sequence[int] = WIDTHS,
    steps: Count = 10,
    eta: Share = 0.0,
    white_box_steps: Natural | None = None,
    recompute: Recompute = "auto",
) -> LatentDiffusion:
    """Builds the generator with random weights.

    Arguments:
        widths: The widths of the denoiser.
        steps: The number of steps.
        eta: How much of each step is fresh noise.
        white_box_steps: How many of the noises are part of the latent; None for all.
        recompute: What each step keeps for the gradient.
    """
    return LatentDiffusion(
        UNet(channels=CHANNELS, size=GRID, widths=widths),
        Encoder(),
        Decoder(),
        steps=steps,
        eta=eta,
        white_box_steps=white_box_steps,
        recompute=recompute,
    )


KEYS: dict[str, Callable[[Generator], list[Rule]]] = {
    "avatar": lambda generator: [
        Rule(f"{part}.{{name*}}", f"{part}.{{name}}")
        for part in ("denoiser", "encoder", "decoder")
    ]
}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """The configuration of a weight file of this family, or None."""
    shapes = checkpoint.shapes
    if not {"denoiser.place", "encoder.moments.running_mean"} <= set(shapes):
        return None
    downs = (f"denoiser.down.{level}.conv.bias" for level in range(len(shapes)))
    widths = [shapes["denoiser.place"][1], *(shapes[key][0] for key in downs if key in shapes)]
    return {"config": {"widths": widths}, "keys": "avatar"}
