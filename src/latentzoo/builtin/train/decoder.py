"""Trains the decoder of the autoencoder further, for latents that stay as they are.

The autoencoder is trained quickly, so that the diffusion in its latents can begin. Whatever that diffusion becomes, a
better decoder of the same latents makes better pictures of it.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from latentzoo.builtin.train.autoencoder import reconstruction
from latentzoo.builtin.train.data import Pictures
from latentzoo.builtin.train.trained import autoencoder
from latentzoo.builtin.train.trainer import Recipe, tile


class DecoderRecipe(Recipe):
    """Creates the recipe.

    Arguments:
        pictures: The training pictures.
        batch: Pictures per step.
        edges: The weight of the edge loss.
        noise: The most noise in the latent; its standard deviation is uniform up to there.
    """

    def __init__(
        self, pictures: Pictures, *, batch: int = 16, edges: float = 1.0, noise: float = 0.2
    ) -> None:
        self.pictures, self.batch, self.edges, self.noise = pictures, batch, edges, noise
        pair = autoencoder()
        self.latents = pictures.latents(pair.encoder)
        self.decoder = pair.decoder.requires_grad_(True)
        self.players: dict[str, nn.Module] = {"decoder": self.decoder}

    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One loss: pixels and edges."""
        chosen = self.pictures.choose(self.batch, stream)
        x, z = self.pictures.at(chosen), self.latents[chosen]
        strength = self.noise * torch.rand(self.batch, 1, 1, 1, generator=stream)
        y = self.decoder(z + strength * torch.randn(z.shape, generator=stream))
        yield "decoder", reconstruction(y, x, self.edges)

    @torch.no_grad()
    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """Pictures above, their reconstructions below."""
        x = self.pictures.first(32)
        y = averaged["decoder"](self.latents[:32])
        rows = [half for a, b in zip(x.split(16), y.split(16), strict=True) for half in (a, b)]
        return tile(torch.cat(rows), 16)

    def export(self, averaged: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """The averaged weights."""
        return averaged["decoder"].state_dict()
