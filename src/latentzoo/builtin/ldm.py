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

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.builtin.networks.autoencoder import Decoder, Encoder
from latentzoo.builtin.networks.unet import CHANNELS, GRID, WIDTHS, UNet
from latentzoo.diffusion import encode
from latentzoo.diffusion.memory import Checkpoint
from latentzoo.diffusion.noise import Noise
from latentzoo.diffusion.parametrisation import Estimate, from_v
from latentzoo.diffusion.renew import Renewable, renew
from latentzoo.diffusion.sampler import DDIM, Chain
from latentzoo.diffusion.schedule import Level, Schedule
from latentzoo.errors import SpecError
from latentzoo.generator import Encodable, Generator
from latentzoo.hub.checkpoint import Checkpoint as File
from latentzoo.hub.keys import Rule
from latentzoo.rng import Rng
from latentzoo.space import Space

SHIFT = 3.0
"""How far the steps crowd towards the noise, where the colours of large areas are decided."""
REFINE = 8
"""How often an encoder refines each step that has no noise."""


@dataclass(frozen=True)
class Cosine(Schedule):
    r"""Creates the variance preserving path on a quarter of a circle, :math:`\alpha_t = \cos(\pi t / 2)` on [0, 1]."""

    def __call__(self, t: float) -> Level:
        return Level(t, math.sin(math.pi / 2 * (1 - t)), math.sin(math.pi / 2 * t))

    @classmethod
    def shifted(cls, u: float) -> Level:
        r"""The level where the ratio of noise to signal is :data:`SHIFT` times that of the time `u`."""
        return cls()(2 / math.pi * math.atan(SHIFT * math.tan(math.pi / 2 * u)))


class LatentDiffusion(Generator, Encodable, Renewable):
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
        checkpoint: Checkpoint = "auto",
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
        self.sampler = DDIM(eta)
        self.checkpoint: Checkpoint = checkpoint
        self.pairs = list(pairwise(Cosine.shifted(1 - i / steps) for i in range(steps + 1)))
        shape = (CHANNELS, GRID, GRID)
        self.space = Space(start=shape, **({"noise": (noises, *shape)} if noises else {}))
        self.size = (64, 64)

    def estimate(self, z_t: Float[Tensor, "B 4 16 16"], t: Level) -> Estimate:
        """What the denoiser thinks is mixed in `z_t`."""
        return from_v(self.denoiser(z_t, z_t.new_full((len(z_t),), t.time)), z_t, t)

    def latents(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 4 16 16"]:
        """The end of the reverse process, before the decoder."""
        blocks = self.space.split(z)
        x_T = blocks["start"]
        latent = blocks.get("noise", x_T[:, None][:, :0])
        noise = Noise(latent, self.sampler.noises(self.pairs))
        return self.sampler.run(Chain(self.estimate, self.pairs, self.checkpoint), x_T, noise)

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 64 64"]:
        """The pictures of latents."""
        return self.decoder(self.latents(z))

    def encode(self, image: Float[Tensor, "B 3 64 64"], rng: Rng) -> Float[Tensor, "B D"]:
        """Finds latents of pictures: DPM-Encoder for `eta` above 0, else inversion. The chain gives the code of a
        picture again; what the autoencoder loses stays lost.

        Raises:
            SpecError: If some noises are fixed.
        """
        x_0 = self.encoder(image)
        step = lambda x_t, t, s: self.sampler.step(self.estimate, x_t, t, s)
        noises = self.sampler.noises(self.pairs)
        if noises == 0:
            x_T = encode.invert(x_0, step, self.pairs, iterations=REFINE)
            return self.space.join(start=x_T)
        if self.space.blocks.get("noise", (0,))[0] < noises:
            raise SpecError(
                "a picture has no latent while noises are fixed; leave out latent_noises"
            )
        draw = lambda: rng.normal(*x_0.shape[1:]).to(x_0)
        x_T, eps = encode.stochastic(
            x_0, step, self.pairs, draw=draw, eta=self.sampler.eta, iterations=REFINE
        )
        return self.space.join(start=x_T, noise=torch.stack(eps, 1))

    @torch.no_grad()
    def renew(
        self, image: Float[Tensor, "B 3 64 64"], rng: Rng, *, strength: float
    ) -> Float[Tensor, "B 3 64 64"]:
        x_0 = self.encoder(image)
        draw = lambda: rng.normal(*x_0.shape[1:]).to(x_0)
        chain = Chain(self.estimate, self.pairs)
        return self.decoder(renew(x_0, chain, self.sampler, draw, strength=strength))


def build(
    *,
    widths: Sequence[int] = WIDTHS,
    steps: int = 10,
    eta: float = 0.0,
    latent_noises: int | None = None,
    checkpoint: Checkpoint = "auto",
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
