r"""Latent diffusion (LDM) in diffusers format: a pipeline of three folders that reads no text.

.. math:: G(z) = \tfrac12 D(x_0 / \kappa) + \tfrac12

where DDIM steps lead from `start`, :math:`x_T`, and `noise`, the :math:`\varepsilon_s` of
:math:`\eta > 0`, to the code :math:`x_0`. The U-Net is diffusers' own; autoencoder, schedule and
steps are latentzoo's, with the settings of the repository: `google/ddpm` is to `zoo.ddpm` what
`CompVis/ldm-celebahq-256` is to this.

References:
    | High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022)
    | https://arxiv.org/abs/2112.10752
    |
    | Diffusers: State-of-the-art diffusion models (von Platen et al., 2022)
    | https://github.com/huggingface/diffusers
"""

from collections.abc import Callable, Mapping
from typing import Any

from latentzoo.diffusion import memory
from latentzoo.diffusion.latent import LDM
from latentzoo.diffusion.sampler import Pairs
from latentzoo.diffusion.schedule import Discrete, Level, scaled_linear_betas
from latentzoo.diffusion.unet import RULES, UNet2D
from latentzoo.errors import SpecError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule, prefixed
from latentzoo.nn.autoencoder import KL, VQ, FirstStage


def first_stage(config: Mapping[str, Any], *, quantise: bool) -> FirstStage:
    """Creates the autoencoder of a `config.json`.

    Raises:
        SpecError: If it is of another kind.
    """
    name, channels = config["_class_name"], config["latent_channels"]
    if name not in ("VQModel", "AutoencoderKL"):
        raise SpecError(f"an autoencoder of class {name} is not supported; give a VQModel")
    if config.get("norm_num_groups", 32) != 32:
        raise SpecError(f"{config['norm_num_groups']} groups are not supported; give 32")
    widths, downs = config["block_out_channels"], config["down_block_types"]
    shape: dict[str, Any] = {
        "latent": channels,
        "picture": config.get("in_channels", 3),
        "width": widths[0],
        "mult": [w // widths[0] for w in widths],
        "depth": config["layers_per_block"],
        "attention": [2**i for i, kind in enumerate(downs) if kind.startswith("Attn")],
    }
    if name == "AutoencoderKL":
        return KL(channels=channels, **shape)
    codes = config.get("vq_embed_dim") or channels
    return VQ(config["num_vq_embeddings"], channels=codes, quantise=quantise, **shape)


def chain(scheduler: Mapping[str, Any], steps: int) -> Pairs:
    """The steps of a `scheduler_config.json`, of DDIM with leading times.

    Raises:
        SpecError: If it describes another schedule, or has not so many times.
    """
    known = {
        "beta_schedule": "scaled_linear",
        "clip_sample": False,
        "prediction_type": "epsilon",
        "timestep_spacing": "leading",
        "trained_betas": None,
    }
    for key, value in known.items():
        if scheduler.get(key, value) != value:
            raise SpecError(
                f"the scheduler's {key}={scheduler[key]!r} is not supported, {value!r} is"
            )
    N = scheduler.get("num_train_timesteps", 1000)
    if not 0 < steps < N:
        raise SpecError(f"{steps} steps do not fit {N} times; give a number from 1 to {N - 1}")
    betas = scaled_linear_betas(scheduler["beta_start"], scheduler["beta_end"], n=N)
    schedule, stride = Discrete.from_betas(betas), N // steps
    end = Level(-1, 1.0, 0.0) if scheduler.get("set_alpha_to_one", True) else schedule(0)
    times = [i * stride + scheduler.get("steps_offset", 0) for i in reversed(range(steps))]
    return [(schedule(t), schedule(t - stride) if t >= stride else end) for t in times]


def build(
    *,
    unet: Mapping[str, Any],
    vae: Mapping[str, Any],
    scheduler: Mapping[str, Any],
    steps: int = 20,
    class_index: int = 0,
    eta: float = 0.0,
    white_box_steps: int | None = None,
    seed: int = 0,
    quantise: bool = True,
    recompute: memory.Recompute = "auto",
) -> LDM:
    """Creates a latent diffusion generator.

    Arguments:
        unet: The U-Net's `config.json`.
        vae: The autoencoder's `config.json`; a code without `scaling_factor` has 1, as published.
        scheduler: The repository's `scheduler_config.json`.
        steps: The number of DDIM steps, less than the number of times.
        class_index: The class, if the network knows any.
        eta: How much of each step is fresh noise, in [0, 1].
        white_box_steps: How many noises are latent, the first ones; None for all.
        seed: The seed of the others.
        quantise: Whether a code is replaced by entries of the codebook before it is decoded.
        recompute: What each step keeps for the gradient, see `latentzoo.diffusion.memory`.

    Raises:
        MissingExtra: If diffusers is not installed.
        SpecError: If an option is out of range, or the repository asks for what is not there.
    """
    return LDM(
        UNet2D(unet, class_index=class_index),
        first_stage(vae, quantise=quantise),
        size=unet["sample_size"],
        pairs=chain(scheduler, steps),
        eta=eta,
        white_box_steps=white_box_steps,
        seed=seed,
        scale=vae.get("scaling_factor", 1.0),
        recompute=recompute,
    )


def attention(theirs: str, ours: str) -> list[Rule]:
    """The rules of an attention block, whose matrices are convolutions here; also the old names."""
    rules = [Rule(f"{theirs}.group_norm.{{t}}", f"{ours}.norm.{{t}}")]
    names = ("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")
    older = ("query", "q"), ("key", "k"), ("value", "v"), ("proj_attn", "proj_out")
    for there, here in (*names, *older):
        weight = Rule(f"{theirs}.{there}.weight", f"{ours}.{here}.weight", "o i -> o i 1 1")
        rules += [weight, Rule(f"{theirs}.{there}.bias", f"{ours}.{here}.bias")]
    return rules


def residual(theirs: str, ours: str) -> list[Rule]:
    """The rules of a residual block."""
    return [
        Rule(f"{theirs}.conv_shortcut.{{t}}", f"{ours}.nin_shortcut.{{t}}"),
        Rule(f"{theirs}.{{layer}}.{{t}}", f"{ours}.{{layer}}.{{t}}"),
    ]


def autoencoder(levels: int) -> list[Rule]:
    """The rules of an autoencoder, which numbers the levels of its decoder from the lowest."""
    middle = [
        *residual("mid_block.resnets.0", "mid.block_1"),
        *attention("mid_block.attentions.0", "mid.attn_1"),
        *residual("mid_block.resnets.1", "mid.block_2"),
        Rule("conv_norm_out.{t}", "norm_out.{t}"),
    ]
    level = [
        *residual("resnets.{j}", "block.{j}"),
        *attention("attentions.{j}", "attn.{j}"),
        Rule("downsamplers.0.conv.{t}", "downsample.conv.{t}"),
        Rule("upsamplers.0.conv.{t}", "upsample.conv.{t}"),
    ]
    rules = [*prefixed("encoder.", middle, "encoder."), *prefixed("decoder.", middle, "decoder.")]
    for i in range(levels):
        rules += prefixed(f"encoder.down_blocks.{i}.", level, f"encoder.down.{i}.")
        rules += prefixed(f"decoder.up_blocks.{levels - 1 - i}.", level, f"decoder.up.{i}.")
    return [*rules, Rule("{x*}", "{x}")]


def pipeline(generator: LDM, folder: str) -> list[Rule]:
    """The rules of a pipeline whose autoencoder is in a folder."""
    levels = generator.first_stage.factor.bit_length()
    unet = [Rule(r.theirs, (r.ours or "").replace("network.", "unet.", 1)) for r in RULES]
    stage = autoencoder(levels)
    return [*prefixed("unet.", unet), *prefixed(f"{folder}.", stage, "first_stage.")]


KEYS: dict[str, Callable[[LDM], list[Rule]]] = {
    folder: lambda g, folder=folder: pipeline(g, folder) for folder in ("vqvae", "vae")
}
"""The rules by the name of the autoencoder's folder."""


def infer(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """Recognises a pipeline of a U-Net, which may know classes, an autoencoder and a scheduler."""
    records = checkpoint.records
    folder = next((name for name in KEYS if name in records), None)
    unet = records.get("unet") or {}
    if folder is None or unet.get("_class_name") != "UNet2DModel" or "scheduler" not in records:
        return None
    config = {"unet": unet, "vae": records[folder], "scheduler": records["scheduler"]}
    return {"config": config, "keys": folder}
