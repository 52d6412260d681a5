r"""Alias-free synthesis: features are samples of a continuous signal of bounded frequency.

They begin as plane waves, moved and turned by the style, and each layer is a modulated convolution and a
leaky ReLU that is applied at a raised sampling rate, between two low-pass filters,

.. math:: x \leftarrow \psi_\text{down} * \sigma(\psi_\text{up} * (w'(s) * x + b)), \qquad
    x_0(p) = W a \sin(2 \pi (f^\top M p + \phi))

so that no frequency is made that the next sampling rate cannot hold. Layer :math:`i` of :math:`N` layers
has cutoff and stop-band frequencies that grow geometrically until the last `critical` layers.

Users: `zoo.stylegan3`, `zoo.stylegan_xl`.

References:
    | Alias-Free Generative Adversarial Networks (Karras et al., 2021)
    | https://arxiv.org/abs/2106.12423
"""

from collections.abc import Mapping, Sequence
from math import ceil, log2, pi, sqrt
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from latentzoo.errors import SpecError
from latentzoo.nn import channels as pictures
from latentzoo.nn.fir import decimate, interpolate, lowpass
from latentzoo.nn.mapping import Linear, activate, normal
from latentzoo.nn.modconv import modulated_conv2d


class Layer(NamedTuple):
    """What a layer gives: side, channels, sampling rate, and its band, in cycles per image side.

    Arguments:
        name: The name in the file, "L{number}_{size}_{channels}".
        size: The side, margins included.
        channels: The number of channels.
        rate: The number of samples per image side.
        cutoff: The highest frequency that is kept.
        half_width: Half of the width of the filters' transition band.
        critical: Whether the band reaches up to half the sampling rate.
    """

    name: str
    size: int
    channels: int
    rate: int
    cutoff: float
    half_width: float
    critical: bool


class Waves(nn.Module):
    """Creates the input: plane waves, moved and turned by the style.

    Arguments:
        w_dim: The size of the style.
        side: The sampling of the first layer; the waves' frequencies lie within its cutoff.
    """

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(self, w_dim: int, side: Layer) -> None:
        super().__init__()
        C, self.side = side.channels, side
        self.affine = Linear(w_dim, 4)
        nn.init.zeros_(self.affine.weight)
        self.affine.bias.data[0] = 1.0
        self.weight = normal(C, C)
        angle, radius = 2 * pi * torch.rand(C), torch.rand(C).sqrt() * side.cutoff
        freqs = torch.stack([angle.cos(), angle.sin()], dim=1) * radius[:, None]
        self.register_buffer("freqs", freqs)
        self.register_buffer("phases", torch.rand(C) - 0.5)
        self.register_buffer("transform", torch.eye(3))

    def forward(self, w: Tensor) -> Tensor:
        """Maps styles (B, w_dim) to features (B, C, size, size)."""
        size, rate, cutoff = self.side.size, self.side.rate, self.side.cutoff
        t = self.affine(w)
        cos, sin, x, y = (t / t[:, :2].norm(dim=1, keepdim=True)).unbind(dim=1)
        turn = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], dim=1)
        move = -(turn @ torch.stack([x, y], 1)[:, :, None])
        M = torch.cat([turn, move], dim=2) @ self.transform
        phases = self.phases + M[:, None, :, 2].mul(self.freqs).sum(dim=2)
        freqs = self.freqs @ M[:, :, :2]
        a = 1 - (freqs.norm(dim=2) - cutoff) / (rate / 2 - cutoff)
        at = (torch.arange(size, dtype=w.dtype, device=w.device) + 0.5 - size / 2) / rate
        across, down = at * freqs[..., :1], at * freqs[..., 1:]
        waves = across[:, :, None, :] + down[:, :, :, None] + phases[:, :, None, None]
        waves = (2 * pi * waves).sin() * a.clamp(0, 1)[:, :, None, None]
        weight = self.weight / sqrt(len(self.weight))
        return torch.einsum("oi,bihw->bohw", weight, waves)


class SynthesisLayer(nn.Module):
    """Creates a modulated convolution and a leaky ReLU between two low-pass filters.

    Arguments:
        side: The sampling of the input.
        to: The sampling of the output.
        w_dim: The size of the style.
        kernel: The side of the convolution's kernel.
        radial: Whether the second filter is radially symmetric, where the layer is not critical.
        clamp: Where the result is cut off on both sides.
    """

    magnitude_ema: Tensor
    up_filter: Tensor
    down_filter: Tensor

    def __init__(
        self, side: Layer, to: Layer, w_dim: int, *, kernel: int, radial: bool, clamp: float
    ) -> None:
        super().__init__()
        self.affine = Linear(w_dim, side.channels, bias=1.0)
        self.weight = normal(to.channels, side.channels, kernel, kernel)
        self.bias = nn.Parameter(torch.zeros(to.channels))
        self.register_buffer("magnitude_ema", torch.ones(()))
        rate = 2 * max(side.rate, to.rate)
        self.up, self.down, self.clamp = int(rate // side.rate), int(rate // to.rate), clamp
        radial = radial and not to.critical
        up_filter = lowpass(6 * self.up, side.cutoff, side.half_width, rate)
        down_filter = lowpass(6 * self.down, to.cutoff, to.half_width, rate, radial=radial)
        self.register_buffer("up_filter", up_filter)
        self.register_buffer("down_filter", down_filter)
        grown = (side.size + kernel - 1) * self.up
        total = (to.size - 1) * self.down + 1 - grown + 6 * self.up + 6 * self.down - 2
        low = (total + self.up) // 2
        self.pad = (low, total - low)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Maps features (B, I, h, w) to (B, O, h', w'), given styles (B, w_dim)."""
        style = self.affine(w)
        style = style * style.square().mean(dim=1, keepdim=True).rsqrt()
        x = F.pad(x, (self.weight.shape[-1] // 2,) * 4)
        x = modulated_conv2d(x, self.weight, style, gain=self.magnitude_ema.rsqrt())
        x = interpolate(x + self.bias[:, None, None], self.up_filter, self.up, self.pad)
        return decimate(activate(x, clamp=self.clamp), self.down_filter, self.down)


class ToRGB(nn.Module):
    """Creates the modulated 1 x 1 convolution from features to an image.

    Arguments:
        inputs: The number of input channels.
        outputs: The number of image channels.
        w_dim: The size of the style.
        clamp: Where the result is cut off on both sides.
    """

    magnitude_ema: Tensor

    def __init__(self, inputs: int, outputs: int, w_dim: int, *, clamp: float) -> None:
        super().__init__()
        self.affine = Linear(w_dim, inputs, bias=1.0)
        self.weight = normal(outputs, inputs, 1, 1)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.register_buffer("magnitude_ema", torch.ones(()))
        self.clamp = clamp

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        gain = self.magnitude_ema.rsqrt() / sqrt(x.shape[1])
        x = modulated_conv2d(x, self.weight, self.affine(w), demodulate=False, gain=gain)
        return (x + self.bias[:, None, None]).clamp(-self.clamp, self.clamp)


class Synthesis(nn.ModuleDict):
    """Creates the synthesis network: `input`, then the layers by their names, the last one `ToRGB`.

    Arguments:
        layers: The layers.
        w_dim: The size of the style.
        kernel: The side of the convolutions' kernels: 3, or 1 for rotational equivariance.
        radial: Whether the filters are radially symmetric, for rotational equivariance.
        output_scale: The factor on the image.
        clamp: Where the result of each layer is cut off on both sides.

    Attributes:
        size: The side of the image.
        styles: The number of styles it takes, `num_ws`.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        w_dim: int,
        *,
        kernel: int = 3,
        radial: bool = False,
        output_scale: float = 0.25,
        clamp: float = 256,
    ) -> None:
        super().__init__()
        pictures.require(layers[-1].channels)
        self["input"] = Waves(w_dim, layers[0])
        shape = {"kernel": kernel, "radial": radial, "clamp": clamp}
        for side, to in zip([layers[0], *layers], layers[:-1], strict=False):
            self[to.name] = SynthesisLayer(side, to, w_dim, **shape)
        last = layers[-1]
        self[last.name] = ToRGB(layers[-2].channels, last.channels, w_dim, clamp=clamp)
        self.size, self.styles, self.output_scale = last.size, len(self), output_scale
        self.w_dim = w_dim

    def forward(self, ws: Tensor) -> Tensor:
        """Maps styles (B, styles, w_dim) to images (B, C, size, size) in [-1, 1] nominal range."""
        first, *rest = ws.unbind(dim=1)
        x = self["input"](first)
        for layer, w in zip(list(self.values())[1:], rest, strict=True):
            x = layer(x, w)
        return x * self.output_scale


def planned(
    layers: Sequence[Sequence[Any]] | None,
    w_dim: int,
    *,
    kernel: int,
    radial: bool,
    output_scale: float,
    clamp: float,
) -> Synthesis:
    """Creates the synthesis network of a plan, a list of the fields of `Layer`; see `Synthesis`.

    Raises:
        SpecError: If there is no plan.
    """
    if layers is None:
        raise SpecError(
            "this network's layers are listed in its file only; load the file, or give a plan"
        )
    options = {"kernel": kernel, "radial": radial, "output_scale": output_scale, "clamp": clamp}
    return Synthesis([Layer(*layer) for layer in layers], w_dim, **options)


def plan(
    resolution: int,
    count: int,
    *,
    before: Sequence[Layer] = (),
    channel_base: int,
    channel_max: int,
    channels: int = 3,
    critical: int = 2,
    first_cutoff: float = 2.0,
    first_stopband: float = 2**2.1,
    last_stopband: float = 2**0.3,
    margin: int = 10,
) -> list[Layer]:
    """Plans the layers of a new network: a stem, or a stage that grows another network.

    Arguments:
        resolution: The side of the image.
        count: The number of new layers, without `ToRGB`.
        before: The layers of the network that is grown; its critical ones are replaced.
        channel_base: The number of channels is half of this over the cutoff frequency,
        channel_max: but not more than this.
        channels: The number of image channels.
        critical: How many layers reach the highest frequency of the image.
        first_cutoff: The cutoff of the input.
        first_stopband: The stop-band of a stem's first layer.
        last_stopband: The stop-band of the last layer, over half the resolution.
        margin: How many samples lie beyond each edge of the image.
    """
    layers = [layer for layer in before if not layer.critical]
    joint = layers[-1] if layers else None
    number, ramp = (len(layers) + 1, count - 2) if joint else (0, count - critical)
    if joint:
        first_cutoff, first_stopband = joint.cutoff, joint.cutoff + joint.half_width
    for i in range(count + 1):
        e = min(i / ramp, 1)
        cutoff = first_cutoff * (resolution / 2 / first_cutoff) ** e
        stop = first_stopband * (resolution / 2 * last_stopband / first_stopband) ** e
        rate = 2 ** ceil(log2(min(2 * stop, resolution)))
        wide = channels if i == count else round(min(channel_base / 2 / cutoff, channel_max))
        if joint and i == 0:
            rate, wide = joint.rate, joint.channels
        size = resolution if i >= count - 1 else rate + 2 * margin
        half_width = max(stop, rate / 2) - cutoff
        name = f"L{number + i}_{size}_{wide}"
        layers.append(Layer(name, size, wide, rate, cutoff, half_width, i >= count - critical))
    return layers


def read_layers(
    shapes: Mapping[str, tuple[int, ...]], modules: Mapping[str, Any]
) -> tuple[list[Layer], dict[str, Any]]:
    """Reads the layers of a file, and the arguments of `Synthesis` that it says.

    Without records the sampling rates follow from the lengths of the filters; their bands are only
    needed to design filters, which the file has.

    Arguments:
        shapes: The shapes of the tensors by NVIDIA's names.
        modules: The records of the file's modules by their paths; empty if it has none.
    """
    names = [n.split(".")[1] for n in shapes if n.startswith("synthesis.L") and n.endswith("_ema")]
    names.sort(key=lambda name: int(name[1:].split("_")[0]))
    first = f"synthesis.{names[0]}"
    told = modules.get("synthesis", {}).get("layer_names") == names
    arguments: dict[str, Any] = {
        "kernel": shapes[f"{first}.weight"][-1],
        "radial": any(n.endswith("down_filter") and len(s) == 2 for n, s in shapes.items()),
    }
    if not told:
        return measured(names, shapes), arguments
    arguments["output_scale"] = modules["synthesis"]["output_scale"]
    arguments["clamp"] = modules[first]["conv_clamp"]
    return recorded(modules), arguments


def recorded(modules: Mapping[str, Any]) -> list[Layer]:
    """The layers as the file's modules describe themselves."""
    layers = []
    for name in modules["synthesis"]["layer_names"]:
        module = modules[f"synthesis.{name}"]
        size, rate = int(module["out_size"][0]), int(module["out_sampling_rate"])
        band = (module["out_cutoff"], module["out_half_width"], module["is_critically_sampled"])
        layers.append(Layer(name, size, module["out_channels"], rate, *band))
    return layers


def measured(names: Sequence[str], shapes: Mapping[str, tuple[int, ...]]) -> list[Layer]:
    """The layers as their names and the lengths of their filters tell."""
    rate = int(names[0].split("_")[1]) - 2 * 10  # the margin of all published networks
    layers = []
    for name in names:
        up, down = (shapes.get(f"synthesis.{name}.{f}_filter", (1,)) for f in ("up", "down"))
        rate = rate * up[0] // down[0]
        size, channels = map(int, name.split("_")[1:])
        cutoff = rate / 4 if layers else 2.0
        layers.append(Layer(name, size, channels, rate, cutoff, rate / 4, len(down) == 1))
    return layers
