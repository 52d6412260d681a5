r"""Preconditioning: a network is asked and read at the scale that suits it, whatever the noise.

.. math:: D(x; \sigma) = c_{skip}(\sigma) \, x + c_{out}(\sigma) \, F(c_{in}(\sigma) \, x; \tau(\sigma)),
    \qquad x = x_0 + \sigma \varepsilon

`D` is what is thought to be the picture at a level of a variance exploding path. Networks that were
trained on another path (`VP`, `VE`, `Improved`) are read as EDM reads them.

    |             c_skip                  c_out                       c_in                   tau
    | VP          1                       -s                          1/(s^2 + 1)^.5         (M - 1) t(s)
    | VE          1                       s                           1                      log(s / 2)
    | Improved    1                       -s                          1/(s^2 + 1)^.5         M - 1 - j(s)
    | EDM         d^2/(s^2 + d^2)         s d/(s^2 + d^2)^.5          1/(s^2 + d^2)^.5       log(s) / 4
    | Boundary    d^2/((s - l)^2 + d^2)   (s - l) d/(s^2 + d^2)^.5    1/(s^2 + d^2)^.5       250 log(s)

with the noise s, the spread d of the data and the lowest noise l, where `Boundary` gives what it was given:
consistency functions.

References:
    | Elucidating the Design Space of Diffusion-Based Generative Models (Karras et al., 2022)
    | https://arxiv.org/abs/2206.00364
    | Consistency Models (Song et al., 2023), https://arxiv.org/abs/2303.01469
"""

import math
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import torch

from latentzoo.diffusion.sampler import Pairs
from latentzoo.diffusion.schedule import Level, karras_sigmas
from latentzoo.errors import SpecError

PICTURE = Level(-1, 1.0, 0.0)


class Scales(NamedTuple):
    """What the input and the output of a network are multiplied with at a level."""

    skip: float
    out: float
    into: float


class Preconditioning(ABC):
    """How a network is asked and read at each noise."""

    @property
    def range(self) -> tuple[float, float]:
        """The lowest and the highest noise that the network knows."""
        return 0.0, math.inf

    @abstractmethod
    def scales(self, sigma: float) -> Scales:
        """The scales at a noise."""

    @abstractmethod
    def time(self, sigma: float) -> float:
        """What the network is told of a noise."""

    def nearest(self, sigma: float) -> float:
        """The noise next to one that the network knows."""
        return sigma

    def level(self, sigma: float) -> Level:
        """The level of a noise."""
        sigma = self.nearest(sigma)
        return Level(self.time(sigma), 1.0, sigma)

    def chain(self, low: float, high: float, steps: int, rho: float) -> Pairs:
        r"""Steps from the noise `high` to `low`, evenly in :math:`\sigma^{1/\rho}`, then into the picture.

        Raises:
            SpecError: If the noises do not rise, or there are no steps.
        """
        least, most = self.range
        if steps < 1:
            raise SpecError(f"{steps} steps do not make a chain; give 1 or more")
        return self.through(spread(max(low, least), min(high, most), steps, rho))

    def through(self, sigmas: Iterable[float]) -> Pairs:
        """Steps along noises, then into the picture."""
        return list(pairwise([*map(self.level, sigmas), PICTURE]))


def spread(low: float, high: float, n: int, rho: float) -> list[float]:
    r"""Noises from `high` to `low`, evenly in :math:`\sigma^{1/\rho}`.

    Raises:
        SpecError: If they do not fall, or are not positive.
    """
    if not 0 < low < high or not rho > 0:
        raise SpecError(
            f"no noises lie between sigma_min={low:g} and sigma_max={high:g} with rho={rho:g}; "
            "give 0 < sigma_min < sigma_max and a positive rho"
        )
    sigmas = karras_sigmas(low, high, n, rho=rho)
    return [high, *sigmas[1:-1], low] if n > 1 else [high]  # the ends are not rounded


@dataclass(frozen=True)
class EDM(Preconditioning):
    """Creates EDM's own preconditioning.

    Arguments:
        data: The standard deviation of the data.
        hertz: The factor on what the network is told; OpenAI's networks are told 1000 times as much.
        lowest: The lowest noise that the network knows.
        highest: The highest one.
    """

    data: float = 0.5
    hertz: float = 1.0
    lowest: float = 0.0
    highest: float = math.inf

    @property
    def range(self) -> tuple[float, float]:
        return self.lowest, self.highest

    def scales(self, sigma: float) -> Scales:
        var = sigma**2 + self.data**2
        return Scales(self.data**2 / var, sigma * self.data / math.sqrt(var), 1 / math.sqrt(var))

    def time(self, sigma: float) -> float:
        return self.hertz * math.log(sigma) / 4


@dataclass(frozen=True)
class Boundary(EDM):
    """Creates the preconditioning of consistency functions, which leave what has the lowest noise as it is."""

    hertz: float = 1000.0
    lowest: float = 0.002

    def scales(self, sigma: float) -> Scales:
        above, var = sigma - self.lowest, sigma**2 + self.data**2
        skip = self.data**2 / (above**2 + self.data**2)
        return Scales(skip, above * self.data / math.sqrt(var), 1 / math.sqrt(var))


@dataclass(frozen=True)
class VP(Preconditioning):
    r"""Creates that of networks of the variance preserving path, told (M - 1) t.

    .. math:: \sigma(t)^2 = e^{\frac12 \beta_d t^2 + \beta_{min} t} - 1

    Arguments:
        beta_d: How much the rate grows.
        beta_min: The rate at the start.
        times: The number of times M.
        start: The lowest time.
    """

    beta_d: float = 19.9
    beta_min: float = 0.1
    times: int = 1000
    start: float = 1e-5

    def sigma(self, t: float) -> float:
        """The noise at a time."""
        return math.sqrt(math.expm1(0.5 * self.beta_d * t**2 + self.beta_min * t))

    @property
    def range(self) -> tuple[float, float]:
        return self.sigma(self.start), self.sigma(1.0)

    def scales(self, sigma: float) -> Scales:
        return Scales(1.0, -sigma, 1 / math.sqrt(sigma**2 + 1))

    def time(self, sigma: float) -> float:
        root = math.sqrt(self.beta_min**2 + 2 * self.beta_d * math.log1p(sigma**2))
        return (self.times - 1) * (root - self.beta_min) / self.beta_d


@dataclass(frozen=True)
class VE(Preconditioning):
    """Creates that of networks of the variance exploding path.

    Arguments:
        lowest: The lowest noise that the network knows.
        highest: The highest one.
    """

    lowest: float = 0.02
    highest: float = 100.0

    @property
    def range(self) -> tuple[float, float]:
        return self.lowest, self.highest

    def scales(self, sigma: float) -> Scales:
        return Scales(1.0, sigma, 1.0)

    def time(self, sigma: float) -> float:
        return math.log(sigma / 2)


@dataclass(frozen=True)
class Improved(Preconditioning):
    r"""Creates that of improved DDPM, whose network knows the noises :math:`u_0 > \dots > u_M = 0` alone.

    .. math:: u_{j-1}^2 = \frac{u_j^2 + 1}{\max(\bar\alpha_{j-1} / \bar\alpha_j, C_1)} - 1, \qquad
        \bar\alpha_j = \sin^2 \frac{\pi j}{2 M (1 + C_2)}

    Arguments:
        times: The number of times M.
        floor: The least ratio :math:`C_1`.
        offset: The offset :math:`C_2`.
    """

    times: int = 1000
    floor: float = 0.001
    offset: float = 0.008

    @cached_property
    def known(self) -> list[float]:
        """The noises, falling, in single precision as EDM's files have them."""
        j, M = torch.arange(self.times + 1), self.times
        bar = (math.pi / 2 * j / M / (self.offset + 1)).sin() ** 2
        u = torch.zeros(M + 1)
        for i in range(M, 0, -1):
            ratio = (bar[i - 1] / bar[i]).clip(min=self.floor)
            u[i - 1] = ((u[i] ** 2 + 1) / ratio - 1).sqrt()
        return u.tolist()

    @property
    def range(self) -> tuple[float, float]:
        return self.known[self.times - 1], self.known[0]

    def index(self, sigma: float) -> int:
        """The place of the nearest noise."""
        falling = self.known
        right = bisect_left(falling, -sigma, key=lambda u: -u)
        near = range(max(right - 1, 0), min(right + 1, self.times + 1))
        return min(near, key=lambda i: abs(falling[i] - sigma))

    def nearest(self, sigma: float) -> float:
        return self.known[self.index(sigma)]

    def scales(self, sigma: float) -> Scales:
        return Scales(1.0, -sigma, 1 / math.sqrt(sigma**2 + 1))

    def time(self, sigma: float) -> float:
        return self.times - 1.0 - self.index(sigma)
