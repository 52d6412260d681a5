r"""Diffusion autoencoder (DiffAE): a diffusion of pictures that knows what the picture means.

A semantic encoder gives a code :math:`c` of a picture, and a diffusion in pixels is conditioned on
it; a second, small diffusion draws codes, normalised by their mean and deviation over the data,

.. math:: c = \mu + \sigma \cdot \mathrm{DDIM}_{\text{code}}(z_T), \qquad
    G(z) = \tfrac12 \, \mathrm{DDIM}_{\text{picture}}(x_T \mid c) + \tfrac12

so that `semantic`, :math:`z_T`, decides what is seen and `start`, :math:`x_T`, its fine detail. Both
chains are deterministic. In the chain of pictures each estimate of the picture is clipped to
[-1, 1], and the noise follows from it: where it is clipped no gradient passes.

References:
    | Diffusion Autoencoders: Toward a Meaningful and Decodable Representation
    | (Preechakul et al., 2022), https://arxiv.org/abs/2111.15640
    |
    | Denoising Diffusion Implicit Models (Song et al., 2021)
    | https://arxiv.org/abs/2010.02502
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.compiling import outermost
from latentzoo.diffusion import encode, memory
from latentzoo.diffusion.noise import fixed_noise
from latentzoo.diffusion.parametrisation import Estimate, from_eps, from_x0
from latentzoo.diffusion.sampler import DDIM, Chain, Denoise, Pairs
from latentzoo.diffusion.schedule import (
    Discrete,
    Level,
    constant_betas,
    cosine_betas,
    linear_betas,
    strided,
)
from latentzoo.errors import CheckpointError, SpecError
from latentzoo.generator import Encodable, Generator
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule, prefixed
from latentzoo.nn import adm
from latentzoo.nn import channels as pictures
from latentzoo.nn.levels import attending
from latentzoo.nn.levels import require as require_levels
from latentzoo.options import Count, Natural
from latentzoo.rng import Rng
from latentzoo.space import Space

DDIM_STEP = DDIM()


class DiffAE(Generator, Encodable):
    r"""Creates a diffusion autoencoder's generator.

    Arguments:
        unet: The network of pictures, :math:`\varepsilon(x_t, t, c)`.
        encoder: The semantic encoder.
        latent_net: The network of codes, :math:`\varepsilon(z_t, t)`.
        schedule: The noise at the times of the chain of pictures.
        latent_schedule: The noise at the times of the chain of codes.
        resolution: The picture's side in pixels.
        channels: The number of the picture's channels: 3, or 1 where it is grey.
        steps: The number of steps of the chain of pictures.
        latent_steps: The number of steps of the chain of codes.
        latent: Which blocks vary: "all", or "semantic" alone, with a fixed start.
        seed: The seed of the fixed start.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If no stride gives that many steps, or `latent` is unknown.
    """

    conds_mean: Tensor
    conds_std: Tensor
    fixed: Tensor

    def __init__(
        self,
        unet: adm.UNet,
        encoder: "SemanticEncoder",
        latent_net: "LatentNet",
        *,
        schedule: Discrete,
        latent_schedule: Discrete,
        resolution: int,
        channels: int = 3,
        steps: int = 10,
        latent_steps: int = 10,
        latent: str = "all",
        seed: int = 0,
        recompute: memory.Recompute = "auto",
    ) -> None:
        super().__init__()
        if latent not in ("all", "semantic"):
            raise SpecError(f"latent={latent!r} is unknown; choose 'all' or 'semantic'")
        self.unet, self.encoder, self.latent_net = unet, encoder, latent_net
        self.pairs, self.latent_pairs = (
            chain(schedule, steps),
            chain(latent_schedule, latent_steps),
        )
        self.recompute: memory.Recompute = recompute
        self.register_buffer("conds_mean", torch.zeros(1, latent_net.style))
        self.register_buffer("conds_std", torch.ones(1, latent_net.style))
        shape = (pictures.require(channels), resolution, resolution)
        blocks = {"semantic": (latent_net.style,), "start": shape}
        start = fixed_noise(torch.empty(1, *blocks["start"], device="cpu"), seed, 0)
        self.register_buffer("fixed", start, persistent=False)
        self.space = Space(**blocks) if latent == "all" else Space(semantic=blocks["semantic"])
        self.size, self.channels = (resolution, resolution), channels

    def repeated(self) -> Iterator[nn.Module]:
        return outermost(self)

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        blocks = self.space.split(z)
        start = blocks.get("start", self.fixed.expand(len(z), -1, -1, -1))
        return self.decode(start, self.code(blocks["semantic"]))

    def code(self, z_T: Tensor) -> Tensor:
        """The semantic codes (B, S) of latents (B, S)."""
        code = DDIM_STEP.run(Chain(self.estimate_code, self.latent_pairs, self.recompute), z_T, [])
        return code * self.conds_std + self.conds_mean

    def decode(self, x_T: Tensor, code: Tensor) -> Tensor:
        """The images (B, 3, H, W) in [0, 1] of starts (B, C, H, W) and codes (B, S)."""

        def step(state: tuple[Tensor, Tensor], i: int) -> tuple[Tensor, Tensor]:
            x_t, code = state  # which every step reads: carried along, so is its gradient
            estimate = self.estimate_picture(code)
            return DDIM_STEP.step(estimate, x_t, *self.pairs[i]).mean, code

        steps = range(len(self.pairs))
        x_0, _ = memory.fold(step, (x_T, code), steps, recompute=self.recompute)
        return pictures.coloured((x_0 + 1) / 2)

    def estimate_code(self, z_t: Tensor, t: Level) -> Estimate:
        """What the network of codes thinks is mixed in (B, S)."""
        return from_eps(self.latent_net(z_t, z_t.new_full((len(z_t),), t.time)), z_t, t)

    def estimate_picture(self, code: Tensor) -> Denoise:
        """What the network of pictures thinks is mixed in (B, C, H, W), given the codes (B, S)."""

        def estimate(x_t: Tensor, t: Level) -> Estimate:
            eps = self.unet(x_t, x_t.new_full((len(x_t),), t.time), code)
            return from_x0(from_eps(eps, x_t, t).x_0.clamp(-1, 1), x_t, t)

        return estimate

    def encode(self, image: Float[Tensor, "B 3 H W"], rng: Rng) -> Float[Tensor, "B D"]:
        """Finds latents of images: the semantic encoder, and the inversion of both chains.

        With a fixed start, the images of these latents share what the code says, not the detail.
        """
        x_0 = 2 * pictures.seen(image, self.channels) - 1
        step = lambda f: lambda x_t, t, s: DDIM_STEP.step(f, x_t, t, s)
        code = self.encoder(x_0)
        semantic = (code - self.conds_mean) / self.conds_std
        found = {"semantic": encode.invert(semantic, step(self.estimate_code), self.latent_pairs)}
        if "start" in self.space.blocks:
            found["start"] = encode.invert(x_0, step(self.estimate_picture(code)), self.pairs)
        return self.space.join(**found)


def chain(schedule: Discrete, steps: int) -> Pairs:
    """The steps of a chain that ends in the picture."""
    times = strided(steps, len(schedule.alpha_bar))
    return list(pairwise(schedule.levels([*reversed(times), -1])))


class ResBlock(adm.Residual):
    """Creates a residual block that reads the time and a code.

    Arguments:
        i: The number of channels in.
        o: The number of channels out.
        features: The number of features of the time, and of numbers of the code.
        resample: What happens to the sides.
    """

    def __init__(self, i: int, o: int, features: int, resample: adm.Resample = adm.keep) -> None:
        super().__init__(i, o, resample)
        self.emb_layers = adm.project(features, 2 * o)
        self.cond_emb_layers = adm.project(features, o)
        self.out_layers = adm.second_half(o)

    def finish(self, h: Tensor, time: Tensor, code: Tensor) -> Tensor:
        norm, *rest = self.out_layers
        scale, shift = self.emb_layers(time)[..., None, None].chunk(2, dim=1)
        h = norm(h) * (1 + scale) + shift
        h = h * (1 + self.cond_emb_layers(code)[..., None, None])
        for layer in rest:
            h = layer(h)
        return h


class HalfBlock(adm.Residual):
    """Creates a residual block of the encoder, which knows no time and has no second half."""

    def finish(self, h: Tensor, time: None, context: None) -> Tensor:
        return h


class SemanticEncoder(nn.Module):
    """Creates the semantic encoder: the way down of a U-Net, then the mean over all positions.

    Arguments:
        channels: The number of the pictures' channels.
        style: The length of the code.
        plan: The levels and their parts.
    """

    def __init__(self, channels: int, style: int, plan: adm.Plan) -> None:
        super().__init__()
        self.input_blocks, widths = plan.contract(channels)
        c = widths[-1]
        self.middle_block = plan.middle(c)
        self.out = nn.Sequential(
            adm.normalise(c), nn.SiLU(), nn.AdaptiveAvgPool2d(1), nn.Conv2d(c, style, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Maps pictures (B, channels, H, W) in [-1, 1] to codes (B, style)."""
        for stage in self.input_blocks:
            x = stage(x)
        return self.out(self.middle_block(x)).flatten(1)


class LatentNet(nn.Module):
    """Creates the network of codes: a perceptron whose every layer sees its input again.

    Arguments:
        style: The length of the code.
        hidden: The number of features between its layers.
        layers: The number of layers.
        width: The number of features of the time before they are mapped.
    """

    def __init__(self, style: int, hidden: int, layers: int, width: int = 64) -> None:
        super().__init__()
        self.style, self.width = style, width
        self.time_embed = nn.Sequential(
            nn.Linear(width, style), nn.SiLU(), nn.Linear(style, style)
        )
        sizes = [style] + (layers - 1) * [hidden + style]
        hiddens = [LatentLayer(i, hidden, style) for i in sizes[:-1]]
        self.layers = nn.ModuleList([*hiddens, LastLayer(sizes[-1], style)])

    def forward(self, z: Tensor, t: Tensor) -> Tensor:
        """The noise (B, style) in codes (B, style) at times (B,)."""
        time = F.silu(self.time_embed(adm.time_features(t, self.width)))
        h = z
        for n, layer in enumerate(self.layers):
            h = layer(torch.cat((h, z), dim=1) if n else h, time)
        return h


class LatentLayer(nn.Module):
    """Creates a layer whose features the time scales before they are normalised."""

    def __init__(self, i: int, o: int, time: int) -> None:
        super().__init__()
        self.linear, self.linear_emb = nn.Linear(i, o), nn.Linear(time, o)
        self.norm = nn.LayerNorm(o)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Maps (B, i) and the activated time (B, T) to (B, o)."""
        return F.silu(self.norm(self.linear(x) * (1 + self.linear_emb(time))))


class LastLayer(nn.Module):
    """Creates the last layer, which is linear."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.linear = nn.Linear(i, o)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Maps (B, i) to (B, o), whatever the time."""
        return self.linear(x)


def read_betas(name: str, n: int) -> list[float]:
    """The noise variances of a name: "linear", "cosine", or "const" and their value.

    Raises:
        SpecError: If the name is none of these.
    """
    if name == "linear":
        return linear_betas(n=n)
    if name == "cosine":
        return cosine_betas(n=n)
    try:
        return constant_betas(float(name.removeprefix("const")), n=n)
    except ValueError as error:
        raise SpecError(f"no betas are called '{name}'; try 'linear', 'const0.008'") from error


def build(
    *,
    resolution: Count,
    mult: Sequence[Count],
    encoder_mult: Sequence[int],
    width: Count = 128,
    depth: Count = 2,
    encoder_depth: Count = 2,
    attention: Collection[Count] | None = None,
    levels: Collection[Natural] | None = None,
    heads: Count = 1,
    style: Count = 512,
    hidden: Count = 2048,
    layers: Count = 10,
    latent_width: Count = 64,
    channels: Count = 3,
    betas: str = "linear",
    latent_betas: str = "const0.008",
    times: Count = 1000,
    steps: Count = 10,
    latent_steps: Count = 10,
    latent: str = "all",
    seed: Natural = 0,
    recompute: memory.Recompute = "auto",
) -> DiffAE:
    """Creates a diffusion autoencoder's generator.

    Arguments:
        resolution: The picture's side in pixels.
        mult: The multiple of `width` at each level of the U-Net.
        encoder_mult: The multiple of `width` at each level of the semantic encoder.
        width: The number of channels at full resolution.
        depth: The number of residual blocks per level of the U-Net.
        encoder_depth: The number of residual blocks per level of the semantic encoder.
        attention: The sides at which attention follows each residual block; None for those of `levels`, or for 16.
        levels: The levels of these sides, of which 0 is the highest, whatever the resolution; as tensors tell them.
        heads: The number of its heads.
        style: The length of the code.
        hidden: The number of features between the layers of the network of codes.
        layers: The number of its layers.
        latent_width: The number of features of its time.
        channels: The number of the picture's channels: 3, or 1 where it is grey.
        betas: The noise of the chain of pictures: "linear", "cosine" or "const" and a number.
        latent_betas: The noise of the chain of codes.
        times: The number of times of each.
        steps: The number of steps of the chain of pictures.
        latent_steps: The number of steps of the chain of codes.
        latent: Which blocks vary: "all", or "semantic" alone, with a fixed start.
        seed: The seed of the fixed start.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If no stride gives that many steps, a name is unknown, or `attention` and `levels` are not the same.
    """
    shared: dict[str, Any] = {
        "width": width,
        "attention": [1 << level for level in attending(resolution, attention, levels)],
        "attend": lambda c: adm.AttentionBlock(c, heads),
    }
    plan = adm.Plan(
        mult=mult,
        depth=depth,
        residual=lambda i, o: ResBlock(i, o, style),
        down=lambda c: ResBlock(c, c, style, adm.halve),
        up=lambda c: ResBlock(c, c, style, adm.double),
        **shared,
    )
    encoder_plan = adm.Plan(
        mult=encoder_mult,
        depth=encoder_depth,
        residual=HalfBlock,
        down=lambda c: HalfBlock(c, c, adm.halve),
        up=lambda c: HalfBlock(c, c, adm.double),
        **shared,
    )
    return DiffAE(
        adm.UNet(channels, channels, style, plan),
        SemanticEncoder(channels, style, encoder_plan),
        LatentNet(style, hidden, layers, latent_width),
        schedule=Discrete.from_betas(read_betas(betas, times)),
        latent_schedule=Discrete.from_betas(read_betas(latent_betas, times)),
        resolution=require_levels((resolution, resolution), len(mult))[0],
        channels=channels,
        steps=steps,
        latent_steps=latent_steps,
        latent=latent,
        seed=seed,
        recompute=recompute,
    )


NETWORKS = [
    Rule("time_embed.time_embed.{x*}", "unet.time_embed.{x}"),
    Rule("latent_net.layers.{i}.linear_emb.{t}", None),
    Rule("latent_net.layers.{i}.cond_layers.1.{t}", "latent_net.layers.{i}.linear_emb.{t}"),
    Rule("latent_net.{x*}", "latent_net.{x}"),
    Rule("encoder.{x*}", "encoder.{x}"),
    Rule("{x*}", "unet.{x}"),
]
"""The rules of the networks; `linear_emb` is there twice, and the later of the two counts."""


def _dialect(prefix: str) -> Callable[[DiffAE], list[Rule]]:
    beside = [Rule(name, name) for name in ("conds_mean", "conds_std")]
    raw = [Rule("model.{x*}", None), Rule("x_T", None)]
    return lambda generator: [*raw, *beside, *prefixed(prefix, NETWORKS)]


KEYS: dict[str, Callable[[DiffAE], list[Rule]]] = {
    "official": _dialect("ema_model."),
    "network": _dialect(""),
}
"""The averaged weights of a file of the second stage, or a network alone; `x_T` is noise that training looked at."""
TOLD = {
    "img_size": "resolution",
    "net_beatgans_attn_head": "heads",
    "beta_scheduler": "betas",
    "latent_beta_scheduler": "latent_betas",
    "T": "times",
}
"""The settings of a training that no tensor tells, and our names of them."""
EXPECTED = {"latent_znormalize": True, "net_latent_condition_bias": 1}
"""Those of which only one value is known here."""


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the networks from the tensors, the rest from the settings beside them.

    The resolution is that of the noise beside the networks; without it, attention is taken to be at 16 pixels, as in
    every published model.

    Raises:
        CheckpointError: If the file lacks the network of codes or their statistics, or its settings say what is not
            known here.
    """
    file = checkpoint.tensors
    keys, prefix = (
        ("official", "ema_model.") if OWN.format("ema_model.") in file else ("network", "")
    )
    net = {k.removeprefix(prefix): v for k, v in file.items() if k.startswith(prefix)}
    if OWN.format("") not in net or "encoder.out.3.weight" not in net:
        return None
    settings = checkpoint.records.get("hyper_parameters") or {}
    _require(file, prefix, settings)
    plan = adm.read_plan(
        {k.replace("time_embed.time_embed", "time_embed"): v for k, v in net.items()}
    )
    hidden, style = net["latent_net.layers.0.linear.weight"].shape
    depth, width = plan["depth"], plan["width"]
    stages = {k.split(".")[2] for k in net if k.startswith("encoder.input_blocks.")}
    first = range(1, len(stages), depth + 1)
    rows = lambda n: len(net[f"encoder.input_blocks.{n}.0.in_layers.2.weight"])
    layers = {k.split(".")[2] for k in net if k.startswith("latent_net.layers.")}
    side = 16 * min(plan["attention"], default=8)
    config = {
        "resolution": file["x_T"].shape[-1] if "x_T" in file else side,
        "mult": plan["mult"],
        "encoder_mult": [rows(n) // width for n in first],
        "width": width,
        "depth": depth,
        "encoder_depth": depth,
        "levels": [factor.bit_length() - 1 for factor in plan["attention"]],
        "style": style,
        "hidden": hidden,
        "layers": len(layers),
        "channels": net["input_blocks.0.0.weight"].shape[1],
        "latent_width": net["latent_net.time_embed.0.weight"].shape[1],
    }
    assumed = {
        "resolution": f"{side}, as if attention were at 16 pixels, as in published models",
        "heads": "1, as in published models",
        "betas": "linear, as in published models",
        "latent_betas": "const0.008, as in published models",
        "times": "1000, as in published models",
    }
    if "x_T" in file:
        del assumed["resolution"]
    for theirs, ours in TOLD.items():
        if theirs in settings:
            config[ours] = settings[theirs]
            assumed.pop(ours, None)
    return {"config": config, "keys": keys, "assumed": assumed}


OWN = "{}time_embed.time_embed.0.weight"


def _require(file: Mapping[str, Tensor], prefix: str, settings: Mapping[str, Any]) -> None:
    if f"{prefix}latent_net.layers.0.linear.weight" not in file:
        raise CheckpointError(
            f"the file has no {prefix}latent_net.layers.0.linear.weight: it is a DiffAE without the model of its "
            "codes, which cannot draw; give the file of the second stage ('..._latent')"
        )
    for name in ("conds_mean", "conds_std"):
        if name not in file:
            raise CheckpointError(
                f"the file has no {name}: a DiffAE draws codes in units of their mean and deviation over its data; "
                "save it beside the network, as the file of the second stage has it"
            )
    for name, value in EXPECTED.items():
        if settings.get(name, value) != value:
            raise CheckpointError(
                f"its settings say {name}: {settings[name]}, and only {value} is known here"
            )
