r"""Discriminators: small networks that tell what is real from what was generated, and what they learn by.

.. math:: \ell_d = \operatorname{softplus}(-d(x)) + \operatorname{softplus}(d(y)) + \tfrac{\gamma}{2} |\nabla d(x)|^2

References:
    | Which Training Methods for GANs do actually Converge? (Mescheder et al., 2018), https://arxiv.org/abs/1801.04406
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.builtin.networks.blocks import Down

PENALTY_EVERY = 8
"""In how many steps the gradient penalty is taken once, as many times as large."""


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


def opinions(
    critic: nn.Module,
    real: Float[Tensor, "B C H W"],
    made: Float[Tensor, "N C H W"],
    *,
    step: int,
    penalty: float,
) -> dict[str, Tensor]:
    """The parts of a discriminator's loss at a step; the penalty is one of them in every eighth."""
    penalised = step % PENALTY_EVERY == 0
    real = real.detach().requires_grad_(penalised)
    opinion = critic(real)
    parts = {
        "real": F.softplus(-opinion).mean(),
        "made": F.softplus(critic(made.detach())).mean(),
    }
    if penalised:
        (slope,) = torch.autograd.grad(opinion.sum(), real, create_graph=True)
        square = slope.square().sum(dim=(1, 2, 3)).mean()
        parts["penalty"] = PENALTY_EVERY * penalty / 2 * square
    return parts
