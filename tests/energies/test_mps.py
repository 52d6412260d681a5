"""The layers of MPS against figures that were measured on the official code."""

import math

import torch
from torch import Tensor

from latentzoo.guides import mps


def waves(shape: tuple[int, ...], pace: int) -> Tensor:
    """Numbers that need no generator, the same on every machine."""
    return (torch.arange(math.prod(shape)).double() * (0.7 + 0.01 * pace)).sin().view(shape)


def test_the_layers_are_those_of_the_official_code() -> None:
    """The figures are of Cross_model of Kwai-Kolors/MPS in 64 bits, whose angles are of 32 bits."""
    cross = mps.Cross(128, 2).double()
    with torch.no_grad():
        for i, (name, x) in enumerate(sorted(cross.state_dict().items())):
            x.copy_(
                waves(tuple(x.shape), i) * (0.1 if x.ndim > 1 else 0.3)
                + name.endswith("norm.weight")
            )
    x, said = waves((1, 5, 128), 50).requires_grad_(), waves((1, 7, 128), 60)
    y = cross(x, said, torch.tensor([1, 0, 1, 1, 0, 1, 1]).bool())
    slope = torch.autograd.grad(y[:, 0].square().sum(), x)[0]
    found = torch.stack([*y[0, 0, :3], y.norm(), slope.norm()])
    official = [1.3836273032320103, 0.665389213300397, 0.26568425608633245]
    official += [26.51941139977147, 158.68770999224134]
    torch.testing.assert_close(
        found, torch.tensor(official, dtype=torch.float64), rtol=1e-8, atol=1e-8
    )
