"""CompVis' files of latent diffusion: the names of their tensors, and what they tell of the settings."""

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from latentzoo.diffusion.latent import LDM
from latentzoo.diffusion.schedule import scaled_linear_betas
from latentzoo.errors import CheckpointError
from latentzoo.hub import beside, compvis
from latentzoo.hub.checkpoint import Checkpoint
from latentzoo.hub.keys import Rule
from latentzoo.nn import adm
from latentzoo.nn.autoencoder import read_shape
from latentzoo.zoo.ldm.config import usual_heads

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
        ((name, number),) = usual_heads(resample=config["unet"]["resample"]).items()
        few = f"{number} heads" if name == "heads" else f"heads of {number} channels"
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
