r"""Unpaired translation: a picture of one world, as another world's generator sees its latent.

.. math:: z \sim \mathrm{Enc}_A(x), \qquad \hat{x} = G_B(z)

Two diffusion models that were trained apart, but share a latent space, give similar pictures for
the same latent; what the worlds have in common is kept (CycleDiffusion). The baseline knows the
second world only: it noises the picture part of the way and lets that world's chain finish it
(SDEdit), which trades what is kept against what is changed by its strength.

References:
    | Unifying Diffusion Models' Latent Space, with Applications to CycleDiffusion and Guidance
    | (Wu and De la Torre, 2022), https://arxiv.org/abs/2210.05559
    |
    | SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations
    | (Meng et al., 2022), https://arxiv.org/abs/2108.01073
"""

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.diffusion.renew import Renewable
from latentzoo.errors import SpecError
from latentzoo.generator import Encodable, Generator
from latentzoo.rng import Rng


@torch.no_grad()
def translate(
    image: Float[Tensor, "B 3 H W"], source: Generator, target: Generator, rng: Rng
) -> Float[Tensor, "B 3 H W"]:
    """Encodes images in one world and decodes them in another (CycleDiffusion).

    Arguments:
        image: Images of the source's world, (B, 3, H, W) in [0, 1].
        source: The generator of that world; one that can encode.
        target: The generator of the other world, with the same latent space.
        rng: The noise of stochastic encoders, one stream per image.

    Raises:
        SpecError: If the source cannot encode, or the latent spaces differ.
    """
    if not isinstance(source, Encodable):
        raise SpecError("the source cannot encode a picture; take a diffusion model or a flow")
    if source.space != target.space:
        start = source.space.blocks.get("start")
        alike = start is not None and start == target.space.blocks.get("start")
        cure = (
            "give both generators the same steps, eta and white_box_steps"
            if alike
            else "take two worlds of one kind, with pictures of one size"
        )
        raise SpecError(f"the latent spaces differ: {source.space} and {target.space}; {cure}")
    return target(source.encode(image, rng))


def sdedit(
    image: Float[Tensor, "B 3 H W"], target: Generator, rng: Rng, *, strength: float
) -> Float[Tensor, "B 3 H W"]:
    """Noises images and lets another world's chain finish them (SDEdit), the baseline.

    Arguments:
        image: Images of any world, (B, 3, H, W) in [0, 1].
        target: The generator of the world to go to; a diffusion model.
        rng: The noise, one stream per image.
        strength: Which part of the chain is run, in [0, 1].

    Raises:
        SpecError: If the target is no diffusion model, or the strength is out of range.
    """
    if not isinstance(target, Renewable):
        raise SpecError("the target cannot start from a noised picture; take a diffusion model")
    return target.renew(image, rng, strength=strength)
