r"""Operators of deepinv as measurements.

.. math::
    y = A(x) + \sigma \epsilon, \quad \epsilon \sim \mathcal{N}(0, I), \qquad E(x) = \frac{|A(x) - y|^2}{2 \sigma^2}

A `Physics` of deepinv is the operator A together with its noise. `A` may change the size of the picture and the number
of its dimensions (downsampling, tomography, compressed sensing).

References:
    | DeepInverse: A Python package for solving imaging inverse problems with deep learning
    | (Tachella et al., 2025), https://arxiv.org/abs/2505.20160
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.energies.measure import Measure
from latentzoo.errors import SpecError


class Operator(nn.Module):
    """Creates the operator A of a physics, without its noise; it moves with the energy between devices.

    Arguments:
        physics: A `deepinv.physics.Physics`.
    """

    def __init__(self, physics: Any) -> None:
        super().__init__()
        self.physics = physics

    def forward(self, image: Float[Tensor, "B 3 H W"]) -> Tensor:
        return self.physics.A(image)


def measured(physics: Any, y: Tensor, sigma: float | None = None) -> Measure:
    """Creates the energy of a measurement by a physics of deepinv.

    Arguments:
        physics: The operator and its noise, a `deepinv.physics.Physics`.
        y: The measurement, with batch 1 or one per chain.
        sigma: The standard deviation of the noise; None takes that of the physics' Gaussian noise.

    Raises:
        SpecError: If `physics` has no operator, `y` is not one real tensor, or `sigma` is neither given nor known.
    """
    if not callable(getattr(physics, "A", None)):
        raise SpecError(
            f"a {type(physics).__name__} has no operator A; give a physics of deepinv, or lz.Measure(function, y)"
        )
    if not isinstance(y, Tensor) or y.is_complex():
        raise SpecError(
            "the measurement is not one real tensor; stack its parts, and real and imaginary parts as channels"
        )
    return Measure(Operator(physics), y, _sigma(physics) if sigma is None else sigma)


def _sigma(physics: Any) -> float:
    noise = getattr(physics, "noise_model", None)
    known = getattr(noise, "sigma", None)
    if (
        type(noise).__name__ != "GaussianNoise"
        or known is None
        or torch.as_tensor(known).numel() != 1
    ):
        raise SpecError(
            f"the noise of this physics is {type(noise).__name__}, and not Gaussian with one sigma; give sigma="
        )
    return float(known)
