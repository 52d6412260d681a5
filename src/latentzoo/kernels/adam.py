r"""Maximum a posteriori by Adam: an optimiser, whose results are no samples.

.. math:: \min_z \; \phi(z) + \tfrac12 |z|^2

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

from latentzoo.kernels.types import Info, Kept, Kernel, Potential
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
        zero = torch.zeros_like(z)
        clock = torch.ones(len(z), dtype=torch.long, device=z.device)
        return AdamState(*phi.evaluate(z), zero, zero, clock)

    def step(self, phi: Potential, state: AdamState, rng: Rng) -> tuple[AdamState, Info]:
        (a, b), t = self.forget, state.clock[:, None]
        slope = state.z + state.grad
        mean = a * state.mean + (1 - a) * slope
        square = b * state.square + (1 - b) * slope**2
        z = state.z - self.step_size * (mean / (1 - a**t)) / ((square / (1 - b**t)).sqrt() + 1e-8)
        info = Info.unadjusted(state.phi, step_size=self.step_size)
        return AdamState(*phi.evaluate(z), mean, square, state.clock + 1), info
