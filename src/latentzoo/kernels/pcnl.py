r"""Preconditioned Crank-Nicolson Langevin: one kick, one exact rotation of the prior, one kick, one test.

With a fresh momentum :math:`p \sim \mathcal{N}(0, I)` for each step and the angle h,

.. math::
    z' = \cos h \, z + \sin h \, (p - \tan\tfrac{h}{2} \, \nabla \phi(z)), \qquad
    a = \min(1, e^{-W})

where W is the shadow work of `baoab` without friction. Where only finitely many directions are
informed, its acceptance does not depend on the dimension. The step size is found by
Robbins-Monro at an acceptance of 0.57 during the first half of the budget.

References:
    | MCMC methods for functions: modifying old algorithms to make them faster
    | (Cotter, Roberts, Stuart and White, 2013)
    | https://arxiv.org/abs/1202.0709
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from latentzoo.kernels.adapt import Schedule, Tuned, settled
from latentzoo.kernels.baoab import baoab
from latentzoo.kernels.types import Angle, Info, Kernel, Potential, metropolis, where
from latentzoo.options import Portion
from latentzoo.rng import Rng


@dataclass(frozen=True)
class PCNL(Kernel):
    """Creates the preconditioned Crank-Nicolson Langevin kernel.

    Arguments:
        step_size: The angle h; None adapts it.
        target: The acceptance to aim for.
        schedule: The (beta, h) of each step of another run, to follow instead of adapting.
    """

    step_size: Angle | None = None
    target: Portion = 0.57
    schedule: Schedule | None = None
    adjusted: ClassVar[bool] = True
    State: ClassVar[type[Any]] = Tuned

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> Tuned:
        return Tuned.begin(phi.evaluate(z), self.step_size or 0.2)

    @property
    def coupled(self) -> bool:
        return self.step_size is None and self.schedule is None

    def step(self, phi: Potential, state: Tuned, rng: Rng) -> tuple[Tuned, Info]:
        here, one, h = state.point, torch.ones_like(state.phi), state.step_size(self.schedule)
        new, _, work, _ = baoab(phi, here, rng.normal(here.z.shape[1]), None, h=h, beta=one)
        accept, accepted = metropolis(-work, rng.uniform())
        point = where(accepted, new, here)
        state = state.after(
            point, accept, target=self.target, longest=math.pi / 2, until=settled(self)
        )
        return state, Info(accept, h, one, work)
