r"""Feynman-Kac steering: particles that are drawn anew after each part of the latent, by the energy that is in sight.

A stochastic denoiser draws its latent in parts, :math:`z = (u_1, \dots, u_S)`: the start, then the noise of each step.
P particles draw one part after the other. After each they are weighed with the noise to come at its mean, and the next
part is drawn behind the better ones,

.. math:: \phi_s(z) = \phi(u_1, \dots, u_s, 0, \dots, 0), \qquad
    w_s = e^{\phi_{s-1} - \phi_s}, \quad \phi_0 = 0, \qquad
    \prod_s w_s = e^{-\phi}

with multinomial ancestors; of the last population one is drawn by its weight. That is the steering of Singhal et al.
with their potential of differences, where the reward looks at the picture that a step expects. A map has no such
output, and its noise at the mean takes that place. It needs no gradient, and a sweep costs SP forward passes.

A step is one such sweep, independent of all others. Its draw takes the chain's place with the probability of its share
in the estimates of Z so far,

.. math:: \hat Z = \prod_s \frac1P \sum_p w_s^p

so that k sweeps of a chain are pooled; the first is always taken. It is right in the limit of many particles, or of
many sweeps of few; few sweeps of few give draws of the prior with a smaller phi, and no samples of the posterior.
A particle whose phi is no finite number has the weight 0; a sweep that is left with no other estimates Z by 0, and is
not taken.

References:
    | A General Framework for Inference-time Scaling and Steering of Diffusion Models
    | (Singhal, Horvitz, Teehan, Ren, Yu, McKeown and Ranganath, 2025)
    | https://arxiv.org/abs/2501.06848
    | Sequential Monte Carlo samplers (Del Moral, Doucet and Jasra, 2006)
    | https://doi.org/10.1111/j.1467-9868.2006.00553.x
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn.functional import pad

from latentzoo.kernels.types import Info, Kernel, Point, Potential, where
from latentzoo.options import Count
from latentzoo.rng import Rng


class FKState(NamedTuple):
    """A point, and the log of the sum of the estimates of Z that it was drawn from, (B,)."""

    z: Tensor
    phi: Tensor
    grad: Tensor
    terms: Tensor
    log_z: Tensor


@dataclass(frozen=True)
class FK(Kernel):
    """Creates the steering kernel.

    Arguments:
        stages: How many parts S the latent has, of one size but for a rest: 1 + the noises of a pipeline's map.
        particles: How many particles P a chain has.
    """

    stages: Count = 4
    particles: Count = 16
    samples: ClassVar[bool] = False
    State: ClassVar[type[Any]] = FKState

    @property
    def gradients(self) -> float:
        return self.stages * self.particles / 3

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> FKState:
        point = phi.evaluate(z, gradient=False)
        return FKState(*point, torch.full_like(point.phi, -torch.inf))

    def step(self, phi: Potential, state: FKState, rng: Rng) -> tuple[FKState, Info]:
        new, log_z = self.sweep(phi, rng, state.z)
        total = torch.logaddexp(state.log_z, log_z)
        taken = rng.uniform() < (log_z - total).exp()  # no share of nothing: never below NaN
        point = where(taken, new, Point(*state[:4]))
        return FKState(*point, total), Info.unadjusted(state.phi, step_size=1.0)

    def sweep(
        self, phi: Potential, rng: Rng, like: Float[Tensor, "B D"]
    ) -> tuple[Point, Float[Tensor, "B"]]:
        """Draws a latent of each chain by a population of its own, and estimates log Z."""
        nothing = like.new_zeros(len(like), self.particles, 0)
        seen, log_z = Point(nothing, nothing.sum(2), nothing, nothing), nothing.sum((1, 2))
        drawn, dim = 0, like.shape[1]
        for part in like.tensor_split(self.stages, dim=1):
            new = rng.normal(self.particles, part.shape[1])
            z = torch.cat([seen.z[..., :drawn], new], dim=2)
            drawn += part.shape[1]
            there = _each(phi, pad(z, (0, dim - drawn)))
            finite = seen.phi.isfinite() & there.phi.isfinite()
            log_w = (seen.phi - there.phi).where(finite, -torch.inf)
            log_z = log_z + log_w.logsumexp(1) - math.log(self.particles)
            ancestor = _drawn(log_w, rng.uniform(self.particles))
            seen = Point(*(_taken(field, ancestor) for field in there))
        return Point(*(field[:, 0] for field in seen)), log_z


def _each(phi: Potential, z: Float[Tensor, "B P D"]) -> Point:
    """What is seen at every particle: fields of shape (B, P, ...)."""
    points = [phi.evaluate(one, gradient=False) for one in z.unbind(1)]
    return Point(*(torch.stack(field, dim=1) for field in zip(*points, strict=True)))


def _drawn(log_w: Float[Tensor, "B P"], u: Float[Tensor, "B K"]) -> Int64[Tensor, "B K"]:
    """K independent draws of the particles of each chain, in proportion to their weights."""
    level = log_w.double().softmax(1).cumsum(1)
    return torch.searchsorted(level, u.double() * level[:, -1:], right=True).clamp(
        max=log_w.shape[1] - 1
    )


def _taken(x: Float[Tensor, "B P ..."], index: Int64[Tensor, "B K"]) -> Float[Tensor, "B K ..."]:
    """Takes particles of each chain."""
    return x[torch.arange(len(x), device=x.device)[:, None], index]
