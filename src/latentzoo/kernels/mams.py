r"""Metropolis-adjusted microcanonical trajectories: a momentum of fixed length, and a test.

A trajectory starts with a fresh direction, makes n leapfrog steps B A B of isokinetic dynamics with the
direction turned by chance between them (O; `isokinetic`), and is tested once, with the work of all steps:

.. math:: p \sim \mathrm{U}(|p| = \sqrt d), \qquad (z, p) \to \dots \to (z_n, p_n), \qquad
    a = \min\left(1, \exp(-\textstyle\sum_i W_i)\right)

O leaves the uniform law of the direction alone and is its own reverse, so it needs no term in the test;
and with it the choice of n is harmless. The step size is found by Robbins-Monro at an acceptance of 0.7
during the first half of the budget, with a trajectory at most :math:`\pi / 2` long. The length of
decoherence is the prior's: after L = 1 a coordinate has moved by one of its standard deviations.

References:
    | Metropolis adjusted microcanonical Hamiltonian Monte Carlo (Robnik, Cohn-Gordon and Seljak, 2025)
    | https://arxiv.org/abs/2503.01707
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from latentzoo.kernels.adapt import Schedule, Tuned, settled
from latentzoo.kernels.isokinetic import leapfrog, on_sphere, turned
from latentzoo.kernels.types import Info, Kernel, Potential, Time, metropolis, where
from latentzoo.options import Count, Portion, Positive
from latentzoo.rng import Rng


@dataclass(frozen=True)
class MAMS(Kernel):
    """Creates the adjusted microcanonical kernel.

    Arguments:
        step_size: The time h of one step, in which a coordinate moves by about h; None adapts it.
        steps: The number n of steps of a trajectory, each a gradient.
        length: The time L after which the direction is forgotten.
        target: The acceptance to aim for.
        schedule: The (beta, h) of each trajectory of another run, to follow instead of adapting.
    """

    step_size: Time | None = None
    steps: Count = 4
    length: Positive = 1.0
    target: Portion = 0.7
    schedule: Schedule | None = None
    adjusted: ClassVar[bool] = True
    State: ClassVar[type[Any]] = Tuned

    @property
    def gradients(self) -> float:
        return float(self.steps)

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> Tuned:
        return Tuned.begin(phi.evaluate(z), self.step_size or 0.2)

    @property
    def coupled(self) -> bool:
        return self.step_size is None and self.schedule is None

    def step(self, phi: Potential, state: Tuned, rng: Rng) -> tuple[Tuned, Info]:
        here, h, dim = state.point, state.step_size(self.schedule), state.z.shape[1]
        length = torch.full_like(h, self.length)
        point, p, work = here, on_sphere(rng.normal(dim)), torch.zeros_like(h)
        for i in range(self.steps):
            p = turned(p, rng.normal(dim), h=h, length=length) if i else p
            move = leapfrog(phi, point, p, h=h)
            point, p, work = move.point, move.p, work + move.work
        accept, accepted = metropolis(-work, rng.uniform())
        longest = math.pi / 2 / self.steps
        state = state.after(
            where(accepted, point, here),
            accept,
            target=self.target,
            longest=longest,
            until=settled(self),
        )
        return state, Info(accept, h, torch.ones_like(h), work)
