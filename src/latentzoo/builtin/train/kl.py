r"""Distils the avatars' autoencoder into an `AutoencoderKL` of diffusers with the same latents.

.. math:: \ell = |D(z + \epsilon) - x|_1 + |\nabla D(z + \epsilon) - \nabla x|_1
    + |\mu(x) - z|^2 + \tfrac{1}{100} (\log \sigma^2(x) + 8)^2

with the latents :math:`z` of the existing encoder and noise :math:`\epsilon` of standard deviation 0.1. The first
layers, on the grid of the latents, begin as those of the existing decoder, which are the same function.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from latentzoo.builtin.networks import text_to_image as parts
from latentzoo.builtin.networks.autoencoder import Decoder
from latentzoo.builtin.networks.blocks import Residual
from latentzoo.builtin.train.autoencoder import reconstruction
from latentzoo.builtin.train.data import Pictures
from latentzoo.builtin.train.trained import autoencoder
from latentzoo.builtin.train.trainer import Recipe, tile

LOG_VARIANCE = -8.0
"""What the encoder says of its own certainty: a standard deviation of 0.018."""


class KLRecipe(Recipe):
    """Creates the recipe.

    Arguments:
        pictures: The training pictures.
        batch: Pictures per step.
        noise: The standard deviation of the noise in the latent.
        encode: The encoder learns in one step of so many.
    """

    def __init__(
        self, pictures: Pictures, *, batch: int = 16, noise: float = 0.1, encode: int = 4
    ) -> None:
        self.pictures, self.batch, self.noise, self.encode = pictures, batch, noise, encode
        pair = autoencoder()
        self.latents = pictures.latents(pair.encoder)
        self.network = parts.autoencoder()
        begin(self.network, pair.decoder)
        self.players: dict[str, nn.Module] = {"autoencoder": self.network}

    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One loss: pixels and edges, and now and then the encoder's."""
        chosen = self.pictures.choose(self.batch, stream)
        x, z = self.pictures.at(chosen), self.latents[chosen]
        noisy = z + self.noise * torch.randn(z.shape, generator=stream)
        losses = reconstruction((self.network.decode(noisy).sample + 1) / 2, x, 1.0)
        if step % self.encode == 0:
            belief = self.network.encode(2 * x - 1).latent_dist
            losses["mean"] = (belief.mean - z).square().mean()
            losses["variance"] = 0.01 * (belief.logvar - LOG_VARIANCE).square().mean()
        yield "autoencoder", losses

    @torch.no_grad()
    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """Pictures above, their reconstructions below."""
        network: Any = averaged["autoencoder"]
        x = self.pictures.first(16)
        return tile(torch.cat([x, (network.decode(self.latents[:16]).sample + 1) / 2]), 16)

    def export(self, averaged: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """The averaged weights."""
        return averaged["autoencoder"].state_dict()


@torch.no_grad()
def begin(network: Any, decoder: Decoder) -> None:
    """Copies the first layers of the avatars' decoder, on the grid 16x16, to those of an `AutoencoderKL`."""
    first, *blocks = list(decoder.layers.children())[:3]
    nn.init.dirac_(network.post_quant_conv.weight)
    nn.init.zeros_(network.post_quant_conv.bias)
    network.decoder.conv_in.load_state_dict(first.state_dict())
    for place, block in zip(network.decoder.mid_block.resnets, blocks, strict=True):
        assert isinstance(block, Residual)
        for name in ("norm1", "conv1", "norm2", "conv2"):
            getattr(place, name).load_state_dict(getattr(block, name).state_dict())
