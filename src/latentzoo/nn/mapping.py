r"""The mapping network of the StyleGANs and the layers that it is made of.

.. math:: w = f(z / \lVert z \rVert_\text{rms})

Parameters are stored with unit variance (divided by the learning rate multiplier) and scaled where they are used, the
equalised learning rate.

Users: `latentzoo.nn.style`, and through it or directly every style-based family.

References:
    | Analyzing and Improving the Image Quality of StyleGAN (Karras et al., 2020)
    | https://arxiv.org/abs/1912.04958
"""

from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def normalize(z: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
    """Divides each row by its root mean square."""
    return z * torch.rsqrt(z.square().mean(dim=1, keepdim=True) + 1e-8)


def activate(
    x: Float[Tensor, "*B"], gain: float = 1.0, clamp: float | None = None
) -> Float[Tensor, "*B"]:
    r"""Leaky ReLU of slope 0.2 times :math:`\sqrt 2`; the gain multiplies the clamp too."""
    x = F.leaky_relu(x, 0.2) * (sqrt(2) * gain)
    return x if clamp is None else x.clamp(-clamp * gain, clamp * gain)


def normal(*shape: int, std: float = 1.0) -> nn.Parameter:
    """A parameter that begins with normal numbers; `torch.nn.init` can be told not to draw them."""
    weight = nn.Parameter(torch.empty(shape))
    nn.init.normal_(weight, std=std)
    return weight


class Linear(nn.Module):
    r"""Creates a linear layer of equalised learning rate, :math:`y = \lambda (W x / \sqrt I + b)`.

    Arguments:
        inputs: The number of inputs I.
        outputs: The number of outputs.
        lr: The multiplier :math:`\lambda`; the weights are stored with standard deviation 1/lr.
        bias: Where the effective bias starts.
    """

    def __init__(self, inputs: int, outputs: int, *, lr: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = normal(outputs, inputs, std=1 / lr)
        self.bias = nn.Parameter(torch.full((outputs,), bias / lr))
        self.lr = lr

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x * (self.lr / sqrt(x.shape[-1])), self.weight, self.bias * self.lr)


class Mapping(nn.ModuleDict):
    """Creates the mapping from the latent, and a condition if there is one, to the style.

    Arguments:
        z_dim: The number of latent coordinates.
        w_dim: The number of style coordinates.
        layers: The number of layers `fc0`, `fc1`, ...
        c_dim: The number of coordinates of the condition; 0 for none.
        features: The width between the layers; `w_dim` unless given.
        embed_features: The width of the embedded condition; `w_dim` unless given.
        lr: The learning rate multiplier.
    """

    def __init__(
        self,
        z_dim: int,
        w_dim: int,
        *,
        layers: int = 8,
        c_dim: int = 0,
        features: int | None = None,
        embed_features: int | None = None,
        lr: float = 0.01,
    ) -> None:
        super().__init__()
        self.z_dim, self.c_dim = z_dim, c_dim
        embedded = (embed_features or w_dim) if c_dim else 0
        if c_dim:
            self["embed"] = Linear(c_dim, embedded)
        widths = [z_dim + embedded, *[features or w_dim] * (layers - 1), w_dim]
        self.names = [f"fc{i}" for i in range(layers)]
        for name, i, o in zip(self.names, widths, widths[1:], strict=False):
            self[name] = Linear(i, o, lr=lr)

    def forward(self, z: Tensor, c: Tensor | None = None) -> Tensor:
        """Maps latents (B, z_dim), and conditions (B, c_dim), to styles (B, w_dim)."""
        x = normalize(z)
        if c is not None:
            x = torch.cat([x, normalize(self["embed"](c))], dim=1)
        for name in self.names:
            x = activate(self[name](x))
        return x
