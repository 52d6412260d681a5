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

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from latentzoo.diffusion import encode, memory
from latentzoo.diffusion.noise import Noise
from latentzoo.diffusion.parametrisation import Estimate, from_eps
from latentzoo.diffusion.sampler import DDIM, Chain
from latentzoo.diffusion.schedule import Discrete, Level, scaled_linear_betas
from latentzoo.errors import SpecError
from latentzoo.generator import Encodable, Generator
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.nn import adm, ddpm
from latentzoo.nn.autoencoder import KL, VQ, FirstStage, read_shape
from latentzoo.rng import Rng
from latentzoo.space import Space


class LDM(Generator, Encodable):
    r"""Creates a latent diffusion generator.

    Arguments:
        unet: The network :math:`\varepsilon(x_t, t, c)`.
        first_stage: The autoencoder.
        schedule: The noise at the network's times.
        size: The sides of the code.
        steps: The number of DDIM steps, less than the number of times.
        eta: How much of each step is fresh noise, in [0, 1].
        white_box_steps: How many of these noises are part of the latent, the first ones; None for
            all. The others are fixed by the seed.
        seed: The seed of the fixed noises.
        embedding: The classes' contexts; None for an unconditional model.
        empty_class: Whether the last row of the embedding is the empty class.
        class_index: The class.
        guidance: The weight :math:`w` of the class against the empty class; 1 for it alone.
        scale: The scale :math:`\kappa` of the code; None where the file holds it.
        checkpoint: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        SpecError: If an option is out of range, or needs classes that the model does not have.
    """

    scale: Tensor
    label: Tensor

    def __init__(
        self,
        unet: nn.Module,
        first_stage: FirstStage,
        schedule: Discrete,
        *,
        size: int,
        steps: int = 20,
        eta: float = 0.0,
        white_box_steps: int | None = None,
        seed: int = 0,
        embedding: nn.Embedding | None = None,
        empty_class: bool = False,
        class_index: int = 0,
        guidance: float = 1.0,
        scale: float | None = 1.0,
        checkpoint: memory.Checkpoint = "auto",
    ) -> None:
        super().__init__()
        N = len(schedule.alpha_bar)
        if not 0 < steps < N:
            raise SpecError(f"{steps} steps do not fit {N} times; give a number from 1 to {N - 1}")
        if not 0 <= eta <= 1:
            raise SpecError(f"eta={eta} is out of range; give a number in [0, 1]")
        if guidance != 1 and not empty_class:
            raise SpecError("the model has no empty class to guide away from; leave guidance at 1")
        classes = 1 if embedding is None else embedding.num_embeddings - empty_class
        if not 0 <= class_index < classes:
            raise SpecError(f"there is no class {class_index}; the model has {classes}, from 0")
        self.unet, self.first_stage, self.embedding = unet, first_stage, embedding
        self.guidance, self.seed = guidance, seed
        self.checkpoint: memory.Checkpoint = checkpoint
        self.register_buffer("label", torch.tensor([class_index]), persistent=False)
        self.register_buffer("scale", torch.tensor(scale or 1.0), persistent=scale is None)

        self.sampler = DDIM(eta)
        self.pairs = list(pairwise(schedule.levels([*timesteps(steps, N), 0])))
        noises = self.sampler.noises(self.pairs)
        latent = noises if white_box_steps is None else white_box_steps
        if not 0 <= latent <= noises:
            raise SpecError(f"white_box_steps={latent} is out of range; there are {noises} noises")
        code = (first_stage.channels, size, size)
        self.space = Space(start=code, **({"noise": (latent, *code)} if latent else {}))
        self.size = (size * first_stage.factor,) * 2

    def forward(self, z: Float[Tensor, "B D"]) -> Float[Tensor, "B 3 H W"]:
        blocks = self.space.split(z)
        x_T = blocks["start"]
        return self.decode(self.denoise(x_T, blocks.get("noise", x_T[:, None][:, :0])))

    def denoise(self, x_T: Tensor, latent: Tensor) -> Tensor:
        """Maps a start (B, C, h, w) and the latent noises (B, k, C, h, w) to a code (B, C, h, w)."""
        noise = Noise(latent, self.sampler.noises(self.pairs), seed=self.seed)
        return self.sampler.run(Chain(self.estimate, self.pairs, self.checkpoint), x_T, noise)

    def estimate(self, x_t: Tensor, t: Level) -> Estimate:
        """What the network thinks is mixed in a code (B, C, h, w)."""
        return from_eps(self.eps(x_t, x_t.new_full((len(x_t),), t.time)), x_t, t)

    def eps(self, x_t: Tensor, t: Tensor) -> Tensor:
        """The noise in codes (B, C, h, w) at times (B,), guided to the class."""
        if self.embedding is None:
            return self.unet(x_t, t)
        label = self.label.expand(len(x_t))
        if self.guidance == 1:
            return self.unet(x_t, t, self.embedding(label)[:, None])
        empty = torch.full_like(label, len(self.embedding.weight) - 1)
        context = self.embedding(torch.cat((empty, label)))[:, None]
        without, given = self.unet(x_t.repeat(2, 1, 1, 1), t.repeat(2), context).chunk(2)
        return without + self.guidance * (given - without)

    def decode(self, code: Tensor) -> Tensor:
        """The images (B, 3, H, W) in [0, 1] of codes (B, C, h, w)."""
        return (self.first_stage.decode(code / self.scale) + 1) / 2

    def encode(self, image: Float[Tensor, "B 3 H W"], rng: Rng) -> Float[Tensor, "B D"]:
        """Finds latents of images: DPM-Encoder for `eta` above 0, else inversion. The chain gives
        the code of an image again; what the first stage loses stays lost.

        Raises:
            SpecError: If some noises are fixed.
        """
        x_0 = self.scale * self.first_stage.encode(2 * image - 1)
        step = lambda x_t, t, s: self.sampler.step(self.estimate, x_t, t, s)
        if self.sampler.eta == 0:
            return self.space.join(start=encode.invert(x_0, step, self.pairs))
        if self.space.blocks.get("noise", (0,))[0] < len(self.pairs):
            raise SpecError("an image has no latent while noises are fixed; drop white_box_steps")
        draw = lambda: rng.normal(*x_0.shape[1:]).to(x_0)
        eta = self.sampler.eta
        x_T, noises = encode.stochastic(x_0, step, self.pairs, draw=draw, eta=eta)
        return self.space.join(start=x_T, noise=torch.stack(noises, dim=1))


def timesteps(steps: int, N: int) -> list[int]:
    """The times of a chain, falling: every (N // steps)-th from 1 upward."""
    return [1 + i * (N // steps) for i in reversed(range(steps))]


class ResBlock(adm.Residual):
    """Creates a residual block that reads the time.

    Arguments:
        i: The number of channels in.
        o: The number of channels out.
        time: The number of features of the time.
        modulate: Whether the time scales and shifts the second normalisation, or is added before.
        resample: What happens to the sides.
    """

    def __init__(
        self, i: int, o: int, time: int, *, modulate: bool, resample: adm.Resample = adm.keep
    ) -> None:
        super().__init__(i, o, resample)
        self.modulate = modulate
        self.emb_layers = adm.project(time, 2 * o if modulate else o)
        self.out_layers = adm.second_half(o)

    def finish(self, h: Tensor, time: Tensor, context: Any) -> Tensor:
        e = self.emb_layers(time)[..., None, None]
        if not self.modulate:
            return self.out_layers(h + e)
        norm, *rest = self.out_layers
        scale, shift = e.chunk(2, dim=1)
        h = norm(h) * (1 + scale) + shift
        for layer in rest:
            h = layer(h)
        return h


class Downsample(nn.Module):
    """Creates a halving of the sides by a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.op = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (B, C, 2H, 2W) to (B, C, H, W)."""
        return self.op(x)


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
        self.proj_in = nn.Conv2d(channels, channels, 1)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(channels, heads, context) for _ in range(depth)
        )
        self.proj_out = nn.Conv2d(channels, channels, 1)

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
        return self.to_out(
            rearrange(F.scaled_dot_product_attention(q, k, v), "b h n c -> b n (h c)")
        )


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
    mult: Sequence[int],
    depth: int,
    attention: Collection[int],
    heads: int | None = None,
    head_width: int = 32,
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
    block = lambda i, o, how=adm.keep: ResBlock(i, o, 4 * width, modulate=modulate, resample=how)
    count = lambda c: heads or c // head_width
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
        down=lambda c: block(c, c, adm.halve) if resample else Downsample(c),
        up=lambda c: block(c, c, adm.double) if resample else ddpm.Upsample(c),
    )
    return adm.UNet(channels, channels, 4 * width, plan)


def build(
    *,
    unet: Mapping[str, Any],
    first_stage: Mapping[str, Any],
    size: int,
    beta_start: float = 0.0015,
    beta_end: float = 0.0195,
    times: int = 1000,
    classes: int = 0,
    **options: Any,
) -> LDM:
    """Creates a latent diffusion generator.

    Arguments:
        unet: The arguments of `denoiser`.
        first_stage: The arguments of `VQ`, or of `KL` where there is no codebook.
        size: The sides of the code.
        beta_start: The variance of the first time's noise.
        beta_end: The variance of the last time's noise.
        times: The number of times.
        classes: The number of rows of the classes' embedding; 0 for an unconditional model.
        options: The options of the map, see `LDM`.
    """
    stage = VQ(**first_stage) if "codebook" in first_stage else KL(**first_stage)
    betas = scaled_linear_betas(beta_start, beta_end, n=times)
    embedding = nn.Embedding(classes, unet["context"]) if classes else None
    return LDM(
        denoiser(stage.channels, **unet),
        stage,
        Discrete.from_betas(betas),
        size=size,
        embedding=embedding,
        **options,
    )


CONSTANTS = (
    *("betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod"),
    *("sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod"),
    *("sqrt_recip_alphas_cumprod", "sqrt_recipm1_alphas_cumprod", "posterior_variance"),
    *("posterior_log_variance_clipped", "posterior_mean_coef1", "posterior_mean_coef2"),
)
"""Tables of the schedule, which the code computes."""

RAW, STAGE = "model.diffusion_model.", "first_stage_model."


def rules(generator: LDM, *, ema: bool) -> list[Rule]:
    """The rules of a CompVis file: the averaged weights, whose names lost their dots, or the raw."""
    if ema:
        names = generator.unet.state_dict()
        averaged = [
            Rule(f"model_ema.diffusion_model{n.replace('.', '')}", f"unet.{n}") for n in names
        ]
        weights = [*averaged, Rule(f"{RAW}{{x*}}", None)]
    else:
        weights = [Rule(f"{RAW}{{x*}}", "unet.{x}"), Rule("model_ema.{x*}", None)]
    return [
        *(Rule(name, None) for name in CONSTANTS),
        *(Rule(f"model_ema.{name}", None) for name in ("decay", "num_updates")),
        *weights,
        Rule(f"{STAGE}{{x*}}", "first_stage.{x}"),
        Rule("cond_stage_model.embedding.weight", "embedding.weight"),
        Rule("scale_factor", "scale"),
    ]


KEYS: dict[str, Callable[[LDM], list[Rule]]] = {
    "official": lambda g: rules(g, ema=True),
    "raw": lambda g: rules(g, ema=False),
}
"""`official` loads the averaged weights, as it should be; `raw` those of the last training step."""


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Reads the networks from a CompVis file.

    Images are taken to have 256 pixels, and heads 32 channels, or to be 8 where residual blocks
    resample, as in all published models.
    """
    file = checkpoint.tensors
    below = lambda prefix: {
        k.removeprefix(prefix): v for k, v in file.items() if k.startswith(prefix)
    }
    net, stage = below(RAW), below(STAGE)
    if "time_embed.0.weight" not in net or "decoder.conv_in.weight" not in stage:
        return None
    unet = adm.read_plan(net)
    first, out = "input_blocks.1.0.emb_layers.1.weight", "input_blocks.1.0.in_layers.2.weight"
    unet["modulate"] = len(net[first]) == 2 * len(net[out])
    unet["resample"] = f"input_blocks.{unet['depth'] + 1}.0.op.weight" not in net
    unet |= {"heads": 8} if unet["resample"] else {"head_width": 32}
    blocks = [re.match(r"middle_block\.1\.transformer_blocks\.(\d+)\.", k) for k in net]
    if depth := {m[1] for m in blocks if m}:
        key = "middle_block.1.transformer_blocks.0.attn2.to_k.weight"
        unet |= {"transformer": len(depth), "context": net[key].shape[1]}
    first_stage = read_shape(stage)
    config: dict[str, Any] = {
        "unet": unet,
        "first_stage": first_stage,
        "size": 256 >> (len(first_stage["mult"]) - 1),
        "scale": None if "scale_factor" in file else 1.0,
    }
    if "betas" in file:
        config |= {
            "beta_start": file["betas"][0].item(),
            "beta_end": file["betas"][-1].item(),
            "times": len(file["betas"]),
        }
    if "cond_stage_model.embedding.weight" in file:
        rows = len(file["cond_stage_model.embedding.weight"])
        config |= {"classes": rows, "empty_class": rows % 10 == 1}
    averaged = any(k.startswith("model_ema.diffusion_model") for k in file)
    return {"config": config, "keys": "official" if averaged else "raw"}
