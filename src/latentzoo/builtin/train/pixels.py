r"""Trains the denoiser of the diffusion in pixel space.

.. math:: \ell = E_{t, \epsilon} \frac{| \hat x_\theta(x_t, t) - x_0 |^2}{\sigma_t^2 + c}

which is the squared error of the velocity :math:`(\alpha_t x_t - \hat x) / \sigma_t`, but that :math:`c` keeps the
last steps from outweighing all.
"""

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from latentzoo.builtin.ddpm import WIDTHS, Patches, diffusion
from latentzoo.builtin.train.data import Pictures
from latentzoo.builtin.train.diffusion import mix, times
from latentzoo.builtin.train.trainer import Recipe, tile

FLOOR = 0.05
"""The number :math:`c`."""


class PixelDiffusionRecipe(Recipe):
    """Creates the recipe.

    Arguments:
        pictures: The training pictures.
        batch: Pictures per step.
        widths: The widths of the denoiser.
    """

    def __init__(
        self, pictures: Pictures, *, batch: int = 32, widths: Sequence[int] = WIDTHS
    ) -> None:
        self.pictures, self.batch = pictures, batch
        self.players: dict[str, nn.Module] = {"denoiser": Patches(widths)}

    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One loss: the squared error of the picture, weighted."""
        x_0 = 2 * self.pictures.batch(self.batch, stream) - 1
        t = times(self.batch, stream)
        x_t, _ = mix(x_0, t, stream)
        error = (self.players["denoiser"](x_t, t) - x_0).square().mean((1, 2, 3))
        weight = 1 / ((torch.pi / 2 * t).sin().square() + FLOOR)
        yield "denoiser", {"x": (weight * error).mean()}

    @torch.no_grad()
    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """Samples of ten steps."""
        generator = diffusion(averaged["denoiser"])
        z = torch.randn(48, generator.space.dim, generator=torch.Generator().manual_seed(0))
        return tile(generator(z), 12)

    def export(self, averaged: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """The whole generator."""
        return diffusion(averaged["denoiser"]).state_dict()
