r"""A diffusion in the code of an autoencoder, as one map.

.. math:: z = (x_T, \varepsilon_1, \dots, \varepsilon_k) \longmapsto \tfrac12 D(x_0 / \kappa) + \tfrac12,
    \qquad \hat\varepsilon = \varepsilon_\varnothing + w \, (\varepsilon_c - \varepsilon_\varnothing)

with the decoder `D`, the scale :math:`\kappa` of its codes, and the guidance `w` towards a class `c`
where the network knows classes. The noises are those of the steps, in the order of their use; a
deterministic chain has none; see `latentzoo.diffusion.process`.

Users: `zoo.ldm` (the files of CompVis), `zoo.ldm_diffusers` (the folders of diffusers).

References:
    | High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022)
    | https://arxiv.org/abs/2112.10752
    |
    | Classifier-Free Diffusion Guidance (Ho and Salimans, 2022)
    | https://arxiv.org/abs/2207.12598
"""

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.parametrisation import Estimate, from_eps
from latentzoo.diffusion.process import ReverseProcess
from latentzoo.diffusion.sampler import DDIM, Pairs
from latentzoo.diffusion.schedule import Level
from latentzoo.errors import SpecError
from latentzoo.nn import channels as pictures
from latentzoo.nn.classes import require as require_class


@runtime_checkable
class Autoencoder(Protocol):
    """What a latent diffusion needs of its first stage, a module; images are in [-1, 1].

    Attributes:
        channels: The number of channels of a code.
        factor: How many times the sides of an image are those of its code.
        picture: The number of an image's channels: 3, or 1 where it is grey.
    """

    channels: int
    factor: int
    picture: int

    def encode(self, image: Tensor) -> Tensor:
        """Maps images (B, picture, H, W) to codes (B, C, h, w)."""
        ...

    def decode(self, code: Tensor) -> Tensor:
        """Maps codes (B, C, h, w) to images (B, picture, H, W)."""
        ...


class LDM(ReverseProcess):
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
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

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
        recompute: Recompute = "auto",
    ) -> None:
        side = size * first_stage.factor
        super().__init__(
            shape=(first_stage.channels, size, size),
            size=(side, side),
            pairs=pairs,
            sampler=DDIM(eta),
            white_box_steps=white_box_steps,
            seed=seed,
            recompute=recompute,
        )
        if guidance != 1 and not empty_class:
            raise SpecError("the model has no empty class to guide away from; leave guidance at 1")
        classes = 0 if embedding is None else embedding.num_embeddings - empty_class
        require_class(class_index, classes)
        self.unet, self.first_stage, self.embedding = unet, first_stage, embedding
        self.guidance = guidance
        self.register_buffer("label", torch.tensor([class_index]), persistent=False)
        self.register_buffer("scale", torch.tensor(scale or 1.0), persistent=scale is None)

    def estimate(self, x_t: Tensor, t: Level) -> Estimate:
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

    def show(self, x_0: Tensor) -> Tensor:
        image = self.first_stage.decode(x_0 / self.scale)
        return pictures.coloured((image + 1) / 2)

    def see(self, image: Tensor) -> Tensor:
        image = pictures.seen(image, self.first_stage.picture)
        return self.scale * self.first_stage.encode(2 * image - 1)
