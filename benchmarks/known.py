r"""Many small targets whose truth is known, for judging verdicts.

Each is a potential :math:`\phi(z)` under the prior :math:`\mathcal{N}(0, I_d)` and some statistics of a draw, whose
posterior means and standard deviations come from closed form, from quadrature over the one or two coordinates that are
informed, or from exact draws. A run is held against them in posterior standard deviations.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from targets import Classifier, Cosine, Linear

DIM = 32
Function = Callable[[Tensor], Tensor]
log = math.log


@dataclass(frozen=True)
class Known:
    """A target with known moments of its statistics.

    Attributes:
        name: What it is called in the table.
        phi: The potential, (B, D) -> (B,).
        statistics: Numbers of each draw, (B, D) -> (B, K).
        moments: Their posterior means and standard deviations, each (K,).
        dim: The number of coordinates.
        hidden: Whether no chain can see what is missing, because no gradient leads there.
        asks: What a kernel needs to know that its answer is right: "shares" of modes that no chain leaves, or to
            walk "blind", without gradients. Others may be right by luck, and should not say so.
    """

    name: str
    phi: Function
    statistics: Function
    moments: Callable[[], tuple[Tensor, Tensor]]
    dim: int = DIM
    hidden: bool = False
    asks: Literal["", "shares", "blind"] = ""

    @cached_property
    def truth(self) -> tuple[Tensor, Tensor]:
        return self.moments()

    def errors(self, z: Tensor) -> Tensor:
        """How far the means of the statistics are from the truth, in standard deviations, (K,)."""
        mean, sd = self.truth
        return (self.statistics(z.double()).double().mean(0) - mean) / sd


def line(name: str, energy: Function, *statistics: Function, **known: Any) -> Known:
    """A target of one informed coordinate x, by quadrature on [-8, 8]."""
    x = torch.linspace(-8, 8, 160_001, dtype=torch.float64)
    each = lambda x: torch.stack([f(x) for f in statistics], dim=1)

    def moments() -> tuple[Tensor, Tensor]:
        return _moments((-energy(x) - x.square() / 2).softmax(0), each(x))

    phi = lambda z: energy(z[:, 0])
    return Known(name, phi, lambda z: each(z[:, 0]), moments, **known)


def plane(
    name: str,
    energy: Callable[[Tensor, Tensor], Tensor],
    *statistics: Callable[[Tensor, Tensor], Tensor],
    **known: Any,
) -> Known:
    """A target of two informed coordinates, by quadrature on [-6, 6]^2."""
    grid = torch.linspace(-6, 6, 2401, dtype=torch.float64)
    each = lambda x, y: torch.stack([f(x, y) for f in statistics], dim=1)

    def moments() -> tuple[Tensor, Tensor]:
        x, y = (a.flatten() for a in torch.meshgrid(grid, grid, indexing="ij"))
        return _moments((-energy(x, y) - (x.square() + y.square()) / 2).softmax(0), each(x, y))

    phi = lambda z: energy(z[:, 0], z[:, 1])
    return Known(name, phi, lambda z: each(z[:, 0], z[:, 1]), moments, **known)


def _moments(p: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    mean = p @ values
    return mean, (p @ (values - mean).square()).sqrt()


def linear(name: str, dim: int, k: int, stiffest: float) -> Known:
    """A linear-Gaussian target; the statistics are phi and the whitened squared norm of the informed coordinates."""
    target = Linear(dim, k, stiffest, seed=k)

    def statistics(z: Tensor) -> Tensor:
        white = (z[:, :k] - target.mean) / target.var.sqrt()
        return torch.stack(
            [target(z), white.square().sum(1), z[:, k:].square().sum(1)][: 2 + (k < dim)], dim=1
        )

    mean = [target.phi.mean, k, dim - k][: 2 + (k < dim)]
    sd = [target.phi.sd, (2 * k) ** 0.5, (2 * (dim - k)) ** 0.5][: 2 + (k < dim)]
    truth = torch.tensor(mean, dtype=torch.float64), torch.tensor(sd, dtype=torch.float64)
    return Known(name, target, statistics, lambda: truth, dim)


def mixed(name: str, dim: int, noise: float) -> Known:
    """What a linear map of 192 numbers tells of `dim` latents; informed alike in all directions."""
    draw = torch.Generator().manual_seed(dim)
    a = 0.2 * torch.randn(192, dim, generator=draw) / dim**0.5
    y = a @ torch.randn(dim, generator=draw) + noise * torch.randn(192, generator=draw)
    precision = torch.eye(dim).double() + a.T.double() @ a.double() / noise**2
    mean = torch.linalg.solve(precision, a.T.double() @ y.double() / noise**2)
    root = torch.linalg.cholesky(precision)
    phi = lambda z: (z @ a.T - y).square().sum(1) / (2 * noise**2)
    statistics = lambda z: ((z - mean) @ root).square().sum(1, keepdim=True)
    truth = torch.tensor([dim * 1.0]).double(), torch.tensor([(2 * dim) ** 0.5]).double()
    return Known(name, phi, statistics, lambda: truth, dim)


def sampled(name: str, target: Cosine | Classifier, **known: Any) -> Known:
    """A target of `targets` with its moments of phi and shares of modes."""

    def statistics(z: Tensor) -> Tensor:
        z = z.float()
        scores = (
            target.logits(z)[:, :3]
            if isinstance(target, Classifier)
            else z[:, : target.r] @ target.centres.T
        )
        share = torch.nn.functional.one_hot(scores.argmax(1), scores.shape[1])[
            :, : max(scores.shape[1] - 1, 0)
        ]
        return torch.cat([target(z)[:, None], share], dim=1)

    def moments() -> tuple[Tensor, Tensor]:
        w = target.weights.double()[:-1]
        first = torch.tensor([target.phi.mean]).double(), torch.tensor([target.phi.sd]).double()
        return torch.cat([first[0], w]), torch.cat([first[1], (w * (1 - w)).sqrt()])

    return Known(name, target, statistics, moments, target.dim, **known)


def mixture(*modes: tuple[float, float, float]) -> Function:
    """The energy whose posterior is a mixture of Gaussians on the line, each given as (weight, mean, sd)."""

    def energy(x: Tensor) -> Tensor:
        each = [log(w / s) - (x - m).square() / (2 * s * s) for w, m, s in modes]
        return -torch.stack(each).logsumexp(0) - x.square() / 2

    return energy


def modes(name: str, *each: tuple[float, float, float], asks: str = "shares") -> Known:
    """A mixture on the line; the statistics say in which mode a draw is."""
    means = sorted(m for _, m, _ in each)
    borders = [(a + b) / 2 for a, b in pairwise(means)]
    inside = [lambda x, b=b: (x > b).to(x) for b in borders]
    return line(name, mixture(*each), *inside, asks=asks)


def funnel(name: str, scale: float) -> Known:
    """Neal's funnel in ten coordinates: v ~ N(0, scale^2), the others N(0, e^{2v})."""

    def phi(z: Tensor) -> Tensor:
        v, x = scale * z[:, 0], z[:, 1:10]
        return (x.square() * (-2 * v)[:, None].exp()).sum(1) / 2 + 9 * v - x.square().sum(1) / 2

    statistics = lambda z: torch.stack([z[:, 0], z[:, 0].square()], dim=1)
    truth = torch.tensor([0.0, 1.0]).double(), torch.tensor([1.0, 2**0.5]).double()
    return Known(name, phi, statistics, lambda: truth, 16)


def ring(k: float, width: float) -> Callable[[Tensor, Tensor], Tensor]:
    def energy(x: Tensor, y: Tensor) -> Tensor:
        r = (x.square() + y.square() + 1e-12).sqrt()
        return (r - 3).square() / (2 * width**2) - k * x / r

    return energy


def four(x: Tensor, y: Tensor) -> Tensor:
    """Four modes in a square, of unequal weight."""
    each = [
        log(w) - 8 * ((x - a).square() + (y - b).square())
        for w, a, b in ((0.4, 1.5, 1.5), (0.3, -1.5, 1.5), (0.2, 1.5, -1.5), (0.1, -1.5, -1.5))
    ]
    return -torch.stack(each).logsumexp(0) - (x.square() + y.square()) / 2


def needle(x: Tensor, y: Tensor) -> Tensor:
    return -12 * (-((x - 2.5).square() + y.square()) / (2 * 0.05**2)).exp()


square, soft = torch.square, torch.nn.functional.softplus
ident = lambda x: x
first, second = lambda x, y: x, lambda x, y: y
cosine = lambda x, y: x / (x.square() + y.square()).sqrt()
sine = lambda x, y: y / (x.square() + y.square()).sqrt()

KNOWN = [
    linear("linear, 8 of 32, stiffest 10", 32, 8, 10.0),
    linear("linear, all of 32, stiffest 100", 32, 32, 100.0),
    linear("linear, 16 of 32, stiffest 1000", 32, 16, 1000.0),
    linear("linear, 64 of 256, stiffest 100", 256, 64, 100.0),
    mixed("mixed, noise 0.05", 64, 0.05),
    mixed("mixed, noise 0.02", 64, 0.02),
    line("parabola far away", lambda x: 50 * (x - 4).square(), ident, square),
    line("weak slope", lambda x: -0.7 * x, ident, square),
    line("kink", lambda x: 8 * (x - 1).abs(), ident, lambda x: (x - 1).abs()),
    line("long slope", lambda x: 100 * torch.relu(2 - x), ident, square),
    line("soft wall", lambda x: 10 * soft(-30 * (x - 1)), ident, square),
    line("logistic", lambda x: 20 * soft(-3 * (x - 1)), ident, square),
    line("quartic", lambda x: 2 * (x - 1) ** 4, ident, square),
    line(
        "double well, low wall", lambda x: 0.5 * (x.square() - 2).square() - 0.3 * x, ident, square
    ),
    line(
        "Student's t, 2 degrees",
        lambda x: 1.5 * torch.log1p(x * x / 2) - x * x / 2,
        lambda x: (x.abs() > 1).to(x),
    ),
    line(
        "Student's t, 5 degrees",
        lambda x: 3 * torch.log1p(x * x / 5) - x * x / 2,
        lambda x: (x.abs() > 1).to(x),
    ),
    line(
        "stairs",
        lambda x: 3 * torch.floor(2 * x.abs()) + 0 * x,
        lambda x: (x.abs() < 0.5).to(x),
        asks="blind",
    ),
    modes("modes .5 : .5", (0.5, 2, 0.3), (0.5, -2, 0.3)),
    modes("modes .9 : .1", (0.9, 2, 0.3), (0.1, -2, 0.3)),
    modes("modes .9 : .1, nearer", (0.9, 1.5, 0.3), (0.1, -1.5, 0.3)),
    modes("modes .97 : .03", (0.97, 1.5, 0.3), (0.03, -1.5, 0.3)),
    modes("modes .7 : .3, wide", (0.7, 1.5, 0.6), (0.3, -1.5, 0.6), asks=""),
    modes("modes .6 : .3 : .1", (0.6, -2.5, 0.3), (0.3, 0, 0.3), (0.1, 2.5, 0.3)),
    modes("modes .8 narrow : .2 wide", (0.8, 1.5, 0.15), (0.2, -1.5, 0.5)),
    plane(
        "four modes, .4 to .1",
        four,
        lambda x, y: (x > 0).to(x),
        lambda x, y: (y > 0).to(x),
        asks="shares",
    ),
    plane("ring, k 3, width .1", ring(3, 0.1), cosine, sine),
    plane("ring, k 6, width .05", ring(6, 0.05), cosine, sine),
    plane(
        "banana, width .2",
        lambda x, y: (y - x.square() + 1).square() / 0.08,
        lambda x, y: x.square(),
        second,
    ),
    plane(
        "banana, width .05",
        lambda x, y: (y - x.square() + 1).square() / 0.005,
        lambda x, y: x.square(),
        second,
    ),
    plane(
        "correlated .99",
        lambda x, y: 100 * (x - y).square() + (x + y - 1).square(),
        first,
        lambda x, y: x * y,
    ),
    funnel("funnel, scale .5", 0.5),
    funnel("funnel, scale 1.5", 1.5),
    sampled("cosine 300", Cosine(64, 300.0)),
    sampled("cosine 2500", Cosine(128, 2500.0)),
    sampled(
        "cosine 100, four modes", Cosine(64, 100.0, (0.4, 0.3, 0.2, 0.1), r=32), asks="shares"
    ),
    sampled("classifier", Classifier(1.0, 64)),
    plane(
        "needle of mass .62",
        needle,
        lambda x, y: (((x - 2.5).square() + y.square()) < 0.04).to(x),
        hidden=True,
    ),
]
