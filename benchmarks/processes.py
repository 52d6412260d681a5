r"""Levy processes seen through a linear operator: signals whose prior is exactly a map of a Gaussian.

A signal of 64 numbers is the running sum of independent increments, and the increments are quantiles of a Gaussian,

.. math:: x = G(z) = \mathrm{cumsum}(u), \qquad u_i = F^{-1}(\Phi(z_i)), \qquad y = A x + s \, n

so :math:`\phi(z) = |A G(z) - y|^2 / 2 s^2` has no error of a model. Quantiles are taken of the smaller tail
:math:`Q = \Phi(-|z|)` or of its logarithm, so that the gradient is right however far out z is; where there is no closed
form of it, the slope is that of implicit differentiation,

.. math:: \frac{du}{dz} = \frac{\varphi(z)}{f(u)}

The noise is 25 dB below the power of a signal's measurements, the median over many signals.

References:
    | A statistical benchmark for diffusion posterior sampling algorithms (2026)
    | https://arxiv.org/abs/2509.12821
    | A statistical framework to investigate the optimality of signal-reconstruction methods (Bohra et al., 2023)
    | https://arxiv.org/abs/2203.09920
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

LENGTH = 64
SNR = 25.0
"""The signal-to-noise ratio in dB."""
KEPT = 0.4
"""The share of samples, and of frequencies above the lowest five, that are measured."""


class Increment(ABC):
    """The law of an increment u.

    Each is a scale mixture, :math:`u | v \\sim \\mathcal{N}(0, v)`, perhaps times an indicator; this is what the
    Gibbs sampler needs.

    Attributes:
        name: What it is called in the table.
        share: The probability that u is not exactly zero.
    """

    name: str
    share: float = 1.0

    @abstractmethod
    def quantile(self, z: Tensor) -> Tensor:
        """u of a standard normal z, of any shape."""

    @abstractmethod
    def log_prob(self, u: Tensor) -> Tensor:
        """The log density of u, against Lebesgue measure and, where it may be zero, an atom there."""

    @abstractmethod
    def scales(self, u: Tensor, draw: torch.Generator) -> Tensor:
        """Draws the variances v given the increments u."""

    @abstractmethod
    def prior_scales(self, like: Tensor, draw: torch.Generator) -> Tensor:
        """Draws variances v, shaped as `like`, from their prior."""


@dataclass(frozen=True)
class Gauss(Increment):
    """Brownian motion: increments of a given variance."""

    variance: float = 0.25
    name: str = "Gauss"

    def quantile(self, z: Tensor) -> Tensor:
        return math.sqrt(self.variance) * z

    def log_prob(self, u: Tensor) -> Tensor:
        return -u.square() / (2 * self.variance) - math.log(2 * math.pi * self.variance) / 2

    def scales(self, u: Tensor, draw: torch.Generator) -> Tensor:
        return torch.full_like(u, self.variance)

    def prior_scales(self, like: Tensor, draw: torch.Generator) -> Tensor:
        return torch.full_like(like, self.variance)


@dataclass(frozen=True)
class Laplace(Increment):
    r"""Increments of density :math:`p \, e^{-|u|/b} / 2b`, and exactly zero otherwise.

    With p < 1 the quantile is flat where :math:`Q > p/2`: z moves there, and the signal does not.

    .. math:: u = \mathrm{sign}(z) \, b \, \max(0, \; \log(p/2) - \log Q)
    """

    b: float = 1.0
    share: float = 1.0
    name: str = "Laplace"

    def quantile(self, z: Tensor) -> Tensor:
        level = math.log(self.share / 2)
        up = self.b * (level - torch.special.log_ndtr(-z))
        down = self.b * (level - torch.special.log_ndtr(z))
        if self.share == 1:
            return torch.where(z >= 0, up, -down)
        return up.relu() - down.relu()

    def log_prob(self, u: Tensor) -> Tensor:
        moved = math.log(self.share / (2 * self.b)) - u.abs() / self.b
        if self.share == 1:
            return moved
        return torch.where(u == 0, math.log(1 - self.share), moved)

    def scales(self, u: Tensor, draw: torch.Generator) -> Tensor:
        """1/v is inverse Gaussian, of mean 1 / b|u| and shape 1 / b^2 (Michael, Schucany and Haas, 1976)."""
        mean, shape = 1 / (self.b * u.abs()).clamp(min=1e-12), 1 / self.b**2
        normal = torch.randn(u.shape, dtype=u.dtype, generator=draw)
        t = mean * normal.square() / (2 * shape)
        # the smaller root 1 + t - sqrt(t^2 + 2t), without the difference of large numbers
        root = mean / (1 + t + (t.square() + 2 * t).sqrt())
        other = torch.rand(u.shape, dtype=u.dtype, generator=draw) > mean / (mean + root)
        return 1 / torch.where(other, mean.square() / root, root)

    def prior_scales(self, like: Tensor, draw: torch.Generator) -> Tensor:
        return -2 * self.b**2 * torch.rand(like.shape, dtype=like.dtype, generator=draw).log()


@dataclass(frozen=True)
class Student(Increment):
    r"""Increments of Student's t with 1, 2 or 3 degrees of freedom.

    .. math:: u_1 = \cot \pi Q, \qquad u_2 = \frac{1 - 2 Q}{\sqrt{2 Q (1 - Q)}}, \qquad
        u_3 = \sqrt 3 \cot \tfrac w2 \;\text{ with }\; w - \sin w = 2 \pi Q
    """

    degrees: int
    name: str = "Student"

    def quantile(self, z: Tensor) -> Tensor:
        with torch.no_grad():
            far = z.abs() / math.sqrt(2)
            tail = torch.special.erfc(far) / 2
            if self.degrees == 1:
                u = 1 / (math.pi * tail).tan()
            elif self.degrees == 2:
                u = torch.special.erf(far) / (2 * tail * (1 - tail)).sqrt()
            else:
                u = math.sqrt(3) / (kepler(2 * math.pi * tail) / 2).tan()
            u = u.copysign(z)
            slope = (-z.square() / 2 - math.log(2 * math.pi) / 2 - self.log_prob(u)).exp()
        return u + slope * (z - z.detach())

    def log_prob(self, u: Tensor) -> Tensor:
        n = self.degrees
        log_c = math.lgamma((n + 1) / 2) - math.lgamma(n / 2) - math.log(n * math.pi) / 2
        return log_c - (n + 1) / 2 * (u.square() / n).log1p()

    def scales(self, u: Tensor, draw: torch.Generator) -> Tensor:
        """v is inverse gamma, (n + u^2) over a chi-square of n + 1 degrees."""
        return (self.degrees + u.square()) / chi_square(self.degrees + 1, u, draw)

    def prior_scales(self, like: Tensor, draw: torch.Generator) -> Tensor:
        return self.degrees / chi_square(self.degrees, like, draw)


def chi_square(degrees: int, like: Tensor, draw: torch.Generator) -> Tensor:
    """Draws a chi-square for each number of `like`."""
    return torch.randn(degrees, *like.shape, dtype=like.dtype, generator=draw).square().sum(0)


def kepler(m: Tensor) -> Tensor:
    """The root w in [0, pi] of w - sin w = m, for m in [0, pi]; the left side is convex, so Newton goes one way."""
    w = (6 * m).pow(1 / 3)
    for _ in range(8):
        w2 = w.square()
        series = w * w2 / 6 * (1 - w2 / 20 * (1 - w2 / 42))
        value = torch.where(w < 0.1, series, w - w.sin()) - m
        w = w - value / (2 * (w / 2).sin().square()).clamp(min=1e-300)
    return w


INCREMENTS: list[Increment] = [
    Gauss(),
    Laplace(),
    Laplace(share=0.1, name="Bernoulli-Laplace"),
    *(Student(degrees, f"Student {degrees}") for degrees in (1, 2, 3)),
]


def operator(name: str, seed: int = 0) -> Tensor:
    """The matrix A, (M, 64), of an operator; which samples and frequencies are kept follows from the seed."""
    draw, eye = torch.Generator().manual_seed(seed), torch.eye(LENGTH, dtype=torch.float64)
    if name == "identity":
        return eye
    if name == "convolution":  # circular, 13 taps of a Gaussian of standard deviation 2
        taps = (-(torch.arange(-6, 7, dtype=torch.float64) / 2).square() / 2).exp()
        return sum(
            (
                tap * eye.roll(int(shift), 0)
                for tap, shift in zip(taps / taps.sum(), range(-6, 7), strict=True)
            ),
            torch.zeros_like(eye),
        )
    if name == "sampling":  # the last one too: beyond it nothing would hold a signal that jumps
        kept = torch.rand(LENGTH, generator=draw) < KEPT
        kept[-1] = True
        return eye[kept]
    kept = torch.rand(LENGTH // 2 + 1, generator=draw) < KEPT
    kept[:5] = True
    waves = torch.fft.rfft(eye, norm="ortho", dim=0)[kept]
    ends = torch.tensor([k in (0, LENGTH // 2) for k in kept.nonzero().flatten().tolist()])
    scale = torch.where(ends, 1.0, math.sqrt(2.0))[:, None]
    return torch.cat([waves.real * scale, (waves.imag * scale)[~ends]])


OPERATORS = ("identity", "convolution", "sampling", "fourier")


@dataclass(frozen=True)
class Problem:
    """Measurements of signals of one law through one operator.

    Attributes:
        increment: The law.
        seen: The matrix from increments to what is measured without noise, A after the running sum, (M, 64).
        noise: The standard deviation s.
        u: The increments of the true signals, (N, 64).
        y: What was measured, (N, M).
    """

    increment: Increment
    seen: Tensor
    noise: float
    u: Tensor
    y: Tensor

    @classmethod
    def make(cls, increment: Increment, a: Tensor, count: int, seed: int = 0) -> "Problem":
        """Draws `count` signals and their measurements; a is the operator, (M, L)."""
        draw = torch.Generator().manual_seed(seed)
        normal = lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=draw)
        seen = a.flip(1).cumsum(1).flip(1)
        u = increment.quantile(normal(1000, a.shape[1]))
        power = float((u @ seen.T).square().mean(1).median())
        noise = math.sqrt(power / 10 ** (SNR / 10))
        u = u[:count]
        return cls(increment, seen, noise, u, u @ seen.T + noise * normal(count, len(a)))

    def misfit(self, u: Tensor, index: int) -> Tensor:
        """|A x - y|^2 / 2 s^2 of increments, (..., 64), for measurement `index`."""
        return (u @ self.seen.T - self.y[index]).square().sum(-1) / (2 * self.noise**2)

    def log_posterior(self, u: Tensor, index: int) -> Tensor:
        """The log posterior density of increments, (..., 64), up to a constant."""
        return self.increment.log_prob(u).sum(-1) - self.misfit(u, index)
