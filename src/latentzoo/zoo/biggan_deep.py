r"""BigGAN-deep: class-conditional images from one Gaussian vector.

The latent and the embedding of the class :math:`c` together condition every layer,

.. math:: x = \tanh f(h), \qquad h = (z', E c), \qquad z' = \psi \sqrt2 \, \mathrm{erf}^{-1}
    \left( \mathrm{erf}(b / \sqrt2) \, \mathrm{erf}(z / \sqrt2) \right)

where :math:`z \mapsto z'` carries a normal to a normal truncated at :math:`\pm b` (2 as published)
and scaled by the truncation :math:`\psi`, so that :math:`z \sim \mathcal{N}(0, I)` draws what the
authors drew. Truncation also chooses the statistics of the batch norms, stored for
:math:`\psi = 0, 1/(n-1), \dots, 1`,

.. math:: y = \gamma(h) \, \frac{x - \mu_\psi}{\sqrt{\sigma^2_\psi + \epsilon}} + \beta(h)

and every linear map is divided by its recorded spectral norm :math:`u^\top W v`.

References:
    | Large Scale GAN Training for High Fidelity Natural Image Synthesis (Brock et al., 2019)
    | https://arxiv.org/abs/1809.11096
    |
    | Spectral Normalization for Generative Adversarial Networks (Miyato et al., 2018)
    | https://arxiv.org/abs/1802.05957
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.errors import SpecError
from latentzoo.generator import Generator
from latentzoo.hub import beside
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.options import Count, Natural, Positive
from latentzoo.space import Space


class BigGANDeep(Generator):
    r"""Creates a BigGAN-deep generator of one class at one truncation.

    Its latent is the block `style`.

    Arguments:
        network: The network.
        class_index: The class, from 0 to the number of classes - 1.
        truncation: The truncation :math:`\psi` in (0, 1].
        bound: Where the normal is truncated, in standard deviations; `None` for a plain normal.

    Raises:
        SpecError: If the class does not exist, or the truncation or the bound is out of range.
    """

    label: Tensor
    row: Tensor

    def __init__(
        self,
        network: "BigGANDeepNetwork",
        *,
        class_index: int = 0,
        truncation: float = 1.0,
        bound: float | None = 2.0,
    ) -> None:
        super().__init__()
        z_dim, classes = network.embeddings.weight.shape
        if not 0 <= class_index < classes:
            raise SpecError(
                f"the class {class_index} does not exist; give a number from 0 to {classes - 1}"
            )
        if not 0 < truncation <= 1:
            raise SpecError(
                f"the truncation {truncation} is out of range; give a number in (0, 1]"
            )
        if bound is not None and bound <= 0:
            raise SpecError(f"the bound {bound} is out of range; give a positive number or none")
        self.network, self.truncation, self.bound = network, truncation, bound
        self.register_buffer(
            "label", F.one_hot(torch.tensor(class_index), classes).float(), persistent=False
        )
        self.register_buffer("row", statistics_row(truncation, network.n_stats), persistent=False)
        self.space, self.size = Space(style=(z_dim,)), network.size

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        style = self.truncation * truncated(self.space.split(z)["style"], self.bound)
        return (self.network(style, self.label.expand(len(z), -1), self.row) + 1) / 2


def truncated(z: Tensor, bound: float | None) -> Tensor:
    """Carries a standard normal to one truncated at plus and minus `bound`, of the same shape."""
    if bound is None:
        return z
    return math.sqrt(2) * torch.erfinv(
        math.erf(bound / math.sqrt(2)) * torch.erf(z / math.sqrt(2))
    )


class BigGANDeepNetwork(nn.Module):
    """Creates the network of BigGAN-deep.

    Arguments:
        layers: Per block, whether it doubles the resolution, and its input and output widths in
            multiples of the channel width; the first one begins at 4 x 4.
        channel_width: The unit of the widths.
        attention_layer_position: The block before which self-attention stands.
        z_dim: The size of the latent, and of the class embedding.
        num_classes: The number of classes.
        eps: What is added to the variances.
        n_stats: The number of truncations with stored statistics.
    """

    def __init__(
        self,
        *,
        layers: Sequence[Sequence[bool | int]],
        channel_width: Count = 128,
        attention_layer_position: Natural = 8,
        z_dim: Count = 128,
        num_classes: Count = 1000,
        eps: Positive = 1e-4,
        n_stats: Count = 51,
    ) -> None:
        super().__init__()
        self.n_stats, self.eps = n_stats, eps
        self.size = (4 * 2 ** sum(up for up, _, _ in layers),) * 2
        widths = [(channel_width * a, channel_width * b) for _, a, b in layers]
        self.embeddings = nn.Linear(num_classes, z_dim, bias=False)
        self.gen_z = SpectralLinear(2 * z_dim, 16 * widths[0][0])
        self.layers = nn.ModuleList()
        for i, ((up, _, _), (c_in, c_out)) in enumerate(zip(layers, widths, strict=True)):
            if i == attention_layer_position:
                self.layers.append(SelfAttention(c_in))
            self.layers.append(
                Block(
                    c_in,
                    c_out,
                    up=bool(up),
                    norm=lambda c: ConditionalNorm(c, 2 * z_dim, n_stats, eps),
                )
            )
        self.bn = Norm(channel_width, n_stats, eps)
        self.conv_to_rgb = SpectralConv(channel_width, channel_width, 3, used=3)

    def forward(
        self, z: Float[Tensor, "B Z"], label: Float[Tensor, "B K"], row: Float[Tensor, "N"]
    ) -> Float[Tensor, "B 3 H W"]:
        """Maps latents (B, Z), already scaled, to images in [-1, 1].

        Arguments:
            z: The latents, with shape (B, Z).
            label: The weights of the classes, with shape (B, K); one-hot, or any mixture.
            row: The weights of the stored statistics, with shape (N,): see `statistics_row`.
        """
        h = torch.cat([z, self.embeddings(label)], dim=1)
        x = self.gen_z(h).unflatten(1, (4, 4, -1)).movedim(-1, 1)
        for layer in self.layers:
            x = layer(x, h, row)
        return self.conv_to_rgb(self.bn(x, row).relu()).tanh()


def statistics_row(truncation: float, n_stats: int) -> Float[Tensor, "N"]:
    r"""Weighs the stored statistics for a truncation in (0, 1].

    Between two rows the official code gives the fraction to the *lower* one, against what
    interpolation means. The published weights have only ever been run like this, so it is kept.
    """
    fraction, lower = math.modf(truncation / (1 / (n_stats - 1)))
    row = [0.0] * n_stats
    if fraction == 0:
        row[int(lower)] = 1.0
    else:
        row[int(lower)], row[int(lower) + 1] = fraction, 1 - fraction
    return torch.tensor(row)


class Norm(nn.Module):
    """Creates a batch norm whose statistics depend on the truncation."""

    running_means: Tensor
    running_vars: Tensor

    def __init__(self, channels: int, n_stats: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_means", torch.zeros(n_stats, channels))
        self.register_buffer("running_vars", torch.ones(n_stats, channels))

    def forward(self, x: Tensor, row: Tensor) -> Tensor:
        return F.batch_norm(
            x,
            row @ self.running_means,
            row @ self.running_vars,
            self.weight,
            self.bias,
            eps=self.eps,
        )


class ConditionalNorm(nn.Module):
    """Creates a batch norm whose gain and offset are linear in the condition `h`."""

    running_means: Tensor
    running_vars: Tensor

    def __init__(self, channels: int, condition: int, n_stats: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.scale = SpectralLinear(condition, channels, bias=False)
        self.offset = SpectralLinear(condition, channels, bias=False)
        self.register_buffer("running_means", torch.zeros(n_stats, channels))
        self.register_buffer("running_vars", torch.ones(n_stats, channels))

    def forward(self, x: Tensor, h: Tensor, row: Tensor) -> Tensor:
        gain = (1 + self.scale(h)) * (row @ self.running_vars + self.eps).rsqrt()
        shift = self.offset(h) - gain * (row @ self.running_means)
        return torch.addcmul(shift[..., None, None], x, gain[..., None, None])


class Block(nn.Module):
    """Creates a residual bottleneck block.

    Arguments:
        c_in: The width of the input.
        c_out: The width of the output; if it differs, the skip is the first half of the input.
        up: Whether the resolution doubles.
        norm: Makes a norm of a given width.
    """

    def __init__(
        self, c_in: int, c_out: int, *, up: bool, norm: Callable[[int], ConditionalNorm]
    ) -> None:
        super().__init__()
        c = c_in // 4
        self.up, self.skip = up, c_in if c_in == c_out else c_in // 2
        self.norms = nn.ModuleList([norm(c_in), norm(c), norm(c), norm(c)])
        self.convs = nn.ModuleList(
            [
                SpectralConv(c_in, c, 1),
                SpectralConv(c, c, 3),
                SpectralConv(c, c, 3),
                SpectralConv(c, c_out, 1),
            ]
        )

    def forward(self, x: Tensor, h: Tensor, row: Tensor) -> Tensor:
        y, skip = x, x[:, : self.skip]
        if self.up:
            skip = F.interpolate(skip, scale_factor=2)
        for i, (norm, conv) in enumerate(zip(self.norms, self.convs, strict=True)):
            y = norm(y, h, row).relu()
            if self.up and i == 1:
                y = F.interpolate(y, scale_factor=2)
            y = conv(y)
        return y + skip


class SelfAttention(nn.Module):
    """Creates self-attention from every pixel to the maxima of 2 x 2 patches."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1))
        self.theta = SpectralConv(c, c // 8, 1, bias=False)
        self.phi = SpectralConv(c, c // 8, 1, bias=False)
        self.g = SpectralConv(c, c // 2, 1, bias=False)
        self.out = SpectralConv(c // 2, c, 1, bias=False)

    def forward(self, x: Tensor, h: Tensor, row: Tensor) -> Tensor:
        flat = lambda a: a.flatten(2).mT
        query = flat(self.theta(x))
        key, value = flat(F.max_pool2d(self.phi(x), 2)), flat(F.max_pool2d(self.g(x), 2))
        y = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        return x + self.gamma * self.out(y.mT.unflatten(2, x.shape[2:]))


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


def build(
    *,
    class_index: Natural = 0,
    truncation: float = 1.0,
    bound: Positive | None = 2.0,
    **config: Any,
) -> BigGANDeep:
    """Builds a generator from the arguments of `BigGANDeep` and of `BigGANDeepNetwork`."""
    return BigGANDeep(
        BigGANDeepNetwork(**config), class_index=class_index, truncation=truncation, bound=bound
    )


def official(generator: Generator) -> list[Rule]:
    """The names of pytorch-pretrained-biggan."""
    return [
        Rule("generator.layers.{i}.bn_{n}.{x*}", "network.layers.{i}.norms.{n}.{x}"),
        Rule("generator.layers.{i}.conv_{n}.{x*}", "network.layers.{i}.convs.{n}.{x}"),
        Rule("generator.layers.{i}.snconv1x1_o_conv.{x*}", "network.layers.{i}.out.{x}"),
        Rule("generator.layers.{i}.snconv1x1_{name}.{x*}", "network.layers.{i}.{name}.{x}"),
        Rule("generator.{x*}", "network.{x}"),
        Rule("embeddings.weight", "network.embeddings.weight"),
    ]


KEYS: dict[str, Callable[[Generator], list[Rule]]] = {"official": official}


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the configuration from the tensors, and from the `config.json` beside the file.

    Which blocks double the resolution is not in the tensors: without that file it is every second
    one, as in all published networks.
    """
    shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}
    if not shapes.keys() >= {"generator.gen_z.weight_orig", "generator.bn.running_means"}:
        return None
    n_stats, width = shapes["generator.bn.running_means"]
    z_dim, classes = shapes["embeddings.weight"]
    modules = [f"generator.layers.{i}" for i in range(len(shapes))]
    blocks = [m for m in modules if f"{m}.conv_3.bias" in shapes]
    attention = [i for i, m in enumerate(modules) if f"{m}.gamma" in shapes]
    layers = [
        (
            i % 2 == 1,
            shapes[f"{block}.bn_0.running_means"][1] // width,
            shapes[f"{block}.conv_3.bias"][0] // width,
        )
        for i, block in enumerate(blocks)
    ]
    config = {
        "layers": layers,
        "channel_width": width,
        "attention_layer_position": attention[0] if attention else len(blocks),
        "z_dim": z_dim,
        "num_classes": classes,
        "n_stats": n_stats,
    }
    told = beside.settings(checkpoint.path)
    config |= {key: told[key] for key in ("layers", "eps") if key in told}
    assumed = {
        "layers": "every second one doubles the sides, as in published networks",
        "eps": "1e-4, as in published networks",
    }
    assumed = {name: said for name, said in assumed.items() if name not in told}
    return {"config": config, "keys": "official", "assumed": assumed}
