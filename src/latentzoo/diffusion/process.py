r"""The reverse process of a diffusion as the first part of a map.

.. math:: z = (x_T / \kappa, \varepsilon_1, \dots, \varepsilon_k) \longmapsto x_0, \qquad x = D(x_0)

with the scale :math:`\kappa` of the start (1, or :math:`\sigma_{max}` of a variance exploding
path) and the noises of the steps, in the order of their use; a deterministic sampler has none. In
pixels `D` changes the range alone; of a latent diffusion it is the decoder.

Users: `diffusion.generator` (pixels), `diffusion.latent` (codes), `builtin.ldm`, `zoo.sn_dpm`.

References:
    | Unifying Diffusion Models' Latent Space, with Applications to CycleDiffusion and Guidance
    | (Wu and De la Torre, 2022), https://arxiv.org/abs/2210.05559
"""

from abc import abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.compiling import outermost
from latentzoo.diffusion import encode
from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.noise import Noise
from latentzoo.diffusion.parametrisation import Estimate
from latentzoo.diffusion.renew import Renewable, renew
from latentzoo.diffusion.sampler import Chain, Pairs, Sampler
from latentzoo.diffusion.schedule import Level
from latentzoo.errors import SpecError
from latentzoo.generator import Encodable, Generator
from latentzoo.rng import Rng
from latentzoo.space import Space


class ReverseProcess(Generator, Encodable, Renewable):
    """A diffusion generator: a subclass says what its states are, and what its network thinks.

    Arguments:
        shape: The shape of a state, (C, h, w).
        size: The picture's height and width.
        pairs: The steps: from which level, to which.
        sampler: What is done at each step.
        start: The scale of the start.
        white_box_steps: How many of the noises are part of the latent, the first ones; None for
            all. The others are fixed by the seed.
        seed: The seed of the fixed noises.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If there are more latent noises than noises.
    """

    refine: ClassVar[int] = 20
    """How often an encoder refines each step that has no noise."""

    def __init__(
        self,
        *,
        shape: tuple[int, int, int],
        size: tuple[int, int],
        pairs: Pairs,
        sampler: Sampler,
        start: float = 1.0,
        white_box_steps: int | None = None,
        seed: int = 0,
        recompute: Recompute = "auto",
    ) -> None:
        super().__init__()
        noises = sampler.noises(pairs)
        latent = noises if white_box_steps is None else white_box_steps
        if not 0 <= latent <= noises:
            raise SpecError(
                f"white_box_steps={latent} is out of range, since this chain has {noises} noises; "
                f"give a number from 0 to {noises}"
            )
        self.pairs, self.sampler, self.seed = pairs, sampler, seed
        self.start, self.recompute = start, recompute
        self.space = Space(start=shape, **({"noise": (latent, *shape)} if latent else {}))
        self.size = size

    @abstractmethod
    def estimate(self, x_t: Float[Tensor, "B C h w"], t: Level) -> Estimate:
        """What the network thinks is mixed in states at a level."""

    @abstractmethod
    def show(self, x_0: Float[Tensor, "B C h w"]) -> Float[Tensor, "B 3 H W"]:
        """The images in [0, 1] of the chain's ends."""

    @abstractmethod
    def see(self, image: Float[Tensor, "B 3 H W"]) -> Float[Tensor, "B C h w"]:
        """The chain's ends of images in [0, 1]."""

    def repeated(self) -> Iterator[nn.Module]:
        return outermost(self)

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        return self.show(self.reverse(**self.space.split(z)))

    def reverse(
        self, start: Float[Tensor, "B C h w"], noise: Float[Tensor, "B k C h w"] | None = None
    ) -> Float[Tensor, "B C h w"]:
        """Runs the chain from the blocks of a latent to its end."""
        latent = start[:, None][:, :0] if noise is None else noise
        noises = Noise(latent, self.sampler.noises(self.pairs), seed=self.seed)
        chain = Chain(self.estimate, self.pairs, self.recompute)
        return self.sampler.run(chain, self.start * start, noises)

    def encode(self, image: Float[Tensor, "B 3 H W"], rng: Rng) -> Float[Tensor, "B D"]:
        """Finds latents of images: DPM-Encoder where the chain is stochastic, else inversion.

        The chain gives the end that was seen in an image again; what `see` loses stays lost.

        Raises:
            SpecError: If noises are fixed, or the sampler has no encoder.
        """
        if self.space.blocks.get("noise", (0,))[0] < self.sampler.noises(self.pairs):
            raise SpecError(
                "a picture has no latent while noises are fixed; leave out white_box_steps"
            )
        x_0 = self.see(image)
        chain = Chain(self.estimate, self.pairs)
        x_T, noises = encode.find(
            x_0, chain, self.sampler, draw=self._draw(rng, x_0), iterations=self.refine
        )
        noise = {"noise": torch.stack(noises, 1)} if noises else {}
        return self.space.join(start=x_T / self.start, **noise)

    @torch.no_grad()
    def renew(
        self, image: Float[Tensor, "B 3 H W"], rng: Rng, *, strength: float
    ) -> Float[Tensor, "B 3 H W"]:
        x_0 = self.see(image)
        chain = Chain(self.estimate, self.pairs)
        x_0 = renew(x_0, chain, self.sampler, self._draw(rng, x_0), strength=strength)
        return self.show(x_0)

    @staticmethod
    def _draw(rng: Rng, like: Tensor) -> Callable[[], Tensor]:
        return lambda: rng.normal(*like.shape[1:]).to(like)
