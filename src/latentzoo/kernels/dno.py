r"""Ascent that keeps the latent's statistics, as in DNO: an optimiser, whose results are no samples.

.. math:: \min_z \; \phi(z) + \gamma \big( r(z) + E_\Pi\, r(\Pi z) \big), \qquad
    r(z) = -\log p_1(M_1(z)) - \log p_2(M_2(z))

by Adam, with random orders :math:`\Pi` of the numbers of the latent. In each order it is cut into m pieces of k
numbers. Their mean and covariance, :math:`M_1 = |\bar z|` and :math:`M_2 = |\tfrac1m \sum_i z_i z_i^\top - I|_2`, are
as improbable for a draw of the prior as these bounds say,

.. math:: \log p_1(M) = \min\Big(0, \log 2 - \frac{m M^2}{2 k}\Big), \qquad
    \log p_2(M) = \min\Big(0, \log 2 - \frac{m}{2} \max\big(0, \sqrt{1 + M} - 1 - \sqrt{k / m}\big)^2\Big)

Below a threshold nothing is asked for, so that the latent is typical by these two statistics alone. The bounds, their
sum and the latent's own order beside the random ones are those of the official code
(github.com/TZW1998/Direct-Noise-Optimization), with its k = 4; it looks at 100 random orders, and its Adam decays and
clips. Its gamma is 0 if not given and 1 in its examples, for rewards of order one. Only the ratio of phi to gamma
counts: where phi is a reward times 100, a gamma of 100 is the same bargain, and one of 1 keeps nothing.

References:
    | Inference-Time Alignment of Diffusion Models with Direct Noise Optimization (Tang, Peng, Tang, Hong, Wang and
    | Chang, 2024), https://arxiv.org/abs/2405.18881
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from latentzoo.kernels.adam import AdamState
from latentzoo.kernels.types import Info, Kept, Kernel, Potential
from latentzoo.options import Count, Positive
from latentzoo.rng import Rng


def improbability(z: Tensor, piece: int) -> Tensor:
    """The sum of the two improbabilities of latents (B, D) in nats, (B,); 0 where both are typical."""
    piece = min(piece, z.shape[1])
    count = z.shape[1] // piece
    parts = z[:, : count * piece].view(-1, count, piece)
    first = parts.mean(1).square().sum(1) * count / (2 * piece)
    spread = parts.mT @ parts / count - torch.eye(piece, device=z.device, dtype=z.dtype)
    second = torch.linalg.matrix_norm(spread, ord=2)
    over = (1 + second).sqrt() - 1 - math.sqrt(piece / count)
    second = count / 2 * over.clamp(min=0).square()
    return (first - math.log(2)).clamp(min=0) + (second - math.log(2)).clamp(min=0)


@dataclass(frozen=True)
class Dno(Kernel):
    """Creates the optimiser.

    Arguments:
        step_size: The learning rate.
        gamma: The weight of the improbability, in units of phi per nat.
        piece: How many numbers k a piece has; a shorter latent is one piece.
        orders: How many random orders a step looks at, beside the latent's own.
        forget: How much of the averages of slope and square a step keeps.
    """

    step_size: Positive = 0.05
    gamma: Positive = 1.0
    piece: Count = 4
    orders: Count = 8
    forget: tuple[Kept, Kept] = (0.9, 0.999)
    samples: ClassVar[bool] = False
    State: ClassVar[type[Any]] = AdamState

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> AdamState:
        return AdamState.begin(phi.evaluate(z))

    def step(self, phi: Potential, state: AdamState, rng: Rng) -> tuple[AdamState, Info]:
        slope = state.grad + self.gamma * self._slope(state.z, rng)
        info = Info.unadjusted(state.phi, step_size=self.step_size)
        after = state.after(phi, slope, step_size=self.step_size, forget=self.forget)
        return after, info

    def _slope(self, z: Tensor, rng: Rng) -> Tensor:
        """The gradient of the improbability as the numbers lie, and on average over random orders, (B, D)."""
        orders = [rng.normal(z.shape[1]).argsort(1) for _ in range(self.orders)]
        with torch.enable_grad():
            x = z.detach().requires_grad_()
            each = [improbability(x.gather(1, order), self.piece) for order in orders]
            total = (improbability(x, self.piece) + torch.stack(each).mean(0)).sum()
        return torch.autograd.grad(total, x)[0]
