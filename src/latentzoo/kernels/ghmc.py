r"""Generalised Hamiltonian Monte Carlo with the prior rotated exactly, and annealed.

Each step is B R O R B (`baoab`) and a test; the momentum persists, refreshed only by O, and is
turned round on rejection:

.. math:: (z, p) \leftarrow (z', p') \;\text{ with probability }\; \min(1, e^{-W}),
    \quad \text{else } (z, -p)

A persistent momentum turns the energy of a start in the prior into speed and is then rejected for
long; therefore the temperature is ramped as in `anneal`. The step size is found by Robbins-Monro
at an acceptance of 0.85 and frozen at half of the budget.

References:
    | A generalized guided Monte Carlo algorithm (Horowitz, 1991)
    | https://doi.org/10.1016/0370-2693(91)90812-5
    | Hybrid Monte Carlo on Hilbert spaces (Beskos, Pinski, Sanz-Serna and Stuart, 2011)
    | https://doi.org/10.1016/j.spa.2011.06.003
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from latentzoo.kernels.adapt import Schedule, follow, robbins_monro, temperature
from latentzoo.kernels.baoab import baoab
from latentzoo.kernels.types import Angle, Info, Kernel, Point, Potential, metropolis, where
from latentzoo.options import Portion, Share, Weight
from latentzoo.rng import Rng


class GHMCState(NamedTuple):
    """A point, and what the kernel carries; what the batch shares is the same for each chain.

    Attributes:
        p: The momentum, (B, D).
        clock: The gradients spent, (B,).
        beta: The inverse temperature, (B,).
        corrections: How many corrections of the step size there were, 8 at most on the ramp, (B,).
        log_h: The log step size, (B,).
    """

    z: Tensor
    phi: Tensor
    grad: Tensor
    terms: Tensor
    p: Tensor
    clock: Tensor
    beta: Tensor
    corrections: Tensor
    log_h: Tensor


@dataclass(frozen=True)
class GHMC(Kernel):
    """Creates the annealed generalised Hamiltonian kernel.

    Arguments:
        step_size: The angle h; None adapts it.
        gamma: The friction.
        target: The acceptance to aim for.
        cess: The fraction of the conditional effective sample size that a rise in temperature
            keeps.
        ramp: The longest part of the budget that the ramp may take; 0 starts at the posterior.
        schedule: The (beta, h) of each step of another run, to follow instead of adapting.
    """

    step_size: Angle | None = None
    gamma: Weight = 1.0
    target: Portion = 0.85
    cess: Portion = 0.5
    ramp: Share = 0.4
    schedule: Schedule | None = None
    adjusted: ClassVar[bool] = True
    State: ClassVar[type[Any]] = GHMCState

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> GHMCState:
        point, p = phi.evaluate(z), rng.normal(z.shape[1])
        zero, one = torch.zeros_like(point.phi), torch.ones_like(point.phi, dtype=torch.long)
        return GHMCState(*point, p, one, zero, one, zero + math.log(self.step_size or 0.2))

    @property
    def coupled(self) -> bool:
        return self.schedule is None

    def step(self, phi: Potential, state: GHMCState, rng: Rng) -> tuple[GHMCState, Info]:
        n, here, dim = int(state.clock[0]), Point(*state[:4]), state.z.shape[1]
        if self.schedule is not None:
            beta, h = follow(self.schedule, state.clock, state.phi)
        else:
            beta, h = self._temperature(state), state.log_h.exp()
        new, p, work, _ = baoab(
            phi, here, state.p, rng.normal(dim), h=h, beta=beta, gamma=self.gamma
        )
        accept, accepted = metropolis(-work, rng.uniform())
        p = torch.where(accepted[:, None], p, -state.p)
        t, log_h = state.corrections, state.log_h
        adapting = self.step_size is None and self.schedule is None
        if adapting and n < self.budget // 2:
            log_h = robbins_monro(log_h, accept, target=self.target, t=int(t[0]))
            t = torch.where(beta < 1, (t + 1).clamp(max=8), t + 1)
        point = where(accepted, new, here)
        state = GHMCState(*point, p, state.clock + 1, beta, t, log_h)
        return state, Info(accept, h, beta, work)

    def _temperature(self, state: GHMCState) -> Tensor:
        clock, steps = int(state.clock[0]), self.ramp * self.budget
        return temperature(state.phi, state.beta, clock=clock, cess=self.cess, steps=steps)
