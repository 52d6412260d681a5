"""The map of DiffAE: a chain of codes, then a chain of pictures that reads the code; and both backwards."""

from collections.abc import Iterator
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.compiling import outermost
from latentzoo.diffusion import encode, memory
from latentzoo.diffusion.noise import fixed_noise
from latentzoo.diffusion.parametrisation import Estimate, from_eps, from_x0
from latentzoo.diffusion.sampler import DDIM, Chain, Denoise, Pairs
from latentzoo.diffusion.schedule import Discrete, Level, strided
from latentzoo.errors import SpecError
from latentzoo.generator import Encodable, Generator
from latentzoo.nn import adm
from latentzoo.nn import channels as pictures
from latentzoo.rng import Rng
from latentzoo.space import Space
from latentzoo.zoo.diffae.networks import LatentNet, SemanticEncoder

DDIM_STEP = DDIM()


class DiffAE(Generator, Encodable):
    r"""Creates a diffusion autoencoder's generator.

    Arguments:
        unet: The network of pictures, :math:`\varepsilon(x_t, t, c)`.
        encoder: The semantic encoder.
        latent_net: The network of codes, :math:`\varepsilon(z_t, t)`.
        schedule: The noise at the times of the chain of pictures.
        latent_schedule: The noise at the times of the chain of codes.
        resolution: The picture's side in pixels.
        channels: The number of the picture's channels: 3, or 1 where it is grey.
        steps: The number of steps of the chain of pictures.
        latent_steps: The number of steps of the chain of codes.
        latent: Which blocks vary: "all", or "semantic" alone, with a fixed start.
        seed: The seed of the fixed start.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If no stride gives that many steps, or `latent` is unknown.
    """

    conds_mean: Tensor
    conds_std: Tensor
    fixed: Tensor

    def __init__(
        self,
        unet: adm.UNet,
        encoder: SemanticEncoder,
        latent_net: LatentNet,
        *,
        schedule: Discrete,
        latent_schedule: Discrete,
        resolution: int,
        channels: int = 3,
        steps: int = 10,
        latent_steps: int = 10,
        latent: str = "all",
        seed: int = 0,
        recompute: memory.Recompute = "auto",
    ) -> None:
        super().__init__()
        if latent not in ("all", "semantic"):
            raise SpecError(f"latent={latent!r} is unknown; choose 'all' or 'semantic'")
        self.unet, self.encoder, self.latent_net = unet, encoder, latent_net
        self.pairs, self.latent_pairs = (
            chain(schedule, steps),
            chain(latent_schedule, latent_steps),
        )
        self.recompute: memory.Recompute = recompute
        self.register_buffer("conds_mean", torch.zeros(1, latent_net.style))
        self.register_buffer("conds_std", torch.ones(1, latent_net.style))
        shape = (pictures.require(channels), resolution, resolution)
        blocks = {"semantic": (latent_net.style,), "start": shape}
        start = fixed_noise(torch.empty(1, *blocks["start"], device="cpu"), seed, 0)
        self.register_buffer("fixed", start, persistent=False)
        self.space = Space(**blocks) if latent == "all" else Space(semantic=blocks["semantic"])
        self.size, self.channels = (resolution, resolution), channels

    def repeated(self) -> Iterator[nn.Module]:
        return outermost(self)

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        blocks = self.space.split(z)
        start = blocks.get("start", self.fixed.expand(len(z), -1, -1, -1))
        return self.decode(start, self.code(blocks["semantic"]))

    def code(self, z_T: Tensor) -> Tensor:
        """The semantic codes (B, S) of latents (B, S)."""
        code = DDIM_STEP.run(Chain(self.estimate_code, self.latent_pairs, self.recompute), z_T, [])
        return code * self.conds_std + self.conds_mean

    def decode(self, x_T: Tensor, code: Tensor) -> Tensor:
        """The images (B, 3, H, W) in [0, 1] of starts (B, C, H, W) and codes (B, S)."""

        def step(state: tuple[Tensor, Tensor], i: int) -> tuple[Tensor, Tensor]:
            x_t, code = state  # which every step reads: carried along, so is its gradient
            estimate = self.estimate_picture(code)
            return DDIM_STEP.step(estimate, x_t, *self.pairs[i]).mean, code

        steps = range(len(self.pairs))
        x_0, _ = memory.fold(step, (x_T, code), steps, recompute=self.recompute)
        return pictures.coloured((x_0 + 1) / 2)

    def estimate_code(self, z_t: Tensor, t: Level) -> Estimate:
        """What the network of codes thinks is mixed in (B, S)."""
        return from_eps(self.latent_net(z_t, z_t.new_full((len(z_t),), t.time)), z_t, t)

    def estimate_picture(self, code: Tensor) -> Denoise:
        """What the network of pictures thinks is mixed in (B, C, H, W), given the codes (B, S)."""

        def estimate(x_t: Tensor, t: Level) -> Estimate:
            eps = self.unet(x_t, x_t.new_full((len(x_t),), t.time), code)
            return from_x0(from_eps(eps, x_t, t).x_0.clamp(-1, 1), x_t, t)

        return estimate

    def encode(self, image: Float[Tensor, "B 3 H W"], rng: Rng) -> Float[Tensor, "B D"]:
        """Finds latents of images: the semantic encoder, and the inversion of both chains.

        With a fixed start, the images of these latents share what the code says, not the detail.
        """
        x_0 = 2 * pictures.seen(image, self.channels) - 1
        step = lambda f: lambda x_t, t, s: DDIM_STEP.step(f, x_t, t, s)
        code = self.encoder(x_0)
        semantic = (code - self.conds_mean) / self.conds_std
        found = {"semantic": encode.invert(semantic, step(self.estimate_code), self.latent_pairs)}
        if "start" in self.space.blocks:
            found["start"] = encode.invert(x_0, step(self.estimate_picture(code)), self.pairs)
        return self.space.join(**found)


def chain(schedule: Discrete, steps: int) -> Pairs:
    """The steps of a chain that ends in the picture."""
    times = strided(steps, len(schedule.alpha_bar))
    return list(pairwise(schedule.levels([*reversed(times), -1])))
