r"""Generators: deterministic, differentiable maps from a Gaussian latent to an image.

.. math:: x = G(z), \qquad z \sim \mathcal{N}(0, I), \qquad x \in \mathbb{R}^{3 \times H \times W}

The map is a function: same `z`, same image, whatever the batch around it. Truncation, number of
steps, camera, class and prompt are arguments of the constructor.

References:
    | Unifying Diffusion Models' Latent Space, with Applications to CycleDiffusion and Guidance
    | (Wu and De la Torre, 2022)
    | https://arxiv.org/abs/2210.05559
"""

from abc import ABC, abstractmethod

from jaxtyping import Float, Int64
from torch import Tensor, nn

from latentzoo.rng import Rng
from latentzoo.space import Space


class Generator(nn.Module, ABC):
    """A map from the latent to images in the nominal range [0, 1].

    Attributes:
        space: The latent space with its named blocks.
        size: The image's height and width in pixels.
        chains: How many chains it is for, if each has a map of its own (a prompt); None for any.
    """

    space: Space
    size: tuple[int, int]
    chains: int | None = None

    @abstractmethod
    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        """Maps latents of shape (B, D) to images of shape (B, 3, H, W), nominally in [0, 1], not clamped."""

    def select(self, index: Int64[Tensor, "b"]) -> "Generator":
        """The map of the chains at `index`; itself where all have the same one."""
        del index
        return self


class Encodable(ABC):
    """A generator that can also go back, from an image to a latent that gives it."""

    @abstractmethod
    def encode(self, image: Float[Tensor, "B 3 H W"], rng: Rng) -> Float[Tensor, "B D"]:
        """Finds latents of shape (B, D) whose images are the given ones, up to the model's own
        limit.

        Arguments:
            image: Images of shape (B, 3, H, W) in [0, 1].
            rng: The noise of stochastic encoders, one stream per image.
        """


class Restricted(Generator):
    """Creates the same map seen from some of its blocks, the others held fixed.

    "Only the style varies" is `Restricted(G, ("style",), rest)`.

    Arguments:
        generator: The whole map.
        names: The blocks that vary.
        rest: A latent of shape (dim,) that gives the other blocks their values.
    """

    rest: Tensor

    def __init__(
        self, generator: Generator, names: tuple[str, ...], rest: Float[Tensor, "D"]
    ) -> None:
        super().__init__()
        self.generator = generator
        self.space = generator.space.subspace(*names)
        self.names, self.size, self.chains = names, generator.size, generator.chains
        self.register_buffer("rest", rest, persistent=False)

    def select(self, index: Int64[Tensor, "b"]) -> "Restricted":
        if self.chains is None:
            return self
        return Restricted(self.generator.select(index), self.names, self.rest)

    def forward(self, z: Float[Tensor, "B d"]) -> Float[Tensor, "B 3 H W"]:
        whole = self.generator.space
        blocks = whole.split(self.rest.to(z).expand(len(z), -1))
        return self.generator(whole.join(**(blocks | self.space.split(z))))
