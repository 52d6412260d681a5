r"""Underdamped Langevin, the prior rotated exactly; annealed, preconditioned and certified.

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
       \qquad \rho = \min\left(\frac{\mathrm{sd}(W)}{\mathrm{sd}(\beta \phi)}, \; \sqrt 2 \, s\right),
       \quad w = 0.2

   over the chains of the batch, or over recent time where there are fewer than four; s is the work
   that a Metropolis test would refuse as often, less on the ramp if few chains do it (see `step_error`), where
   w is larger for chains on their way (see `haste`).
   Directions that the potential does not inform do no work, so the rule does not depend on the dimension.
   At N/2 a reference is fitted, where few directions are informed and stiff (`lowrank`), and the step is
   tuned anew.
3. *Sampling*, at the mean of the last twenty steps' log h; only an emergency
   (:math:`\rho > 2.5 w`) still shortens it.
4. *The certified tail*, the last quarter: the same step with a Metropolis test, short enough that nine in ten are
   accepted. It starts with a new momentum, since phase 3 has the positions right but not the momenta. It leaves the
   posterior exactly invariant, so its acceptance says what phase 3 was worth.

Until N/2 the momentum along the gradient is cut to three standard deviations: a chain that starts hundreds of nats up
would turn them into speed and be thrown far beyond where it should stop, with nothing but the slow prior to bring it
back. Along the gradient before the step as well, since a slope may end within it; many informed directions turn the
gradient round from step to step, so that this takes more than chance brought, and phi is somewhat too low until N/2.
The second half forgets it, and nothing before is kept as a sample. And no kick is longer than three lengths of a
momentum, :math:`3 \sqrt d`, which none is where a step is stable and the chain has arrived: on the map of a heavy
tail a start may be a million times steeper than the posterior, and one kick would throw it out of all numbers.

Outside the tail, a chain whose work is more than twenty times its own recent changes of energy (and half a nat) is
put back where it was, with a new momentum and twice the allowance, and reported with acceptance 0. From N/2 on the
allowance only grows where a chain is put back, so that none may climb step by step, each no wilder than the last.

References:
    | Annealed importance sampling (Neal, 2001)
    | https://arxiv.org/abs/physics/9803008
    | Rational construction of stochastic numerical methods for molecular sampling
    | (Leimkuhler and Matthews, 2012)
    | https://arxiv.org/abs/1203.5428
"""

import math
from dataclasses import dataclass
from statistics import fmean
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from latentzoo.kernels import adapt
from latentzoo.kernels.baoab import baoab, calm
from latentzoo.kernels.lowrank import FEWEST, Learned, Reference, Whitened
from latentzoo.kernels.types import Angle, Info, Kernel, Point, Potential, pick
from latentzoo.options import Portion, Positive, Share
from latentzoo.rng import Rng

FASTEST = 3.0
"""How fast a chain may move along the gradient before the run's half, in standard deviations; and how long one
kick may be then, in lengths of a momentum."""
TIMES = 8
"""At how many times gradients are kept, to learn a reference from."""
ROOM = 2**26
"""How many numbers the gradients kept may have; where they would have more, none is learned."""
WILD = 0.5
"""The least spread of the energy, in nats, that work is called wild against."""


class AnnealState(NamedTuple):
    """A point, and what the annealing carries; what the batch shares is the same for each chain.

    Attributes:
        p: The momentum, (B, D).
        clock: The gradients spent, (B,).
        beta: The inverse temperature, (B,).
        landed: The clock when beta reached 1, or 0, (B,).
        log_h: The log step size, (B,).
        mean_log_h: Its mean over the last corrections before the freeze, (B,).
        passed: The recent mean of min(1, exp(-W)), per chain, (B,).
        work2: The recent mean square of work / h^3, per chain, (B,).
        change2: The recent mean square of (change of phi in a step) / h, per chain, (B,).
        basis, scale, centre: What preconditioning has learned; see `lowrank.Learned`.
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
    passed: Tensor
    work2: Tensor
    change2: Tensor
    basis: Tensor
    scale: Tensor
    centre: Tensor


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
        precondition: "auto" learns at half of the run the directions that the potential informs,
            and walks on in coordinates in which they are as wide as the others, if they are few
            and stiff (see `lowrank`); "none" does not; a `Reference` of another run is taken from
            there on, for its schedule.
        schedule: The (beta, h) of each step of another run, to follow instead of adapting.
    """

    step_size: Angle | None = None
    gamma: Positive = 1.0
    cess: Portion = 0.5
    ramp: Share = 0.4
    work: Portion = 0.2
    tail: Share = 0.25
    precondition: Literal["auto", "none"] | Reference = "auto"
    schedule: adapt.Schedule | None = None
    anneals: ClassVar[bool] = True
    State: ClassVar[type[Any]] = AnnealState

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> AnnealState:
        point, p = phi.evaluate(z), rng.normal(z.shape[1])
        zero, one = torch.zeros_like(point.phi), torch.ones_like(point.phi, dtype=torch.long)
        log_h = zero + math.log(self.step_size or 0.1)
        adapts = self.precondition == "auto" and self.schedule is None
        learns = adapts and len(z) >= FEWEST and TIMES * z.numel() <= ROOM
        learned = Learned.nothing(z, TIMES if learns else 0)
        return AnnealState(
            *point, p, one, zero, 0 * one, log_h, zero, zero + 1, zero, zero, *learned
        )

    @property
    def coupled(self) -> bool:
        return self.schedule is None

    @property
    def friction(self) -> float:
        return self.gamma

    def step(self, phi: Potential, state: AnnealState, rng: Rng) -> tuple[AnnealState, Info]:
        if self.schedule is not None:
            beta, h = adapt.follow(self.schedule, state.clock, state.phi)
            return self.move(phi, state, rng, beta=beta, h=h)
        clock, steps = int(state.clock[0]), self.ramp * self.budget
        beta = adapt.temperature(state.phi, state.beta, clock=clock, cess=self.cess, steps=steps)
        return self.move(phi, state, rng, beta=beta, h=state.log_h.exp())

    def move(
        self, phi: Potential, state: AnnealState, rng: Rng, *, beta: Tensor, h: Tensor
    ) -> tuple[AnnealState, Info]:
        """Makes one step at a given temperature and step size, each (B,)."""
        n, landed = int(state.clock[0]), int(state.landed[0])
        here, dim, early = Point(*state[:4]), state.z.shape[1], n < self.budget // 2
        reference = None if early else self.reference(state)
        size, heat = float(h[0]), float(beta[0])  # numbers that all share are cheaper than tensors
        most, g = FASTEST * dim**0.5 if early else math.inf, self.gamma
        white = None if reference is None else Whitened(phi, reference)
        at = here if white is None else white.seen(here, white.reference.whiten(here.z))
        # It alone holds the noise, and lets it go before phi; a `partial` of it would not.
        point, p, work, slopes = baoab(
            white or phi, at, state.p, rng.normal(dim), h=size, beta=heat, gamma=g, longest=most
        )
        point = point if white is None else white.plain(point)
        if early:
            for grad, slope in zip((here.grad, point.grad), slopes, strict=True):
                calm(p, grad, slope, FASTEST)
        would = (-work).clamp(max=0).exp()
        if n >= self._tail:
            accept, accepted = would, rng.uniform() < would
        else:
            accept = torch.full_like(would, torch.nan)
            excess = work.abs().sub_(state.change2.sqrt(), alpha=20 * heat * size)
            accepted = excess <= (20 * WILD if n > 1 else math.inf)
        change, everyone = point.phi - state.phi, all(accepted.tolist())
        if not everyone:
            if n < self._tail:
                accept = torch.where(accepted, accept, 0.0)
                _redraw(p, ~accepted, rng)
            else:
                p = torch.where(accepted[:, None], p, state.p)
                p.mul_(torch.where(accepted, 1, -1)[:, None])
            moved = accepted | work.isnan()
            for name, old in here._asdict().items():  # each is let go before the next
                point = point._replace(**{name: pick(moved, getattr(point, name), old)})
        if n + 1 == self._tail:
            p = rng.normal(dim)
        info = Info(accept, h, beta, work)
        if landed == 0 and heat == 1:
            landed = n
            state = state._replace(landed=state.clock)
        new = state._replace(**point._asdict(), p=p, beta=beta)
        held = 0 < self.budget // 2 <= n < self._tail and not self.weighs
        kept = None if everyone else accepted
        new = _recorded(new, n, info, None if held else change, would, kept)
        if self.step_size is None and self.schedule is None:
            new = self._learn(self._tune(state, new, info, would, n, landed), n + 1, landed)
        return new, info

    @property
    def _tail(self) -> float:
        """The clock from which steps are tested."""
        return self.budget - int(self.tail * self.budget) if self.tail > 0 else math.inf

    def _freeze(self, state: AnnealState, n: int, landed: int) -> float:
        """The clock from which the step size stays, as is known at clock n."""
        early = self.budget // 2
        given = isinstance(self.precondition, Reference)
        if given or (n >= early and bool(state.scale.any())):  # tuned anew in other coordinates
            early += self.budget // 8
        return min(max(early, landed + 20) if landed else math.inf, self._tail)

    def turns(self, state: AnnealState) -> bool:
        """Whether the next step begins or ends a phase, so that none can take its place."""
        n, landed = int(state.clock[0]), int(state.landed[0])
        return n in (self._freeze(state, n, landed) - 1, self._tail - 1, self._tail)

    def learned(self, state: AnnealState) -> dict[str, Any]:
        return {"precondition": self.reference(state) or "none"}

    def reference(self, state: AnnealState) -> Reference | None:
        """What a run is preconditioned by from its half on."""
        if isinstance(self.precondition, Reference):
            return self.precondition if int(state.clock[0]) >= self.budget // 2 else None
        return Learned(state.basis, state.scale, state.centre).reference

    def _learn(self, state: AnnealState, n: int, landed: int) -> AnnealState:
        """Keeps gradients of the last tenth before the half, and then fits the reference to them."""
        half = self.budget // 2
        if state.basis.shape[1] == 0 or n > half or landed == 0:
            return state
        every = max(self.budget // 10 // TIMES, 1)
        t, rest = divmod(n - max(half - every * TIMES, landed + 1), every)
        if n < half:
            if t < 0 or rest > 0:
                return state
            # In place, as eight gradients are much to copy: a step that is made again writes the same.
            state.basis[:, t] = state.grad
            return state
        seen = max(t + (rest > 0), 0)
        learned = Learned(state.basis, state.scale, state.centre).fit(state.z, seen)
        state = state._replace(**learned._asdict())
        if learned.reference is None:
            return state
        longer = -float(learned.reference.scale.min().log())
        log_h = (state.log_h + longer).clamp(max=math.log(0.5))
        return state._replace(log_h=log_h, passed=0 * state.passed + 1, work2=0 * state.work2)

    def _tune(
        self, old: AnnealState, new: AnnealState, info: Info, would: Tensor, n: int, landed: int
    ) -> AnnealState:
        """Corrects the step size according to the phase of the run."""
        if n >= self._tail:
            return new
        freeze = self._freeze(new, n + 1, landed)
        log_h, mean = old.log_h, old.mean_log_h
        relative, accept = self._work(old, new, info, would)
        if n < freeze:
            hurries = landed == 0 and not self.weighs and len(old.phi) >= 4
            typical = adapt.middle_spread(info.error) if hurries else math.inf
            rho = max(adapt.step_error(relative, accept, typical), 1e-6)
            aim = self.work * (adapt.haste(old.phi, new.phi) if hurries else 1)
            log_h = (log_h + min(max(math.log(aim / rho) / 3, -0.5), 0.25)).clamp(max=0.0)
            mean = mean.lerp(log_h, 1 / max(n - max(freeze - 20, landed) + 1, 1))
            log_h = mean if n == freeze - 1 else log_h
        else:
            lasting = adapt.step_error(relative, float(new.passed.mean()))
            log_h = log_h - 0.15 if lasting > 2.5 * self.work else log_h
        if n == self._tail - 1:
            accept = float(new.passed.mean())  # work without a second moment fails rarely
            often = adapt.deviation(accept) if accept > 0.8 else math.inf
            work = min(float((log_h.exp() ** 3 * new.work2.mean().sqrt())[0]), often)
            log_h = log_h + min(math.log(0.6), math.log(0.25 / (work + 1e-6)) / 3)
        return new._replace(log_h=log_h, mean_log_h=mean)

    def _work(
        self, old: AnnealState, new: AnnealState, info: Info, would: Tensor
    ) -> tuple[float, float]:
        """The spread of the work in that of the energy, and how many of the steps would pass a test."""
        if len(old.phi) >= 4:
            relative = info.error.std() / ((new.beta * old.phi).std() + 1e-3)
            return float(relative), float(would.mean())
        h, passed = float(info.step_size[0]), fmean(new.passed.tolist())
        error, change = (fmean(x.tolist()) ** 0.5 for x in (new.work2, new.change2))
        scale = float(new.beta[0]) * change * h + 1e-3
        return adapt.CHANGE * error * h**3 / scale, passed


def _recorded(
    state: AnnealState,
    n: int,
    info: Info,
    change: Tensor | None,
    would: Tensor,
    kept: Tensor | None,
) -> AnnealState:
    """Advances the clock and the recent averages, which are scaled as they depend on h.

    Arguments:
        state: The state after the step, with the clock n and the averages from before it.
        n: The clock.
        info: What the step reports.
        change: How phi changed where the step went, (B,); None where an allowance stays until its chain is put back.
        would: The probability with which a test would accept it, (B,).
        kept: Which chains went there, (B,); None if all did.
    """
    rate, h = max(1 / n, 0.1), float(info.step_size[0])
    blend = lambda mean, x, unit: mean.lerp((x * (1 / unit)).square_(), rate)
    work2 = blend(state.work2, info.error, h**3)
    change2 = state.change2 if change is None else blend(state.change2, change, h)
    if kept is not None:
        work2 = torch.where(kept, work2, state.work2)
        change2 = torch.where(kept, change2, 4 * state.change2)
    return state._replace(
        clock=state.clock + 1,
        passed=state.passed.lerp(would, rate),
        work2=work2,
        change2=change2,
    )


def _redraw(p: Tensor, chosen: Tensor, rng: Rng) -> None:
    """Draws new momenta for the chosen chains, from their own streams, in place."""
    index = chosen.nonzero().flatten()
    if len(index):
        p.index_copy_(0, index, rng.select(index).normal(p.shape[1]))
