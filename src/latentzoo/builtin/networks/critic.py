"""Discriminators: small networks that tell what is real from what was generated."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.builtin.networks.blocks import Down


class LatentCritic(nn.Module):
    """Creates a discriminator of latents `(B, 4, 16, 16)`, with a map of how much each batch varies.

    Arguments:
        channels: The number of maps of a latent.
        width: The number of features on the grid 16x16; twice and four times as many on the smaller ones.
    """

    def __init__(self, channels: int = 4, width: int = 64) -> None:
        super().__init__()
        act = nn.LeakyReLU(0.2)
        self.layers = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            act,
            nn.Conv2d(width, width, 3, padding=1),
            act,
            Down(width, 2 * width),
            act,
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            act,
            Down(2 * width, 3 * width),
            act,
        )
        self.last = nn.Sequential(
            nn.Conv2d(3 * width + 1, 3 * width, 3, padding=1),
            act,
            nn.Flatten(),
            nn.Linear(3 * width * 16, 1),
        )

    def forward(self, z: Float[Tensor, "B C 16 16"]) -> Float[Tensor, "B"]:
        """How real each latent looks."""
        h = self.layers(z)
        spread = h.std(dim=0).mean().expand(len(h), 1, *h.shape[2:])
        return self.last(torch.cat([h, spread], dim=1)).squeeze(1)
