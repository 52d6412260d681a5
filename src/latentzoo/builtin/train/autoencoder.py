r"""Trains the autoencoder of the latent models.

.. math:: \ell = |\hat x - x|_1 + \lambda\, |\nabla \hat x - \nabla x|_1

The second part compares differences of neighbouring pixels: edges are what an eye sees first in a flat drawing.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from latentzoo.builtin.networks.autoencoder import Autoencoder
from latentzoo.builtin.train.data import Pictures
from latentzoo.builtin.train.trainer import Recipe, tile


def differences(image: Tensor) -> tuple[Tensor, Tensor]:
    """The differences of neighbours along both axes."""
    return image.diff(dim=-1), image.diff(dim=-2)


def reconstruction(y: Tensor, x: Tensor, edges: float) -> dict[str, Tensor]:
    """The parts of the loss of pictures `y` that should be `x`."""
    steps = zip(differences(y), differences(x), strict=True)
    return {
        "pixels": (y - x).abs().mean(),
        "edges": edges * torch.stack([(a - b).abs().mean() for a, b in steps]).sum(),
    }


class AutoencoderRecipe(Recipe):
    """Creates the recipe.

    Arguments:
        pictures: The training pictures.
        batch: Pictures per step.
        edges: The weight of the edge loss.
        noise: The standard deviation of the noise in the latent.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        batch: int = 16,
        edges: float = 1.0,
        noise: float = 0.1,
    ) -> None:
        self.pictures, self.batch, self.edges, self.noise = pictures, batch, edges, noise
        self.network = Autoencoder()
        self.players: dict[str, nn.Module] = {"autoencoder": self.network}

    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One loss: pixels and edges."""
        x = self.pictures.batch(self.batch, stream)
        z = self.network.encoder(x)
        z = z + self.noise * torch.randn(z.shape, generator=stream)
        y = self.network.decoder(z)
        yield "autoencoder", reconstruction(y, x, self.edges)

    @torch.no_grad()
    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """Pictures above, their reconstructions below."""
        x = self.pictures.first(32)
        y = averaged["autoencoder"](x)
        rows = [half for a, b in zip(x.split(16), y.split(16), strict=True) for half in (a, b)]
        return tile(torch.cat(rows), 16)

    def export(self, averaged: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """The averaged weights."""
        return averaged["autoencoder"].state_dict()
