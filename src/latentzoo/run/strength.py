r"""Guidance strength in words a user understands: information, in nats.

How far guidance by :math:`\beta \phi` moves the latent from its prior is

.. math:: K(\beta) = \mathrm{KL}(p_\beta \,\|\, \mathcal{N}(0, I))
    = -\beta \, \mathbb{E}_\beta[\phi] - \log Z(\beta), \qquad
    \frac{dK}{d \log \beta} = \beta^2 \, \mathrm{Var}_\beta[\phi]

so 12 nats say that the condition holds for about :math:`e^{-12}` of the prior. The normalising
constant is that of a slow ramp with resampling (see `smc`), whose weighted mean of :math:`\phi` does
not lag behind the temperature.

References:
    | Sequential Monte Carlo samplers (Del Moral, Doucet and Jasra, 2006)
    | https://doi.org/10.1111/j.1467-9868.2006.00553.x
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from latentzoo.errors import SpecError
from latentzoo.kernels.adapt import raise_temperature
from latentzoo.kernels.smc import FEWEST, SMC, SMCState, resample, reweight
from latentzoo.kernels.types import Potential
from latentzoo.rng import Domain, Rng

RAMP = 0.7
"""The part of the budget that a ramp may take; the rest is spent where it ends."""


class Strength(NamedTuple):
    """A strength, and what multiplies the weights to get it.

    Attributes:
        nats: KL(p(z|C) || prior).
        factor: The factor of phi.
    """

    nats: float
    factor: float

    @property
    def note(self) -> str:
        """What was found, in words."""
        return f"{self.nats:g} nats of guidance: the weights were multiplied by {self.factor:.4g}"


def measure(
    phi: Potential, *, dim: int, chains: int = FEWEST, steps: int = 200, seed: int = 0
) -> Strength:
    """Measures the strength of phi as it is, by one ramp from the prior.

    Arguments:
        phi: The potential.
        dim: The latent's dimension.
        chains: How many chains ramp together, at least 64.
        steps: The gradients each may spend.
        seed: The seed of the ramp.

    Raises:
        SpecError: If there are too few chains.
    """
    ramp = _Ramp(phi, dim=dim, chains=chains, steps=steps, seed=seed)
    while ramp.beta < 1:
        ramp.rise(1.0, left=RAMP * steps - ramp.spent)
    return Strength(ramp.settle(steps - ramp.spent), 1.0)


def find(
    phi: Potential,
    nats: float,
    *,
    dim: int,
    chains: int = FEWEST,
    steps: int = 200,
    seed: int = 0,
) -> Strength:
    """Finds the factor of phi whose posterior has a wanted strength, by one ramp from the prior.

    Arguments:
        phi: The potential, at any weight.
        nats: The strength wanted.
        dim: The latent's dimension.
        chains: How many chains ramp together, at least 64.
        steps: The gradients each may spend.
        seed: The seed of the ramp.

    Raises:
        SpecError: If there are too few chains, or the strength is not reached, because the energy
            cannot tell that much apart or the budget is too small.
    """
    if nats <= 0:
        raise SpecError(f"a strength of {nats:g} nats is the prior itself; give a positive one")
    ramp = _Ramp(phi, dim=dim, chains=chains, steps=steps, seed=seed)
    while ramp.nats < nats:
        if ramp.spent > RAMP * steps:
            raise SpecError(
                f"{nats:g} nats are out of reach: at {ramp.beta:.3g} times these weights the "
                f"strength is {ramp.nats:.3g} nats; ask for less, or give more than {steps} steps"
            )
        ramp.rise(4 * ramp.beta + 1 / (float(ramp.state.phi.std()) + 1e-9))
    missing = nats - ramp.settle(steps - ramp.spent)
    return Strength(nats, ramp.beta * math.exp(missing / (ramp.slope + 1e-9)))


class _Ramp:
    """A population that rises in temperature step by step, and its strength so far."""

    def __init__(self, phi: Potential, *, dim: int, chains: int, steps: int, seed: int) -> None:
        self.phi, self.steps = phi, steps
        self.kernel = SMC(tail=0.0).plan(4 * steps)
        self.rng = Rng(*(seed * 2**32 + chain for chain in range(chains)), domain=Domain.RAMP)
        self.state: SMCState = self.kernel.init(phi, self.rng.normal(dim), self.rng)
        self.nats = self.slope = 0.0

    @property
    def beta(self) -> float:
        return float(self.state.beta[0])

    @property
    def spent(self) -> int:
        return int(self.state.clock[0])

    def rise(self, end: float, left: float = math.inf) -> None:
        """Raises the temperature, slowly at first, and moves the chains."""
        cess = 0.99 if self.spent < RAMP * self.steps / 2 else 0.9
        phi, log_w = self.state.phi, self.state.log_w
        beta = raise_temperature(phi, self.beta, log_w, cess=cess, left=left, end=end)
        self.state = resample(reweight(self.state, beta), self.rng)
        self._weigh(self.state.phi, self.state.log_w.cpu().double().softmax(0))
        self.state, _ = self.kernel.move(self.phi, self.state, self.rng)

    def settle(self, steps: int) -> float:
        """Rests at the temperature reached and returns the strength, from the mean over time."""
        self.state, seen = resample(self.state, self.rng, always=True), []
        for _ in range(max(steps, 1)):
            self.state, _ = self.kernel.move(self.phi, self.state, self.rng)
            seen.append(self.state.phi)
        phi = torch.cat(seen).cpu()
        self._weigh(phi, torch.full_like(phi, 1 / len(phi), dtype=torch.float64))
        return self.nats

    def _weigh(self, phi: Tensor, w: Tensor) -> None:
        beta, phi = self.beta, phi.cpu().double()
        mean = w @ phi
        self.nats = float(-beta * mean) - float(self.state.log_z[0])
        self.slope = float(beta**2 * (w @ (phi - mean).square()))
