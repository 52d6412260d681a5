r"""DCGAN: transposed convolutions from a latent to a picture, each with batch normalisation and a ReLU.

.. math:: x_0 = z, \qquad x_k = \max(0, \mathrm{BN}_k(W_k^\top x_{k-1})), \qquad G(z) = \tanh(W_K^\top x_{K-1})

The normalisation takes the moments that training left in the file, so that a picture does not depend on its batch.

References:
    | Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks
    | (Radford et al., 2015), https://arxiv.org/abs/1511.06434
"""

import re
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
from latentzoo.nn import channels as pictures
from latentzoo.options import Count
from latentzoo.space import Space

KERNEL = re.compile(r"(\d+)\.weight")
"""A kernel's name: the number of its module in the tutorial's `nn.Sequential`; of three, the others are BN and ReLU."""


class DCGAN(Generator):
    """Creates a DCGAN generator; its latent is the block `z`.

    Arguments:
        widths: The number of coordinates of the latent, then of channels at 4, 8, ... pixels; the picture is twice as
            large as the last.
        channels: The number of the picture's channels: 3, or 1 where it is grey.
    """

    def __init__(self, widths: Sequence[Count], channels: int = 3) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            Layer(i, o, first=k == 0) for k, (i, o) in enumerate(pairwise(widths))
        )
        self.last = nn.ConvTranspose2d(widths[-1], pictures.require(channels), 4, 2, 1, bias=False)
        self.space, self.size = Space(z=(widths[0],)), (2 ** (len(widths) + 1),) * 2

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        x = z[:, :, None, None]
        for layer in self.layers:
            x = layer(x)
        return pictures.coloured((self.last(x).tanh() + 1) / 2)


class Layer(nn.Module):
    """Creates a layer: one pixel to 4 x 4 if it is the first, else to twice the side."""

    mean: Tensor
    variance: Tensor

    def __init__(self, inputs: int, outputs: int, *, first: bool) -> None:
        super().__init__()
        stride, padding = (1, 0) if first else (2, 1)
        self.conv = nn.ConvTranspose2d(inputs, outputs, 4, stride, padding, bias=False)
        self.weight, self.bias = (
            nn.Parameter(torch.ones(outputs)),
            nn.Parameter(torch.zeros(outputs)),
        )
        self.register_buffer("mean", torch.zeros(outputs))
        self.register_buffer("variance", torch.ones(outputs))

    def forward(self, x: Float[Tensor, "B I h w"]) -> Float[Tensor, "B O H W"]:
        return F.batch_norm(self.conv(x), self.mean, self.variance, self.weight, self.bias).relu()


def build(widths: Sequence[Count], channels: Count = 3) -> DCGAN:
    """Creates a DCGAN generator, see `DCGAN`."""
    return DCGAN(widths, channels)


def official(generator: DCGAN) -> list[Rule]:
    """The rules for the names of PyTorch's tutorial inside of its `main`, layers counted through."""
    rules = [Rule("{i}.num_batches_tracked", None)]
    for k in range(len(generator.layers)):
        norm, ours = 3 * k + 1, f"layers.{k}"
        rules.append(Rule(f"{3 * k}.weight", f"{ours}.conv.weight"))
        rules.append(Rule(f"{norm}.running_mean", f"{ours}.mean"))
        rules.append(Rule(f"{norm}.running_var", f"{ours}.variance"))
        rules.append(Rule(f"{norm}.{{t}}", f"{ours}.{{t}}"))
    return [*rules, Rule(f"{3 * len(generator.layers)}.weight", "last.weight")]


KEYS = {"official": official}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Describes the tutorial's `nn.Sequential`, every third module of which is a transposed convolution."""
    kernels = {
        int(found[1]): tensor.shape
        for name, tensor in checkpoint.tensors.items()
        if tensor.ndim == 4 and (found := KERNEL.fullmatch(name))
    }
    shapes = [kernels[i] for i in sorted(kernels)]
    if sorted(kernels) != [3 * k for k in range(len(shapes))] or len(shapes) < 2:
        return None
    if any(before[1] != after[0] for before, after in pairwise(shapes)):
        return None
    config = {"widths": [shape[0] for shape in shapes], "channels": shapes[-1][1]}
    return {"config": config, "keys": "official"}
