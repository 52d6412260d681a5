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
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from latentzoo.kernels.adapt import Schedule, follow, require, robbins_monro
from latentzoo.kernels.baoab import baoab
from latentzoo.kernels.types import Info, Kernel, Point, Potential, metropolis, where
from latentzoo.rng import Rng


class MALTState(NamedTuple):
    """A point, the `clock` in trajectories (B,), from 1, and the shared `log_h` (B,)."""

    z: Tensor
    phi: Tensor
    grad: Tensor
    terms: Tensor
    clock: Tensor
    log_h: Tensor


@dataclass(frozen=True)
class MALT(Kernel):
    """Creates the adjusted trajectory kernel.

    Arguments:
        step_size: The angle h of one step; None adapts it.
        length: The number of steps L of a trajectory, each a gradient.
        gamma: The friction; 0 makes it Hamiltonian.
        target: The acceptance to aim for.
        schedule: The (beta, h) of each trajectory of another run, to follow instead of adapting.
        budget: The number of gradients of the run; set by `plan`.
    """

    step_size: float | None = None
    length: int = 5
    gamma: float = 1.0
    target: float = 0.7
    schedule: Schedule | None = None
    budget: int = 200
    adjusted: ClassVar[bool] = True
    State: ClassVar[type[Any]] = MALTState

    def __post_init__(self) -> None:
        require(
            step_size=(self.step_size, 0, 3),
            length=(self.length, 0, math.inf),
            target=(self.target, 0, 1),
        )

    @property
    def gradients(self) -> float:
        return float(self.length)

    def plan(self, steps: int) -> "MALT":
        return replace(self, budget=steps)

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> MALTState:
        point = phi.evaluate(z)
        log_h = torch.full_like(point.phi, math.log(self.step_size or 0.2))
        return MALTState(*point, torch.ones_like(log_h, dtype=torch.long), log_h)

    def step(self, phi: Potential, state: MALTState, rng: Rng) -> tuple[MALTState, Info]:
        here, one, h = Point(*state[:4]), torch.ones_like(state.phi), state.log_h.exp()
        if self.schedule is not None:
            _, h = follow(self.schedule, state.clock, state.phi)
        dim = here.z.shape[1]
        point, p, work = here, rng.normal(dim), torch.zeros_like(one)
        for _ in range(self.length):
            move = baoab(phi, point, p, rng.normal(dim), h=h, beta=one, gamma=self.gamma)
            point, p, work = move.point, move.p, work + move.work
        accept, accepted = metropolis(-work, rng.uniform())
        n, log_h = int(state.clock[0]), state.log_h
        adapting = self.step_size is None and self.schedule is None
        if adapting and n * self.length < self.budget // 2:
            longest = min(1.0, math.pi / 2 / self.length)
            log_h = robbins_monro(log_h, accept, target=self.target, t=n, longest=longest)
        point = where(accepted, point, here)
        return MALTState(*point, state.clock + 1, log_h), Info(accept, h, one, work)
