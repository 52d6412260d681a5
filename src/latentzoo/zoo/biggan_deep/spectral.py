r"""Layers whose weight is divided by its recorded spectral norm, :math:`W / (u^\top W v)`."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Spectral(nn.Module):
    r"""Creates a weight over its spectral norm, :math:`W / (u^\top W v)`, with `u`, `v` recorded.

    Arguments:
        shape: The shape of the weight, outputs first.
        bias: Whether there is a bias.
    """

    weight_u: Tensor
    weight_v: Tensor

    def __init__(self, *shape: int, bias: bool = True) -> None:
        super().__init__()
        rows, columns = shape[0], math.prod(shape[1:])
        self.bias = nn.Parameter(torch.zeros(rows)) if bias else None
        self.weight_orig = nn.Parameter(torch.randn(shape) / math.sqrt(columns))
        v = F.normalize(self.weight_orig.detach().flatten(1).mT @ torch.ones(rows), dim=0)
        self.register_buffer("weight_v", v)
        self.register_buffer(
            "weight_u", F.normalize(self.weight_orig.detach().flatten(1) @ v, dim=0)
        )

    @property
    def weight(self) -> Tensor:
        """The weight divided by its largest singular value, as power iteration left it."""
        return self.weight_orig / torch.dot(
            self.weight_u, self.weight_orig.flatten(1) @ self.weight_v
        )


class SpectralLinear(Spectral):
    """Creates a spectrally normalised linear layer."""

    def __init__(self, c_in: int, c_out: int, *, bias: bool = True) -> None:
        super().__init__(c_out, c_in, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class SpectralConv(Spectral):
    """Creates a spectrally normalised convolution that keeps the resolution.

    Arguments:
        c_in: The width of the input.
        c_out: The number of filters.
        kernel: Their side.
        bias: Whether there is a bias.
        used: How many of the filters are computed; all by default.
    """

    def __init__(
        self, c_in: int, c_out: int, kernel: int, *, bias: bool = True, used: int | None = None
    ) -> None:
        super().__init__(c_out, c_in, kernel, kernel, bias=bias)
        self.used = used

    def forward(self, x: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias[: self.used]
        return F.conv2d(x, self.weight[: self.used], bias, padding="same")
