r"""Best of N: fresh draws of the prior, of which each chain keeps the one of least phi; no sample of the posterior.

.. math:: z = \arg\min_{n \le N} \phi(z_n), \qquad z_n \sim \mathcal{N}(0, I)

It needs no gradient, so a budget of n gradients is N = 3 n draws. What it gives is a draw of the prior with a small
phi: about log N nats of information, whatever the weights are.

References:
    | Inference-Time Scaling for Diffusion Models beyond Scaling Denoising Steps (Ma et al., 2025)
    | https://arxiv.org/abs/2501.09732
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from latentzoo.kernels.types import Info, Kernel, Point, Potential, where
from latentzoo.rng import Rng


@dataclass(frozen=True)
class BestOfN(Kernel):
    """Creates the search; N is the budget's."""

    samples: ClassVar[bool] = False

    @property
    def gradients(self) -> float:
        return 1 / 3

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> Point:
        return phi.evaluate(z, gradient=False)

    def step(self, phi: Potential, state: Point, rng: Rng) -> tuple[Point, Info]:
        new = phi.evaluate(rng.normal(state.z.shape[1]), gradient=False)
        return where(new.phi < state.phi, new, state), Info.unadjusted(state.phi, step_size=1.0)
