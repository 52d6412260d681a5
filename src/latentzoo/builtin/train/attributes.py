r"""Trains a network that reads the attributes of a face: the guide or the held-out judge.

.. math:: \ell = -\sum_k \log q_k(a_k \mid x')

over pictures :math:`x'` that were disturbed, and, for the guide, regenerated through the latent autoencoder.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from latentzoo.builtin.attributes import SIZES
from latentzoo.builtin.avatars import NAMES
from latentzoo.builtin.networks.recognizer import Guide, Judge
from latentzoo.builtin.train.augment import disturb, regenerate
from latentzoo.builtin.train.data import Pictures
from latentzoo.builtin.train.trained import autoencoder
from latentzoo.builtin.train.trainer import Recipe, tile
from latentzoo.errors import UnknownName

KINDS = {"guide": Guide, "judge": Judge}


class AttributesRecipe(Recipe):
    """Creates the recipe.

    Arguments:
        pictures: The training pictures with their labels.
        kind: "guide" or "judge".
        batch: Pictures per step.
        regenerated: The share of pictures that go through the autoencoder.
        noise: The most noise in its latent.

    Raises:
        UnknownName: There is no such kind.
    """

    def __init__(
        self,
        pictures: Pictures,
        *,
        kind: str,
        batch: int = 64,
        regenerated: float = 0.0,
        noise: float = 0.5,
    ) -> None:
        if kind not in KINDS:
            raise UnknownName("kind of attribute network", kind, KINDS)
        self.pictures, self.batch, self.noise = pictures, batch, noise
        self.regenerated = round(regenerated * batch)
        self.autoencoder = autoencoder() if regenerated else None
        self.network = KINDS[kind](SIZES)
        self.players: dict[str, nn.Module] = {"network": self.network}

    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One loss: the cross entropy of every attribute."""
        chosen = self.pictures.choose(self.batch, stream)
        x, labels = self.pictures.at(chosen), self.pictures.labels_at(chosen)
        if self.autoencoder is not None:
            n, pair = self.regenerated, self.autoencoder
            again = regenerate(x[:n], pair.encoder, pair.decoder, self.noise, stream)
            x = torch.cat([again, x[n:]])
        said = self.network(disturb(x, stream))
        truth = dict(zip(NAMES, labels.unbind(1), strict=True))
        losses = {n: -said[n].gather(1, truth[n][:, None]).mean() for n in NAMES}
        yield "network", losses

    @torch.no_grad()
    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """What the network sees while it learns."""
        stream = torch.Generator().manual_seed(0)
        return tile(disturb(self.pictures.first(64), stream), 16)

    def export(self, averaged: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """The averaged weights."""
        return averaged["network"].state_dict()
