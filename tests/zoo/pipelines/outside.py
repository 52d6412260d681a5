"""Pipelines that are no map though their class does not tell: built, and refused in their first run; and those that do
not run in the installed diffusers at all."""

from types import SimpleNamespace

import pictured
import pytest
import seen_flux
import seen_more
import tiny
import tokens as K
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
    **dict.fromkeys(
        ("BlipDiffusionPipeline", "BlipDiffusionControlNetPipeline"),
        "its own call fails: its Q-Former asks for what transformers 5 has no more",
    ),
}
"""Those whose own call fails in diffusers 0.42.1 with transformers 5, and why."""


def blip():
    """BLIP-Diffusion, whose Q-Former would fetch a tokenizer when it is built."""
    from diffusers.pipelines.deprecated.blip_diffusion import modeling_blip2 as seeing
    from diffusers.pipelines.deprecated.blip_diffusion.blip_image_processing import (
        BlipImageProcessor,
    )
    from diffusers.pipelines.deprecated.blip_diffusion.modeling_ctx_clip import (
        ContextCLIPTextModel,
    )

    small = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    eyes = {"hidden_size": 16, "image_size": 16, "patch_size": 8, **small}
    words = {"vocab_size": 300, "hidden_size": 32, "encoder_hidden_size": 16, **small}
    config = K.T.Blip2Config(vision_config=eyes, qformer_config=words, num_query_tokens=4)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seeing, "BertTokenizer", SimpleNamespace(from_pretrained=no_tokenizer))
        former = seeing.Blip2QFormerModel(config)
    parts = sd()
    return {name: parts[name] for name in ("vae", "unet", "tokenizer")} | {
        "scheduler": D.PNDMScheduler(skip_prk_steps=True),
        "text_encoder": ContextCLIPTextModel(parts["text_encoder"].config),
        "qformer": former,
        "image_processor": BlipImageProcessor(size={"height": 16, "width": 16}),
        "mean": [0.5] * 3,
        "std": [0.3] * 3,
    }


def no_tokenizer(*args, **kwargs):
    """What stands in for a tokenizer that would be fetched."""
    return K.bert_tokens()


BLIP = {
    "reference_image": SEEN,
    "source_subject_category": ["cat"],
    "target_subject_category": ["cat"],
    **STEPS,
    **SIDES,
}


def build(name):
    """A pipeline that is refused in its first run, and its call."""
    parts, call, _ = REFUSED[name]
    after = {"QwenImageLayeredPipeline": pictured.small_layers}.get(name, bool)
    call = {k: v for k, v in call.items() if v is not None}
    return tiny.Tiny(parts, call, {}, name, after=after)(), call
