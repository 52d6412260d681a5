r"""Diffusion of avatars in pixel space.

A denoiser :math:`\hat x_\theta` sees a picture of 64 x 64 as a grid of 16 x 16 patches of 4 x 4 x 3 numbers and says
which picture it thinks is there; of noise, no network so narrow could say it. On the path
:math:`x_t = \cos(\tfrac{\pi}{2} t)\, x_0 + \sin(\tfrac{\pi}{2} t)\, \varepsilon` the reverse process goes through
:math:`T` steps from :math:`t = 1`, where :math:`x_1` is the block `start`, to the picture,

.. math:: x_s = \mu(x_t, \hat x_\theta(x_t, t)) + \eta\, \tilde\sigma\, \varepsilon_s

With :math:`\eta = 0` (DDIM) the start is all there is. With :math:`\eta = 1` (DDPM) every step but the last reads a
noise: the first `white_box_steps` of them are the block `noise`, the others are fixed.

References:
    | Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239
    | Denoising Diffusion Implicit Models (Song et al., 2021), https://arxiv.org/abs/2010.02502
    | Back to Basics: Let Denoising Generative Models Denoise (Li and He, 2025), https://arxiv.org/abs/2511.13720
"""

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.builtin.ldm import shifted
from latentzoo.builtin.networks.unet import GRID, UNet
from latentzoo.diffusion.generator import Diffusion, Reading
from latentzoo.diffusion.memory import Recompute
from latentzoo.diffusion.sampler import DDIM
from latentzoo.generator import Generator
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.options import Count, Natural, Share

PATCH = 4
"""The side of a patch: 64 pixels are a grid of 16 of them."""
WIDTHS = (64, 72, 72)
"""The features of the denoiser on the grids 16x16, 8x8 and 4x4."""


class Patches(nn.Module):
    """Creates a denoiser of pictures that works on their patches.

    Arguments:
        widths: The widths of the U-Net.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.unet = UNet(channels=3 * PATCH**2, size=GRID, widths=widths)

    def forward(
        self, x: Float[Tensor, "B 3 64 64"], t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B 3 64 64"]:
        """The pictures, in [-1, 1], behind noisy ones at times `t` in [0, 1]."""
        return F.pixel_shuffle(self.unet(F.pixel_unshuffle(x, PATCH), t), PATCH)


def diffusion(
    network: nn.Module,
    *,
    steps: int = 10,
    eta: float = 0.0,
    white_box_steps: int | None = None,
    recompute: Recompute = "auto",
) -> Diffusion:
    """The map of a denoiser; the arguments are those of :func:`build`.

    Raises:
        SpecError: If there are no steps, `eta` is not in [0, 1], or too many noises are asked for.
    """
    return Diffusion(
        network,
        reading=Reading(kind="x0"),
        size=(PATCH * GRID, PATCH * GRID),
        pairs=shifted(steps),
        sampler=DDIM(eta),
        white_box_steps=white_box_steps,
        recompute=recompute,
    )


def build(
    *,
    widths: Sequence[int] = WIDTHS,
    steps: Count = 10,
    eta: Share = 0.0,
    white_box_steps: Natural | None = None,
    recompute: Recompute = "auto",
) -> Diffusion:
    """Builds the generator with random weights.

    Arguments:
        widths: The widths of the denoiser.
        steps: The number of steps.
        eta: How much of each step is fresh noise.
        white_box_steps: How many of the noises are part of the latent, the first ones; None for all.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.
    """
    return diffusion(
        Patches(widths),
        steps=steps,
        eta=eta,
        white_box_steps=white_box_steps,
        recompute=recompute,
    )


KEYS: dict[str, Callable[[Generator], list[Rule]]] = {
    "avatar": lambda generator: [Rule("network.{name*}", "network.{name}")]
}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """The configuration of a weight file of this family, or None."""
    shapes = checkpoint.shapes
    if "network.unet.place" not in shapes:
        return None
    downs = (f"network.unet.down.{level}.conv.bias" for level in range(len(shapes)))
    widths = [shapes["network.unet.place"][1], *(shapes[key][0] for key in downs if key in shapes)]
    return {"config": {"widths": widths}, "keys": "avatar"}
