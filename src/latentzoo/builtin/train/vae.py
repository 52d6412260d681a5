r"""Trains the ladder of Gaussian latents on the latents of the autoencoder.

.. math:: \ell = \frac{1}{N} \Big( \frac{|\hat z - z|^2}{2 \sigma^2} + \beta_n \sum_l D_{KL}(q_l \,\|\, p_l) \Big)

per number of the latent. :math:`\beta_n` grows to 1 over the first steps, so that the rungs are used before they cost.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from latentzoo.builtin.networks.ladder import RUNGS, Ladder
from latentzoo.builtin.train.data import Pictures
from latentzoo.builtin.train.trained import autoencoder
from latentzoo.builtin.train.trainer import Recipe, tile
from latentzoo.builtin.vae import LadderVAE


class VAERecipe(Recipe):
    """Creates the recipe.

    Arguments:
        pictures: The training pictures.
        batch: Latents per step.
        sigma: The standard deviation :math:`\\sigma` of the likelihood.
        warmup: The number of steps until the divergence has its full weight.
    """

    def __init__(
        self, pictures: Pictures, *, batch: int = 32, sigma: float = 0.3, warmup: int = 400
    ) -> None:
        self.batch, self.sigma, self.warmup = batch, sigma, warmup
        self.autoencoder = autoencoder()
        self.latents = pictures.latents(self.autoencoder.encoder)
        self.ladder = Ladder()
        self.players: dict[str, nn.Module] = {"ladder": self.ladder}

    def losses(
        self, step: int, stream: torch.Generator
    ) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """One loss: the negative evidence bound."""
        chosen = torch.randint(len(self.latents), (self.batch,), generator=stream)
        z = self.latents[chosen]
        eps = [torch.randn(self.batch, s.maps, s.grid, s.grid, generator=stream) for s in RUNGS]
        again, _, divergence = self.ladder.infer(z, eps)
        error = (again - z).square().mean() / (2 * self.sigma**2)
        weight = min(1.0, (step + 1) / self.warmup)
        cost = divergence.sum(1).mean() / z[0].numel()
        yield "ladder", {"error": error, "divergence": weight * cost}

    @torch.no_grad()
    def preview(self, averaged: Mapping[str, nn.Module]) -> Tensor:
        """Samples."""
        generator = self.generator(averaged)
        z = torch.randn(48, generator.space.dim, generator=torch.Generator().manual_seed(0))
        return tile(generator(z), 12)

    def export(self, averaged: Mapping[str, nn.Module]) -> dict[str, Tensor]:
        """What makes latents of noise, and pictures of latents."""
        state = self.generator(averaged).state_dict()
        unused = set(Ladder().state_dict()) - set(Ladder(inference=False).state_dict())
        return {name: x for name, x in state.items() if name.removeprefix("ladder.") not in unused}

    def generator(self, averaged: Mapping[str, nn.Module]) -> LadderVAE:
        """The generator with the averaged ladder.

        Raises:
            TypeError: If the averaged network is of another class.
        """
        ladder = averaged["ladder"]
        if not isinstance(ladder, Ladder):
            raise TypeError("the averaged network is not a ladder")
        return LadderVAE(ladder, self.autoencoder.decoder)
