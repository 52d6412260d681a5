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
from typing import Annotated, Any, Optional

from msgspec import Meta

from latentzoo import options
from latentzoo.diffusion import betas, memory, schedulers
from latentzoo.diffusion.latent import LDM
from latentzoo.diffusion.sampler import Pairs
from latentzoo.diffusion.unet import RULES, UNet2D
from latentzoo.errors import SpecError
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule, prefixed
from latentzoo.nn.autoencoder import KL, VQ, FirstStage
from latentzoo.options import Count, Natural, Positive, Share

EXPECTED = {
    "act_fn": "silu",
    "norm_num_groups": 32,
    "norm_type": "group",
    "mid_block_add_attention": True,
    "lookup_from_codebook": False,
    "use_quant_conv": True,
    "use_post_quant_conv": True,
    "shift_factor": None,
    "latents_mean": None,
    "latents_std": None,
}
"""The keys of an autoencoder's `config.json` that must have this value."""
READ = {
    *("latent_channels", "block_out_channels", "layers_per_block", "down_block_types"),
    *("in_channels", "out_channels", "vq_embed_dim", "num_vq_embeddings", "scaling_factor"),
}
IDLE = {"sample_size", "force_upcast", "up_block_types"}
"""Those that change nothing; the blocks of the way up mirror those down."""
Numbers = Annotated[list[Count], Meta(min_length=1)]
Names = Annotated[list[str], Meta(min_length=1)]
TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("latent_channels", "in_channels", "out_channels"), Count),
    **dict.fromkeys(("layers_per_block", "num_vq_embeddings"), Count),
    **dict.fromkeys(("down_block_types", "up_block_types"), Names),
    "block_out_channels": Numbers,
    "vq_embed_dim": Optional[Count],  # noqa: UP045
    "scaling_factor": Positive,
}
"""What the values are; a list for each level."""


def first_stage(config: Mapping[str, Any], *, quantise: bool) -> FirstStage:
    """Creates the autoencoder of a `config.json`.

    Raises:
        SpecError: If it is of another kind.
    """
    name = config["_class_name"]
    if name not in ("VQModel", "AutoencoderKL"):
        raise SpecError(f"an autoencoder of class {name} is not supported; give a VQModel")
    for key, value in config.items():
        if key[:1] != "_" and key not in READ | IDLE | EXPECTED.keys():
            raise SpecError(f"the autoencoder's {key}={value!r} is not known; leave it out")
        if key in TYPES:
            options.require(f"the autoencoder's {key}", value, TYPES[key])
        if key in EXPECTED and value != EXPECTED[key]:
            raise SpecError(
                f"the autoencoder's {key}={value!r} is not supported, {EXPECTED[key]!r} is"
            )
    if config.get("out_channels", 3) != config.get("in_channels", 3):
        raise SpecError(
            f"an autoencoder from {config.get('in_channels', 3)} to {config.get('out_channels', 3)} "
            "channels is not supported; they must be as many"
        )
    channels = config.get("latent_channels", 3 if name == "VQModel" else 4)
    widths = config.get("block_out_channels", (64,))
    downs = config.get("down_block_types", ("DownEncoderBlock2D",))
    for kind in downs:
        if kind not in ("DownEncoderBlock2D", "AttnDownEncoderBlock2D"):
            raise SpecError(f"an autoencoder with blocks of class {kind} is not supported")
    ups = config.get("up_block_types", ("UpDecoderBlock2D",))
    mirrored = [kind.replace("DownEn", "UpDe") for kind in reversed(downs)]
    if not len(widths) == len(downs) == len(ups) or list(ups) != mirrored:
        raise SpecError(
            f"an autoencoder of {len(widths)} levels with {', '.join(downs)} down and {', '.join(ups)} up is not "
            "supported; they must mirror each other"
        )
    groups = EXPECTED["norm_num_groups"]
    if any(w % widths[0] or w % groups for w in widths):
        raise SpecError(
            f"the autoencoder's widths {widths} are no multiples of the first one and of {groups}"
        )
    shape: dict[str, Any] = {
        "latent": channels,
        "picture": config.get("in_channels", 3),
        "width": widths[0],
        "mult": [w // widths[0] for w in widths],
        "depth": config.get("layers_per_block", 1),
        "attention": [2**i for i, kind in enumerate(downs) if kind.startswith("Attn")],
    }
    if name == "AutoencoderKL":
        return KL(channels=channels, **shape)
    codes = config.get("vq_embed_dim") or channels
    return VQ(config.get("num_vq_embeddings", 256), channels=codes, quantise=quantise, **shape)


def chain(scheduler: Mapping[str, Any], steps: int) -> Pairs:
    """The steps of a `scheduler_config.json`, of DDIM without clipping.

    Raises:
        SpecError: If it describes another schedule, or has not so many times.
    """
    told = schedulers.DDIM.read(scheduler)
    for key, value in {"clip_sample": False, "prediction_type": "epsilon"}.items():
        if told[key] != value:
            raise SpecError(f"the scheduler's {key}={told[key]!r} is not supported, {value!r} is")
    schedule, spacing = betas.path(told), str(told["timestep_spacing"])
    return betas.chain(schedule, told, sampler="ddim", steps=steps, spacing=spacing)


def scaling(vae: Mapping[str, Any]) -> float:
    """The scale of an autoencoder's codes."""
    return float(vae.get("scaling_factor", SCALES.get(vae["_class_name"], 1.0)))


SCALES = {"AutoencoderKL": 0.18215}
"""The scale that diffusers takes where a file has none."""


def build(
    *,
    unet: Mapping[str, Any],
    vae: Mapping[str, Any],
    scheduler: Mapping[str, Any],
    steps: Count = 20,
    class_index: Natural = 0,
    eta: Share = 0.0,
    white_box_steps: Natural | None = None,
    seed: Natural = 0,
    quantise: bool = True,
    scale: Positive | None = None,
    recompute: memory.Recompute = "auto",
) -> LDM:
    """Creates a latent diffusion generator.

    Arguments:
        unet: The U-Net's `config.json`.
        vae: The autoencoder's `config.json`.
        scheduler: The repository's `scheduler_config.json`.
        steps: The number of DDIM steps, less than the number of times.
        class_index: The class, if the network knows any.
        eta: How much of each step is fresh noise, in [0, 1].
        white_box_steps: How many noises are latent, the first ones; None for all.
        seed: The seed of the others.
        quantise: Whether a code is replaced by entries of the codebook before it is decoded.
        scale: What codes are divided by before they are decoded; None for the `scaling_factor` of the autoencoder.
            Without one it is 0.18215 for `AutoencoderKL`, as in diffusers, and 1 for `VQModel`, as published.
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
        scale=scaling(vae) if scale is None else scale,
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
    scheduler = records.get("scheduler") or {}
    if folder is None or unet.get("_class_name") != "UNet2DModel":
        return None
    if scheduler.get("_class_name") not in (schedulers.DDIM.name, schedulers.DDPM.name):
        return None
    assumed = {}
    if "scaling_factor" not in records[folder]:
        assumed["scale"] = f"{scaling(records[folder])}, for its config.json has no scaling_factor"
    if scheduler["_class_name"] == schedulers.DDPM.name:
        assumed["scheduler"] = "DDIM with its settings, in the place of DDPM's random steps"
    config = {"unet": unet, "vae": records[folder], "scheduler": scheduler}
    return {"config": config, "keys": folder, "assumed": assumed}
