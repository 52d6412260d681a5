r"""Sequential Monte Carlo: the annealed kernel with resampling, for the shares of separate modes.

No chain that follows gradients moves between modes within a few hundred steps, so the share of
chains in each is whatever the ramp made of it. Here the ramp is slow, the chains carry weights,

.. math:: \log w_b \leftarrow \log w_b - (\beta' - \beta) \, \phi_b, \qquad
    \log Z \leftarrow \log Z + \log \sum_b w_b \, e^{-(\beta' - \beta) \phi_b} \;\; (\textstyle\sum_b w_b = 1)

and when the effective sample size of the weights falls under half, and at the ramp's end, the
chains are drawn anew in proportion to their weights. Moves, step sizes and the certified tail are
those of `anneal`. Chains meet here: a chain is the seeds of its whole run, and cannot be replayed
alone.

How wrong log Z is can be told from one run. The descendants of different starts are all but
independent, and the share :math:`N_e / N` of the chains that descend from start e is the part of Z
that it has found, so that

.. math:: \mathrm{var}(\log \hat Z) \approx \sum_e \left(\frac{N_e}{N} - \frac1N\right)^2

Systematic resampling in the order of the batch rounds a family's share to a whole number of chains
and adds little else; multinomial resampling would need a correction. With few families left the
estimate is from below: it never exceeds 1.

References:
    | Sequential Monte Carlo samplers (Del Moral, Doucet and Jasra, 2006)
    | https://doi.org/10.1111/j.1467-9868.2006.00553.x
    | Sequential Monte Carlo methods for Bayesian elliptic inverse problems
    | (Beskos, Jasra, Muzaffer and Stuart, 2013)
    | https://arxiv.org/abs/1412.4459
    | A general theory of particle filters in hidden Markov models and some applications
    | (Chan and Lai, 2013)
    | https://arxiv.org/abs/1312.5114
    | Variance estimation in the particle filter (Lee and Whiteley, 2018)
    | https://arxiv.org/abs/1509.00394
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.kernels.adapt import raise_temperature
from latentzoo.kernels.anneal import Anneal, AnnealState
from latentzoo.kernels.types import Angle, Info, Kernel, Population, Potential, select
from latentzoo.options import Portion, Positive, Share
from latentzoo.rng import Rng

FEWEST = 64
"""How many chains resampling needs to leave enough ancestors."""


_POPULATION = dict.fromkeys(("log_w", "log_z", "ancestor"), Tensor)
SMCState = NamedTuple("SMCState", tuple((AnnealState.__annotations__ | _POPULATION).items()))
"""The state of `anneal`, and of the population.

Attributes:
    log_w: The log-weight of each chain, (B,).
    log_z: The estimate of log Z so far, the same for each chain, (B,).
    ancestor: The place in the batch that each chain started from, (B,).
"""


@dataclass(frozen=True)
class SMC(Kernel):
    """Creates the resampling kernel.

    Arguments:
        step_size: The step h, an angle; None adapts it.
        gamma: The friction.
        cess: The fraction of the conditional effective sample size that a rise in temperature
            keeps.
        ramp: The longest part of the budget that the ramp may take.
        tail: The part of the budget that ends the run with accept/reject steps.

    Raises:
        SpecError: At the start of a run with fewer than 64 chains.
    """

    step_size: Angle | None = None
    gamma: Positive = 1.0
    cess: Portion = 0.99
    ramp: Portion = 0.6
    tail: Share = 0.25
    weighs: ClassVar[bool] = True
    State: ClassVar[type[Any]] = SMCState

    def population(self, state: SMCState) -> Population:
        return Population(state.ancestor, state.log_z)

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> SMCState:
        if phi.chains is not None:
            raise SpecError(
                "resampling draws chains from each other, so they cannot have targets of their own; take anneal"
            )
        if len(z) < FEWEST:
            raise SpecError(
                f"resampling {len(z)} chains would leave few ancestors; give at least {FEWEST} "
                "chains, or take anneal"
            )
        state = self._moves.init(phi, z, rng)
        zero = torch.zeros_like(state.phi)
        return SMCState(*state, zero, zero, torch.arange(len(z), device=z.device))

    @property
    def coupled(self) -> bool:
        return True

    @property
    def friction(self) -> float:
        return self.gamma

    def step(self, phi: Potential, state: SMCState, rng: Rng) -> tuple[SMCState, Info]:
        beta = float(state.beta[0])
        if beta < 1:
            left = self.ramp * self.budget - int(state.clock[0])
            new = raise_temperature(state.phi, beta, state.log_w, cess=self.cess, left=left)
            state = resample(reweight(state, new), rng, always=new == 1)
        return self.move(phi, state, rng)

    def move(self, phi: Potential, state: SMCState, rng: Rng) -> tuple[SMCState, Info]:
        """Moves every chain once, at the temperature it is at."""
        old = AnnealState(*state[: len(AnnealState._fields)])
        new, info = self._moves.move(phi, old, rng, beta=old.beta, h=old.log_h.exp())
        return state._replace(**new._asdict()), info

    @cached_property
    def _moves(self) -> Anneal:
        kept = _Moves(self.step_size, gamma=self.gamma, tail=self.tail, precondition="none")
        return kept.plan(self.budget)


@dataclass(frozen=True)
class _Moves(Anneal):
    """The moves of `anneal`, for a population whose states are weighed on the way."""

    weighs: ClassVar[bool] = True


def reweight(state: SMCState, beta: float) -> SMCState:
    """Takes the population to another inverse temperature; only weights and log Z change."""
    old, phi = float(state.beta[0]), state.phi.cpu().double()
    log_w = state.log_w.cpu().double().log_softmax(0) - (beta - old) * phi
    return state._replace(
        beta=torch.full_like(state.beta, beta),
        log_w=log_w.to(state.phi),
        log_z=state.log_z + log_w.logsumexp(0).to(state.phi),
    )


def resample(state: SMCState, rng: Rng, *, always: bool = False) -> SMCState:
    """Draws the chains anew in proportion to their weights, systematically.

    Arguments:
        state: The population.
        rng: Noise, of which the first chain's is used.
        always: Whether to do so even where the weights are worth half of the chains or more.
    """
    w = state.log_w.cpu().double().softmax(0)
    if 1 / w.square().sum() >= len(w) / 2 and not always:
        return state
    level = (torch.arange(len(w)) + float(rng.uniform()[0])) / len(w)
    index = torch.searchsorted(w.cumsum(0), level.double()).clamp(max=len(w) - 1)
    return select(state, index.to(state.z.device))._replace(log_w=torch.zeros_like(state.log_w))
