r"""MobileStyleGAN: a small student of StyleGAN2 that predicts the wavelets of its picture.

The style :math:`w = f(z)` scales the channels of each layer; the kernels are demodulated once, when the file was made.
From a learned constant, each level inverts a wavelet transform instead of upsampling and convolves by channel, then by
pixel,

.. math:: u = \mathrm{IDWT}(a(w) \, x), \qquad
    x_k = \ell\bigl(P_k \, (s_k(w) \, D_k * x_{k-1}) + n_k + b_k\bigr), \quad x_0 = u, \quad k = 1, 2

with the leaky :math:`\ell` and the noise :math:`n_k` of the file. The last level's colours are wavelets, too.

A scale of channels before a product with :math:`P` is a scale of the columns of :math:`P`, and the two-dimensional Haar
transform is a product of each pixel's channels with one orthogonal matrix, so both scales and the transform cost no
pass over the picture of their own. The channels are the last dimension throughout, where products and convolutions by
channel are fastest on a CPU, and what the next step alone needs is overwritten. That is why the network is written out
here, and the graph of the file is not interpreted.

References:
    | MobileStyleGAN: A Lightweight Convolutional Neural Network for High-Fidelity Image Synthesis (Belousov, 2021)
    | https://arxiv.org/abs/2104.04767
    | Not-So-BigGAN: Generating High-Fidelity Images on Small Compute with Wavelet-based Super-Resolution
    | (Han et al., 2020), https://arxiv.org/abs/2009.04433
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentzoo.generator import Generator
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.nn.truncation import MeanStyle, require
from latentzoo.options import Count
from latentzoo.space import Space

SLOPE = 0.2
DRAWS = 4096  # of the mean style, as the package takes them


class MobileStyleGAN(Generator):
    r"""Creates a MobileStyleGAN generator; its latent is the block `style`.

    Arguments:
        widths: The number of channels at 4, 8, 16, ... pixels; the picture is twice as large as the last.
        w_dim: The size of the latent and of the style.
        layers: The number of layers of the mapping.
        truncation: The truncation :math:`\psi`, positive; 1 leaves the styles as they are.

    Raises:
        SpecError: If the truncation is out of range.
    """

    def __init__(
        self,
        widths: Sequence[Count],
        *,
        w_dim: int = 512,
        layers: int = 8,
        truncation: float = 1.0,
    ) -> None:
        super().__init__()
        require(classes=0, class_index=0, truncation=truncation)
        self.truncation = truncation
        self.mapping = Mapping(w_dim, layers)
        self.w_mean = MeanStyle(w_dim, draws=DRAWS)
        self.const = nn.Parameter(torch.randn(4, 4, widths[0]))
        self.conv = First(widths[0], w_dim)
        self.levels = nn.ModuleList(
            Level(i, o, w_dim, 8 * 2**n) for n, (i, o) in enumerate(pairwise(widths))
        )
        self.to_rgb = ToRGB(widths[-1], w_dim)
        self.space, self.size = Space(style=(w_dim,)), (2 ** (len(widths) + 2),) * 2

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        w = self.mapping(z)
        if self.truncation != 1:
            w_mean = self.w_mean(self.mapping, like=self.const)
            w = w_mean + self.truncation * (w - w_mean)
        return (self.synthesis(w) + 1) / 2

    def synthesis(self, w: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        """Maps styles to pictures, nominally in [-1, 1]."""
        x = self.conv(self.const.expand(len(w), -1, -1, -1), w)
        for level in self.levels:
            x = level(x, w)
        return self.to_rgb(x, w).permute(0, 3, 1, 2).contiguous()


class Mapping(nn.ModuleList):
    """Creates the mapping: linear layers with leaky ReLUs of gain sqrt(2), on a latent of unit mean square."""

    def __init__(self, dim: int, layers: int) -> None:
        super().__init__(nn.Linear(dim, dim) for _ in range(layers))

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        x = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
        for layer in self:
            x = F.leaky_relu(layer(x), SLOPE) * math.sqrt(2)
        return x


class First(nn.Module):
    """Creates the first layer, a full convolution of 3 x 3 on 4 x 4 pixels."""

    noise: Tensor

    def __init__(self, width: int, w_dim: int) -> None:
        super().__init__()
        self.affine = nn.Linear(w_dim, width)
        self.weight = nn.Parameter(torch.randn(width, width, 3, 3))
        self.bias = nn.Parameter(torch.zeros(width))
        self.register_buffer("noise", torch.zeros(4, 4))

    def forward(self, x: Float[Tensor, "B 4 4 C"], w: Float[Tensor, "B D"]) -> Tensor:
        x = x * (gain(self.weight) * self.affine(w))[:, None, None]
        x = F.conv2d(x.permute(0, 3, 1, 2), self.weight, self.bias, padding=1)
        return F.leaky_relu(x.permute(0, 2, 3, 1) + self.noise[..., None], SLOPE)


class Level(nn.Module):
    """Creates a level: twice the side by the inverse wavelet transform, then two separable layers.

    Arguments:
        inputs, outputs: The number of channels before and after.
        w_dim: The size of the style.
        side: The side after it.
    """

    haar: Tensor

    def __init__(self, inputs: int, outputs: int, w_dim: int, side: int) -> None:
        super().__init__()
        self.affine = nn.Linear(w_dim, inputs)
        self.register_buffer("haar", haar(inputs // 4), persistent=False)
        self.conv1 = Separable(inputs // 4, outputs, w_dim, side)
        self.conv2 = Separable(outputs, outputs, w_dim, side)

    def forward(
        self, x: Float[Tensor, "B h h C"], w: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B H H c"]:
        matrix = self.affine(w)[:, :, None] * self.haar
        x = upsampled((x.flatten(1, 2) @ matrix).unflatten(1, x.shape[1:3]))
        return self.conv2(self.conv1(x, w), w)


class Separable(nn.Module):
    """Creates a modulated convolution by channel, then by pixel, with noise, bias and leaky ReLU."""

    noise: Tensor

    def __init__(self, inputs: int, outputs: int, w_dim: int, side: int) -> None:
        super().__init__()
        self.affine = nn.Linear(w_dim, inputs)
        self.depthwise = nn.Parameter(torch.randn(inputs, 1, 3, 3))
        self.pointwise = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("noise", torch.zeros(side, side))

    def forward(
        self, x: Float[Tensor, "B H H I"], w: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B H H O"]:
        x = F.conv2d(x.permute(0, 3, 1, 2), self.depthwise, padding=1, groups=x.shape[3])
        scale = gain(self.depthwise) / math.sqrt(x.shape[1]) * self.affine(w)
        # no view is changed in place: autograd would copy it whole
        y = torch.baddbmm(
            self.bias, x.permute(0, 2, 3, 1).flatten(1, 2), scale[:, :, None] * self.pointwise.T
        )
        y = F.leaky_relu_(y.add_(self.noise.view(-1, 1)), SLOPE)
        return y.unflatten(1, self.noise.shape)


class ToRGB(nn.Module):
    """Creates the last layer: the wavelets of the colours, and their inverse transform."""

    haar: Tensor

    def __init__(self, inputs: int, w_dim: int) -> None:
        super().__init__()
        self.affine = nn.Linear(w_dim, inputs)
        self.weight = nn.Parameter(torch.randn(12, inputs))
        self.bias = nn.Parameter(torch.zeros(12))
        self.register_buffer("haar", haar(3), persistent=False)

    def forward(
        self, x: Float[Tensor, "B h h C"], w: Float[Tensor, "B D"]
    ) -> Float[Tensor, "B H H 3"]:
        scale = self.affine(w) / math.sqrt(x.shape[3])
        matrix = scale[:, :, None] * (self.weight.T @ self.haar)
        y = torch.baddbmm(self.bias @ self.haar, x.flatten(1, 2), matrix)
        return upsampled(y.unflatten(1, x.shape[1:3]))


def gain(weight: Tensor) -> float:
    """The equalised learning rate of a kernel (O, I, k, k), which the file keeps apart: one over the root of I k k."""
    return 1 / math.sqrt(weight[0].numel())


def haar(width: int) -> Float[Tensor, "C C"]:
    r"""The inverse Haar transform as a matrix on C = 4 `width` channels.

    It takes the averages of all channels, then for each its three details (by row, by column, by both), as the file
    has them. It gives the four pixels, row by row, all channels of each.
    """
    signs = torch.tensor([[1, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]) / 2
    bands = torch.einsum("bp,cd->bcpd", signs, torch.eye(width))
    details = bands[1:].transpose(0, 1).reshape(3 * width, 4 * width)
    return torch.cat([bands[0].flatten(1), details])


def upsampled(x: Float[Tensor, "B h w C"]) -> Float[Tensor, "B H W c"]:
    """Puts the four pixels that each pixel's channels hold beside each other."""
    B, h, w, C = x.shape
    return x.view(B, h, w, 2, 2, C // 4).transpose(2, 3).reshape(B, 2 * h, 2 * w, C // 4)


def build(
    widths: Sequence[Count], *, w_dim: Count = 512, layers: Count = 8, truncation: float = 1.0
) -> MobileStyleGAN:
    """Creates a MobileStyleGAN generator, see `MobileStyleGAN`."""
    return MobileStyleGAN(widths, w_dim=w_dim, layers=layers, truncation=truncation)


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Describes the two graphs of OpenVINO, the mapping's and the synthesis'."""
    if (
        checkpoint.container != "openvino"
        or f"{SYNTHESIS}.m.input.input" not in checkpoint.tensors
    ):
        return None
    bias = lambda n: checkpoint.tensors[f"{SYNTHESIS}.m.layers.{n}.conv2.bias"].shape[1]
    levels = sum(name.endswith(".conv2.bias") for name in checkpoint.tensors)
    first = checkpoint.tensors[f"{SYNTHESIS}.m.input.input"]
    linear = [t for k, t in checkpoint.tensors.items() if k.startswith(MAPPING) and t.ndim == 2]
    wide = [t for t in linear if t.shape[0] > 1]
    widths = [first.shape[1], *(bias(n) for n in range(levels))]
    return {
        "config": {"widths": widths, "w_dim": wide[0].shape[0], "layers": len(wide)},
        "keys": "openvino",
    }


MAPPING, SYNTHESIS = "MappingNetwork", "SynthesisNetwork"


def openvino(generator: MobileStyleGAN) -> list[Rule]:
    """The rules for the constants of the graphs.

    The converter kept the names of parameters and numbered what it had folded: the linear layers of the mapping, the
    demodulated kernels and the noises.
    """
    rules = []
    for k in range(len(generator.mapping)):
        rules.append(Rule(f"{MAPPING}.{173 + 4 * k}", f"mapping.{k}.weight"))
        rules.append(Rule(f"{MAPPING}.{174 + 4 * k}", f"mapping.{k}.bias"))
    rules.append(Rule("m.input.input", "const", "1 c h w -> h w c"))
    rules += layer("m.conv1", "conv", "Mul_39_copy", 1531)
    for n in range(len(generator.levels)):
        ours = f"levels.{n}"
        rules += affine(f"m.layers.{n}.up", ours)
        rules += layer(
            f"m.layers.{n}.conv1", f"{ours}.conv1", f"Mul_{106 + 100 * n}_copy", 1560 + 41 * n
        )
        rules += layer(
            f"m.layers.{n}.conv2", f"{ours}.conv2", f"Mul_{139 + 100 * n}_copy", 1572 + 41 * n
        )
    last = f"m.layers.{len(generator.levels) - 1}.to_img"
    rules += affine(f"{last}.conv", "to_rgb")
    rules += [Rule(f"{last}.conv.weight", "to_rgb.weight", "o i 1 1 -> o i")]
    rules += [Rule(f"{last}.bias", "to_rgb.bias", "1 c 1 1 -> c")]
    whole = [
        r if r.theirs.startswith(MAPPING) else Rule(f"{SYNTHESIS}.{r.theirs}", r.ours, r.pattern)
        for r in rules
    ]
    # what is left are numbers that the code states: gains, slopes, exponents, and the kernels of the Haar transform
    return [
        *whole,
        *(Rule(f"{graph}.{kind}", None) for graph in (MAPPING, SYNTHESIS) for kind in STATED),
    ]


STATED = ("Constant_{n}", "LeakyRelu_{n}", "Div_{n}", "{n}")


def affine(theirs: str, ours: str) -> list[Rule]:
    """The rules of a style's linear map."""
    return [
        Rule(f"{theirs}.modulation.weight", f"{ours}.affine.weight"),
        Rule(f"{theirs}.modulation.bias", f"{ours}.affine.bias", "1 c -> c"),
    ]


def layer(theirs: str, ours: str, kernel: str, noise: int) -> list[Rule]:
    """The rules of a layer: the first has one full kernel, the others one by channel and one by pixel."""
    full = ours == "conv"
    rules = affine(f"{theirs}.conv", ours)
    rules.append(Rule(f"{theirs}.bias", f"{ours}.bias", "1 c 1 1 -> c"))
    rules.append(Rule(str(noise), f"{ours}.noise", "1 1 h w -> h w"))
    if full:
        return [*rules, Rule(kernel, f"{ours}.weight")]
    rules.append(Rule(f"{theirs}.conv.weight_dw", f"{ours}.depthwise", "c 1 1 h w -> c 1 h w"))
    return [*rules, Rule(kernel, f"{ours}.pointwise", "o i 1 1 -> o i")]


KEYS = {"openvino": openvino}
