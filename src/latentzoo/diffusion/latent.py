r"""A diffusion in the code of an autoencoder, as one map.

.. math:: z = (x_T, \varepsilon_1, \dots, \varepsilon_k) \longmapsto \tfrac12 D(x_0 / \kappa) + \tfrac12,
    \qquad \hat\varepsilon = \varepsilon_\varnothing + w \, (\varepsilon_c - \varepsilon_\varnothing)

with the decoder `D`, the scale :math:`\kappa` of its codes, and the guidance `w` towards a class `c`
where the network knows classes. The noises are those of the steps, in the order of their use; a
deterministic chain has none.

Users: `zoo.ldm` (the files of CompVis), `zoo.ldm_diffusers` (the folders of diffusers).

References:
    | High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022)
    | https://arxiv.org/abs/2112.10752
    |
    | Classifier-Free Diffusion Guidance (Ho and Salimans, 2022)
    | https://arxiv.org/abs/2207.12598
    |
    | Unifying Diffusion Models' Latent Space, with Applications to CycleDiffusion and Guidance
    | (Wu and De la Torre, 2022), https://arxiv.org/abs/2210.05559
"""

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.diffusion import encode, memory
from latentzoo.diffusion.noise import Noise
from latentzoo.diffusion.parametrisation import Estimate, from_eps
from latentzoo.diffusion.renew import Renewable, renew
from latentzoo.diffusion.sampler import DDIM, Chain, Pairs
from latentzoo.diffusion.schedule import Level
from latentzoo.errors import SpecError
from latentzoo.generator import Encodable, Generator
from latentzoo.rng import Rng
from latentzoo.space import Space


class Autoencoder(nn.Module, ABC):
    """What a latent diffusion needs of its first stage; images are in [-1, 1].

    Attributes:
        channels: The number of channels of a code.
        factor: How many times the sides of an image are those of its code.
    """

    channels: int
    factor: int

    @abstractmethod
    def encode(self, image: Tensor) -> Tensor:
        """Maps images (B, 3, H, W) to codes (B, C, h, w)."""

    @abstractmethod
    def decode(self, code: Tensor) -> Tensor:
        """Maps codes (B, C, h, w) to images (B, 3, H, W)."""


class LDM(Generator, Encodable, Renewable):
    r"""Creates a latent diffusion generator.

    Arguments:
        unet: The network :math:`\varepsilon(x_t, t, c)`.
        first_stage: The autoencoder.
        size: The sides of the code.
        pairs: The steps: from which level, to which.
        eta: How much of each step is fresh noise, in [0, 1].
        white_box_steps: How many of these noises are part of the latent, the first ones; None for
            all. The others are fixed by the seed.
        seed: The seed of the fixed noises.
        embedding: The classes' contexts; None for an unconditional model.
        empty_class: Whether the last row of the embedding is the empty class.
        class_index: The class.
        guidance: The weight :math:`w` of the class against the empty class; 1 for it alone.
        scale: The scale :math:`\kappa` of the code; None where the file holds it.
        checkpoint: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If an option is out of range, or needs classes that the model does not have.
    """

    scale: Tensor
    label: Tensor

    def __init__(
        self,
        unet: nn.Module,
        first_stage: Autoencoder,
        *,
        size: int,
        pairs: Pairs,
        eta: float = 0.0,
        white_box_steps: int | None = None,
        seed: int = 0,
        embedding: nn.Embedding | None = None,
        empty_class: bool = False,
        class_index: int = 0,
        guidance: float = 1.0,
        scale: float | None = 1.0,
        checkpoint: memory.Checkpoint = "auto",
    ) -> None:
        super().__init__()
        if not 0 <= eta <= 1:
            raise SpecError(f"eta={eta} is out of range; give a number in [0, 1]")
        if guidance != 1 and not empty_class:
            raise SpecError("the model has no empty class to guide away from; leave guidance at 1")
        classes = 1 if embedding is None else embedding.num_embeddings - empty_class
        if not 0 <= class_index < classes:
            raise SpecError(f"there is no class {class_index}; the model has {classes}, from 0")
        self.unet, self.first_stage, self.embedding = unet, first_stage, embedding
        self.guidance, self.seed = guidance, seed
        self.checkpoint: memory.Checkpoint = checkpoint
        self.register_buffer("label", torch.tensor([class_index]), persistent=False)
        self.register_buffer("scale", torch.tensor(scale or 1.0), persistent=scale is None)

        self.pairs, self.sampler = pairs, DDIM(eta)
        noises = self.sampler.noises(self.pairs)
        latent = noises if white_box_steps is None else white_box_steps
        if not 0 <= latent <= noises:
            raise SpecError(f"white_box_steps={latent} is out of range; there are {noises} noises")
        code = (first_stage.channels, size, size)
        self.space = Space(start=code, **({"noise": (latent, *code)} if latent else {}))
        side = size * first_stage.factor
        self.size = (side, side)

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        blocks = self.space.split(z)
        x_T = blocks["start"]
        return self.decode(self.denoise(x_T, blocks.get("noise", x_T[:, None][:, :0])))

    def denoise(self, x_T: Tensor, latent: Tensor) -> Tensor:
        """Maps a start (B, C, h, w) and the latent noises (B, k, C, h, w) to a code (B, C, h, w)."""
        noise = Noise(latent, self.sampler.noises(self.pairs), seed=self.seed)
        return self.sampler.run(Chain(self.estimate, self.pairs, self.checkpoint), x_T, noise)

    def estimate(self, x_t: Tensor, t: Level) -> Estimate:
        """What the network thinks is mixed in a code (B, C, h, w)."""
        return from_eps(self.eps(x_t, x_t.new_full((len(x_t),), t.time)), x_t, t)

    def eps(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The noise in codes (B, C, h, w) at times (B,), guided to the class."""
        if self.embedding is None:
            return self.unet(x_t, t)
        label = self.label.expand(len(x_t))
        if self.guidance == 1:
            return self.unet(x_t, t, self.embedding(label)[:, None])
        empty = torch.full_like(label, len(self.embedding.weight) - 1)
        context = self.embedding(torch.cat((empty, label)))[:, None]
        without, given = self.unet(x_t.repeat(2, 1, 1, 1), t.repeat(2), context).chunk(2)
        return without + self.guidance * (given - without)

    def decode(self, code: Tensor) -> Tensor:
        """The images (B, 3, H, W) in [0, 1] of codes (B, C, h, w)."""
        return (self.first_stage.decode(code / self.scale) + 1) / 2

    @torch.no_grad()
    def renew(
        self, image: Float[Tensor, "B 3 H W"], rng: Rng, *, strength: float
    ) -> Float[Tensor, "B 3 H W"]:
        x_0 = self.see(image)
        draw = lambda: rng.normal(*x_0.shape[1:]).to(x_0)
        chain = Chain(self.estimate, self.pairs)
        return self.decode(renew(x_0, chain, self.sampler, draw, strength=strength))

    def see(self, image: Tensor) -> Tensor:
        """The codes (B, C, h, w) of images (B, 3, H, W) in [0, 1]."""
        return self.scale * self.first_stage.encode(2 * image - 1)

    def encode(self, image: Float[Tensor, "B 3 H W"], rng: Rng) -> Float[Tensor, "B D"]:
        """Finds latents of images: DPM-Encoder for `eta` above 0, else inversion. The chain gives
        the code of an image again; what the first stage loses stays lost.

        Raises:
            SpecError: If some noises are fixed.
        """
        x_0 = self.see(image)
        step = lambda x_t, t, s: self.sampler.step(self.estimate, x_t, t, s)
        if self.sampler.eta == 0:
            return self.space.join(start=encode.invert(x_0, step, self.pairs))
        if self.space.blocks.get("noise", (0,))[0] < self.sampler.noises(self.pairs):
            raise SpecError("an image has no latent while noises are fixed; drop white_box_steps")
        draw = lambda: rng.normal(*x_0.shape[1:]).to(x_0)
        eta = self.sampler.eta
        x_T, noises = encode.stochastic(x_0, step, self.pairs, draw=draw, eta=eta)
        return self.space.join(start=x_T, noise=torch.stack(noises, dim=1))
