r"""A ladder of Gaussian latents: the networks of a hierarchical variational autoencoder.

From coarse to fine, each rung :math:`l` has a prior that depends on what is above it, and while training a posterior
that has also seen the data,

.. math:: z_l = \mu_l(h) + \sigma_l(h)\, \epsilon_l, \qquad q(z_l) = N(\mu_l + \sigma_l d_l,\; \sigma_l^2 s_l^2)

so that without data the ladder is a function of the standard normal :math:`\epsilon = (\epsilon_1, \dots, \epsilon_L)`.

References:
    | Ladder Variational Autoencoders (Soenderby et al., 2016), https://arxiv.org/abs/1602.02282
    | NVAE: A Deep Hierarchical Variational Autoencoder (Vahdat and Kautz, 2020), https://arxiv.org/abs/2007.03898
    | Very Deep VAEs Generalize Autoregressive Models (Child, 2021), https://arxiv.org/abs/2011.10650
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.builtin.networks.blocks import Attention, Down, Residual, Up


class Shape(NamedTuple):
    """One rung: its grid, the features there, and the number of latent maps."""

    grid: int
    width: int
    maps: int


RUNGS = (
    Shape(4, 128, 16),
    Shape(4, 128, 16),
    Shape(8, 80, 8),
    Shape(8, 80, 8),
    Shape(16, 48, 4),
)


class Moments(nn.Module):
    """Creates a mean and a logarithm of a standard deviation, both 0 at first, the latter kept within +-4."""

    def __init__(self, width: int, maps: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(width, 2 * maps, 3, padding=1)
        for parameter in self.conv.parameters():
            nn.init.zeros_(parameter)

    def forward(self, h: Tensor) -> Tensor:
        """Maps `(B, width, g, g)` to `(B, 2 maps, g, g)`."""
        mean, log_std = self.conv(F.silu(h)).chunk(2, dim=1)
        return torch.cat([mean, 4 * torch.tanh(log_std / 4)], dim=1)


class Rung(nn.Module):
    """Creates one rung of the ladder.

    Arguments:
        shape: Its grid, features and latent maps.
        inference: Whether it has the posterior.
    """

    def __init__(self, shape: Shape, inference: bool) -> None:
        super().__init__()
        width, maps = shape.width, shape.maps
        self.before = nn.Sequential(Residual(width), *_attention(shape))
        self.prior = Moments(width, maps)
        if inference:
            self.posterior = Moments(2 * width, maps)
        self.into = nn.Conv2d(maps, width, 1)
        self.after = Residual(width)

    def forward(self, h: Tensor, eps: Float[Tensor, "B M g g"]) -> Tensor:
        """One step down the ladder without data."""
        h = self.before(h)
        mean, log_std = self.prior(h).chunk(2, dim=1)
        return self.after(h + self.into(mean + log_std.exp() * eps))

    def infer(self, h: Tensor, seen: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One step down with data: what comes out, the noise that gives it, and the divergence in nats, `(B,)`."""
        h = self.before(h)
        mean, log_std = self.prior(h).chunk(2, dim=1)
        shift, log_scale = self.posterior(torch.cat([h, seen], dim=1)).chunk(2, dim=1)
        noise = shift + log_scale.exp() * eps
        divergence = 0.5 * (shift.square() + (2 * log_scale).exp() - 1) - log_scale
        h = self.after(h + self.into(mean + log_std.exp() * noise))
        return h, noise, divergence.flatten(1).sum(1)


class Ladder(nn.Module):
    """Creates the hierarchical variational autoencoder of maps `(B, channels, 16, 16)`.

    Arguments:
        channels: The number of maps.
        rungs: The rungs from coarse to fine; a finer grid is twice as fine.
        inference: Whether it has what looks at data, which is for training.
    """

    def __init__(
        self, channels: int = 4, rungs: Sequence[Shape] = RUNGS, inference: bool = True
    ) -> None:
        super().__init__()
        self.rungs = nn.ModuleList(Rung(shape, inference) for shape in rungs)
        self.top = nn.Parameter(0.1 * torch.randn(1, rungs[0].width, rungs[0].grid, rungs[0].grid))
        widths = {shape.grid: shape.width for shape in rungs}
        self.grids = [shape.grid for shape in rungs]
        pairs = list(zip(widths, list(widths)[1:], strict=False))
        self.up = nn.ModuleDict({str(b): Up(widths[a], widths[b]) for a, b in pairs})
        self.place = nn.ParameterDict(
            {str(b): nn.Parameter(torch.zeros(1, widths[b], b, b)) for _, b in pairs}
        )
        finest = rungs[-1].width
        if inference:
            self.first = nn.Conv2d(channels, finest, 3, padding=1)
            self.look = nn.ModuleDict(
                {str(g): nn.Sequential(Residual(w), Residual(w)) for g, w in widths.items()}
            )
            self.down = nn.ModuleDict({str(a): Down(widths[b], widths[a]) for a, b in pairs})
        self.last = nn.Sequential(
            Residual(finest),
            nn.GroupNorm(8, finest),
            nn.SiLU(),
            nn.Conv2d(finest, channels, 3, padding=1),
        )

    def _arrive(self, h: Tensor, level: int) -> Tensor:
        grid = self.grids[level]
        if level == 0 or grid == self.grids[level - 1]:
            return h
        return self.up[str(grid)](h) + self.place[str(grid)]

    def forward(self, eps: Sequence[Tensor]) -> Float[Tensor, "B C 16 16"]:
        """The maps of standard normal noises, one per rung, `(B, maps, grid, grid)`."""
        h = self.top.expand(len(eps[0]), -1, -1, -1)
        for level, rung in enumerate(self.rungs):
            h = rung(self._arrive(h, level), eps[level])
        return self.last(h)

    def infer(
        self, x: Float[Tensor, "B C 16 16"], eps: Sequence[Tensor]
    ) -> tuple[Tensor, list[Tensor], Tensor]:
        """The reconstruction of maps, the noises that give it, and the divergence of each rung, `(B, L)`."""
        seen, h = {}, self.first(x)
        for grid in sorted(set(self.grids), reverse=True):
            h = self.look[str(grid)](self.down[str(grid)](h) if str(grid) in self.down else h)
            seen[grid] = h
        h, noises, divergences = self.top.expand(len(x), -1, -1, -1), [], []
        for level, rung in enumerate(self.rungs):
            there = self._arrive(h, level), seen[self.grids[level]], eps[level]
            step = rung.infer(*there)  # pyright: ignore[reportCallIssue]
            h, noise, divergence = step
            noises.append(noise)
            divergences.append(divergence)
        return self.last(h), noises, torch.stack(divergences, dim=1)


def _attention(shape: Shape) -> list[nn.Module]:
    return [Attention(shape.width)] if shape.grid <= 8 else []
