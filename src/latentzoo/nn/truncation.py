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
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.errors import SpecError
from latentzoo.nn.classes import require as require_class
from latentzoo.rng import Domain, Rng


def truncate(
    w: Float[Tensor, "B D"],
    w_mean: Float[Tensor, "*#L D"],
    psi: float,
    layers: int,
    cutoff: int | None = None,
) -> Float[Tensor, "B L D"]:
    r"""Pulls a style towards the mean, :math:`\bar w + \psi (w - \bar w)`, and repeats it.

    Arguments:
        w: The styles, with shape (B, D).
        w_mean: The mean style, with shape (D,), or one for each layer, (L, D).
        psi: The truncation, finite; 1 changes nothing.
        layers: The number of layers L.
        cutoff: How many layers are truncated, from the first; None for all of them.
    """
    repeat = lambda style: style[:, None].expand(-1, layers, -1)
    if psi == 1:
        return repeat(w)
    pull = lambda style: w_mean + psi * (style - w_mean)
    near = repeat(pull(w)) if w_mean.ndim == 1 else pull(repeat(w))
    if cutoff is None:
        return near
    return torch.cat([near[:, :cutoff], repeat(w)[:, cutoff:]], dim=1)


def mean_styles(means: int, layers: int, dim: int) -> Float[Tensor, "*#L D"]:
    """Zeros in the place of a file's mean style, (D,), or of its `means` rows, (1 or L, D).

    Raises:
        SpecError: If there is not one row for each layer, or one for all.
    """
    if means not in (0, 1, layers):
        raise SpecError(
            f"{means} mean styles do not fit {layers} layers; give one, or one for each"
        )
    return torch.zeros((means, dim) if means else (dim,))


def rows(shape: Sequence[int]) -> int:
    """How many mean styles a file has that keeps them in such a shape, "... w"; 0 where it is a vector."""
    return math.prod(shape[:-1]) if len(shape) > 1 else 0


def as_rows(w_avg: Tensor | None) -> str | None:
    """The pattern by which a file's mean styles become those of a network."""
    return None if w_avg is None or w_avg.ndim == 1 else "... w -> (...) w"


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


def require(
    *,
    truncation: float,
    classes: int = 0,
    class_index: int = 0,
    cutoff: int | None = None,
    styles: int = 0,
) -> None:
    """Checks the options of a generator.

    Arguments:
        truncation: The truncation, finite.
        classes: The number of classes; 0 if there are none.
        class_index: The class, from 0 to `classes` - 1.
        cutoff: How many layers are truncated, from 0 to `styles`; None for all of them.
        styles: The number of layers that have a style.

    Raises:
        SpecError: If one of them is out of range.
    """
    require_class(class_index, classes)
    if not math.isfinite(truncation):
        raise SpecError(f"the truncation {truncation} is no number; give a finite one, 1 for none")
    if cutoff is not None and not 0 <= cutoff <= styles:
        raise SpecError(
            f"cutoff={cutoff} is out of range: {styles} layers have a style; give 0 to {styles}, or leave it out"
        )
