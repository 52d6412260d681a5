r"""A world whose diffusion is known: data :math:`x_0 \sim \mathcal{N}(m, c^2)`, coordinate by coordinate.

The best estimate is linear in `x_t`, and the probability flow keeps the standardised coordinate
:math:`(x_t - \alpha_t m) / \sqrt{\alpha_t^2 c^2 + \sigma_t^2}`.
"""

import torch
from torch import Tensor

from latentzoo.diffusion.parametrisation import Estimate, from_x0
from latentzoo.diffusion.schedule import Level

MEAN = torch.tensor([0.3, -0.5, 0.1, 0.8], dtype=torch.float64)
STD = torch.tensor([0.4, 0.7, 1.0, 0.2], dtype=torch.float64)


def spread(t: Level) -> Tensor:
    return (t.alpha**2 * STD**2 + t.sigma**2).sqrt()


def estimate(x_t: Tensor, t: Level) -> Estimate:
    x_0 = MEAN + t.alpha * STD**2 / spread(t) ** 2 * (x_t - t.alpha * MEAN)
    return from_x0(x_0, x_t, t)


def flow(x_t: Tensor, t: Level, s: Level) -> Tensor:
    """Where the probability flow carries `x_t`, exactly."""
    return s.alpha * MEAN + spread(s) / spread(t) * (x_t - t.alpha * MEAN)
