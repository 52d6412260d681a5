r"""Preconditioned Crank-Nicolson: no gradient at all, for energies that are black boxes.

The proposal leaves the prior invariant, so the potential alone decides:

.. math:: z' = \cos h \, z + \sin h \, \xi, \qquad a = \min(1, e^{\phi(z) - \phi(z')})

The step size is found by Robbins-Monro at an acceptance of 0.25 during the first half of the
budget. An evaluation without gradient counts as a third of one with it.

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
from latentzoo.kernels.types import Angle, Info, Kernel, Potential, metropolis, where
from latentzoo.options import Portion
from latentzoo.rng import Rng


@dataclass(frozen=True)
class PCN(Kernel):
    """Creates the preconditioned Crank-Nicolson kernel.

    Arguments:
        step_size: The angle h; None adapts it.
        target: The acceptance to aim for.
        schedule: The (beta, h) of each step of another run, to follow instead of adapting.
    """

    step_size: Angle | None = None
    target: Portion = 0.25
    schedule: Schedule | None = None
    adjusted: ClassVar[bool] = True
    State: ClassVar[type[Any]] = Tuned

    @property
    def gradients(self) -> float:
        return 1 / 3

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> Tuned:
        return Tuned.begin(phi.evaluate(z, gradient=False), self.step_size or 0.3)

    @property
    def coupled(self) -> bool:
        return self.step_size is None and self.schedule is None

    def step(self, phi: Potential, state: Tuned, rng: Rng) -> tuple[Tuned, Info]:
        here, h = state.point, state.step_size(self.schedule)
        c, s = h.cos()[:, None], h.sin()[:, None]
        new = phi.evaluate(c * here.z + s * rng.normal(here.z.shape[1]), gradient=False)
        rise = new.phi - here.phi
        accept, accepted = metropolis(-rise, rng.uniform())
        point = where(accepted, new, here)
        state = state.after(
            point, accept, target=self.target, longest=math.pi / 2, until=settled(self)
        )
        return state, Info(accept, h, torch.ones_like(h), rise)
