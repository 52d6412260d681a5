r"""Latent diffusion (LDM): a diffusion in the code of an autoencoder, and its decoder.

From :math:`x_T \sim \mathcal{N}(0, I)`, DDIM steps lead to a code, which the first stage decodes,

.. math:: x_s = \alpha_s \hat{x}_0 + \sqrt{\sigma_s^2 - \tilde\sigma^2} \, \hat\varepsilon
    + \tilde\sigma \, \varepsilon_s, \qquad G(z) = \tfrac12 D(x_0 / \kappa) + \tfrac12, \qquad
    \hat\varepsilon = \varepsilon_\varnothing + w \, (\varepsilon_c - \varepsilon_\varnothing)

with guidance :math:`w` towards a class `c` where the model has classes. For :math:`\eta = 0` the
latent is the block `start`, :math:`x_T`; for :math:`\eta > 0` also `noise`, the
:math:`\varepsilon_s` in the order of the steps. The chain ends at the first level of the schedule,
where a little noise is left, as the authors' does.

The first stage is an autoencoder with a Gaussian code, of which the mean is used (KL), or one whose
code is replaced by the nearest entries of a codebook (VQ). The gradient passes the codebook as if it
were not there; `quantise=False` leaves it out, which makes the map smooth.

References:
    | High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022)
    | https://arxiv.org/abs/2112.10752
    |
    | Denoising Diffusion Implicit Models (Song et al., 2021)
    | https://arxiv.org/abs/2010.02502
    |
    | Classifier-Free Diffusion Guidance (Ho and Salimans, 2022)
    | https://arxiv.org/abs/2207.12598
"""

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from latentzoo import options as opts
from latentzoo.diffusion import memory
from latentzoo.diffusion.latent import LDM
from latentzoo.diffusion.sampler import Pairs
from latentzoo.diffusion.schedule import Discrete, scaled_linear_betas
from latentzoo.errors import CheckpointError, SpecError
from latentzoo.hub import beside, compvis
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.nn import adm, ddpm
from latentzoo.nn.attention import attend
from latentzoo.nn.autoencoder import KL, VQ, read_shape
from latentzoo.nn.levels import require as require_levels
from latentzoo.nn.pointwise import Pointwise
from latentzoo.options import Count, Natural, Positive, Share, Weight


def chain(schedule: Discrete, steps: int) -> Pairs:
    """The steps of a chain: down from every (N // steps)-th of N times, 1 the lowest, to time 0.

    Raises:
        SpecError: If there are not so many times.
    """
    N = len(schedule.alpha_bar)
    if not 0 < steps < N:
        raise SpecError(f"{steps} steps do not fit {N} times; give a number from 1 to {N - 1}")
    times = [1 + i * (N // steps) for i in reversed(range(steps))]
    return list(pairwise(schedule.levels([*times, 0])))


class SpatialTransformer(adm.Conditional):
    """Creates a transformer over all positions, which also attends to the context.

    Arguments:
        channels: The number of channels, in and out.
        heads: The number of heads.
        context: The number of features of each token of the context.
        depth: The number of transformer blocks.
    """

    def __init__(self, channels: int, heads: int, context: int, depth: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, channels, eps=1e-6)
        self.proj_in = Pointwise(channels, channels)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(channels, heads, context) for _ in range(depth)
        )
        self.proj_out = Pointwise(channels, channels)

    def forward(self, x: Tensor, time: Tensor, context: Tensor) -> Tensor:
        """Maps (B, C, H, W) and tokens (B, n, context) to (B, C, H, W)."""
        h = self.proj_in(self.norm(x)).flatten(2).mT
        for block in self.transformer_blocks:
            h = block(h, context)
        return x + self.proj_out(h.mT.reshape(x.shape))


class TransformerBlock(nn.Module):
    """Creates self-attention, attention to the context and a gated perceptron."""

    def __init__(self, features: int, heads: int, context: int) -> None:
        super().__init__()
        self.attn1 = CrossAttention(features, heads, features)
        self.attn2 = CrossAttention(features, heads, context)
        self.ff = FeedForward(features)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(features) for _ in range(3))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Maps tokens (B, N, F), given the context (B, n, context), to (B, N, F)."""
        h = self.norm1(x)
        x = x + self.attn1(h, h)
        x = x + self.attn2(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class CrossAttention(nn.Module):
    """Creates attention of tokens of `features` to tokens of `context` numbers."""

    def __init__(self, features: int, heads: int, context: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(features, features, bias=False)
        self.to_k = nn.Linear(context, features, bias=False)
        self.to_v = nn.Linear(context, features, bias=False)
        self.to_out = nn.Sequential(nn.Linear(features, features))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Maps tokens (B, N, F), given the context (B, n, context), to (B, N, F)."""
        q, k, v = self.to_q(x), self.to_k(context), self.to_v(context)
        q, k, v = (rearrange(a, "b n (h c) -> b h n c", h=self.heads) for a in (q, k, v))
        return self.to_out(rearrange(attend(q, k, v), "b h n c -> b n (h c)"))


class FeedForward(nn.Module):
    """Creates a gated perceptron; the middle of its three layers is a dropout, without effect."""

    def __init__(self, features: int) -> None:
        super().__init__()
        gate, out = GEGLU(features, 4 * features), nn.Linear(4 * features, features)
        self.net = nn.Sequential(gate, nn.Identity(), out)

    def forward(self, x: Tensor) -> Tensor:
        """Maps tokens (B, N, F) to the same shape."""
        return self.net(x)


class GEGLU(nn.Module):
    r"""Creates the gated activation :math:`a \, \mathrm{gelu}(b)` of one linear map."""

    def __init__(self, i: int, o: int) -> None:
        super().__init__()
        self.proj = nn.Linear(i, 2 * o)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (..., i) to (..., o)."""
        a, gate = self.proj(x).chunk(2, dim=-1)
        return a * F.gelu(gate)


def denoiser(
    channels: int,
    *,
    width: int,
    mult: Sequence[Count],
    depth: int,
    attention: Collection[Count],
    heads: int | None = None,
    head_width: int | None = None,
    modulate: bool = False,
    resample: bool = False,
    transformer: int = 0,
    context: int = 0,
) -> adm.UNet:
    """Creates the U-Net.

    Arguments:
        channels: The number of channels of the code.
        width: The number of channels at full resolution.
        mult: The multiple of `width` at each level.
        depth: The number of residual blocks per level.
        attention: The factors of downsampling at which attention follows each residual block.
        heads: The number of heads; None for as many as have `head_width` channels.
        head_width: The number of channels of each head.
        modulate: Whether the time scales and shifts, or is added.
        resample: Whether residual blocks halve and double the sides, or convolutions.
        transformer: The number of transformer blocks in place of self-attention.
        context: The number of features of each token that they attend to.
    """
    block = lambda i, o, how=adm.keep: adm.TimeBlock(
        i, o, 4 * width, modulate=modulate, resample=how
    )
    count = lambda c: _count(c, heads, head_width)
    plan = adm.Plan(
        width=width,
        mult=mult,
        depth=depth,
        attention=attention,
        residual=block,
        attend=lambda c: (
            SpatialTransformer(c, count(c), context, transformer)
            if transformer
            else adm.AttentionBlock(c, count(c))
        ),
        down=lambda c: block(c, c, adm.halve) if resample else adm.Downsample(c),
        up=lambda c: block(c, c, adm.double) if resample else ddpm.Upsample(c),
    )
    return adm.UNet(channels, channels, 4 * width, plan)


def _count(channels: int, heads: int | None, head_width: int | None) -> int:
    """How many heads a layer has.

    Raises:
        SpecError: If they do not divide its channels.
    """
    count = heads or channels // (head_width or 32)
    if count < 1 or channels % count:
        said = f"{heads} heads" if heads else f"heads of {head_width} channels"
        raise SpecError(f"{said} do not divide {channels} channels; give another number")
    return count


def sides(factor: int, size: int | None, resolution: int | None) -> int:
    """The sides of the code, from those or from the picture's.

    Raises:
        SpecError: If they contradict each other, or the autoencoder's factor.
    """
    if size is not None and resolution is not None and size * factor != resolution:
        raise SpecError(
            f"size={size} is a code for {size * factor} pixels and not {resolution}; give one of them"
        )
    whole = resolution or (256 if size is None else size * factor)
    if whole < factor or whole % factor:
        raise SpecError(f"resolution={whole} is no multiple of {factor}; give one")
    return whole // factor


def build(
    *,
    unet: Mapping[str, Any],
    first_stage: Mapping[str, Any],
    size: Count | None = None,
    resolution: Count | None = None,
    heads: Count | None = None,
    head_width: Count | None = None,
    beta_start: Weight = 0.0015,
    beta_end: Weight = 0.0195,
    times: Count = 1000,
    classes: Natural = 0,
    empty_class: bool = False,
    scale: Positive | None = 1.0,
    steps: Count = 20,
    eta: Share = 0.0,
    white_box_steps: Natural | None = None,
    seed: Natural = 0,
    class_index: Natural = 0,
    guidance: float = 1.0,
    quantise: bool = True,
    recompute: memory.Recompute = "auto",
) -> LDM:
    """Creates a latent diffusion generator.

    Arguments:
        unet: The arguments of `denoiser`.
        first_stage: The arguments of `VQ`, or of `KL` where there is no codebook.
        size: The sides of the code; None for those of a picture of `resolution`.
        resolution: The sides of the picture; 256, as in all published models, where neither is given.
        heads: The number of heads of the U-Net, in the place of what `unet` says.
        head_width: The number of channels of each head, likewise; where none of these is given it is 32, or there
            are 8 heads where residual blocks resample, as in all published models without classes.
        beta_start: The variance of the first time's noise.
        beta_end: The variance of the last time's noise.
        times: The number of times.
        classes: The number of rows of the classes' embedding; 0 for an unconditional model.
        empty_class: Whether the last of these is the empty class, which guidance needs.
        scale: The scale of the code; None where the file holds it.
        steps: The number of DDIM steps, less than the number of times.
        eta: How much of each step is fresh noise, in [0, 1].
        white_box_steps: How many noises are latent, the first ones; None for all.
        seed: The seed of the others.
        class_index: The class.
        guidance: The weight of the class against the empty class; 1 for the class alone.
        quantise: Whether a code is replaced by entries of the codebook before it is decoded.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If an option is out of range, or needs classes that the model does not have.
    """
    vq = "codebook" in first_stage
    stage = VQ(**first_stage, quantise=quantise) if vq else KL(**first_stage)
    if heads or head_width:
        unet = {**unet, "heads": heads, "head_width": head_width}
    elif not {"heads", "head_width"} & unet.keys():
        unet = {**unet, **({"heads": 8} if unet.get("resample") else {"head_width": 32})}
    if classes and "context" not in unet:
        raise SpecError(
            f"the file has a table of {classes} classes, and its U-Net no attention that looks at it; "
            "give the file of a network that has both"
        )
    whole = {**unet, "channels": stage.channels}
    opts.check(whole, opts.parameters(denoiser), owner="the U-Net", shown="latentzoo show ldm")
    schedule = Discrete.from_betas(scaled_linear_betas(beta_start, beta_end, n=times))
    side = sides(stage.factor, size, resolution)
    return LDM(
        denoiser(stage.channels, **unet),
        stage,
        size=require_levels((side, side), len(unet["mult"]))[0],
        pairs=chain(schedule, steps),
        eta=eta,
        white_box_steps=white_box_steps,
        seed=seed,
        embedding=nn.Embedding(classes, unet["context"]) if classes else None,
        empty_class=empty_class,
        class_index=class_index,
        guidance=guidance,
        scale=scale,
        recompute=recompute,
    )


CONSTANTS = (
    *("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod"),
    *("sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod"),
    *("sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance"),
    *("posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2"),
)
"""Tables of the schedule, which the code computes."""
LEFT = (
    *("ddim_{x}", "lvlb_weights", "logvar", "loss.{x*}"),
    *("first_stage_model.loss.{x*}", "first_stage_model.colorize"),
)
"""What samplers, losses and logs of the training leave behind."""


def rules(generator: LDM, *, ema: bool) -> list[Rule]:
    """The rules of a CompVis file: the averaged weights, whose names lost their dots, or the raw."""
    if ema:
        raw = [Rule(f"{compvis.UNET}{{x*}}", None)]
        averaged = [
            Rule(f"model_ema.diffusion_model{name.replace('.', '')}", f"unet.{name}")
            for name in generator.unet.state_dict()
        ]
    else:
        raw = [Rule(f"{compvis.UNET}{{x*}}", "unet.{x}")]
        averaged = [Rule("model_ema.{x*}", None)]
    return [
        *(Rule(name, None) for name in LEFT),
        *raw,
        Rule(f"{compvis.STAGE}{{x*}}", "first_stage.{x}"),
        Rule("cond_stage_model.embedding.weight", "embedding.weight"),
        Rule("scale_factor", "scale"),
        *(Rule(name, None) for name in CONSTANTS),
        *(Rule(f"model_ema.{name}", None) for name in ("decay", "num_updates")),
        *averaged,
    ]


KEYS: dict[str, Callable[[LDM], list[Rule]]] = {
    "official": lambda g: rules(g, ema=True),
    "raw": lambda g: rules(g, ema=False),
}
"""`official` loads the averaged weights, as it should be; `raw` those of the last training step."""


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the networks from a CompVis file, and what it does not say from the settings beside it."""
    file = checkpoint.tensors
    below = lambda prefix: {
        k.removeprefix(prefix): v for k, v in file.items() if k.startswith(prefix)
    }
    net, stage = below(compvis.UNET), below(compvis.STAGE)
    if "time_embed.0.weight" not in net or "decoder.conv_in.weight" not in stage:
        return None
    config: dict[str, Any] = {"unet": _unet(net), "first_stage": read_shape(stage)}
    settings = beside.settings(checkpoint.path)
    ends = [net[f"{name}.weight"].shape for name in ("input_blocks.0.0", "out.2")]
    shown = {"transformer": 0, **config["unet"], "inputs": ends[0][1], "outputs": ends[1][0]}
    source = str(beside.place(checkpoint.path))
    compvis.compare(settings, shown, config["first_stage"], source=source)
    told = compvis.read(settings, source=source)
    assumed: dict[str, str] = {}
    if not {"heads", "head_width"} & told.keys():
        few = "8 heads" if config["unet"]["resample"] else "heads of 32 channels"
        assumed["heads or head_width"] = f"{few}, as published models of this kind have"
    if "size" not in told:
        assumed["size or resolution"] = "pictures of 256 pixels, as all published models make"
    config["scale"] = told.get("scale")
    if "scale_factor" in file:
        config["scale"] = told["scale"] = None
    elif "scale" not in told:
        config["scale"], assumed["scale"] = 1.0, "1.0, as most published models have"
    if "betas" in file:
        told |= _betas(file["betas"], told, source=source)
    elif "beta_end" not in told:
        assumed["beta_end"] = "0.0195, as most published models have"
    if "cond_stage_model.embedding.weight" in file:
        rows = len(file["cond_stage_model.embedding.weight"])
        config |= {"classes": rows, "empty_class": rows % 10 == 1}
        assumed["empty_class"] = f"{str(rows % 10 == 1).lower()}, by the number of classes, {rows}"
    averaged = any(k.startswith("model_ema.diffusion_model") for k in file)
    keys = "official" if averaged else "raw"
    return {"config": config | told, "keys": keys, "assumed": assumed}


def _unet(net: Mapping[str, Tensor]) -> dict[str, Any]:
    """What the tensors of a U-Net tell."""
    unet = adm.read_plan(net)
    first, out = "input_blocks.1.0.emb_layers.1.weight", "input_blocks.1.0.in_layers.2.weight"
    unet["modulate"] = len(net[first]) == 2 * len(net[out])
    unet["resample"] = f"input_blocks.{unet['depth'] + 1}.0.op.weight" not in net
    blocks = [re.match(r"middle_block\.1\.transformer_blocks\.(\d+)\.", k) for k in net]
    if depth := {m[1] for m in blocks if m}:
        key = "middle_block.1.transformer_blocks.0.attn2.to_k.weight"
        unet |= {"transformer": len(depth), "context": net[key].shape[1]}
    return unet


def _betas(betas: Tensor, told: Mapping[str, Any], *, source: str) -> dict[str, Any]:
    """The schedule of a file's table, which is that of the settings where they tell one.

    Raises:
        CheckpointError: If it is another curve, or another one than that of the settings.
    """
    start, end, times = betas[0].item(), betas[-1].item(), len(betas)
    curve = torch.tensor(scaled_linear_betas(start, end, n=times))
    if not torch.allclose(betas.double(), curve.double(), rtol=0.02):  # as bfloat16 rounds
        raise CheckpointError(
            f"the file's table of {times} betas, {start:.4g} to {end:.4g}, is not linear in their roots, as only "
            "such a schedule is known here"
        )
    found = {"beta_start": start, "beta_end": end, "times": times}
    for name in found.keys() & told.keys():
        if not math.isclose(found[name], told[name], rel_tol=0.02):
            raise CheckpointError(
                f"{source} says {told[name]} where the file's table of betas has {found[name]:.4g} ({name}); are "
                "these the settings of another network?"
            )
    return found
