r"""Ascent with the norm kept typical, as in ReNO: an optimiser, whose results are no samples.

The density of :math:`r = |z|` takes the place of the prior's, so that z stays at the radius where
the prior has its mass,

.. math:: \min_z \; \phi(z) - (d - 1) \log |z| + \tfrac12 |z|^2

by Nesterov's momentum with the slope clipped to norm c. The norm is right; everything else about
the posterior is not: the chains lie far below its typical energy.

References:
    | ReNO: Enhancing One-step Text-to-Image Models through Reward-based Noise Optimization
    | (Eyring, Karthik, Roth, Dosovitskiy and Akata, 2024)
    | https://arxiv.org/abs/2406.04312
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from latentzoo.kernels.adapt import require
from latentzoo.kernels.types import Info, Kernel, Potential
from latentzoo.rng import Rng


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

    step_size: float = 5.0
    momentum: float = 0.9
    clip: float = 0.1
    samples: ClassVar[bool] = False
    State: ClassVar[type[Any]] = RenoState

    def __post_init__(self) -> None:
        require(step_size=(self.step_size, 0, math.inf))

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> RenoState:
        return RenoState(*phi.evaluate(z), torch.zeros_like(z))

    def step(self, phi: Potential, state: RenoState, rng: Rng) -> tuple[RenoState, Info]:
        norm2 = state.z.square().sum(1, keepdim=True)
        slope = state.grad + state.z * (1 - (state.z.shape[1] - 1) / norm2)
        slope = slope * (self.clip / slope.norm(dim=1, keepdim=True)).clamp(max=1)
        velocity = self.momentum * state.velocity + slope
        z = state.z - self.step_size * (slope + self.momentum * velocity)
        info = Info.unadjusted(state.phi, step_size=self.step_size)
        return RenoState(*phi.evaluate(z), velocity), info
