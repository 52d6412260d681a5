"""The levels of StyleNeRF that enlarge an image: 1 x 1 convolutions, and an up-sampling that mixes neighbours."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.nn.fir import blur, upsample
from latentzoo.nn.mapping import Linear, activate
from latentzoo.nn.style import ToRGB, modulated_conv2d

CLAMP = 256.0
"""Where the features of the enlarging layers are cut off on both sides."""


class Level(nn.Module):
    """Creates the layers that double the sides.

    Arguments:
        inputs: The number of input channels.
        outputs: The number of output channels.
        w_dim: The number of style coordinates.
        scaled: Whether the layers divide their input by a recorded magnitude.
    """

    def __init__(self, inputs: int, outputs: int, w_dim: int, *, scaled: bool) -> None:
        super().__init__()
        self.conv0 = PointLayer(inputs, outputs, w_dim, up=True, scaled=scaled)
        self.conv1 = PointLayer(outputs, outputs, w_dim, scaled=scaled)
        self.torgb = ToRGB(outputs, 3, w_dim, clamp=CLAMP)

    def forward(self, x: Tensor, rgb: Tensor, ws: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        x = self.conv1(self.conv0(x, ws[0]), ws[1])
        return x, upsample(rgb) + self.torgb(x, ws[2])


class PointLayer(nn.Module):
    """Creates a modulated 1 x 1 convolution, with bias and leaky ReLU.

    Arguments:
        inputs: The number of input channels.
        outputs: The number of output channels.
        w_dim: The number of style coordinates.
        up: Whether the sides are doubled.
        scaled: Whether the input is divided by the root of its recorded mean square `w_avg`.
    """

    w_avg: Tensor | None

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, *, up: bool = False, scaled: bool
    ) -> None:
        super().__init__()
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = nn.Parameter(torch.randn(outputs, inputs, 1, 1))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("w_avg", torch.ones(()) if scaled else None)
        self.doubling = Doubling(outputs) if up else None

    def forward(self, x: Float[Tensor, "B I h w"], w: Float[Tensor, "B W"]) -> Tensor:
        x = x if self.w_avg is None else x * self.w_avg.rsqrt()
        x = modulated_conv2d(x, self.weight, self.affine(w))
        x = x if self.doubling is None else self.doubling(x)
        return activate(x + self.bias[:, None, None], clamp=CLAMP)


class Doubling(nn.Module):
    """Creates the up-sampling that repeats pixels, adds what it makes of them and of the means of
    two neighbours at each corner, and filters.

    Arguments:
        channels: The number of channels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = Linear(2 * channels, channels // 4)
        self.widen = Linear(channels // 4, channels)

    def forward(self, x: Float[Tensor, "B C h w"]) -> Float[Tensor, "B C 2*h 2*w"]:
        repeated = x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        around = F.pad(x, (1, 1, 1, 1))
        up, down = around[:, :, :-2, 1:-1], around[:, :, 2:, 1:-1]
        left, right = around[:, :, 1:-1, :-2], around[:, :, 1:-1, 2:]
        corners = torch.stack([left + up, up + right, left + down, right + down], dim=2) / 2
        means = F.pixel_shuffle(corners.flatten(1, 2), 2)
        y = torch.cat([repeated, means], dim=1).movedim(1, -1)
        return blur(repeated + self.widen(activate(self.squeeze(y))).movedim(-1, 1))
