"""The parts of NVAE's decoder: residual cells, gates, batch norms at rest, kernels of learned norm."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Cell(nn.Module):
    """Creates a residual cell: expansion, a depth-wise convolution, contraction, and a gate per channel.

    What acts on single pixels comes before the doubling of the sides, which commutes with it and makes it dearer.

    Arguments:
        c_in: The width of the input.
        c_out: The width of the output.
        expansion: The width between, in widths of the input.
        up: Whether the sides double.
        gated: Whether it ends with squeeze and excitation.
    """

    def __init__(self, c_in: int, c_out: int, expansion: int, *, up: bool, gated: bool) -> None:
        super().__init__()
        c = expansion * c_in
        self.norms = nn.ModuleList([Norm(c_in), Norm(c), Norm(c), Norm(c_out)])
        self.expand = nn.Conv2d(c_in, c, 1, bias=False)
        self.depthwise = nn.Conv2d(c, c, 5, padding=2, groups=c, bias=False)
        self.contract = nn.Conv2d(c, c_out, 1, bias=False)
        self.skip = NormedConv(c_in, c_out, 1, bias=False) if up else None
        self.gate = Gate(c_out) if gated else nn.Identity()

    def forward(self, s: Tensor) -> Tensor:
        x = F.silu(self.norms[1](self.expand(self.norms[0](s))))
        if self.skip is not None:
            x = F.interpolate(x, scale_factor=2)
            s = F.interpolate(self.skip(s), scale_factor=2, mode="bilinear", align_corners=True)
        x = F.silu(self.norms[2](self.depthwise(x)))
        return s + 0.1 * self.gate(self.norms[3](self.contract(x)))


class Gate(nn.Module):
    """Creates squeeze and excitation: each channel times a number in (0, 1) that depends on all channels' means."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.squeeze = nn.Linear(c, max(c // 16, 4))
        self.excite = nn.Linear(max(c // 16, 4), c)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.excite(self.squeeze(x.mean((2, 3))).relu()).sigmoid()
        return x * gate[..., None, None]


class Norm(nn.Module):
    """Creates a batch norm of fixed statistics, whether the network is in training mode or not."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, c: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(c))
        self.bias = nn.Parameter(torch.zeros(c))
        self.register_buffer("running_mean", torch.zeros(c))
        self.register_buffer("running_var", torch.ones(c))

    def forward(self, x: Tensor) -> Tensor:
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias)


class NormedConv(nn.Module):
    """Creates a convolution whose kernels have learned norms, stored as logarithms; it keeps the sides."""

    def __init__(self, c_in: int, c_out: int, kernel: int, *, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c_out, c_in, kernel, kernel))
        self.log_weight_norm = nn.Parameter(torch.full((c_out, 1, 1, 1), -math.log(3) / 2))
        self.bias = nn.Parameter(torch.zeros(c_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        norm = self.weight.square().sum((1, 2, 3), keepdim=True).sqrt()
        weight = self.weight * (self.log_weight_norm.exp() / (norm + 1e-5))
        return F.conv2d(x, weight, self.bias, padding="same")
