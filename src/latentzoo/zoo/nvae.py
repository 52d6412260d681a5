r"""NVAE: a deep hierarchy of Gaussian groups, from the smallest map to the largest.

The prior of each group depends on those before, through the decoder's features :math:`s`,

.. math:: z_g = \mu_g(s_g) + \tau \sigma_g(s_g) \, \varepsilon_g, \qquad
    s_{g+1} = f_g(s_g \oplus z_g), \qquad \varepsilon_g \sim \mathcal{N}(0, I)

so that the image is a function of the noises :math:`\varepsilon` of all groups, drawn towards the mode by a temperature
:math:`\tau`. The network gives :math:`\tilde\mu` and :math:`\tilde\rho`, and soft clamps keep the prior from diverging,

.. math:: \mu = 5 \tanh(\tilde\mu / 5), \qquad \sigma = \exp(5 \tanh(\tilde\rho / 5)) + 0.01

and the first group has :math:`\tilde\mu = \tilde\rho = 0`. The last features give each pixel a mixture of logistic
distributions, whose channels depend on one another,

.. math:: r = m_1, \qquad g = m_2 + c_1 r, \qquad b = m_3 + c_2 r + c_3 g

and the image is its mean, not a draw. Of grey pictures (MNIST, Omniglot) a pixel is white with a probability, which is
what is shown.

References:
    | NVAE: A Deep Hierarchical Variational Autoencoder (Vahdat and Kautz, 2020)
    | https://arxiv.org/abs/2007.03898
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.errors import SpecError
from latentzoo.generator import Generator
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule, prefixed
from latentzoo.nn import channels as pictures
from latentzoo.options import Count, Natural, Positive, Weight
from latentzoo.rng import Rng
from latentzoo.space import Space


class NVAE(Generator):
    r"""Creates an NVAE generator; the noise of each group is a block of its latent, `group_0` first.

    Arguments:
        network: The decoder.
        temperature: The temperature :math:`\tau`, positive.
        free: How many groups, from the first, have :math:`\mu = \tilde\mu` and :math:`\sigma = \exp \tilde\rho`; one in
            the experiments of latentzoo's paper.
        bound: Where the noises are cut off on both sides, if they are; 1.25 in those experiments.

    Raises:
        SpecError: If the temperature or the bound is not positive, or there are not so many groups.
    """

    def __init__(
        self,
        network: "NVAEDecoder",
        *,
        temperature: float = 1.0,
        free: int = 0,
        bound: float | None = None,
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise SpecError(f"the temperature {temperature} is not positive; 1 is the model's own")
        if bound is not None and bound <= 0:
            raise SpecError(f"the bound {bound} is not positive; give a positive one or none")
        if not 0 <= free <= len(network.shapes):
            raise SpecError(f"{free} groups cannot be free; the model has {len(network.shapes)}")
        self.network, self.temperature, self.free, self.bound = network, temperature, free, bound
        self.space = Space(**{f"group_{g}": shape for g, shape in enumerate(network.shapes)})
        self.size = network.size

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        return pictures.coloured((mean(self.network(self.groups(z))) + 1) / 2)

    def groups(self, z: Float[Tensor, "B D"]) -> list["Group"]:
        """Pairs the noises, with shapes (B, L, h, w), with the rule that puts each of them in its place."""
        eps = z if self.bound is None else z.clamp(-self.bound, self.bound)
        rules = [unclamped if g < self.free else clamped for g in range(len(self.network.shapes))]
        blocks = self.space.split(self.temperature * eps).values()
        return list(zip(blocks, rules, strict=True))

    @torch.no_grad()
    def readjust(self, rng: Rng, *, batches: int = 500, momentum: float = 0.05) -> None:
        """Replaces the statistics of the batch norms by those of this map's own samples, at its temperature.

        The authors do so before they sample, with batches of 16; the statistics of a file are those of training.

        Arguments:
            rng: The noise; it has as many streams as a batch has images.
            batches: The number of batches.
            momentum: The weight of each batch in the running statistics.
        """
        live = lambda norm, x, _: F.batch_norm(
            x[0], norm.running_mean, norm.running_var, norm.weight, norm.bias, True, momentum
        )
        norms = [module for module in self.modules() if isinstance(module, Norm)]
        hooks = [norm.register_forward_hook(live) for norm in norms]
        try:
            for _ in range(batches):
                self(rng.normal(self.space.dim))
        finally:
            for hook in hooks:
                hook.remove()


Group = tuple[Tensor, Callable[[Tensor, Tensor, Tensor], Tensor]]


def clamped(mu: Tensor, rho: Tensor, eps: Tensor) -> Tensor:
    """The group's value under the model's prior, which cannot diverge."""
    return soft(mu) + (soft(rho).exp() + 0.01) * eps


def unclamped(mu: Tensor, rho: Tensor, eps: Tensor) -> Tensor:
    """The group's value under a prior as the network gives it."""
    return mu + rho.exp() * eps


def soft(x: Tensor) -> Tensor:
    """Keeps a number between -5 and 5."""
    return 5 * (x / 5).tanh()


def mean(parameters: Float[Tensor, "B C H W"]) -> Float[Tensor, "B c H W"]:
    """The mean image of the output's distribution, nominally in [-1, 1].

    Arguments:
        parameters: For K logistic components, with shape (B, 10 K, H, W), K logits and for each channel K means, log
            scales and coefficients; for one Gaussian, with shape (B, 6, H, W), 3 means and 3 log scales; for a pixel
            that is black or white, with shape (B, 1, H, W), the log odds of white.
    """
    if parameters.shape[1] == 1:
        return 2 * parameters.sigmoid() - 1
    if parameters.shape[1] == 6:
        return soft(parameters[:, :3])
    k = parameters.shape[1] // 10
    weight = parameters[:, :k].softmax(1)[:, None]
    m, _, c = parameters[:, k:].unflatten(1, (3, 3, k)).unbind(2)
    m, c = (weight * m).sum(2), (weight * c.tanh()).sum(2)
    r = m[:, 0]
    g = m[:, 1] + c[:, 0] * r.clamp(-1, 1)
    b = m[:, 2] + c[:, 1] * r.clamp(-1, 1) + c[:, 2] * g.clamp(-1, 1)
    return torch.stack([r, g, b], dim=1)


class NVAEDecoder(nn.Module):
    """Creates the decoder of NVAE, which alone is needed for generation.

    Arguments:
        groups: The number of groups at each resolution, from the smallest on; each has twice the side of the last.
        width: The number of channels at the smallest resolution; it is halved whenever the side doubles.
        side: The smallest side.
        latents: The number of channels of a group.
        cells: The number of cells between two groups.
        post: The number of cells after the last group at each further resolution; each has twice the last one's side.
        components: The number of components of a pixel's distribution; 1 is a Gaussian.
        channels: The number of the picture's channels: 3, or 1 where a pixel is black or white.
        gated: Whether the cells end with squeeze and excitation.

    Attributes:
        shapes: The shape (L, h, w) of each group.
    """

    def __init__(
        self,
        *,
        groups: Sequence[int],
        width: Count,
        side: Count = 8,
        latents: Count = 20,
        cells: Natural = 2,
        post: Sequence[int] = (2,),
        components: Count = 10,
        channels: Count = 3,
        gated: bool = True,
    ) -> None:
        super().__init__()
        self.shapes = [
            (latents, side << i, side << i) for i, n in enumerate(groups) for _ in range(n)
        ]
        image_side = side << (len(groups) - 1 + len(post))
        self.size = (image_side, image_side)
        self.constant = nn.Parameter(torch.rand(width, side, side))
        self.between, self.prior, self.combine = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for i, n in enumerate(groups):
            c = width >> i
            for j in range(n):
                if i + j > 0:
                    up = [Cell(2 * c, c, 6, up=True, gated=gated)] if j == 0 else []
                    same = [Cell(c, c, 6, up=False, gated=gated) for _ in range(cells)]
                    self.between.append(nn.Sequential(*up, *same))
                    self.prior.append(NormedConv(c, 2 * latents, 1))
                self.combine.append(NormedConv(c + latents, c, 1))
        c = width >> (len(groups) - 1)
        self.post = nn.Sequential()
        for n in post:
            self.post.append(Cell(c, c // 2, 3, up=True, gated=gated))
            c //= 2
            self.post.extend([Cell(c, c, 3, up=False, gated=gated) for _ in range(n - 1)])
        parameters = 6 if components == 1 else 10 * components
        self.out = NormedConv(c, parameters if pictures.require(channels) == 3 else 1, 3)

    def forward(self, groups: Sequence[Group]) -> Float[Tensor, "B C H W"]:
        """Maps the noises (B, L, h, w) of the groups, each with its rule, to the output's parameters: see `mean`."""
        s = self.constant.expand(len(groups[0][0]), -1, -1, -1)
        for g, (eps, place) in enumerate(groups):
            if g == 0:
                mu = rho = torch.zeros_like(eps)
            else:
                s = self.between[g - 1](s)
                mu, rho = self.prior[g - 1](F.elu(s)).chunk(2, dim=1)
            s = self.combine[g](torch.cat([s, place(mu, rho, eps)], dim=1))
        return self.out(F.elu(self.post(s)))


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


def build(
    *, temperature: Weight = 1.0, free: Natural = 0, bound: Positive | None = None, **config: Any
) -> NVAE:
    """Builds a generator from the arguments of `NVAE` and of `NVAEDecoder`."""
    return NVAE(NVAEDecoder(**config), temperature=temperature, free=free, bound=bound)


def official(generator: NVAE, kernel: str = "weight_normalized") -> list[Rule]:
    """The names of the official files, where the decoder's cells and groups are numbered in one row.

    Kernels without a norm have two names there; where the two differ, the official code uses the later one.
    """
    network = generator.network
    twin = "weight" if kernel == "weight_normalized" else "weight_normalized"
    rules = [
        *(Rule(f"{part}{{x*}}", None) for part in ENCODER),
        Rule("{x*}.num_batches_tracked", None),
        Rule("prior_ftr0", "constant"),
        Rule("dec_sampler.{g}.1.{x}", "prior.{g}.{x}"),
        Rule("image_conditional.1.{x}", "out.{x}"),
    ]
    post = [f"post.{n}" for n in range(len(network.post))]
    for row, names in (("dec_tower", tower(network)), ("post_process", post)):
        for n, name in enumerate(names):
            unit = network.get_submodule(name)
            parts = (
                cell(unit, kernel, twin) if isinstance(unit, Cell) else [Rule("conv.{x}", "{x}")]
            )
            rules += prefixed(f"{row}.{n}.", parts, f"{name}.")
    return prefixed("", rules, "network.")


ENCODER = ("stem.", "pre_process.", "enc_tower.", "enc0.", "enc_sampler.", "nf_cells.")


def tower(network: NVAEDecoder) -> Iterator[str]:
    """Names the decoder's cells and combinations in the order of execution."""
    for g in range(len(network.combine)):
        if g > 0:
            cells = network.between[g - 1].named_children()
            yield from (f"between.{g - 1}.{n}" for n, _ in cells)
        yield f"combine.{g}"


def cell(unit: Cell, kernel: str, twin: str) -> Iterator[Rule]:
    """The rules of one cell; its doubling of the sides counts as a module."""
    n = 0 if unit.skip is None else 1
    yield Rule("skip.1.{x}", "skip.{x}")
    yield Rule(f"_ops.0.conv.{n}.bn.{{x}}", "norms.0.{x}")
    for k, ours in ((1, "expand"), (2, "depthwise")):
        yield Rule(f"_ops.0.conv.{n + k}.conv.0.{kernel}", f"{ours}.weight")
        yield Rule(f"_ops.0.conv.{n + k}.conv.0.{twin}", None)
        yield Rule(f"_ops.0.conv.{n + k}.conv.1.{{x}}", f"norms.{k}.{{x}}")
    yield Rule(f"_ops.0.conv.{n + 3}.{kernel}", "contract.weight")
    yield Rule(f"_ops.0.conv.{n + 3}.{twin}", None)
    yield Rule(f"_ops.0.conv.{n + 4}.bn.{{x}}", "norms.3.{x}")
    yield Rule("se.se.0.{x}", "gate.squeeze.{x}")
    yield Rule("se.se.2.{x}", "gate.excite.{x}")


KEYS: dict[str, Callable[[NVAE], list[Rule]]] = {
    "official": official,
    "single": partial(official, kernel="weight"),
}
"""`single` are files whose kernels have one name each."""


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the configuration of an NVAE file from the names and shapes of its tensors."""
    shapes = {name: tensor.shape for name, tensor in checkpoint.tensors.items()}
    if not shapes.keys() >= {"prior_ftr0", "dec_tower.0.conv.weight", "image_conditional.1.bias"}:
        return None
    kinds = {"conv.weight": "g", "skip.1.weight": "/", "_ops.0.conv.0.bn.weight": "c"}
    row = lambda part: "".join(
        kind
        for n in range(len(shapes))
        for name, kind in kinds.items()
        if f"{part}.{n}.{name}" in shapes
    )
    decoder, post = row("dec_tower").split("/"), row("post_process").split("/")[1:]
    width, side, _ = shapes["prior_ftr0"]
    latents = shapes["dec_tower.0.conv.weight"][1] - width
    if width < 1 or latents < 1:
        return None
    parameters = shapes["image_conditional.1.bias"][0]
    config = {
        "groups": [scale.count("g") for scale in decoder],
        "width": width,
        "side": side,
        "latents": latents,
        "cells": max(map(len, "".join(decoder).split("g"))),
        "post": [len(scale) + 1 for scale in post],
        "components": max(1, parameters // 10),
        "channels": 1 if parameters == 1 else 3,
        "gated": "post_process.0.se.se.0.weight" in shapes,
    }
    twins = any(name.endswith(".weight_normalized") for name in shapes)
    return {"config": config, "keys": "official" if twins else "single"}
