r"""Guidance strength in words a user understands: information, in nats.

How far guidance by :math:`\beta \phi` moves the latent from its prior is

.. math:: K(\beta) = \mathrm{KL}(p_\beta \,\|\, \mathcal{N}(0, I))
    = -\beta \, \mathbb{E}_\beta[\phi] - \log Z(\beta), \qquad
    \frac{dK}{d \log \beta} = g(\beta) = \beta^2 \, \mathrm{Var}_\beta[\phi]

so 12 nats say that the condition holds for about :math:`e^{-12}` of the prior. A population of chains climbs a ladder
of temperatures. The first quarter of a nat comes from weighted draws of the prior. From rung to rung, a factor of 2 or
4 apart, the population is weighted, drawn anew and moved (see `smc`), and then rests: what is averaged there does not
lag behind the temperature, and chains that rest are independent. With :math:`x = \log \beta`, U the mean of phi and
:math:`D = U(\beta) - U(\beta_1)`, a step of the ladder adds

.. math:: \beta_0 D_0 + \int \beta D \, dx, \quad\text{by Hermite's rule, since}\quad (\beta D)' = \beta D - g,
    \qquad\text{or}\qquad \int g \, dx

The first is exact to a few thousandths and noisy where there are few nats, the second the other way round; they are
mixed by their errors, which come from the differences of the chains.

References:
    | Simulating normalizing constants: from importance sampling to bridge sampling to path sampling
    | (Gelman and Meng, 1998)
    | https://doi.org/10.1214/ss/1028905934
    | Sequential Monte Carlo samplers (Del Moral, Doucet and Jasra, 2006)
    | https://doi.org/10.1111/j.1467-9868.2006.00553.x
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.kernels.adapt import raise_temperature
from latentzoo.kernels.smc import FEWEST, SMC, SMCState, resample, reweight
from latentzoo.kernels.types import Potential
from latentzoo.rng import Domain, Rng

Watch = Callable[[float, int, str], None]
"""Called on the way with the gradients spent, those there are, and a word on what was reached."""

RAMP = 0.7
"""The part of the budget that the ladder may take; the rest is spent where it ends."""
FIRST = 0.25
"""How many nats the draws of the prior are trusted with."""
DRAWS = 0.25
"""How many draws of the prior each chain weighs, in the budget: a draw costs a third of a gradient."""
REST, FEW = (0.05, 0.12), 8.0
"""The parts of the budget that are spent on a rung, the second where fewer nats are wanted, and its noise matters."""
CLOSE = 0.85
"""The part of the nats at which the ladder ends; the rest is told from the slope there."""
VAGUE = 0.1
"""The standard error, as a part of the nats, above which nothing was found."""
NEAR = 0.35
"""The least distance of two rungs, in log beta; a rung that is nearer to the next only adds its noise."""


class Strength(NamedTuple):
    """A strength, and what multiplies the weights to get it.

    Attributes:
        nats: KL(p(z|C) || prior).
        error: The standard error of it, at that factor.
        factor: The factor of phi.
    """

    nats: float
    error: float
    factor: float

    @property
    def note(self) -> str:
        """What was found, in words."""
        return f"{self.nats:.4g} ± {self.error:.2g} nats of guidance: the weights were multiplied by {self.factor:.4g}"


def measure(
    phi: Potential,
    *,
    dim: int,
    chains: int = FEWEST,
    steps: int = 200,
    seed: int = 0,
    watch: Watch | None = None,
) -> Strength:
    """Measures the strength of phi as it is, by one ladder from the prior.

    Arguments:
        phi: The potential.
        dim: The latent's dimension.
        chains: How many chains climb together, at least 64.
        steps: The gradients each may spend.
        seed: The seed of the ladder.
        watch: Called after every step.

    Raises:
        SpecError: If there are too few chains.
    """
    ladder = _Ladder(phi, dim=dim, chains=chains, steps=steps, seed=seed, watch=watch)
    ladder.begin(FIRST, end=1.0)
    if ladder.rungs[-1].beta < 1:
        while ladder.rungs[-1].beta < 1:
            ladder.climb(min(ladder.next, 1.0) if ladder.spent < RAMP * steps else 1.0)
        ladder.settle()
    return Strength(ladder.nats, ladder.error, 1.0)


def find(
    phi: Potential,
    nats: float,
    *,
    dim: int,
    chains: int = FEWEST,
    steps: int = 200,
    seed: int = 0,
    watch: Watch | None = None,
) -> Strength:
    """Finds the factor of phi whose posterior has a wanted strength, by one ladder from the prior.

    Arguments:
        phi: The potential, at any weight.
        nats: The strength wanted.
        dim: The latent's dimension.
        chains: How many chains climb together, at least 64.
        steps: The gradients each may spend.
        seed: The seed of the ladder.
        watch: Called after every step.

    Raises:
        SpecError: If there are too few chains, or the strength is not reached or known too badly, because the
            energy cannot tell that much apart or the budget is too small.
    """
    if nats <= 0:
        raise SpecError(f"a strength of {nats:g} nats is the prior itself; give a positive one")
    given = {"dim": dim, "chains": chains, "steps": steps, "seed": seed, "watch": watch}
    ladder = _Ladder(phi, **given, few=nats < FEW)
    ladder.begin(min(nats / 2, FIRST))
    while ladder.nats < CLOSE * nats:
        if ladder.spent > RAMP * steps:
            raise SpecError(
                f"{nats:g} nats are out of reach: at {ladder.beta:.3g} times these weights the "
                f"strength is {ladder.nats:.3g} nats; ask for less, or give more than {steps} steps"
            )
        ladder.climb(min(ladder.next, ladder.towards(nats)))
    ladder.settle()
    if not ladder.error < VAGUE * nats:
        raise SpecError(
            f"{nats:g} nats cannot be found: at {ladder.beta:.3g} times these weights the strength is known to "
            f"{ladder.error:.2g} nats only; ask for less, or give more than {steps} steps"
        )
    return Strength(nats, ladder.error, ladder.towards(nats))


class _Rung(NamedTuple):
    """What was seen at a temperature: the mean of phi and g, each with its squared standard error."""

    beta: float
    mean: float
    mean_error2: float
    g: float
    g_error2: float

    @classmethod
    def of(cls, beta: float, phi: Float[Tensor, "T B"], log_w: Float[Tensor, "T B"]) -> "_Rung":
        """A rung from weighted energies of chains; the differences of the chains give the errors."""
        w = log_w.flatten().softmax(0).view_as(phi) * phi.shape[1]
        mean = (w * phi).sum(0).mean()
        square = beta**2 * (phi - mean).square()

        def known(x: Tensor) -> tuple[float, float]:
            centre = (w * x).sum(0).mean()
            return float(centre), float((w * (x - centre)).sum(0).var()) / phi.shape[1]

        return cls(beta, *known(phi), *known(square))


class _Ladder:
    """A population that climbs from the prior, and its strength so far."""

    def __init__(
        self,
        phi: Potential,
        *,
        dim: int,
        chains: int,
        steps: int,
        seed: int,
        watch: Watch | None,
        few: bool = False,
    ) -> None:
        self.phi, self.steps, self.watch, self.few = phi, steps, watch, few
        # Without a plan no momentum is cut: chains that rise slowly need no such care, and it shifts the mean of phi.
        self.kernel = SMC(tail=0.0).plan(0)
        self.rng = Rng(*(seed * 2**32 + chain for chain in range(chains)), domain=Domain.RAMP)
        self.state: SMCState = self.kernel.init(phi, self.rng.normal(dim), self.rng)
        self.before = 0.0
        self.rungs: list[_Rung] = []
        self.start = self.nats = self.error = self.start_error = 0.0
        draws = [self.state.phi, *(self._drawn(dim) for _ in range(int(DRAWS * steps)))]
        self.prior = torch.stack(draws).cpu().double()

    def _drawn(self, dim: int) -> Float[Tensor, "B"]:
        self.before += 1 / 3
        self._tell()
        return self.phi.evaluate(self.rng.normal(dim), gradient=False).phi

    def _tell(self) -> None:
        if self.watch is not None:
            self.watch(
                self.spent, self.steps, f"{self.nats:.3g} nats at {self.beta:.3g} of the weights"
            )

    @property
    def beta(self) -> float:
        return float(self.state.beta[0])

    @property
    def spent(self) -> float:
        return self.before + int(self.state.clock[0])

    @property
    def next(self) -> float:
        """The temperature of the next rung: twice this one, or four times where a doubling adds few of the nats."""
        return self.rungs[-1].beta * (2 if self.rungs[-1].g > 1.5 * self.nats else 4)

    def towards(self, nats: float) -> float:
        """The temperature at which so many nats are expected, if g goes on as a power of beta."""
        power, last = 2.0, self.rungs[-1]
        if len(self.rungs) > 1 and min(self.rungs[-2].g, last.g) > 0:
            before = self.rungs[-2]
            power = math.log(last.g / before.g) / math.log(last.beta / before.beta)
        power, left = min(max(power, 0.01), 2.0), (nats - self.nats) / (last.g + 1e-9)
        return last.beta * max(1 + power * left, 0.1) ** (1 / power)

    def begin(self, nats: float, *, end: float = math.inf) -> None:
        """Takes the population to the first rung, where the prior's draws are worth so many nats, or to the end."""
        low, high = 0.0, 1 / (float(self.prior.std()) + 1e-9)
        for _ in range(40):
            beta = (low + high) / 2
            low, high = (
                (beta, high)
                if float(_weighted(self.prior.flatten(), beta)) < nats
                else (low, beta)
            )
        beta = min(high, end)
        self.start = self.nats = float(_weighted(self.prior.flatten(), beta))
        each = _weighted(self.prior, beta)
        self.start_error = self.error = float(each.std()) / math.sqrt(len(each))
        self.rungs.append(_Rung.of(beta, self.prior, -beta * self.prior))

    def climb(self, end: float) -> None:
        """Takes the population to the next rung, lets it rest there, and adds what the step is worth."""
        beta = self.beta
        while beta < end:
            phi, log_w = self.state.phi, self.state.log_w
            beta = raise_temperature(phi, beta, log_w, cess=0.5, left=math.inf, end=end)
            self.state = resample(reweight(self.state, beta), self.rng)
            self._move()
        self.state = resample(self.state, self.rng, always=True)
        rest = max(round(REST[self.few] * self.steps), 3)
        self.seen = [self._move() for _ in range(rest)][rest // 3 :]
        if len(self.rungs) > 1 and math.log(end / self.rungs[-1].beta) < NEAR:
            self.rungs.pop()
        self.rungs.append(self._rested(end))
        self._sum()

    def settle(self) -> None:
        """Rests on the last rung for what is left of the budget."""
        self.seen += [self._move() for _ in range(int(self.steps - self.spent))]
        self.rungs[-1] = self._rested(self.rungs[-1].beta)
        self._sum()

    def _rested(self, beta: float) -> _Rung:
        phi = torch.stack(self.seen)
        return _Rung.of(beta, phi, torch.zeros_like(phi))

    def _move(self) -> Float[Tensor, "B"]:
        self.state, _ = self.kernel.move(self.phi, self.state, self.rng)
        self._tell()
        return self.state.phi.cpu().double()

    def _sum(self) -> None:
        """Adds the steps of the ladder, and what the errors of each rung do to the sum."""
        nats, by_mean, by_g = self.start, [0.0] * len(self.rungs), [0.0] * len(self.rungs)
        for i, (a, b) in enumerate(pairwise(self.rungs)):
            x = math.log(b.beta / a.beta)
            lift, bend = a.beta * (1 + x / 2 + x * x / 12), x * x / 12
            hermite = lift * (a.mean - b.mean) + bend * (b.g - a.g)
            error2 = lift**2 * (a.mean_error2 + b.mean_error2)
            g_error2 = (x / 2) ** 2 * (a.g_error2 + b.g_error2)
            w = g_error2 / (error2 + g_error2) if error2 + g_error2 > 0 else 0.5
            nats += w * hermite + (1 - w) * x * _log_mean(a.g, b.g)
            for j, sign in ((i, 1), (i + 1, -1)):
                by_mean[j] += sign * w * lift
                by_g[j] += (1 - w) * x / 2 - sign * w * bend
        errors = (
            (m * m * rung.mean_error2 + g * g * rung.g_error2)
            for m, g, rung in zip(by_mean, by_g, self.rungs, strict=True)
        )
        self.nats, self.error = nats, math.sqrt(self.start_error**2 + sum(errors))


def _weighted(prior: Float[Tensor, "T *B"], beta: float, dim: int = 0) -> Tensor:
    """The strength at a temperature of weighted draws of the prior, along a dimension."""
    log_w = -beta * prior
    log_z = log_w.logsumexp(dim) - math.log(prior.shape[dim])
    return (log_w.softmax(dim) * log_w).sum(dim) - log_z


def _log_mean(a: float, b: float) -> float:
    """The mean of a power law between two of its values."""
    if min(a, b) <= 0:
        return (a + b) / 2
    return a if abs(b / a - 1) < 1e-6 else (b - a) / math.log(b / a)
