r"""Leimkuhler and Matthews' cure of unadjusted Langevin: the noise of two steps, averaged.

.. math:: z \leftarrow z - \tfrac{s}{2} \, (z + \nabla \phi(z))
    + \sqrt{s} \; \tfrac{\xi_n + \xi_{n+1}}{2}

At the same cost, the stationary variance of a Gaussian posterior is exact where that of ULA is
:math:`1 / (1 - s (1 + \kappa) / 4)` times too large; the step is stable for the same :math:`s (1 +
\kappa) < 4`.

References:
    | Rational construction of stochastic numerical methods for molecular sampling
    | (Leimkuhler and Matthews, 2012)
    | https://arxiv.org/abs/1203.5428
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, NamedTuple

from msgspec import Meta
from torch import Tensor

from latentzoo.kernels.types import Info, Kernel, Potential
from latentzoo.rng import Rng


class LMState(NamedTuple):
    """A point and `xi`, the noise that the next step averages with its own, (B, D)."""

    z: Tensor
    phi: Tensor
    grad: Tensor
    terms: Tensor
    xi: Tensor


@dataclass(frozen=True)
class LM(Kernel):
    """Creates the Leimkuhler-Matthews kernel.

    Arguments:
        step_size: The step s, as in ULA.
    """

    step_size: Annotated[float, Meta(gt=0, le=4)] = 0.05
    State: ClassVar[type[Any]] = LMState

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> LMState:
        return LMState(*phi.evaluate(z), rng.normal(z.shape[1]))

    def step(self, phi: Potential, state: LMState, rng: Rng) -> tuple[LMState, Info]:
        s, xi = self.step_size, rng.normal(state.z.shape[1])
        z = state.z - s / 2 * (state.z + state.grad) + s**0.5 * (state.xi + xi) / 2
        return LMState(*phi.evaluate(z), xi), Info.unadjusted(state.phi, step_size=s)
