r"""The synthesis network of StyleGAN2.

It turns a constant into an image by convolutions whose kernels depend on the style :math:`w` (see
`mapping`), each with noise, bias and leaky ReLU,

.. math:: x \leftarrow \sqrt 2 \, \text{lrelu}(x * k(A w + b) + \sigma n + c)

Parameters are stored with unit variance; demodulation scales the convolutions.

The attributes bear NVIDIA's names (`b8.conv1.affine`), except that the constant belongs to the whole
network. `latentzoo.hub.dialects` has the rules for the dialects in which official files are written.

Users: StyleGAN2(-ADA), Diffusion-StyleGAN2, EG3D, StyleSDF, GIRAFFE-HD.

References:
    | Analyzing and Improving the Image Quality of StyleGAN (Karras et al., 2020)
    | https://arxiv.org/abs/1912.04958

    | Training Generative Adversarial Networks with Limited Data (Karras et al., 2020)
    | https://arxiv.org/abs/2006.06676
"""

from collections.abc import Iterable, Sequence
from functools import partial, reduce
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.errors import SpecError
from latentzoo.nn.fir import upsample
from latentzoo.nn.mapping import Linear, activate, normal
from latentzoo.nn.modconv import modulated_conv2d

NOISE = "noise_const"
"""The name of a layer's map of noise."""
DRAWN = "maps drawn from seed 0, as the file has none"
"""What is assumed of the maps of a file that holds the parameters alone."""


class SynthesisLayer(nn.Module):
    """Creates a modulated convolution with noise, bias and leaky ReLU.

    Arguments:
        inputs: The number of input channels.
        outputs: The number of output channels.
        w_dim: The number of style coordinates.
        size: The height and width of the output, and of the stored noise map.
        up: Whether the output is twice as large as the input.
        clamp: Where the result is cut off on both sides, if it is.
        kernel: The side of the convolution's kernels.
        noisy: Whether there is noise.
    """

    noise_const: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        size: tuple[int, int],
        *,
        up: bool = False,
        clamp: float | None = None,
        kernel: int = 3,
        noisy: bool = True,
    ) -> None:
        super().__init__()
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = normal(outputs, inputs, kernel, kernel)
        self.bias = nn.Parameter(torch.zeros(outputs))
        if noisy:
            self.noise_strength = nn.Parameter(torch.zeros(()))
            self.register_buffer("noise_const", torch.randn(size))
        self.size, self.up, self.clamp, self.noisy = size, up, clamp, noisy

    def forward(
        self, x: Tensor, w: Tensor, noise: Tensor | float | None = None, gain: float = 1.0
    ) -> Tensor:
        """Maps (B, I, h, w) to (B, O, *size); `noise` takes the place of the stored map."""
        x = modulated_conv2d(x, self.weight, self.affine(w), up=self.up)
        offset = self.bias[:, None, None]
        if self.noisy:
            offset = (self.noise_const if noise is None else noise) * self.noise_strength + offset
        return activate(x + offset, gain, self.clamp)


class ToRGB(nn.Module):
    """Creates the modulated 1 x 1 convolution from features to an image.

    Arguments:
        inputs: The number of input channels.
        outputs: The number of image channels.
        w_dim: The number of style coordinates.
        clamp: Where the result is cut off on both sides, if it is.
    """

    def __init__(
        self, inputs: int, outputs: int, w_dim: int, *, clamp: float | None = None
    ) -> None:
        super().__init__()
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = normal(outputs, inputs, 1, 1)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        style = self.affine(w) / sqrt(x.shape[1])
        x = modulated_conv2d(x, self.weight, style, demodulate=False) + self.bias[:, None, None]
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Skip(nn.Module):
    """Creates the shortcut of a residual block: a 1 x 1 convolution to twice the sides."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = normal(outputs, inputs, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return upsample(F.conv2d(x, self.weight * sqrt(0.5 / x.shape[1])))


class Block(nn.Module):
    """Creates the layers of one resolution; all blocks but the first double the sides by `conv0`.

    Arguments:
        inputs: The number of input channels.
        outputs: The number of output channels.
        w_dim: The number of style coordinates.
        size: The height and width of the output.
        channels: The number of image channels; 0 for a block that adds nothing to the image.
        first: Whether this is the first block.
        residual: Whether a shortcut is added to the features.
        clamp: Where the result of each layer is cut off on both sides, if it is.
        noisy: Whether the layers have noise.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        w_dim: int,
        size: tuple[int, int],
        *,
        channels: int = 3,
        first: bool = False,
        residual: bool = False,
        clamp: float | None = None,
        noisy: bool = True,
    ) -> None:
        super().__init__()
        layer = partial(SynthesisLayer, outputs=outputs, w_dim=w_dim, size=size)
        layer = partial(layer, clamp=clamp, noisy=noisy)
        self.conv0 = None if first else layer(inputs, up=True)
        self.conv1 = layer(inputs if first else outputs)
        self.torgb = ToRGB(outputs, channels, w_dim, clamp=clamp) if channels else None
        self.skip = Skip(inputs, outputs) if residual and not first else None

    @property
    def layers(self) -> list[SynthesisLayer]:
        """The synthesis layers in order, one or two."""
        return [self.conv1] if self.conv0 is None else [self.conv0, self.conv1]

    def forward(
        self, x: Tensor, ws: Sequence[Tensor], noise: Sequence[Tensor | float | None]
    ) -> Tensor:
        """Maps features (B, I, h, w) to (B, O, *size), given a style and a map per layer."""
        shortcut = None if self.skip is None else self.skip(x)
        if self.conv0 is not None:
            x = self.conv0(x, ws[0], noise[0])
        last = len(self.layers) - 1
        if shortcut is None:
            return self.conv1(x, ws[last], noise[last])
        return shortcut + self.conv1(x, ws[last], noise[last], gain=sqrt(0.5))


class Synthesis(nn.ModuleDict):
    """Creates the blocks `b4`, `b8`, ... from a constant, or from features, to an image.

    Arguments:
        widths: The number of channels at each resolution, the first one included.
        w_dim: The number of style coordinates.
        start: The side of the first resolution; or its height and width, and the blocks are named
            as if they were 4.
        features: The channels of the features it starts from; None for a learned constant.
        channels: The number of image channels.
        architecture: "skip" (an image is added at each resolution), "resnet" or "orig".
        clamp: Where the result of each layer is cut off on both sides, if it is.
        noisy: Whether the layers have noise.

    Attributes:
        size: The height and width of the image.
        layers: The synthesis layers in order, each with its own noise map.
        styles: The number of styles it takes, `num_ws`.
    """

    def __init__(
        self,
        widths: Sequence[int],
        w_dim: int,
        *,
        start: int | tuple[int, int] = 4,
        features: int | None = None,
        channels: int = 3,
        architecture: str = "skip",
        clamp: float | None = None,
        noisy: bool = True,
    ) -> None:
        super().__init__()
        side, (h, w) = (start, (start, start)) if isinstance(start, int) else (4, start)
        if features is None:
            self.const = normal(widths[0], h, w)
        inputs = [widths[0] if features is None else features, *widths]
        last = len(widths) - 1
        self.w_dim, self.size = w_dim, (h << last, w << last)
        for n, (i, o) in enumerate(zip(inputs, widths, strict=False)):
            self[f"b{side << n}"] = Block(
                i,
                o,
                w_dim,
                (h << n, w << n),
                channels=channels if architecture == "skip" or n == last else 0,
                first=n == 0,
                residual=architecture == "resnet",
                clamp=clamp,
                noisy=noisy,
            )
        self.styles = len(self.layers) + 1

    @property
    def blocks(self) -> list[Block]:
        """The blocks in order, from the smallest resolution."""
        return [block for block in self.values() if isinstance(block, Block)]

    @property
    def layers(self) -> list[SynthesisLayer]:
        return [layer for block in self.blocks for layer in block.layers]

    def forward(
        self,
        ws: Tensor,
        x: Tensor | None = None,
        noise: Sequence[Tensor | float | None] | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Maps styles to the last features (B, C, *size) and the image, of the same size.

        Arguments:
            ws: The style of each layer and of the last `torgb`, with shape (B, styles, w_dim).
            x: The features (B, features, h, w) to start from; None for the constant.
            noise: Maps (B or 1, 1, H, W) in place of the stored ones, one per layer; 0.0 for none.
        """
        features = self.const.expand(len(ws), -1, -1, -1) if x is None else x
        noise = [None] * len(self.layers) if noise is None else noise
        styles, images = ws.unbind(dim=1), []
        for block in self.blocks:
            features = block(features, styles, noise)
            styles, noise = styles[len(block.layers) :], noise[len(block.layers) :]
            if block.torgb is not None:
                images.append(block.torgb(features, styles[0]))
        return features, reduce(lambda rgb, new: upsample(rgb) + new, images)


def noise_blocks(
    noise: str, layers: Iterable[SynthesisLayer], *, choices: Sequence[str] = ("fixed", "latent")
) -> dict[str, tuple[int, int]]:
    """The blocks of a latent for the noise maps of layers: none unless `noise` is "latent".

    Raises:
        SpecError: If the noise is none of the choices, or the layers have none.
    """
    layers = list(layers)
    if noise not in choices:
        *first, last = map(repr, choices)
        known = f"{', '.join(first)} or {last}"
        raise SpecError(f"the noise cannot be '{noise}'; give {known}")
    if noise != "latent":
        return {}
    if not all(layer.noisy for layer in layers):
        raise SpecError("the network was trained without noise; leave the option noise out")
    return {f"noise_{i}": layer.size for i, layer in enumerate(layers)}
