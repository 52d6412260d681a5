r"""Noise schedules: the path from a picture to noise.

.. math:: x_t = \alpha_t x_0 + \sigma_t \varepsilon, \qquad \varepsilon \sim \mathcal{N}(0, I)

A schedule gives the *level* :math:`(\alpha_t, \sigma_t)` at a time; a reverse step goes from one
level to another and needs nothing else. Levels are Python floats (64 bits), so that one schedule
serves every device and precision.

    | variance preserving   alpha_t^2 + sigma_t^2 = 1,           x_T = z
    | variance exploding    alpha_t = 1,                         x_T = sigma_max z
    | rectified flow        alpha_t = 1 - t, sigma_t = t,        x_1 = z

References:
    | Denoising Diffusion Probabilistic Models (Ho et al., 2020), https://arxiv.org/abs/2006.11239
    | Improved Denoising Diffusion Probabilistic Models (Nichol and Dhariwal, 2021), https://arxiv.org/abs/2102.09672
    | Score-Based Generative Modeling through Stochastic Differential Equations (Song et al., 2021)
    | https://arxiv.org/abs/2011.13456
    | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022)
    | https://arxiv.org/abs/2206.00364
    | Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow
    | (Liu et al., 2022), https://arxiv.org/abs/2209.03003
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from latentzoo.errors import SpecError


class Level(NamedTuple):
    """A place on the path.

    Attributes:
        time: The time, in the schedule's own unit; what the network is told.
        alpha: How much of the picture is there, in [0, 1].
        sigma: The standard deviation of the noise, at least 0.
    """

    time: float
    alpha: float
    sigma: float

    @property
    def log_snr(self) -> float:
        r"""The half log signal-to-noise ratio :math:`\log(\alpha_t / \sigma_t)`."""
        return math.log(self.alpha / self.sigma) if self.sigma > 0 else math.inf


class Schedule(ABC):
    """A path of noise levels."""

    @property
    def start(self) -> float:
        """The scale of the start: `x_T = start * z` with a standard normal `z`."""
        return 1.0

    @abstractmethod
    def __call__(self, t: float) -> Level:
        """The level at a time."""

    def levels(self, times: Iterable[float]) -> list[Level]:
        """The levels at several times."""
        return [self(t) for t in times]


@dataclass(frozen=True)
class Discrete(Schedule):
    r"""Creates a variance preserving schedule on the times 0, ..., N - 1; before 0 is the picture.

    .. math:: \alpha_t = \sqrt{\bar\alpha_t}, \qquad \sigma_t = \sqrt{1 - \bar\alpha_t}

    Arguments:
        alpha_bar: The products :math:`\bar\alpha_t = \prod_{i \le t} (1 - \beta_i)`, falling from
            1 to 0.

    Raises:
        SpecError: If the products do not fall within [0, 1].
    """

    alpha_bar: tuple[float, ...]

    def __post_init__(self) -> None:
        falling = all(a >= b for a, b in pairwise((1.0, *self.alpha_bar, 0.0)))
        if not self.alpha_bar or not falling:
            raise SpecError(
                "the noise schedule is not a falling sequence within [0, 1]; "
                "give the products of 1 - beta, see `from_betas`"
            )

    @classmethod
    def from_betas(cls, betas: Iterable[float]) -> "Discrete":
        """Creates the schedule from its noise variances :math:`\\beta_t`, each in [0, 1]."""
        return cls(tuple(np.cumprod(1 - np.fromiter(betas, np.float64)).tolist()))

    def __call__(self, t: float) -> Level:
        if t < 0:
            return Level(t, 1.0, 0.0)
        if t >= len(self.alpha_bar):
            raise SpecError(
                f"the time {t} is beyond the schedule; give at most {len(self.alpha_bar) - 1}"
            )
        return Level(t, math.sqrt(self.alpha_bar[int(t)]), math.sqrt(1 - self.alpha_bar[int(t)]))


FAINTEST = 1e-15
"""The least part of the picture at the end of a path: the picture is what is there divided by it, in 32 bits."""


@dataclass(frozen=True)
class VP(Schedule):
    r"""Creates the continuous variance preserving schedule on [0, 1].

    .. math:: \log \alpha_t = -\tfrac14 t^2 (\beta_{max} - \beta_{min}) - \tfrac12 t \beta_{min},
        \qquad \sigma_t^2 = 1 - \alpha_t^2

    Arguments:
        beta_min: The rate of noise at the start of the path.
        beta_max: The rate of noise at its end.

    Raises:
        SpecError: If nothing of the picture is left at the end, of which no network can tell it.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    def __post_init__(self) -> None:
        if self(1.0).alpha < FAINTEST:
            raise SpecError(
                f"beta_min={self.beta_min} and beta_max={self.beta_max} leave nothing of the picture at the end; "
                "give smaller ones, as 0.1 and 20"
            )

    def __call__(self, t: float) -> Level:
        log_alpha = -0.25 * t**2 * (self.beta_max - self.beta_min) - 0.5 * t * self.beta_min
        return Level(t, math.exp(log_alpha), math.sqrt(-math.expm1(2 * log_alpha)))

    def beta(self, t: float) -> float:
        r"""The rate :math:`\beta(t) = \beta_{min} + t (\beta_{max} - \beta_{min})`."""
        return self.beta_min + t * (self.beta_max - self.beta_min)


@dataclass(frozen=True)
class VE(Schedule):
    r"""Creates the variance exploding schedule on [0, 1]; every negative time is the picture.

    .. math:: \alpha_t = 1, \qquad \sigma_t = \sigma_{min} (\sigma_{max} / \sigma_{min})^t
    """

    sigma_min: float = 0.01
    sigma_max: float = 1348.0

    @property
    def start(self) -> float:
        return self.sigma_max

    def __call__(self, t: float) -> Level:
        sigma = self.sigma_min * (self.sigma_max / self.sigma_min) ** t
        return Level(t, 1.0, sigma if t >= 0 else 0.0)


@dataclass(frozen=True)
class Flow(Schedule):
    r"""Creates the straight path on [0, 1].

    .. math:: \alpha_t = 1 - t, \qquad \sigma_t = t
    """

    def __call__(self, t: float) -> Level:
        return Level(t, 1.0 - t, t)


def linear_betas(start: float = 1e-4, end: float = 0.02, *, n: int = 1000) -> list[float]:
    """Variances that grow linearly, as in DDPM."""
    return np.linspace(start, end, n, dtype=np.float64).tolist()


def scaled_linear_betas(
    start: float = 0.0015, end: float = 0.0195, *, n: int = 1000
) -> list[float]:
    """Variances whose square roots grow linearly, as in latent diffusion."""
    return (np.linspace(start**0.5, end**0.5, n, dtype=np.float64) ** 2).tolist()


def constant_betas(beta: float, *, n: int = 1000) -> list[float]:
    """Variances that do not change, as in the latent chain of diffusion autoencoders."""
    return [beta] * n


def cosine_betas(*, n: int = 1000, offset: float = 0.008, limit: float = 0.999) -> list[float]:
    r"""Variances of :math:`\bar\alpha_u \propto \cos^2(\tfrac{\pi}{2} \tfrac{u + o}{1 + o})`."""
    alpha_bar = np.cos((np.arange(n + 1) / n + offset) / (1 + offset) * math.pi / 2) ** 2
    return np.minimum(1 - alpha_bar[1:] / alpha_bar[:-1], limit).tolist()


def strided(steps: int, N: int) -> list[int]:
    """The times of a chain, rising: 0, s, 2s, ... for the smallest stride that gives their number.

    Raises:
        SpecError: If there is none; the nearest numbers are named.
    """
    counts = {len(range(0, N, stride)): stride for stride in range(N, 0, -1)}
    if steps not in counts:
        near = sorted(sorted(counts, key=lambda n: abs(n - steps))[:4])
        raise SpecError(f"no stride gives {steps} steps of {N} times; choose from {near}")
    return list(range(0, N, counts[steps]))


def karras_sigmas(
    sigma_min: float, sigma_max: float, steps: int, *, rho: float = 7.0
) -> list[float]:
    r"""Falling noise levels, evenly spaced in :math:`\sigma^{1/\rho}`, without the final 0."""
    roots = np.linspace(sigma_max ** (1 / rho), sigma_min ** (1 / rho), steps, dtype=np.float64)
    return (roots**rho).tolist()
