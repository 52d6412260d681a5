"""The refiner of GIRAFFE-HD: what is added to the painted object, and the mask."""

from collections.abc import Sequence

from torch import Tensor, nn

from latentzoo.nn.style import SynthesisLayer, ToRGB


class Refiner(nn.Module):
    """Creates the refiner: modulated convolutions at full resolution, then colours.

    Arguments:
        channels: The number of feature channels.
        outputs: The number of image channels.
        w_dim: The number of style coordinates.
        size: The side of the image.
        layers: The number of convolutions.
        kernel: The side of their kernels.
    """

    def __init__(
        self, channels: int, outputs: int, w_dim: int, size: int, layers: int, kernel: int = 3
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            SynthesisLayer(channels, channels, w_dim, (size, size), kernel=kernel)
            for _ in range(layers)
        )
        self.torgb = ToRGB(channels, outputs, w_dim)

    def forward(self, x: Tensor, w: Tensor, noise: Sequence[Tensor] | None = None) -> Tensor:
        for i, layer in enumerate(self.layers):
            x = layer(x, w, None if noise is None else noise[i])
        return self.torgb(x, w)
