"""Pipelines that are no map though their class does not tell: built, and refused in their first run; and those that do
not run in the installed diffusers at all."""

import pictured
import seen_flux
import seen_more
import tiny
import torch
from pictured import SEEN, SIZED
from tiny import D, sd

STEPS = {"num_inference_steps": 3, "guidance_scale": 4.0}
SIDES = {"height": 16, "width": 16}


def zero():
    """Pix2Pix-Zero, which follows the gradient of its attention."""
    inverse = D.DDIMInverseScheduler()
    return sd() | {
        "inverse_scheduler": inverse,
        "caption_generator": None,
        "caption_processor": None,
    }


def edited():
    """DiffEdit, which starts from the codes of a picture that is gone backwards before."""
    return sd() | {"inverse_scheduler": D.DDIMInverseScheduler()}


WORDS = torch.linspace(-1, 1, 77 * 32).reshape(1, 77, 32)
CODES = torch.linspace(-1, 1, 2 * 4 * 64).reshape(1, 2, 4, 8, 8)
REFUSED = {
    "StableDiffusionPanoramaPipeline": (sd, {**STEPS, **SIDES}, "cannot be differentiated"),
    "StableDiffusionAttendAndExcitePipeline": (
        sd,
        {**STEPS, **SIDES, "token_indices": [2], "attn_res": (4, 4)},
        "follows a gradient of its own",
    ),
    "StableDiffusionPix2PixZeroPipeline": (
        zero,
        {**STEPS, **SIDES, "source_embeds": WORDS, "target_embeds": -WORDS},
        "follows a gradient of its own",
    ),
    "StableDiffusionDiffEditPipeline": (
        edited,
        {**STEPS, "mask_image": pictured.MASK.resize((8, 8)), "image_latents": CODES},
        "no draw of StableDiffusionDiffEditPipeline",
    ),
    "QwenImageLayeredPipeline": (
        pictured.layered_parts,
        {"image": SEEN, "layers": 2, "num_inference_steps": 2},
        "gives 2 pictures of 1",
    ),
    "LDMPipeline": (
        seen_more.latent_ldm,
        {"num_inference_steps": 3},
        "nearest of a list of codes",
    ),
    "LDMSuperResolutionPipeline": (
        seen_more.larger_ldm,
        {"num_inference_steps": 3, "image": pictured.LARGE},
        "nearest of a list of codes",
    ),
    "VisualClozeGenerationPipeline": (
        seen_flux.cloze,
        {"num_inference_steps": 3, **seen_flux.CLOZE, **SIZED},
        "out of an array",
    ),
}
"""What is refused in its first run: its parts, its call, and what is said of it."""

BROKEN = {
    "VersatileDiffusionDualGuidedPipeline": "its own call fails: DualTransformer2DModel knows no attention mask",
}
"""Those whose own call fails in diffusers 0.42.1, and why."""

UNTRIED = {
    **dict.fromkeys(
        ("BlipDiffusionPipeline", "BlipDiffusionControlNetPipeline"),
        "its Q-Former fetches a tokenizer when it is built",
    ),
}
"""Those that were not built, and why."""


def build(name):
    """A pipeline that is refused in its first run, and its call."""
    parts, call, _ = REFUSED[name]
    after = {"QwenImageLayeredPipeline": pictured.small_layers}.get(name, bool)
    call = {k: v for k, v in call.items() if v is not None}
    return tiny.Tiny(parts, call, {}, name, after=after)(), call
