r"""An unconditional diffusion model in pixels, as one map.

.. math:: z = (x_T / \kappa, \varepsilon_1, \dots, \varepsilon_k) \longmapsto x_0 = G(z)

with the scale :math:`\kappa` of the start (1, or :math:`\sigma_{max}` of a variance exploding
path) and the noises of the steps, in the order of their use; a deterministic sampler has none.

References:
    | Unifying Diffusion Models' Latent Space, with Applications to CycleDiffusion and Guidance
    | (Wu and De la Torre, 2022), https://arxiv.org/abs/2210.05559
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.diffusion import encode
from latentzoo.diffusion.memory import Checkpoint
from latentzoo.diffusion.noise import Noise
from latentzoo.diffusion.parametrisation import Estimate, estimate
from latentzoo.diffusion.renew import Renewable, renew
from latentzoo.diffusion.sampler import DDIM, Chain, Multistep, Pairs, Sampler, Single
from latentzoo.diffusion.schedule import Level
from latentzoo.errors import SpecError
from latentzoo.generator import Encodable, Generator
from latentzoo.rng import Rng
from latentzoo.space import Space

REFINE = 20
"""How often an encoder refines each step that has no noise."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Creates the record of how a network is asked and what its answer means.

    Arguments:
        kind: What it predicts, a key of `parametrisation.ESTIMATES`.
        clip: The largest absolute value of a predicted picture; None for any.
        hertz: The network's times per unit of the schedule's time.
    """

    kind: str
    clip: float | None = None
    hertz: float = 1.0


class Diffusion(Generator, Encodable, Renewable):
    """Creates a diffusion generator.

    Arguments:
        network: The network, from (B, 3, H, W) and times (B,) to (B, 3, H, W).
        reading: What its output means.
        size: The picture's height and width.
        pairs: The steps: from which level, to which.
        sampler: What is done at each step.
        start: The scale of the start.
        centred: Whether the network's pictures are in [-1, 1]; else they are in [0, 1].
        white_box_steps: How many of the noises are part of the latent, the first ones; None for
            all. The others are fixed by the seed.
        seed: The seed of the fixed noises.
        checkpoint: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If there are more latent noises than noises.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        reading: Reading,
        size: tuple[int, int],
        pairs: Pairs,
        sampler: Sampler,
        start: float = 1.0,
        centred: bool = True,
        white_box_steps: int | None = None,
        seed: int = 0,
        checkpoint: Checkpoint = "auto",
    ) -> None:
        super().__init__()
        self.network, self.reading, self.size = network, reading, size
        self.pairs, self.sampler, self.seed = pairs, sampler, seed
        self.start, self.centred, self.checkpoint = start, centred, checkpoint
        noises = sampler.noises(pairs)
        latent = noises if white_box_steps is None else white_box_steps
        if not 0 <= latent <= noises:
            raise SpecError(
                f"white_box_steps={latent} is out of range; this chain has {noises} noises"
            )
        noise = {"noise": (latent, 3, *size)} if latent > 0 else {}
        self.space = Space(start=(3, *size), **noise)

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        blocks = self.space.split(z)
        x_T = blocks["start"]
        latent = blocks.get("noise", x_T[:, None][:, :0])
        noise = Noise(latent, self.sampler.noises(self.pairs), seed=self.seed)
        chain = Chain(self.denoise, self.pairs, self.checkpoint)
        return self.show(self.sampler.run(chain, self.start * x_T, noise))

    def denoise(self, x_t: Tensor, t: Level) -> Estimate:
        """What the network thinks is mixed in pictures (B, 3, H, W) at a level."""
        time = x_t.new_full((len(x_t),), t.time * self.reading.hertz)
        q = estimate(self.reading.kind, self.network(x_t, time), x_t, t)
        if self.reading.clip is None:
            return q
        return q._replace(x_0=q.x_0.clamp(-self.reading.clip, self.reading.clip))

    def encode(self, image: Float[Tensor, "B 3 H W"], rng: Rng) -> Float[Tensor, "B D"]:
        """Finds latents of images: DPM-Encoder where the chain is stochastic, else inversion.

        The multistep sampler is inverted as DDIM, which solves the same equation.

        Raises:
            SpecError: If noises are fixed, or the sampler has no encoder.
        """
        x_0 = self.see(image)
        sampler = DDIM() if isinstance(self.sampler, Multistep) else self.sampler
        if not isinstance(sampler, Single):
            raise SpecError("the corrector of this sampler has no encoder; choose another sampler")
        step = lambda x_t, t, s: sampler.step(self.denoise, x_t, t, s)
        noises = self.sampler.noises(self.pairs)
        if noises == 0:
            x_T = encode.invert(x_0, step, self.pairs, iterations=REFINE)
            return self.space.join(start=x_T / self.start)
        if self.space.blocks.get("noise", (0,))[0] < noises:
            raise SpecError(
                "a picture has no code while noises are fixed; leave out white_box_steps"
            )
        draw = lambda: rng.normal(3, *self.size).to(x_0)
        x_T, eps = encode.stochastic(
            x_0, step, self.pairs, draw=draw, eta=sampler.eta, iterations=REFINE
        )
        return self.space.join(start=x_T / self.start, noise=torch.stack(eps, 1))

    @torch.no_grad()
    def renew(
        self, image: Float[Tensor, "B 3 H W"], rng: Rng, *, strength: float
    ) -> Float[Tensor, "B 3 H W"]:
        draw = lambda: rng.normal(3, *self.size).to(image)
        chain = Chain(self.denoise, self.pairs)
        return self.show(renew(self.see(image), chain, self.sampler, draw, strength=strength))

    def show(self, x_0: Tensor) -> Tensor:
        """The images in [0, 1] of the network's pictures, (B, 3, H, W)."""
        return (x_0 + 1) / 2 if self.centred else x_0

    def see(self, image: Tensor) -> Tensor:
        """The network's pictures of images in [0, 1], (B, 3, H, W)."""
        return 2 * image - 1 if self.centred else image
