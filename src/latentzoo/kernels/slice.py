r"""Elliptical slice sampling: no gradient and nothing to tune.

A draw :math:`\nu` from the prior and the present z span an ellipse. A level is drawn under the
likelihood, an angle on the ellipse, and the bracket of angles shrinks towards z until a point above
the level is found:

.. math:: \log y = -\phi(z) + \log u, \qquad z'(\theta) = z \cos \theta + \nu \sin \theta,
    \qquad -\phi(z'(\theta)) > \log y

The search for each number of rejections is reversible by itself, so it may stop after a fixed
number of evaluations and leave z where it is. Each evaluation counts as a third of a gradient.

References:
    | Elliptical slice sampling (Murray, Adams and MacKay, 2010)
    | https://arxiv.org/abs/1001.0175
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from latentzoo.kernels.types import Info, Kernel, Point, Potential
from latentzoo.options import Count
from latentzoo.rng import Rng


@dataclass(frozen=True)
class Slice(Kernel):
    """Creates the elliptical slice kernel.

    Arguments:
        evaluations: The most evaluations a step may take.
    """

    evaluations: Count = 9
    adjusted: ClassVar[bool] = True

    @property
    def gradients(self) -> float:
        return self.evaluations / 3

    def init(self, phi: Potential, z: Tensor, rng: Rng) -> Point:
        return phi.evaluate(z, gradient=False)

    def step(self, phi: Potential, state: Point, rng: Rng) -> tuple[Point, Info]:
        nu, level = rng.normal(state.z.shape[1]), -state.phi + rng.uniform().log()
        high = 2 * math.pi * rng.uniform()
        low, theta, turn = high - 2 * math.pi, high, torch.zeros_like(high)
        new, left = state, torch.arange(len(level), device=level.device)
        for _ in range(self.evaluations):
            angle = theta[left, None]
            z = state.z[left] * angle.cos() + nu[left] * angle.sin()
            point = phi.select(left).evaluate(z, gradient=False)
            found = -point.phi > level[left]
            done, left = left[found], left[~found]
            new = Point(
                *(x.index_copy(0, done, y[found]) for x, y in zip(new, point, strict=True))
            )
            turn = turn.index_copy(0, done, theta[done].abs())
            if len(left) == 0:
                break
            low = torch.where(theta < 0, low.maximum(theta), low)
            high = torch.where(theta < 0, high, high.minimum(theta))
            u = rng.select(left).uniform()
            theta = theta.index_copy(0, left, low[left] + u * (high - low)[left])
        moved = torch.ones_like(level).index_fill(0, left, 0.0)
        return new, Info(moved, turn, torch.ones_like(level), torch.full_like(level, torch.nan))
