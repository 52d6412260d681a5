r"""Ascent with the norm kept typical, as in ReNO: an optimiser, whose results are no samples.

The density of :math:`r = |z|` takes the place of the prior's, so that z stays at the radius where
the prior has its mass,

.. math:: \min_z \; \phi(z) + \tfrac12 |z|^2 - (d - 1) \log |z|

by Nesterov's momentum :math:`\mu` with the slope clipped to norm c,

.. math:: g \leftarrow g \, \min\Big(1, \frac{c}{|g| + \epsilon}\Big), \qquad
    v \leftarrow \mu v + g, \qquad z \leftarrow z - h \, (g + \mu v)

ReNO's own loss is a hundredth of this: it weighs the norm by 0.01, with :math:`h = 5`,
:math:`c = 0.1` and the rewards HPSv2.1 5, ImageReward 1, PickScore 0.05, CLIP-H 0.01 (the last two
of cosines times their learned scale of 100). Here the prior weighs 1, so h is 0.05, c is 10 and the
rewards are 500, 100, 5 and 1. The norm is right; everything else about the posterior is not: the
chains lie far below its typical energy. Its result is the state of the smallest reward loss seen,
`best=` of a run.

References:
    | ReNO: Enhancing One-step Text-to-Image Models through Reward-based Noise Optimization
    | (Eyring, Karthik, Roth, Dosovitskiy and Akata, 2024)
    | https://arxiv.org/abs/2406.04312
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from latentzoo.kernels.types import Info, Kept, Kernel, Potential
from latentzoo.options import Positive
from latentzoo.rng import Rng

EPSILON = 1e-4
"""What PyTorch adds to a norm before it clips, 1e-6, in units of phi."""


class RenoState(NamedTuple):
    """A point and the velocity (B, D)."""

    z: Tensor
    phi: Tensor
    grad: Tensor
    terms: Tensor
    velocity: Tensor


@dataclass(frozen=True)
class Reno(Kernel):
    """Creates the optimiser.

    Arguments:
        step_size: The learning rate.
        momentum: How much of the velocity a step keeps.
        clip: The largest norm of the slope.
    """

    step_size: Positive = 0.05
    momentum: Kept = 0.9
    clip: Positive = 10.0
    samples: ClassVar[bool] = False
    State: ClassVar[type[Any]] = RenoState

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> RenoState:
        return RenoState(*phi.evaluate(z), torch.zeros_like(z))

    def step(self, phi: Potential, state: RenoState, rng: Rng) -> tuple[RenoState, Info]:
        norm2 = state.z.square().sum(1, keepdim=True)
        slope = state.grad + state.z * (1 - (state.z.shape[1] - 1) / norm2)
        slope = slope * (self.clip / (slope.norm(dim=1, keepdim=True) + EPSILON)).clamp(max=1)
        velocity = self.momentum * state.velocity + slope
        z = state.z - self.step_size * (slope + self.momentum * velocity)
        info = Info.unadjusted(state.phi, step_size=self.step_size)
        return RenoState(*phi.evaluate(z), velocity), info
