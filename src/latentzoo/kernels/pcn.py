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
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from latentzoo.kernels.adapt import Schedule, follow, require, robbins_monro
from latentzoo.kernels.types import Info, Kernel, Point, Potential, metropolis, where
from latentzoo.rng import Rng


class PCNState(NamedTuple):
    """A point without gradient, the `clock` in steps (B,), from 1, and the shared `log_h` (B,)."""

    z: Tensor
    phi: Tensor
    grad: Tensor
    terms: Tensor
    clock: Tensor
    log_h: Tensor


@dataclass(frozen=True)
class PCN(Kernel):
    """Creates the preconditioned Crank-Nicolson kernel.

    Arguments:
        step_size: The angle h; None adapts it.
        target: The acceptance to aim for.
        schedule: The (beta, h) of each step of another run, to follow instead of adapting.
        budget: The number of gradients the run may cost; set by `plan`.
    """

    step_size: float | None = None
    target: float = 0.25
    schedule: Schedule | None = None
    budget: int = 200
    adjusted: ClassVar[bool] = True
    State: ClassVar[type[Any]] = PCNState

    def __post_init__(self) -> None:
        require(step_size=(self.step_size, 0, 3), target=(self.target, 0, 1))

    @property
    def gradients(self) -> float:
        return 1 / 3

    def plan(self, steps: int) -> "PCN":
        return replace(self, budget=steps)

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> PCNState:
        point = phi.evaluate(z, gradient=False)
        log_h = torch.full_like(point.phi, math.log(self.step_size or 0.3))
        return PCNState(*point, torch.ones_like(log_h, dtype=torch.long), log_h)

    def step(self, phi: Potential, state: PCNState, rng: Rng) -> tuple[PCNState, Info]:
        here, h = Point(*state[:4]), state.log_h.exp()
        if self.schedule is not None:
            _, h = follow(self.schedule, state.clock, state.phi)
        c, s = h.cos()[:, None], h.sin()[:, None]
        new = phi.evaluate(c * here.z + s * rng.normal(here.z.shape[1]), gradient=False)
        rise = new.phi - here.phi
        accept, accepted = metropolis(-rise, rng.uniform())
        n, log_h = int(state.clock[0]), state.log_h
        adapting = self.step_size is None and self.schedule is None
        if adapting and n * self.gradients < self.budget // 2:
            log_h = robbins_monro(log_h, accept, target=self.target, t=n, longest=math.pi / 2)
        state = PCNState(*where(accepted, new, here), state.clock + 1, log_h)
        return state, Info(accept, h, torch.ones_like(h), rise)
