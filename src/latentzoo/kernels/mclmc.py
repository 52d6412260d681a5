r"""Microcanonical Langevin: a momentum of fixed length, turned by the gradient and by chance; untested.

A step is the integrator of least error, B A B A B, and then O (`isokinetic`), at two gradients. Since
the speed is fixed, a start that is hundreds of nats up is no danger, and no temperature is ramped. What
an untested step does wrong is the work W, and the step size follows it until half of the budget,

.. math:: \log h \leftarrow \log h + \mathrm{clip}\left(\tfrac13 \log \tfrac{w}{\rho}, \, -\tfrac12, \, \tfrac14\right),
    \qquad \rho^2 = \frac{\overline{W^2}}{\mathrm{var}(\phi) + d / 1000}

with the means over the chains. The papers hold :math:`\overline{W^2} / d` fixed; but where a few of many
directions are informed, all of that error falls on those few, so here it is held against the spread of
phi, and d counts only where phi tells next to nothing. Then h stays, at the mean of its last corrections.
The length of decoherence is each chain's own, :math:`L^2 = \mathrm{tr} \, \Sigma / d`, measured along
the chain in the second quarter of the budget (before that, 1, the prior's).

References:
    | Microcanonical Hamiltonian Monte Carlo (Robnik, De Luca, Silverstein and Seljak, 2022)
    | https://arxiv.org/abs/2212.08549
    | Fluctuation without dissipation: microcanonical Langevin Monte Carlo (Robnik and Seljak, 2023)
    | https://arxiv.org/abs/2303.18221
"""

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from latentzoo.kernels.adapt import CHANGE, Schedule, follow
from latentzoo.kernels.isokinetic import minimal_norm, on_sphere, turned
from latentzoo.kernels.types import Info, Kernel, Point, Potential, Time
from latentzoo.options import Portion, Positive
from latentzoo.rng import Rng

FLOOR = 1e-3
"""How much of the dimension counts as spread of phi."""
SHORTEST = 0.1
"""The least length of decoherence."""


class MCLMCState(NamedTuple):
    """A point, and what the kernel carries.

    Attributes:
        p: The momentum, of length sqrt(d), (B, D).
        clock: The number of the next step, from 1, (B,).
        log_h: The log step size, the same for each chain, (B,).
        mean_log_h: Its mean over the last corrections, (B,).
        work2: The recent mean square of work / h^3, per chain, (B,).
        change2: The recent mean square of (change of phi in a step) / h, per chain, (B,).
        mean: The chain's mean over the second quarter, (B, D).
        norm2: Its mean square norm there, (B,).
        length: The length of decoherence L of each chain, (B,).
    """

    z: Tensor
    phi: Tensor
    grad: Tensor
    terms: Tensor
    p: Tensor
    clock: Tensor
    log_h: Tensor
    mean_log_h: Tensor
    work2: Tensor
    change2: Tensor
    mean: Tensor
    norm2: Tensor
    length: Tensor


@dataclass(frozen=True)
class MCLMC(Kernel):
    """Creates the microcanonical Langevin kernel.

    Arguments:
        step_size: The time h of a step, in which a coordinate moves by about h; None adapts it.
        length: The time L after which the direction is forgotten; None measures it.
        work: The aim for the work of a step, in spreads of phi.
        schedule: The (beta, h) of each step of another run, to follow instead of adapting.
    """

    step_size: Time | None = None
    length: Positive | None = None
    work: Portion = 0.03
    schedule: Schedule | None = None
    State: ClassVar[type[Any]] = MCLMCState

    @property
    def gradients(self) -> float:
        return 2.0

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> MCLMCState:
        p, point = on_sphere(rng.normal(z.shape[1])), phi.evaluate(z)
        zero, one = torch.zeros_like(point.phi), torch.ones_like(point.phi, dtype=torch.long)
        log_h, length = zero + math.log(self.step_size or 0.1), zero + (self.length or 1.0)
        rest = (zero, zero, zero, torch.zeros_like(z), zero, length)
        return MCLMCState(*point, p, one, log_h, *rest)

    @property
    def coupled(self) -> bool:
        return self.step_size is None and self.schedule is None

    def step(self, phi: Potential, state: MCLMCState, rng: Rng) -> tuple[MCLMCState, Info]:
        one, h = torch.ones_like(state.phi), state.log_h.exp()
        if self.schedule is not None:
            _, h = follow(self.schedule, state.clock, state.phi)
        move = minimal_norm(phi, Point(*state[:4]), state.p, h=h)
        p = turned(move.p, rng.normal(state.z.shape[1]), h=h, length=state.length)
        info = Info(torch.full_like(one, torch.nan), h, one, move.work)
        new = state._replace(**move.point._asdict(), p=p, clock=state.clock + 1)
        return self._tune(self._measure(new), state, info), info

    @property
    def _half(self) -> int:
        """How many steps adapt."""
        return int(self.budget / self.gradients) // 2

    def _measure(self, new: MCLMCState) -> MCLMCState:
        """Follows the chain's mean and square over the second quarter, and then takes its length from them."""
        n, first, last = int(new.clock[0]) - 1, self._half // 2, self._half
        if self.length is not None or not first < n <= last:
            return new
        rate = 1 / (n - first)
        mean = torch.lerp(new.mean, new.z, rate)
        norm2 = torch.lerp(new.norm2, new.z.square().sum(1), rate)
        new = new._replace(mean=mean, norm2=norm2)
        if n < last or n - first < 2:
            return new
        many = (n - first) / (n - first - 1)
        variance = many * (norm2 - mean.square().sum(1)) / new.z.shape[1]
        return new._replace(length=variance.clamp(min=SHORTEST**2).sqrt())

    def _tune(self, new: MCLMCState, old: MCLMCState, info: Info) -> MCLMCState:
        """Corrects the step size by the work of the last step, until the half."""
        n = int(old.clock[0])
        if not self.coupled or n > self._half:
            return new
        rate, h = max(1 / n, 0.1), info.step_size
        work2 = torch.lerp(old.work2, (info.error / h**3).square(), rate)
        change2 = torch.lerp(old.change2, ((new.phi - old.phi) / h).square(), rate)
        if len(h) >= 4:
            work, spread2 = info.error.square().mean(), float(new.phi.var())
        else:
            work = work2.mean() * float(h[0]) ** 6
            spread2 = float(change2.mean()) * float(h[0]) ** 2 / CHANGE**2
        rho = math.sqrt(float(work) / (spread2 + FLOOR * new.z.shape[1]))
        rise = math.log(self.work / max(rho, 1e-6)) / 3
        log_h = old.log_h + min(max(rise, -0.5), 0.25)
        log_h = log_h.clamp(max=0.0)
        last = max(self._half - 20, self._half // 2)
        mean = old.mean_log_h + (log_h - old.mean_log_h) / max(n - last, 1)
        log_h = mean if n == self._half else log_h
        return new._replace(log_h=log_h, mean_log_h=mean, work2=work2, change2=change2)
