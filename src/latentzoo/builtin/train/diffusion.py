r"""Trains the denoiser of the latent diffusion.

.. math:: \ell = E_{t, \epsilon} \left| v_\theta(z_t, t) - (\alpha_t \epsilon - \sigma_t z_0) \right|^2

The times of a batch are spread evenly over [0, 1], which makes the loss of a step less random.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from latentzoo.builtin.ldm import LatentDiffusion
from latentzoo.builtin.networks.unet import CHANNELS, GRID, WIDTHS, UNet
from latentzoo.builtin.train.data import Pictures
from latentzoo.builtin.train.trained import autoencoder
from latentzoo.builtin.train.trainer import Recipe, tile


def times(count: int, stream: torch.Generator) -> Tensor:
    """Evenly spread random times in [0, 1), `(count,)`."""
    return (torch.arange(count) + torch.rand(1, generator=stream)) / count


def mix(x_0: Tensor, t: Tensor, stream: torch.Generator) -> tuple[Tensor, Tensor]:
    """The points of the path at times `t`, and the velocities there."""
    angle = (torch.pi / 2 * t)[:, None, None, None]
    eps = torch.randn(x_0.shape, generator=stream)
    return angle.cos() * x_0 + angle.sin() * eps, angle.cos() * eps - angle.sin() * x_0


def velocity_loss(
    denoiser: nn.Module, latents: Tensor, batch: int, stream: torch.Generator
) -> dict[str, Tensor]:
    """The squared error of the velocity, at a batch of the latents and as many times."""
    chosen = torch.randint(len(latents), (batch,), generator=stream)
    t = times(batch, stream)
    z_t, v = mix(latents[chosen], t, stream)
    return {"v": (denoiser(z_t, t) - v).square().mean()}


class LatentDiffusionRecipe(Recipe):
    """Creates the recipe.

    Arguments:
        pictures: The training pictures.
        batch: Latents per step.
        widths: The widths of the denoiser.
    """

    def __init__(
        self, pictures: Pictures, *, batch: int = 32, widths: Sequence[int] = WIDTHS
    ) -> None:
        self.batch, self.autoencoder = batch, autoencoder()
        self.latents = pictures.latents(self.autoencoder.encoder)
        self.denoiser = UNet(channels=CHANNELS, size=GRID, widths=widths)
        self.players: dict[str, nn.Module] = {"denoiser": self.denoiser}

    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One loss: the squared error of the velocity."""
        yield "denoiser", velocity_loss(self.denoiser, self.latents, self.batch, stream)

    @torch.no_grad()
    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """Samples of ten steps."""
        generator = self.generator(averaged)
        z = torch.randn(48, generator.space.dim, generator=torch.Generator().manual_seed(0))
        return tile(generator(z), 12)

    def export(self, averaged: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """The whole generator."""
        return self.generator(averaged).state_dict()

    def generator(self, averaged: Mapping[str, nn.Module]) -> LatentDiffusion:
        """The generator with the averaged denoiser."""
        pair = self.autoencoder
        return LatentDiffusion(averaged["denoiser"], pair.encoder, pair.decoder, steps=10)
