r"""Parallel tempering: each chain climbs a ladder of temperatures of its own.

Beside the posterior, a chain keeps replicas at :math:`\beta_1 < \dots < \beta_K = 1`, geometrically
spaced. Each moves by `pcnl`, and then neighbours change places,

.. math:: (z_i, z_{i+1}) \leftarrow (z_{i+1}, z_i) \;\text{ with probability }\;
    \min\left(1, e^{(\beta_{i+1} - \beta_i) (\phi(z_{i+1}) - \phi(z_i))}\right)

in even and odd pairs by turns. Hot replicas cross between modes, cold ones bring what they found
down. It is for a thousand gradients per sample or more and for energies that few directions inform:
with many, neighbours hardly ever change places. Every step costs K gradients. Each replica finds
its own step size by Robbins-Monro during the first half of the budget.

References:
    | Non-reversible parallel tempering: a scalable highly parallel MCMC scheme
    | (Syed, Bouchard-Côté, Deligiannidis and Doucet, 2022)
    | https://arxiv.org/abs/1905.02939
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from msgspec import Meta
from torch import Tensor

from latentzoo.kernels.baoab import baoab
from latentzoo.kernels.types import Angle, Info, Kernel, Point, Potential, metropolis, where
from latentzoo.options import Portion
from latentzoo.rng import Rng


class TemperingState(NamedTuple):
    """The point at the posterior, and the ladder.

    Attributes:
        ladder_z: The replicas from the hottest to the posterior, (B, K, D).
        ladder_phi: Their potentials, (B, K).
        ladder_grad: Their gradients, (B, K, D).
        ladder_terms: Their energies, (B, K, N).
        clock: The steps made, from 1, (B,).
        log_h: Their log step sizes, (B, K).
    """

    z: Tensor
    phi: Tensor
    grad: Tensor
    terms: Tensor
    ladder_z: Tensor
    ladder_phi: Tensor
    ladder_grad: Tensor
    ladder_terms: Tensor
    clock: Tensor
    log_h: Tensor


@dataclass(frozen=True)
class Tempering(Kernel):
    """Creates the parallel tempering kernel.

    Arguments:
        step_size: The angle h of every replica; None adapts one for each.
        rungs: The number K of temperatures.
        hottest: The smallest inverse temperature.
        target: The acceptance to aim for.
    """

    step_size: Angle | None = None
    rungs: Annotated[int, Meta(ge=2)] = 8
    hottest: Portion = 0.01
    target: Portion = 0.65
    adjusted: ClassVar[bool] = True
    weighs: ClassVar[bool] = True
    State: ClassVar[type[Any]] = TemperingState

    @property
    def gradients(self) -> float:
        return float(self.rungs)

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> TemperingState:
        fresh = rng.normal(self.rungs - 1, z.shape[1]).unbind(1)
        points = [phi.evaluate(x) for x in (*fresh, z)]
        clock = torch.ones(len(z), dtype=torch.long, device=z.device)
        log_h = z.new_full((len(z), self.rungs), math.log(self.step_size or 0.3))
        return TemperingState(*points[-1], *_stack(points), clock, log_h)

    def step(self, phi: Potential, state: TemperingState, rng: Rng) -> tuple[TemperingState, Info]:
        beta = torch.logspace(math.log10(self.hottest), 0, self.rungs).to(state.phi)
        h, p = state.log_h.exp(), rng.normal(self.rungs, state.z.shape[1])
        u, points, accepts, works = rng.uniform(2, self.rungs), [], [], []
        for k in range(self.rungs):
            here = Point(*(field[:, k] for field in state[4:8]))
            new, _, work, _ = baoab(
                phi, here, p[:, k], None, h=h[:, k], beta=beta[k].expand(len(u))
            )
            accept, accepted = metropolis(-work, u[:, 0, k])
            points.append(where(accepted, new, here))
            accepts.append(accept)
            works.append(work)
        ladder = self._swap(_stack(points), beta, u[:, 1], odd=int(state.clock[0]) % 2)
        accept, log_h = torch.stack(accepts, dim=1), state.log_h
        n = int(state.clock[0])
        if self.step_size is None and n * self.rungs < self.budget // 2:
            log_h = (log_h + 1.2 / math.sqrt(n) * (accept - self.target)).clamp(max=math.log(1.5))
        cold = Point(*(field[:, -1] for field in ladder))
        info = Info(accept[:, -1], h[:, -1], torch.ones_like(state.phi), works[-1])
        return TemperingState(*cold, *ladder, state.clock + 1, log_h), info

    def _swap(self, ladder: Point, beta: Tensor, u: Tensor, *, odd: int) -> Point:
        """Exchanges neighbours, by turns those of even and of odd place; u is uniform, (B, K)."""
        gain = beta.diff() * ladder.phi.diff(dim=1)
        swap = u[:, 1:].log() < gain
        swap[:, (1 - odd) :: 2] = False
        place = torch.arange(self.rungs, device=u.device).repeat(len(u), 1)
        place[:, :-1] += swap.long()
        place[:, 1:] -= swap.long()
        row = torch.arange(len(u), device=u.device)[:, None]
        return Point(*(field[row, place] for field in ladder))


def _stack(points: list[Point]) -> Point:
    return Point(*(torch.stack(fields, dim=1) for fields in zip(*points, strict=True)))
