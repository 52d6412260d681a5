"""Targets with known posteriors, and every kernel of the package by name."""

import torch
from torch import Tensor

from latentzoo import kernels
from latentzoo.kernels.types import Function, Kernel, Point, Potential
from latentzoo.rng import Rng
from latentzoo.run.walk import Walk

KAPPA = torch.tensor([0.0, 1.0, 4.0])
CENTRE = torch.tensor([0.0, 1.0, -0.5])
MEAN, VAR = KAPPA * CENTRE / (1 + KAPPA), 1 / (1 + KAPPA)

NAMES = list(kernels.known())
SAMPLERS = [name for name in NAMES if kernels.load(name).samples]
ISOKINETIC = {"mclmc", "mams"}
"""Kernels whose momentum has a fixed length, and needs two coordinates to turn in."""
COUPLED = {"smc"}
"""Kernels whose chains meet: only the run as a whole is its seeds."""


def least(name: str) -> int:
    """The fewest coordinates a kernel can walk in."""
    return 2 if name in ISOKINETIC else 1


def nothing(z: Tensor) -> Tensor:
    """The potential of the prior alone."""
    return (0 * z).sum(1)


def quadratic(z: Tensor) -> Tensor:
    """The potential whose posterior has mean `MEAN` and variance `VAR`."""
    return (KAPPA * (z - CENTRE).square()).sum(1) / 2


class Conjugate(Potential):
    """Creates the potential of observations y = z_0 + sigma * noise, one of each chain, (B,)."""

    def __init__(self, y: Tensor, sigma: float) -> None:
        self.y, self.sigma = y, sigma

    def evaluate(self, z: Tensor, *, gradient: bool = True) -> Point:
        residual = (z[:, 0] - self.y) / self.sigma
        grad = torch.zeros_like(z) if gradient else z.new_empty(len(z), 0)
        grad[:, :1] = (residual / self.sigma)[:, None] if gradient else grad
        return Point(z, residual.square() / 2, grad, z.new_empty(len(z), 0))

    def select(self, index: Tensor) -> "Conjugate":
        return Conjugate(self.y[index], self.sigma)


def settled(name: str, step: float, *, tail: float = 0.0) -> Kernel:
    """A kernel with a fixed step size and, if it anneals, its ramp behind it."""
    special = {
        "anneal": {"tail": tail},
        "auto": {"tail": tail},
        "smc": {"tail": tail},
        "ghmc": {"ramp": 0.0},
        "tempering": {"rungs": 3},
    }
    options = special.get(name, {})
    if "step_size" in kernels.settings(kernels.load(name)):
        options = {**options, "step_size": step}
    return kernels.load(name, **options)


def at_posterior(kernel: Kernel, phi: Potential, z: Tensor, rng: Rng):
    """The first state, at full temperature."""
    state = kernel.init(phi, z, rng)
    return state._replace(beta=torch.ones_like(state.beta)) if "beta" in state._fields else state


def moved(kernel: Kernel, phi: Potential, z: Tensor, rng: Rng, steps: int) -> Tensor:
    """Latents after some steps at full temperature."""
    state = at_posterior(kernel, phi, z, rng)
    for _ in range(steps):
        state, _ = kernel.step(phi, state, rng)
    return state.z


def walked(phi, kernel: Kernel, *seeds: int, dim: int, steps: int) -> Walk:
    """A whole run from the prior."""
    rng = Rng(*seeds)
    walk = Walk(phi if isinstance(phi, Potential) else Function(phi), kernel, rng, steps=steps)
    walk.begin(rng.normal(dim))
    for _ in walk:
        pass
    return walk
