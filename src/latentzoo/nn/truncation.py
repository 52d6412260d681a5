r"""Truncation: styles drawn towards their mean, where networks have seen more.

.. math:: w \leftarrow \bar w + \psi \, (w - \bar w), \qquad \bar w = \mathbb{E}_z f(z)

Every :math:`\psi` is a map: 1 leaves the styles, 0 shows the mean style whatever the latent, and a
negative one reflects them at the mean (the "anti-faces" of the paper).

Users: StyleGAN2(-ADA), StyleGAN-XL, StyleSwin, EG3D, StyleNeRF, StyleSDF.

References:
    | A Style-Based Generator Architecture for Generative Adversarial Networks (Karras et al., 2019)
    | https://arxiv.org/abs/1812.04948
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.errors import SpecError
from latentzoo.nn.classes import require as require_class
from latentzoo.rng import Domain, Rng


def truncate(
    w: Float[Tensor, "B D"],
    w_mean: Float[Tensor, "... D"],
    psi: float,
    layers: int,
    cutoff: int | None = None,
) -> Float[Tensor, "B L D"]:
    r"""Pulls a style towards the mean, :math:`\bar w + \psi (w - \bar w)`, and repeats it.

    Arguments:
        w: The styles, with shape (B, D).
        w_mean: The mean style, with shape (D,) or (B, D).
        psi: The truncation, finite; 1 changes nothing.
        layers: The number of layers L.
        cutoff: How many layers are truncated, from the first; None for all of them.
    """
    near = w if psi == 1 else w_mean + psi * (w - w_mean)
    if cutoff is None:
        return near[:, None].expand(-1, layers, -1)
    return torch.stack([near] * min(cutoff, layers) + [w] * (layers - cutoff), dim=1)


class MeanStyle(nn.Module):
    """Creates the mean of a style that a file lacks: over a fixed stream of latents, taken once.

    It is taken anew after other weights were loaded into the network that it is a part of.

    Arguments:
        dim: The size of a latent.
        draws: The number of latents.
    """

    w: Tensor | None

    def __init__(self, dim: int, *, draws: int = 10_000) -> None:
        super().__init__()
        self.dim, self.draws = dim, draws
        self.register_buffer("w", None, persistent=False)
        self.register_load_state_dict_post_hook(MeanStyle._forget)

    def forward(
        self, style: Callable[[Tensor], Float[Tensor, "N W"]], *, like: Tensor
    ) -> Float[Tensor, " W"]:
        """Averages a style over the latents (N, dim), which are placed as `like`."""
        if self.w is None:
            rng = Rng(0, domain=Domain.MEAN, device=like.device, dtype=like.dtype)
            # The mean outlives the call, so it must not be an inference tensor.
            with torch.inference_mode(False), torch.no_grad():
                self.w = style(rng.normal(self.draws, self.dim)[0]).mean(0)
        return self.w

    def _forget(self, _: object) -> None:
        self.w = None


def require(*, truncation: float, classes: int = 0, class_index: int = 0) -> None:
    """Checks the options of a generator.

    Arguments:
        truncation: The truncation, finite.
        classes: The number of classes; 0 if there are none.
        class_index: The class, from 0 to `classes` - 1.

    Raises:
        SpecError: If one of them is out of range.
    """
    require_class(class_index, classes)
    if not math.isfinite(truncation):
        raise SpecError(f"the truncation {truncation} is no number; give a finite one, 1 for none")
