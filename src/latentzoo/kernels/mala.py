r"""The Metropolis-adjusted Langevin algorithm.

The unadjusted step is a proposal, accepted with the Metropolis-Hastings ratio of the posterior
:math:`\log \pi(z) = -\tfrac12 |z|^2 - \phi(z)`:

.. math::
    z' &= m(z) + \sqrt{s} \, \xi, \qquad m(z) = z - \tfrac{s}{2} \, (z + \nabla \phi(z)) \\
    r &= \log \pi(z') - \log \pi(z) + \tfrac{1}{2s} |z' - m(z)|^2 - \tfrac{1}{2s} |z - m(z')|^2

References:
    | Exponential convergence of Langevin distributions and their discrete approximations (Roberts and Tweedie, 1996)
    | https://doi.org/10.2307/3318418
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from latentzoo.kernels.types import Info, Kernel, Point, Potential, metropolis, where
from latentzoo.options import Positive
from latentzoo.rng import Rng


@dataclass(frozen=True)
class MALA(Kernel):
    """Creates the Metropolis-adjusted Langevin kernel.

    Arguments:
        step_size: The step s of the proposal.
    """

    step_size: Positive = 0.05
    adjusted = True

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> Point:
        return phi.evaluate(z)

    def step(self, phi: Potential, state: Point, rng: Rng) -> tuple[Point, Info]:
        s = self.step_size
        mean = lambda point: point.z - s / 2 * (point.z + point.grad)
        log_pi = lambda point: -point.z.square().sum(1) / 2 - point.phi
        log_q = lambda z, point: -(z - mean(point)).square().sum(1) / (2 * s)

        proposal = phi.evaluate(mean(state) + s**0.5 * rng.normal(state.z.shape[1]))
        error = (
            log_pi(state) - log_pi(proposal) + log_q(proposal.z, state) - log_q(state.z, proposal)
        )
        accept, accepted = metropolis(-error, rng.uniform())
        info = Info(accept, torch.full_like(accept, s), torch.ones_like(accept), error)
        return where(accepted, proposal, state), info
