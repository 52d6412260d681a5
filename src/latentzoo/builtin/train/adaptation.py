r"""Moves the latent diffusion to a part of its world: only avatars with hats, only avatars without.

.. math:: \ell = E_{t, \epsilon} \left| v_{\theta, \vartheta}(z_t, t) - (\alpha_t \epsilon - \sigma_t z_0) \right|^2,
    \qquad z_0 = E(x), \; x \in \text{world}

The weights :math:`\theta` stay those of the base; few tensors :math:`\vartheta` move, and the weight file holds these
alone. Models that come from one base keep its latent space: the same start gives similar faces in every world, which
is what translation between worlds lives on.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from latentzoo.builtin.ldm import LatentDiffusion
from latentzoo.builtin.train.data import Pictures
from latentzoo.builtin.train.diffusion import velocity_loss
from latentzoo.builtin.train.trained import latent_diffusion
from latentzoo.builtin.train.trainer import Recipe, tile
from latentzoo.errors import SpecError


class AdaptationRecipe(Recipe):
    """Creates the recipe.

    Arguments:
        pictures: The training pictures.
        world: Which of them are of the world: for each attribute named, the values it may have.
        moves: Parts of the names of the denoiser's tensors that move; the others are the base's.
        batch: Latents per step.

    Raises:
        UnknownName: If there is no such attribute or value.
        SpecError: If no picture is of the world, or no tensor moves.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        world: Mapping[str, Sequence[str]],
        moves: Sequence[str],
        batch: int = 32,
    ) -> None:
        self.batch, self.base = batch, latent_diffusion(steps=10)
        inside = pictures.satisfying(world)
        if not len(inside):
            raise SpecError(f"no picture is of the world {dict(world)}; draw more, or allow more")
        self.latents = pictures.latents(self.base.encoder)[inside]
        self.labels = pictures.labels_at(inside)
        self.denoiser = copy.deepcopy(self.base.denoiser)
        names = [name for name, _ in self.denoiser.named_parameters()]
        self.moving = [name for name in names if any(part in name for part in moves)]
        if not self.moving:
            raise SpecError(f"no tensor's name has any of {list(moves)} in it; name parts that do")
        for name in self.moving:
            self.denoiser.get_parameter(name).requires_grad_(True)
        self.players: dict[str, nn.Module] = {"denoiser": self.denoiser}

    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One loss: the squared error of the velocity."""
        yield "denoiser", velocity_loss(self.denoiser, self.latents, self.batch, stream)

    @torch.no_grad()
    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """What the base makes of some starts above, what the world makes of them below."""
        pair = self.base
        world = LatentDiffusion(averaged["denoiser"], pair.encoder, pair.decoder, steps=10)
        z = torch.randn(24, pair.space.dim, generator=torch.Generator().manual_seed(0))
        halves = zip(pair(z).split(12), world(z).split(12), strict=True)
        return tile(torch.cat([half for row in halves for half in row]), 12)

    def export(self, averaged: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """The tensors that moved."""
        denoiser = averaged["denoiser"]
        return {f"denoiser.{name}": denoiser.get_parameter(name) for name in self.moving}
