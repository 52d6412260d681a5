r"""Samplers: what is done at each step of a chain.

A chain visits pairs of levels :math:`(t, s)`, from much noise to none. A sampler turns the start
and its noises into the end of the chain; one that is stochastic reads a noise at each step but the
one into the picture. `latentzoo.diffusion.reverse` has the formulas.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from latentzoo.diffusion.memory import Recompute, fold
from latentzoo.diffusion.parametrisation import Estimate
from latentzoo.diffusion.reverse import (
    Gaussian,
    correct,
    ddim,
    diffuse,
    heun,
    multistep,
    posterior,
    posterior_std,
)
from latentzoo.diffusion.schedule import VP, Level
from latentzoo.errors import SpecError, UnknownName

Denoise = Callable[[Tensor, Level], Estimate]
"""What a network thinks is mixed in `x_t`, (B, C, H, W), at a level."""

Pairs = Sequence[tuple[Level, Level]]
"""The steps of a chain: from which level, to which."""


@dataclass(frozen=True)
class Chain:
    """Creates the record of what a sampler works on.

    Arguments:
        denoise: The network.
        pairs: The steps.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.
    """

    denoise: Denoise
    pairs: Pairs
    recompute: Recompute = "auto"


def require_eta(eta: float) -> None:
    """Checks the share of fresh noise in a step.

    Raises:
        SpecError: If it is not in [0, 1].
    """
    if not 0 <= eta <= 1:
        raise SpecError(f"eta={eta} is out of range; give a number in [0, 1]")


def require(sampler: str, eta: float, *, known: Sequence[str]) -> None:
    """Checks the name of a sampler, and that only DDIM is given fresh noise.

    Raises:
        UnknownName: If there is no such sampler.
        SpecError: If `eta` does not fit it.
    """
    if sampler not in known:
        raise UnknownName("sampler", sampler, known)
    if eta != 0 and sampler != "ddim":
        raise SpecError(f"eta={eta} does not fit the sampler {sampler}; give [0, 1] with ddim")


class Sampler(ABC):
    """A way to go from noise to a picture."""

    @abstractmethod
    def noises(self, pairs: Pairs) -> int:
        """How many noises the chain reads."""

    @abstractmethod
    def run(self, chain: Chain, x_T: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Maps the start (B, C, H, W) and the noises, each of that shape, to the chain's end."""


class Single(Sampler):
    """A sampler whose steps know nothing of each other.

    Attributes:
        eta: How much of a step is fresh noise, as `reverse.ddim` has it; 0 where there is none.
    """

    eta: float

    @abstractmethod
    def step(self, denoise: Denoise, x_t: Tensor, t: Level, s: Level) -> Gaussian:
        """The distribution of `x_s`."""

    def noises(self, pairs: Pairs) -> int:
        return sum(posterior_std(t, s) > 0 for t, s in pairs) if self.eta > 0 else 0

    def run(self, chain: Chain, x_T: Tensor, noise: Sequence[Tensor]) -> Tensor:
        def step(x_t: Tensor, i: int) -> Tensor:
            p = self.step(chain.denoise, x_t, *chain.pairs[i])
            return p.push(noise[i] if i < len(noise) else None)

        return fold(step, x_T, range(len(chain.pairs)), recompute=chain.recompute)


@dataclass(frozen=True)
class DDIM(Single):
    """Creates the sampler of DDIM; of flows, Euler's.

    Arguments:
        eta: How much of a step is fresh noise, in [0, 1].

    Raises:
        SpecError: If `eta` is out of range.
    """

    eta: float = 0.0

    def __post_init__(self) -> None:
        require_eta(self.eta)

    def step(self, denoise: Denoise, x_t: Tensor, t: Level, s: Level) -> Gaussian:
        return ddim(denoise(x_t, t), t, s, eta=self.eta)


@dataclass(frozen=True)
class DDPM(Single):
    r"""Creates the ancestral sampler of DDPM.

    Arguments:
        large: Whether the variance of a step is :math:`\sigma_{t|s}^2` (the betas) rather than
            that of the posterior.
    """

    large: bool = False
    eta = 1.0

    def step(self, denoise: Denoise, x_t: Tensor, t: Level, s: Level) -> Gaussian:
        p = posterior(x_t, denoise(x_t, t).x_0, t, s)
        if not self.large or s.sigma == 0:
            return p
        return p._replace(std=math.sqrt(t.sigma**2 - (t.alpha / s.alpha * s.sigma) ** 2))


@dataclass(frozen=True)
class Learned(Single):
    """Creates the sampler whose steps the network decides, with variances of its own.

    Arguments:
        gaussian: The distribution of `x_s`, from `x_t` and the levels t and s.
        eta: How much of a step's mean is fresh noise, in [0, 1]; the network's share is, for any `eta`.
    """

    gaussian: Callable[[Tensor, Level, Level], Gaussian]
    eta: float = 1.0

    def noises(self, pairs: Pairs) -> int:
        return len(pairs) - 1

    def step(self, denoise: Denoise, x_t: Tensor, t: Level, s: Level) -> Gaussian:
        return self.gaussian(x_t, t, s)


@dataclass(frozen=True)
class Heun(Single):
    """Creates Heun's sampler, of second order and without noise; two network calls per step."""

    eta = 0.0

    def step(self, denoise: Denoise, x_t: Tensor, t: Level, s: Level) -> Gaussian:
        return Gaussian(heun(x_t, denoise, t, s), 0.0)


@dataclass(frozen=True)
class Consistency(Single):
    r"""Creates the sampler of consistency models: a picture, then noise on it again.

    .. math:: x_s = x_0(x_t) + \sqrt{\sigma_s^2 - \sigma_{min}^2} \, \varepsilon_s

    Arguments:
        lowest: The noise :math:`\sigma_{min}` that pictures of the network have.
    """

    lowest: float
    eta = 1.0

    def noises(self, pairs: Pairs) -> int:
        return sum(s.sigma > self.lowest for _, s in pairs)

    def step(self, denoise: Denoise, x_t: Tensor, t: Level, s: Level) -> Gaussian:
        var = max(s.sigma**2 - self.lowest**2, 0.0)
        return Gaussian(denoise(x_t, t).x_0, math.sqrt(var))


@dataclass(frozen=True)
class EulerMaruyama(Single):
    r"""Creates the sampler of the reverse equation of a variance preserving path (ScoreSDE).

    .. math:: x_s = x_t + \tfrac1N (\tfrac12 \beta_t x_t + \beta_t \nabla \log p(x_t))
        + \sqrt{\beta_t / N} \, \varepsilon_s

    Arguments:
        schedule: The path.
        steps: The number of steps N of the whole path.
    """

    schedule: VP
    steps: int
    eta = 1.0

    def step(self, denoise: Denoise, x_t: Tensor, t: Level, s: Level) -> Gaussian:
        beta = self.schedule.beta(t.time) / self.steps
        mean = x_t + beta * (x_t / 2 - denoise(x_t, t).eps / t.sigma)
        return Gaussian(mean, math.sqrt(beta) if s.sigma > 0 else 0.0)


@dataclass(frozen=True)
class Multistep(Sampler):
    """Creates the sampler DPM-Solver++ (2M), of second order and without noise."""

    def noises(self, pairs: Pairs) -> int:
        return 0

    def run(self, chain: Chain, x_T: Tensor, noise: Sequence[Tensor]) -> Tensor:
        def step(state: tuple[Tensor, Tensor], i: int) -> tuple[Tensor, Tensor]:
            (x_t, last), (t, s) = state, chain.pairs[i]
            x_0 = chain.denoise(x_t, t).x_0
            if i == 0:
                return multistep(x_t, x_0, None, t=t, s=s), x_0
            return multistep(x_t, x_0, last, t=t, s=s, r=chain.pairs[i - 1][0]), x_0

        steps = range(len(chain.pairs))
        return fold(step, (x_T, x_T), steps, recompute=chain.recompute)[0]


@dataclass(frozen=True)
class PredictorCorrector(Sampler):
    """Creates the sampler of ScoreSDE on a variance exploding path; it ends in a mean.

    Arguments:
        corrections: How many Langevin steps are made at each level before the step to the next.
        snr: The signal-to-noise ratio of these.
    """

    corrections: int = 1
    snr: float = 0.15

    def noises(self, pairs: Pairs) -> int:
        return len(pairs) * (self.corrections + 1) - 1

    def run(self, chain: Chain, x_T: Tensor, noise: Sequence[Tensor]) -> Tensor:
        moves = self.corrections + 1

        def move(x_t: Tensor, i: int) -> Tensor:
            t, s = chain.pairs[i // moves]
            score = -chain.denoise(x_t, t).eps / t.sigma
            if i % moves < self.corrections:
                return correct(x_t, score, noise[i], snr=self.snr)
            return diffuse(x_t, score, t, s).push(noise[i] if i < len(noise) else None)

        return fold(move, x_T, range(moves * len(chain.pairs)), recompute=chain.recompute)
