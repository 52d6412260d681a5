r"""Maximum a posteriori by Adam: an optimiser, whose results are no samples.

.. math:: \min_z \; \phi(z) + \tfrac12 |z|^2

With the slope g in the t-th step, and all operations by coordinate,

.. math:: m \leftarrow a \, m + (1 - a) \, g, \qquad v \leftarrow b \, v + (1 - b) \, g^2, \qquad
    z \leftarrow z - h \, \frac{m / (1 - a^t)}{\sqrt{v / (1 - b^t)} + 10^{-8}}

In high dimension the maximum lies near the origin, where the prior has no mass: the pictures are
smooth, alike, and worse than typical ones.

References:
    | Adam: a method for stochastic optimization (Kingma and Ba, 2015)
    | https://arxiv.org/abs/1412.6980
"""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from latentzoo.kernels.types import Info, Kept, Kernel, Point, Potential
from latentzoo.options import Positive
from latentzoo.rng import Rng


class AdamState(NamedTuple):
    """A point, the moving averages of the slope and its square (B, D), and the `clock` (B,)."""

    z: Tensor
    phi: Tensor
    grad: Tensor
    terms: Tensor
    mean: Tensor
    square: Tensor
    clock: Tensor

    @classmethod
    def begin(cls, point: Point) -> "AdamState":
        """The state before the first step."""
        zero = torch.zeros_like(point.z)
        return cls(*point, zero, zero, torch.ones_like(point.phi, dtype=torch.long))

    def after(
        self, phi: Potential, slope: Tensor, *, step_size: float, forget: tuple[float, float]
    ) -> "AdamState":
        """The state after a step down a slope.

        Arguments:
            phi: The potential, which is evaluated where the step ends.
            slope: The gradient of what is minimised, (B, D).
            step_size: The learning rate h.
            forget: How much of the averages of slope and square is kept, (a, b).
        """
        (a, b), t = forget, self.clock[:, None]
        mean = a * self.mean + (1 - a) * slope
        square = b * self.square + (1 - b) * slope**2
        z = self.z - step_size * (mean / (1 - a**t)) / ((square / (1 - b**t)).sqrt() + 1e-8)
        return AdamState(*phi.evaluate(z), mean, square, self.clock + 1)


@dataclass(frozen=True)
class Adam(Kernel):
    """Creates the optimiser.

    Arguments:
        step_size: The learning rate.
        forget: How much of the averages of slope and square a step keeps.
    """

    step_size: Positive = 0.05
    forget: tuple[Kept, Kept] = (0.9, 0.999)
    samples: ClassVar[bool] = False
    State: ClassVar[type[Any]] = AdamState

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> AdamState:
        return AdamState.begin(phi.evaluate(z))

    def step(self, phi: Potential, state: AdamState, rng: Rng) -> tuple[AdamState, Info]:
        slope, h = state.z + state.grad, self.step_size
        info = Info.unadjusted(state.phi, step_size=h)
        return state.after(phi, slope, step_size=h, forget=self.forget), info
