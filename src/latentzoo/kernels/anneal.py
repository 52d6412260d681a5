r"""The default: underdamped Langevin, the prior rotated exactly, annealed and certified.

Each step is B R O R B (see `baoab`) at one gradient. A run of N gradients goes through four
phases:

1. *Ramp*, at most 0.4 N. The potential is raised from :math:`\beta = 0`, a step per temperature,
   as fast as the conditional effective sample size of the batch allows; with fewer than four
   chains as the square of time.
2. *Tuning*, until N/2. The step size follows the shadow work W, measured against the spread of the
   energy,

   .. math::
       \log h \leftarrow \log h
           + \mathrm{clip}\left(\tfrac13 \log \tfrac{w}{\rho}, \, -\tfrac12, \, \tfrac14\right),
       \qquad \rho = \frac{\mathrm{sd}(W)}{\mathrm{sd}(\beta \phi)}, \quad w = 0.2

   over the chains of the batch, or over recent time where there are fewer than four. Directions
   that the potential does not inform do no work, so the rule does not depend on the dimension.
3. *Sampling*, at the mean of the last twenty steps' log h; only an emergency
   (:math:`\rho > 2.5 w`) still shortens it.
4. *The certified tail*, the last quarter: the same step with a Metropolis test, short enough that
   nine in ten are accepted. It starts with a new momentum, since phase 3 has the positions
   right but not the momenta. It leaves the posterior exactly invariant, so its acceptance says
   what phase 3 was worth.

Outside the tail, a chain whose work is more than twenty times its own recent changes of energy is
put back where it was, with a new momentum and twice the allowance, and reported with acceptance 0.

References:
    | Annealed importance sampling (Neal, 2001)
    | https://arxiv.org/abs/physics/9803008
    | Rational construction of stochastic numerical methods for molecular sampling
    | (Leimkuhler and Matthews, 2012)
    | https://arxiv.org/abs/1203.5428
"""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from latentzoo.kernels.adapt import Schedule, follow, require, temperature
from latentzoo.kernels.baoab import baoab
from latentzoo.kernels.types import Info, Kernel, Point, Potential, metropolis, where
from latentzoo.rng import Rng

CHANGE = 0.8
"""How the change of the energy in a step compares with its spread, at the chosen step size."""


class AnnealState(NamedTuple):
    """A point, and what the annealing carries; what the batch shares is the same for each chain.

    Attributes:
        p: The momentum, (B, D).
        clock: The gradients spent, (B,).
        beta: The inverse temperature, (B,).
        landed: The clock when beta reached 1, or 0, (B,).
        log_h: The log step size, (B,).
        mean_log_h: Its mean over the last corrections before the freeze, (B,).
        work2: The recent mean square of work / h^3, per chain, (B,).
        change2: The recent mean square of (change of phi in a step) / h, per chain, (B,).
    """

    z: Tensor
    phi: Tensor
    grad: Tensor
    terms: Tensor
    p: Tensor
    clock: Tensor
    beta: Tensor
    landed: Tensor
    log_h: Tensor
    mean_log_h: Tensor
    work2: Tensor
    change2: Tensor


@dataclass(frozen=True)
class Anneal(Kernel):
    """Creates the annealed kernel.

    Arguments:
        step_size: The step h, an angle; None adapts it.
        gamma: The friction.
        cess: The fraction of the conditional effective sample size that a rise in temperature
            keeps.
        ramp: The longest part of the budget that the ramp may take.
        work: The aim for sd(work) / sd(energy).
        tail: The part of the budget that ends the run with accept/reject steps; 0 leaves it out.
        schedule: The (beta, h) of each step of another run, to follow instead of adapting.
        budget: The number of gradients of the run; set by `plan`.
    """

    step_size: float | None = None
    gamma: float = 1.0
    cess: float = 0.5
    ramp: float = 0.4
    work: float = 0.2
    tail: float = 0.25
    schedule: Schedule | None = None
    budget: int = 200
    State: ClassVar[type[Any]] = AnnealState

    def __post_init__(self) -> None:
        require(
            step_size=(self.step_size, 0, 3),
            gamma=(self.gamma, 0, math.inf),
            cess=(self.cess, 0, 1),
            work=(self.work, 0, 1),
        )

    def plan(self, steps: int) -> "Anneal":
        return replace(self, budget=steps)

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> AnnealState:
        point, p = phi.evaluate(z), rng.normal(z.shape[1])
        zero, one = torch.zeros_like(point.phi), torch.ones_like(point.phi, dtype=torch.long)
        log_h = zero + math.log(self.step_size or 0.1)
        return AnnealState(*point, p, one, zero, 0 * one, log_h, zero, zero, zero)

    def step(self, phi: Potential, state: AnnealState, rng: Rng) -> tuple[AnnealState, Info]:
        if self.schedule is not None:
            beta, h = follow(self.schedule, state.clock, state.phi)
            return self.move(phi, state, rng, beta=beta, h=h)
        clock, steps = int(state.clock[0]), self.ramp * self.budget
        beta = temperature(state.phi, state.beta, clock=clock, cess=self.cess, steps=steps)
        return self.move(phi, state, rng, beta=beta, h=state.log_h.exp())

    def move(
        self, phi: Potential, state: AnnealState, rng: Rng, *, beta: Tensor, h: Tensor
    ) -> tuple[AnnealState, Info]:
        """Makes one step at a given temperature and step size, each (B,)."""
        n, here, dim = int(state.clock[0]), Point(*state[:4]), state.z.shape[1]
        old_p = rng.normal(dim) if n == self._tail else state.p
        point, p, work = baoab(phi, here, old_p, rng.normal(dim), h=h, beta=beta, gamma=self.gamma)
        if n >= self._tail:
            accept, accepted = metropolis(-work, rng.uniform())
            p = torch.where(accepted[:, None], p, -old_p)
        else:
            limit = 20 * (beta * h * state.change2.sqrt() + 1e-3)
            accepted = (work.abs() <= limit) | (state.clock == 1)
            accept = torch.where(accepted, torch.nan, 0.0)
            p = _redraw(p, ~accepted, rng)
        info, kept = Info(accept, h, beta, work), accepted | work.isnan()
        new = state._replace(**where(kept, point, here)._asdict(), p=p, beta=beta)
        new = self._record(state, new, info, point.phi - state.phi, accepted)
        adapting = self.step_size is None and self.schedule is None
        return self._tune(state, new, info, accepted) if adapting else new, info

    @property
    def _tail(self) -> float:
        """The clock from which steps are tested."""
        return self.budget - int(self.tail * self.budget) if self.tail > 0 else math.inf

    def _record(
        self, old: AnnealState, new: AnnealState, info: Info, change: Tensor, kept: Tensor
    ) -> AnnealState:
        """Advances the clock and the recent averages, which are scaled as they depend on h."""
        rate, h = max(1 / int(old.clock[0]), 0.1), info.step_size
        blend = lambda mean, x: torch.where(kept, mean + rate * (x.square() - mean), mean)
        return new._replace(
            clock=old.clock + 1,
            landed=torch.where((new.beta == 1) & (old.landed == 0), old.clock, old.landed),
            work2=blend(old.work2, info.error / h**3),
            change2=torch.where(kept, blend(old.change2, change / h), 4 * old.change2),
        )

    def _tune(self, old: AnnealState, new: AnnealState, info: Info, kept: Tensor) -> AnnealState:
        """Corrects the step size according to the phase of the run."""
        n, landed = int(old.clock[0]), int(new.landed[0])
        freeze = min(max(self.budget // 2, landed + 20) if landed else math.inf, self._tail)
        rho = self._error(old, new, info, kept)
        log_h, mean = old.log_h, old.mean_log_h
        if n < freeze:
            log_h = (log_h + min(max(math.log(self.work / rho) / 3, -0.5), 0.25)).clamp(max=0.0)
            mean = mean + (log_h - mean) / max(n - max(freeze - 20, landed) + 1, 1)
            log_h = mean if n == freeze - 1 else log_h
        elif n < self._tail and rho > 2.5 * self.work:
            log_h = log_h - 0.15
        if n == self._tail - 1:
            work = float((log_h.exp() ** 3 * new.work2.mean().sqrt())[0])
            log_h = log_h + min(math.log(0.6), math.log(0.25 / (work + 1e-6)) / 3)
        return new._replace(log_h=log_h, mean_log_h=mean)

    def _error(self, old: AnnealState, new: AnnealState, info: Info, kept: Tensor) -> float:
        """The ratio rho of the spreads of work and energy."""
        if len(kept) < 4:
            h = float(info.step_size[0])
            change = float(new.beta[0] * new.change2.mean().sqrt()) * h + 1e-3
            rho = CHANGE * float(new.work2.mean().sqrt()) * h**3 / change
        else:
            spread = float((new.beta * old.phi).std()) + 1e-3
            rho = float(info.error[kept].std()) / spread if int(kept.sum()) > 2 else 10.0
        return max(rho, 1e-6 if bool(kept.all()) else 3 * self.work)


def _redraw(p: Tensor, chosen: Tensor, rng: Rng) -> Tensor:
    """Draws new momenta for the chosen chains, from their own streams."""
    index = chosen.nonzero().flatten()
    return p.index_copy(0, index, rng.select(index).normal(p.shape[1])) if len(index) else p
