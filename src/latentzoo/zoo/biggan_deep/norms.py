r"""The batch norms of BigGAN-deep, whose statistics are stored for several truncations.

.. math:: y = \gamma(h) \, \frac{x - \mu_\psi}{\sqrt{\sigma^2_\psi + \epsilon}} + \beta(h)
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.zoo.biggan_deep.spectral import SpectralLinear


def statistics_row(truncation: float, n_stats: int) -> Float[Tensor, "N"]:
    r"""Weighs the stored statistics for a truncation in (0, 1].

    Between two rows the official code gives the fraction to the *lower* one, against what
    interpolation means. The published weights have only ever been run like this, so it is kept.
    """
    fraction, lower = math.modf(truncation / (1 / (n_stats - 1)))
    row = [0.0] * n_stats
    if fraction == 0:
        row[int(lower)] = 1.0
    else:
        row[int(lower)], row[int(lower) + 1] = fraction, 1 - fraction
    return torch.tensor(row)


class Norm(nn.Module):
    """Creates a batch norm whose statistics depend on the truncation."""

    running_means: Tensor
    running_vars: Tensor

    def __init__(self, channels: int, n_stats: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_means", torch.zeros(n_stats, channels))
        self.register_buffer("running_vars", torch.ones(n_stats, channels))

    def forward(self, x: Tensor, row: Tensor) -> Tensor:
        return F.batch_norm(
            x,
            row @ self.running_means,
            row @ self.running_vars,
            self.weight,
            self.bias,
            eps=self.eps,
        )


class ConditionalNorm(nn.Module):
    """Creates a batch norm whose gain and offset are linear in the condition `h`."""

    running_means: Tensor
    running_vars: Tensor

    def __init__(self, channels: int, condition: int, n_stats: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.scale = SpectralLinear(condition, channels, bias=False)
        self.offset = SpectralLinear(condition, channels, bias=False)
        self.register_buffer("running_means", torch.zeros(n_stats, channels))
        self.register_buffer("running_vars", torch.ones(n_stats, channels))

    def forward(self, x: Tensor, h: Tensor, row: Tensor) -> Tensor:
        gain = (1 + self.scale(h)) * (row @ self.running_vars + self.eps).rsqrt()
        shift = self.offset(h) - gain * (row @ self.running_means)
        return torch.addcmul(shift[..., None, None], x, gain[..., None, None])
