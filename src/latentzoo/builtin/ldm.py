r"""Latent diffusion of avatars.

A denoiser :math:`v_\theta` on latents of 4 x 16 x 16 numbers and a decoder :math:`D` to pictures of 64 x 64. On the
path :math:`z_t = \cos(\tfrac{\pi}{2} t)\, z_0 + \sin(\tfrac{\pi}{2} t)\, \varepsilon` the reverse process goes through
:math:`T` steps from :math:`t = 1`, where :math:`z_1` is the block `start`, to :math:`t = 0`, equal in the time
:math:`u` of :math:`\tan(\tfrac{\pi}{2} t) = 3 \tan(\tfrac{\pi}{2} u)`, which puts more of them near the noise,

.. math:: z_s = \mu(z_t, v_\theta(z_t, t)) + \eta\, \tilde\sigma\, \varepsilon_s, \qquad x = D(z_0)

With :math:`\eta = 0` (DDIM) the start is all there is. With :math:`\eta > 0` every step but the last reads a noise:
the first `latent_noises` of them are the block `noise`, the others are fixed.

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
from latentzoo.diffusion.memory import Checkpoint, fold
from latentzoo.diffusion.noise import Noise
from latentzoo.diffusion.parametrisation import Estimate, from_v
from latentzoo.diffusion.reverse import ddim
from latentzoo.diffusion.schedule import Level, Schedule
from latentzoo.errors import SpecError
from latentzoo.generator import Encodable, Generator
from latentzoo.hub.checkpoint import Checkpoint as File
from latentzoo.hub.keys import Rule
from latentzoo.rng import Rng
from latentzoo.space import Space

SHIFT = 3.0
"""How far the steps crowd towards the noise, where the colours of large areas are decided."""


@dataclass(frozen=True)
class Cosine(Schedule):
    r"""Creates the variance preserving path on a quarter of a circle, :math:`\alpha_t = \cos(\pi t / 2)` on [0, 1]."""

    def __call__(self, t: float) -> Level:
        return Level(t, math.cos(math.pi / 2 * t), math.sin(math.pi / 2 * t))

    @classmethod
    def shifted(cls, u: float) -> Level:
        r"""The level where the ratio of noise to signal is :data:`SHIFT` times that of the time `u`."""
        return cls()(2 / math.pi * math.atan(SHIFT * math.tan(math.pi / 2 * u)))


class LatentDiffusion(Generator, Encodable):
    """Creates the generator.

    Arguments:
        denoiser: The network that predicts v, `(B, 4, 16, 16)` and times `(B,)` to `(B, 4, 16, 16)`.
        encoder: Finds the latents of pictures.
        decoder: Makes the pictures of latents.
        steps: The number of steps T.
        eta: How much of each step is fresh noise: 0 for DDIM, 1 for DDPM.
        latent_noises: How many of the T - 1 noises are part of the latent; None for all.
        checkpoint: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If there are no steps, `eta` is not in [0, 1], or too many noises are asked for.
    """

    def __init__(
        self,
        denoiser: nn.Module,
        encoder: nn.Module,
        decoder: nn.Module,
        *,
        steps: int = 10,
        eta: float = 0.0,
        latent_noises: int | None = None,
        checkpoint: Checkpoint = True,
    ) -> None:
        super().__init__()
        if steps < 1 or not 0 <= eta <= 1:
            raise SpecError(
                f"a diffusion of {steps} steps with eta={eta} is not defined; "
                "give at least one step and eta in [0, 1]"
            )
        noises = 0 if eta == 0 else steps - 1 if latent_noises is None else latent_noises
        if not 0 <= noises <= steps - 1:
            raise SpecError(
                f"{noises} noises cannot be latent: {steps} steps read {steps - 1}; give at most that"
            )
        self.denoiser, self.encoder, self.decoder = denoiser, encoder, decoder
        self.eta = eta
        self.checkpoint: Checkpoint = checkpoint
        self.levels = [Cosine.shifted(1 - i / steps) for i in range(steps + 1)]
        shape = (CHANNELS, GRID, GRID)
        self.space = Space(start=shape, **({"noise": (noises, *shape)} if noises else {}))
        self.size = (64, 64)

    def estimate(self, z_t: Float[Tensor, "B 4 16 16"], t: Level) -> Estimate:
        """What the denoiser thinks is mixed in `z_t`."""
        return from_v(self.denoiser(z_t, z_t.new_full((len(z_t),), t.time)), z_t, t)

    def latents(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 4 16 16"]:
        """The end of the reverse process, before the decoder."""
        blocks = self.space.split(z)
        x, moves = blocks["start"], list(pairwise(self.levels))
        if self.eta == 0:
            walk = lambda x, move: ddim(self.estimate(x, move[0]), *move).mean
            return fold(walk, x, moves, checkpoint=self.checkpoint)
        latent = blocks["noise"] if "noise" in blocks else x.new_empty(len(x), 0, *x.shape[1:])
        noises = [*Noise(latent, len(moves) - 1), None]
        jump = lambda x, item: ddim(self.estimate(x, item[0][0]), *item[0], eta=self.eta).push(
            item[1]
        )
        return fold(jump, x, list(zip(moves, noises, strict=True)), checkpoint=self.checkpoint)

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 64 64"]:
        """The pictures of latents."""
        return self.decoder(self.latents(z))

    def encode(self, image: Float[Tensor, "B 3 64 64"], rng: Rng) -> Float[Tensor, "B D"]:
        """The start that leads to the pictures: the deterministic steps, backwards.

        Raises:
            SpecError: If the map is stochastic.
        """
        if self.eta > 0:
            raise SpecError(
                "a picture has many latents under a stochastic diffusion; encode with eta=0"
            )
        x = self.encoder(image)
        for s, t in pairwise(reversed(self.levels)):
            x = ddim(self.estimate(x, s if s.time > 0 else Cosine()(1e-3)), s, t).mean
        return self.space.join(start=x)


def build(
    *,
    widths: Sequence[int] = WIDTHS,
    steps: int = 10,
    eta: float = 0.0,
    latent_noises: int | None = None,
    checkpoint: Checkpoint = True,
) -> LatentDiffusion:
    """Builds the generator with random weights.

    Arguments:
        widths: The widths of the denoiser.
        steps: The number of steps.
        eta: How much of each step is fresh noise.
        latent_noises: How many of the noises are part of the latent; None for all.
        checkpoint: What each step keeps for the gradient.
    """
    return LatentDiffusion(
        UNet(channels=CHANNELS, size=GRID, widths=widths),
        Encoder(),
        Decoder(),
        steps=steps,
        eta=eta,
        latent_noises=latent_noises,
        checkpoint=checkpoint,
    )


KEYS: dict[str, Callable[[Generator], list[Rule]]] = {
    "avatar": lambda generator: [
        Rule(f"{part}.{{name*}}", f"{part}.{{name}}")
        for part in ("denoiser", "encoder", "decoder")
    ]
}


def infer(checkpoint: File) -> dict[str, Any] | None:
    """The configuration of a weight file of this family, or None."""
    shapes = {key: tuple(x.shape) for key, x in checkpoint.tensors.items()}
    if not {"denoiser.place", "encoder.moments.running_mean"} <= set(shapes):
        return None
    downs = (f"denoiser.down.{level}.conv.bias" for level in range(len(shapes)))
    widths = [shapes["denoiser.place"][1], *(shapes[key][0] for key in downs if key in shapes)]
    return {"config": {"widths": widths}, "keys": "avatar"}
