r"""Metropolis-adjusted Langevin trajectories, with the prior rotated exactly.

A trajectory starts with a fresh momentum, makes L steps of underdamped Langevin dynamics (`baoab`),
friction and noise included, and is tested once, with the shadow work of all its kicks:

.. math:: p \sim \mathcal{N}(0, I), \qquad (z, p) \to \dots \to (z_L, p_L), \qquad
    a = \min\left(1, \exp(-\textstyle\sum_l W_l)\right)

The noise inside the trajectory makes the choice of L harmless. The step size is found by
Robbins-Monro at an acceptance of 0.7 during the first half of the budget, with h at most 1 and a
trajectory at most a quarter turn.

References:
    | Metropolis adjusted Langevin trajectories: a robust alternative to Hamiltonian Monte Carlo
    | (Riou-Durand and Vogrinc, 2022)
    | https://arxiv.org/abs/2202.13230
    | Adaptive tuning for Metropolis adjusted Langevin trajectories (Riou-Durand et al., 2023)
    | https://arxiv.org/abs/2210.12200
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from latentzoo.kernels.adapt import Schedule, Tuned, settled
from latentzoo.kernels.baoab import baoab
from latentzoo.kernels.types import Angle, Info, Kernel, Potential, metropolis, where
from latentzoo.options import Count, Portion, Weight
from latentzoo.rng import Rng


@dataclass(frozen=True)
class MALT(Kernel):
    """Creates the adjusted trajectory kernel.

    Arguments:
        step_size: The angle h of one step; None adapts it.
        length: The number of steps L of a trajectory, each a gradient.
        gamma: The friction; 0 makes it Hamiltonian.
        target: The acceptance to aim for.
        schedule: The (beta, h) of each trajectory of another run, to follow instead of adapting.
    """

    step_size: Angle | None = None
    length: Count = 5
    gamma: Weight = 1.0
    target: Portion = 0.7
    schedule: Schedule | None = None
    adjusted: ClassVar[bool] = True
    State: ClassVar[type[Any]] = Tuned

    @property
    def gradients(self) -> float:
        return float(self.length)

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> Tuned:
        return Tuned.begin(phi.evaluate(z), self.step_size or 0.2)

    @property
    def coupled(self) -> bool:
        return self.step_size is None and self.schedule is None

    def step(self, phi: Potential, state: Tuned, rng: Rng) -> tuple[Tuned, Info]:
        here, one, h = state.point, torch.ones_like(state.phi), state.step_size(self.schedule)
        dim = here.z.shape[1]
        point, p, work = here, rng.normal(dim), torch.zeros_like(one)
        for _ in range(self.length):
            move = baoab(phi, point, p, rng.normal(dim), h=h, beta=one, gamma=self.gamma)
            point, p, work = move.point, move.p, work + move.work
        accept, accepted = metropolis(-work, rng.uniform())
        longest = min(1.0, math.pi / 2 / self.length)
        point = where(accepted, point, here)
        state = state.after(
            point, accept, target=self.target, longest=longest, until=settled(self)
        )
        return state, Info(accept, h, one, work)
