r"""Convolutions that look at one position: a product of matrices, by the faster of torch's two ways.

.. math:: y_{o x} = \sum_i w_{o i} \, x_{i x} + b_o

On one thread torch multiplies by its library of linear algebra, which on some processors does half of
what its library of convolutions (oneDNN) does. Kernels that are dilated go to the latter, and a kernel
of one position has nothing to dilate. It takes float32 alone, and is slower where there is little to compute for each
picture. How many pictures there are does not decide: a chain's rounding would depend on its neighbours. Weights, names
and numbers (up to rounding) are those of the layers of torch.

Users: ADM, DDPM, LDM, DDGAN.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

WIDE = 64
"""How many channels there are at least, on both sides, where oneDNN is faster on one thread of x86."""
MUCH = 2**22
"""How many products there are at least in a picture where it is: 64 to 64 channels at 32 x 32, 256 to 256 at 8 x 8."""


class Pointwise(nn.Conv2d):
    """Creates the convolution of maps from i to o channels."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__(i, o, 1)

    def forward(self, input: Float[Tensor, "B i H W"]) -> Float[Tensor, "B o H W"]:
        """Maps each position."""
        return F.conv2d(input, self.weight, self.bias, dilation=dilation(input, self.weight))


class Pointwise1d(nn.Conv1d):
    """Creates the convolution of rows from i to o channels."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__(i, o, 1)

    def forward(self, input: Float[Tensor, "B i N"]) -> Float[Tensor, "B o N"]:
        """Maps each position."""
        return F.conv1d(input, self.weight, self.bias, dilation=dilation(input, self.weight))


def dilation(x: Float[Tensor, "B i ..."], weight: Float[Tensor, "o i ..."]) -> int:
    """How far apart a kernel's positions are, where there is one: 2 where oneDNN is the faster way."""
    products = weight.numel() * x.shape[2:].numel()
    fits = x.device.type == "cpu" and x.dtype == torch.float32
    return 2 if fits and min(weight.shape[:2]) >= WIDE and products >= MUCH else 1
