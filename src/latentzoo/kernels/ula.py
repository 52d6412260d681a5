r"""The unadjusted Langevin algorithm, as the paper used it.

.. math:: z \leftarrow z - \tfrac{s}{2} \, (z + \nabla \phi(z)) + \sqrt{s} \, \xi, \qquad \xi \sim \mathcal{N}(0, I)

In a direction of curvature :math:`\kappa` it is stable for :math:`s (1 + \kappa) < 4`, and its stationary variance is
:math:`1 / (1 - s (1 + \kappa) / 4)` times the true one. It is here to reproduce, not to trust.

References:
    | Unifying Diffusion Models' Latent Space, with Applications to CycleDiffusion and Guidance
    | (Wu and De la Torre, 2022)
    | https://arxiv.org/abs/2210.05559
    | Nonasymptotic convergence analysis for the unadjusted Langevin algorithm (Durmus and Moulines, 2015)
    | https://arxiv.org/abs/1507.05021
"""

import math
from dataclasses import dataclass

from torch import Tensor

from latentzoo.kernels.types import Info, Kernel, Point, Potential
from latentzoo.options import Positive
from latentzoo.rng import Rng


@dataclass(frozen=True)
class ULA(Kernel):
    """Creates the paper's unadjusted Langevin kernel.

    Arguments:
        step_size: The step s, 0.05 for texts and classes and 0.005 for identities in the paper.
    """

    step_size: Positive = 0.05

    def bias(self, curvature: float) -> float:
        reach = self.step_size * (1 + curvature) / 4
        return 1 / (1 - reach) if reach < 1 else math.inf

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> Point:
        return phi.evaluate(z)

    def step(self, phi: Potential, state: Point, rng: Rng) -> tuple[Point, Info]:
        s, xi = self.step_size, rng.normal(state.z.shape[1])
        z = state.z - s / 2 * (state.z + state.grad) + s**0.5 * xi
        return phi.evaluate(z), Info.unadjusted(state.phi, step_size=s)
