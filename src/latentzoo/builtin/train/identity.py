"""Trains the embedding of identities, on several pictures of each of many persons."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from latentzoo.builtin.identity import FEATURES, Embedding
from latentzoo.builtin.networks.margin import Margin
from latentzoo.builtin.train.augment import disturb, regenerate
from latentzoo.builtin.train.data import Pictures
from latentzoo.builtin.train.trained import autoencoder
from latentzoo.builtin.train.trainer import Recipe, tile


class IdentityRecipe(Recipe):
    """Creates the recipe.

    Arguments:
        pictures: Portraits, several in a row of one person.
        batch: Pictures per step.
        regenerated: The share of pictures that go through the autoencoder.
        noise: The most noise in its latent.
    """

    def __init__(
        self, pictures: Pictures, *, batch: int = 64, regenerated: float = 0.25, noise: float = 0.5
    ) -> None:
        self.pictures, self.batch, self.noise = pictures, batch, noise
        self.regenerated = round(regenerated * batch)
        self.autoencoder = autoencoder()
        self.embedding = Embedding()
        self.margin = Margin(len(pictures) // pictures.portraits, FEATURES)
        pair = nn.ModuleDict({"embedding": self.embedding, "margin": self.margin})
        self.players: dict[str, nn.Module] = {"network": pair}

    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One loss: that of the angular margin."""
        chosen = self.pictures.choose(self.batch, stream)
        x, n, pair = self.pictures.at(chosen), self.regenerated, self.autoencoder
        again = regenerate(x[:n], pair.encoder, pair.decoder, self.noise, stream)
        embedded = self.embedding(disturb(torch.cat([again, x[n:]]), stream))
        yield "network", {"margin": self.margin(embedded, chosen // self.pictures.portraits)}

    @torch.no_grad()
    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """Eight pictures, each followed by the seven that are nearest to it."""
        x = self.pictures.first(512)
        embedded = averaged["network"].get_submodule("embedding")(x)
        asked = torch.arange(0, len(x), max(1, len(x) // 8))[:8]
        near = (embedded[asked] @ embedded.T).topk(min(8, len(x)), dim=1).indices
        return tile(x[near.flatten()], near.shape[1])

    def export(self, averaged: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """The averaged weights of the embedding."""
        return averaged["network"].get_submodule("embedding").state_dict()
