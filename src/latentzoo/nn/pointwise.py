r"""Convolutions that look at one position: a product of matrices, by the faster of torch's two ways.

.. math:: y_{o x} = \sum_i w_{o i} \, x_{i x} + b_o

On one thread torch multiplies by its library of linear algebra, which on some processors does half of
what its library of convolutions (oneDNN) does. Kernels that are dilated go to the latter, and a kernel
of one position has nothing to dilate. Weights, names and numbers (up to rounding) are those of the layers of torch.

Users: ADM, DDPM, LDM, DDGAN.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class Pointwise(nn.Conv2d):
    """Creates the convolution of maps from i to o channels."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__(i, o, 1)

    def forward(self, input: Float[Tensor, "B i H W"]) -> Float[Tensor, "B o H W"]:
        """Maps each position."""
        return F.conv2d(input, self.weight, self.bias, dilation=dilation(input))


class Pointwise1d(nn.Conv1d):
    """Creates the convolution of rows from i to o channels."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__(i, o, 1)

    def forward(self, input: Float[Tensor, "B i N"]) -> Float[Tensor, "B o N"]:
        """Maps each position."""
        return F.conv1d(input, self.weight, self.bias, dilation=dilation(input))


def dilation(x: Tensor) -> int:
    """How far apart a kernel's positions are, where there is one."""
    return 2 if x.device.type == "cpu" else 1
