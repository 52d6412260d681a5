"""The two blocks of StyleGAN2 that enlarge what EG3D renders."""

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.nn.fir import upsample
from latentzoo.nn.style import SynthesisLayer, ToRGB
from latentzoo.options import Count

ENLARGERS = {  # the first block doubles the sides, larger images are reduced
    "8XDC": (True, True),
    "8X": (True, True),
    "4X": (False, False),
    "2X": (False, True),
}


class Enlarger(nn.Module):
    """Creates the two blocks that enlarge a rendered image; the first three features are its
    colours.

    Arguments:
        features: The number of features of the rendered image.
        w_dim: The number of style coordinates.
        widths: The channels of the two blocks.
        start: The side to which the rendered image is brought first.
        up: Whether the first block doubles the sides too; the second one does.
        always: Whether larger images are brought to `start` too, or smaller ones only.
        antialias: Whether this is done without aliasing.
        clamp: Where the result of each layer is cut off on both sides, if it is.
    """

    def __init__(
        self,
        features: int,
        w_dim: int,
        widths: Sequence[Count],
        *,
        start: int,
        up: bool,
        always: bool,
        antialias: bool,
        clamp: float | None,
    ) -> None:
        super().__init__()
        self.start, self.always, self.antialias = start, always, antialias
        first = start * 2 if up else start
        self.size = 2 * first
        self.block0 = EnlargerBlock(features, widths[0], w_dim, first, up=up, clamp=clamp)
        self.block1 = EnlargerBlock(widths[0], widths[1], w_dim, 2 * first, up=True, clamp=clamp)

    def forward(
        self, x: Float[Tensor, "B F r r"], w: Float[Tensor, "B W"]
    ) -> Float[Tensor, "B 3 R R"]:
        """Maps features in [-1, 1] and a style to an image in [-1, 1]."""
        rgb, side = x[:, :3], x.shape[-1]
        if side < self.start or (side > self.start and self.always):
            fit = lambda x: F.interpolate(
                x, (self.start, self.start), mode="bilinear", antialias=self.antialias
            )
            x, rgb = fit(x), fit(rgb)
        return self.block1(*self.block0(x, rgb, w), w)[1]


class EnlargerBlock(nn.Module):
    """Creates a block of StyleGAN2 without noise, all of it styled by one w.

    Arguments:
        inputs: The number of input channels.
        outputs: The number of output channels.
        w_dim: The number of style coordinates.
        size: The side of the output.
        up: Whether the sides are doubled.
        clamp: Where the result of each layer is cut off on both sides, if it is.
    """

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, size: int, *, up: bool, clamp: float | None
    ) -> None:
        super().__init__()
        self.up = up
        sides = (size, size)
        self.conv0 = SynthesisLayer(inputs, outputs, w_dim, sides, up=up, clamp=clamp)
        self.conv1 = SynthesisLayer(outputs, outputs, w_dim, sides, clamp=clamp)
        self.torgb = ToRGB(outputs, 3, w_dim, clamp=clamp)

    def forward(self, x: Tensor, rgb: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        x = self.conv1(self.conv0(x, w, 0.0), w, 0.0)
        return x, (upsample(rgb) if self.up else rgb) + self.torgb(x, w)
