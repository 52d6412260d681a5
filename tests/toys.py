"""Tiny generators and energies whose posterior is known, which many tests share."""

import torch
from torch import Tensor, nn

from latentzoo.energies.base import Energy
from latentzoo.generator import Generator
from latentzoo.space import Space


class Affine(Generator):
    """A linear map whose posterior under a quadratic energy is known: x = 1/2 + A z, 3 x 4 x 4 pixels."""

    def __init__(self, dim: int = 6) -> None:
        super().__init__()
        self.space = Space(style=(dim - 2,), shift=(2,))
        self.size = (4, 4)
        weight = torch.linspace(-1, 1, 48 * dim).sin().view(48, dim) / (4 * dim**0.5)
        self.weight = nn.Parameter(weight, requires_grad=False)

    def forward(self, z: Tensor) -> Tensor:
        return (0.5 + z @ self.weight.T).unflatten(1, (3, 4, 4))


class Bright(Energy):
    """Half the squared distance of the picture to white."""

    def forward(self, image: Tensor) -> Tensor:
        return (image - 1).square().sum((1, 2, 3)) / 2
