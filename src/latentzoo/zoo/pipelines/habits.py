"""What single pipelines and schedulers do that is no function of the latent, as data.

`use_pe` and `enable_prompt_rewrite` let a language model write another prompt, by draws that no
latent answers, or anew at every call. `use_resolution_binning` computes another size than is asked
for and resizes. Each may still be asked for by name.
"""

import re
from collections.abc import Mapping
from typing import Any

import torch

SILENT = torch.Generator()
"""What pipelines are given that do not run without a generator; no draw comes from it."""

CALL: Mapping[str, Mapping[str, Any]] = {
    "ErnieImagePipeline": {"use_pe": False},
    "LongCatImagePipeline": {"enable_prompt_rewrite": False},
    "VisualClozePipeline": {"generator": SILENT},
    "VisualClozeGenerationPipeline": {"generator": SILENT},
}
"""Arguments of a pipeline's call that make it a function, by its class."""

INSTEAD: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "Ideogram4Pipeline": {"guidance_scale": {"guidance_schedule": None}},
}
"""What gives way to an argument that is given, by class: the schedule of 48 steps to one number for all."""

EVERYWHERE: Mapping[str, Any] = {"use_resolution_binning": False}
"""The same for every pipeline that has the argument: SANA, PixArt, HunyuanDiT, PRX."""

REFUSED: Mapping[str, str] = {
    "DPMSolverSDEScheduler": "its noise is a Brownian tree grown from integers",
    "IPNDMScheduler": "it divides by 0, so that its gradient is 0 in 32 bits",
}
"""Schedulers that make no map, and why."""

PAINT = ("safety_checker", "watermark", "watermarker")
"""Parts that paint over pictures or put a mark into them: no part of the map."""

ALONE = {"PRXPipeline", "PRXPixelPipeline"}
"""Pipelines whose call fails for several pictures with guidance: it gives their times once and their texts twice."""

EXCHANGING = {"StableDiffusionSAGPipeline"}
"""Pipelines that exchange a network's attention for a call, beside those of perturbed attention."""

OURS: Mapping[str, str] = {
    "latents": "the latent is what is sampled",
    "generator": "the draws come from the latent",
    "output_type": "pictures stay tensors",
    "return_dict": "pictures stay tensors",
    "num_images_per_prompt": "the number of chains says how many",
    "seed": "the draws come from the latent",
    "padding_mask_crop": "the picture around the crop is pasted back as bytes, which have no gradient",
    "batch_size": "the number of chains says how many",
    **dict.fromkeys(
        ("decoder_latents", "super_res_latents", "prompt_latents", "vae_latents", "clip_latents"),
        "the latent is what is sampled",
    ),
    **dict.fromkeys(
        (
            *("callback", "callback_steps", "callback_on_step_end"),
            *("callback_on_step_end_tensor_inputs", "prior_callback_on_step_end"),
            "prior_callback_on_step_end_tensor_inputs",
        ),
        "a map has no side effects",
    ),
}
"""Arguments of a pipeline's call that are not the user's, and why."""
EMBEDDED = re.compile(r"(\w+_)?prompt_embeds(_(?!scale)\w+)?")
"""Prompts as numbers: pooled, of each text encoder, negative, and their masks."""


def ours(name: str) -> str | None:
    """Why an argument of a pipeline's call is not the user's; None where it is."""
    if EMBEDDED.fullmatch(name):
        return "a prompt is a text, of which the record keeps every word"
    return OURS.get(name)
