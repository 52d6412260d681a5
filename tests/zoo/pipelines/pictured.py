"""Tiny random pipelines to which pictures are given, in configurations of our own; slow tests hold their laws."""

import importlib

import numpy as np
import tiny
import tokens as K
import torch
from PIL import Image
from tiny import START, D, sd, sdxl

PICTURED = {}
SEEN = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8))
MASK = Image.fromarray(np.uint8(255 * np.tri(16)))
LARGE, LARGE_MASK = SEEN.resize((32, 32)), MASK.resize((32, 32))
SIZED = {"height": None, "width": None}
AGAIN = START | {"start2": (4, 8, 8)}
INTO = {"image": SEEN, "strength": 0.7, "num_inference_steps": 4, **SIZED}
HOLE = {"image": SEEN, "mask_image": MASK}


def pictured(name, blocks, **about):
    return tiny.tiny(name, blocks, into=PICTURED, **{"guidance_scale": 3.0, **about})


def xs(parts):
    """The parts of a pipeline with the adapter of a ControlNet-XS."""
    net = D.ControlNetXSAdapter.from_unet(
        parts["unet"],
        size_ratio=0.5,
        conditioning_embedding_out_channels=(4, 8),
        num_attention_heads=2,
    )
    return {**parts, "controlnet": net}


@pictured("StableDiffusionControlNetXSPipeline", START, image=SEEN)
def _():
    return xs(sd(layers_per_block=2))


@pictured("StableDiffusionXLControlNetXSPipeline", START, image=SEEN)
def _():
    return xs(sdxl(layers_per_block=2))


def union():
    parts = sdxl()
    net = D.ControlNetUnionModel.from_config(
        D.ControlNetUnionModel.from_unet(parts["unet"]).config,
        conditioning_embedding_out_channels=(4, 8),
        num_trans_channel=8,
        num_trans_head=2,
        num_proj_channel=8,
    )
    return {**parts, "controlnet": net}


@pictured(
    "StableDiffusionXLControlNetUnionPipeline", START, control_image=[SEEN], control_mode=[1]
)
def _():
    return union()


@pictured(
    "StableDiffusionXLControlNetUnionImg2ImgPipeline",
    AGAIN,
    control_image=[SEEN],
    control_mode=[1],
    **INTO,
)
def _():
    return union()


@pictured(
    "StableDiffusionXLControlNetUnionInpaintPipeline",
    None,
    control_image=[SEEN],
    control_mode=[1],
    **HOLE,
)
def _():
    return union()


@pictured(
    "StableDiffusionDepth2ImgPipeline",
    AGAIN,
    depth_map=torch.linspace(0, 1, 256).reshape(1, 16, 16),
    **INTO,
)
def _():
    parts = sd(in_channels=5)
    for name in ("safety_checker", "feature_extractor", "requires_safety_checker"):
        del parts[name]
    return parts | {"depth_estimator": None, "feature_extractor": None}


@pictured("StableDiffusionXLInpaintPipeline", None, **HOLE)
def _():
    return sdxl()


@pictured("StableDiffusionXLInstructPix2PixPipeline", None, image=SEEN)
def _():
    parts = sdxl()
    parts["unet"] = type(parts["unet"]).from_config(parts["unet"].config, in_channels=8)
    return parts


@pictured("StableDiffusionUpscalePipeline", None, image=SEEN.resize((8, 8)), **SIZED)
def _():
    parts = sd(in_channels=7, num_class_embeds=1000)
    del parts["requires_safety_checker"]
    return parts | {"low_res_scheduler": D.DDPMScheduler(), "max_noise_level": 350}


@pictured("StableDiffusionAdapterPipeline", START, image=SEEN)
def _():
    kinds = {
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    }
    adapter = D.T2IAdapter(channels=[8, 16], num_res_blocks=1, downscale_factor=2)
    return sd(**kinds) | {"adapter": adapter}


@pictured("StableDiffusionPAGImg2ImgPipeline", AGAIN, pag_scale=2.0, **INTO)
def _():
    return sd()


@pictured("StableDiffusionXLPAGInpaintPipeline", None, pag_scale=2.0, **HOLE)
def _():
    return sdxl()


@pictured("StableDiffusionXLPAGImg2ImgPipeline", AGAIN, pag_scale=2.0, **INTO)
def _():
    return sdxl()


@pictured("StableDiffusion3PAGImg2ImgPipeline", AGAIN, pag_scale=2.0, **INTO)
def _():
    return tiny.sd3() | {"pag_applied_layers": ["transformer_blocks.1"]}


def controlled(pick=sd):
    parts = pick()
    net = D.ControlNetModel.from_unet(parts["unet"], conditioning_embedding_out_channels=(4, 8))
    return {**parts, "controlnet": net}


@pictured("StableDiffusionControlNetInpaintPipeline", None, control_image=SEEN, **HOLE)
def _():
    return controlled()


@pictured("StableDiffusionXLControlNetImg2ImgPipeline", AGAIN, control_image=SEEN, **INTO)
def _():
    return controlled(sdxl)


@pictured("StableDiffusionXLControlNetInpaintPipeline", None, control_image=SEEN, **HOLE)
def _():
    return controlled(sdxl)


@pictured("StableDiffusionControlNetPAGPipeline", START, image=SEEN, pag_scale=2.0)
def _():
    return controlled()


@pictured("StableDiffusionXLControlNetPAGPipeline", START, image=SEEN, pag_scale=2.0)
def _():
    return controlled(sdxl)


def qwen(**more):
    """The parts of Qwen-Image."""
    parts = tiny.MADE["QwenImagePipeline"].build()
    if more:
        kind = type(parts["transformer"])
        parts["transformer"] = kind.from_config(parts["transformer"].config, **more)
    return parts


QWEN = {
    "true_cfg_scale": 2.0,
    "negative_prompt": "blur",
    "max_sequence_length": 256,
    "guidance_scale": None,
}


@pictured("QwenImageInpaintPipeline", None, **QWEN, **HOLE)
def _():
    return qwen()


def qwen_control(**more):
    net = D.QwenImageControlNetModel(
        num_layers=1,
        **tiny.QWEN_SIZES,
        **more,
    )
    return qwen() | {"controlnet": net}


@pictured("QwenImageControlNetPipeline", None, control_image=SEEN, **QWEN)
def _():
    return qwen_control()


@pictured(
    "QwenImageControlNetInpaintPipeline", None, control_image=SEEN, control_mask=MASK, **QWEN
)
def _():
    return qwen_control(extra_condition_channels=4)


def small(module, **sizes):
    """Makes a pipeline's usual million pixels small."""

    def after(pipe):
        found = importlib.import_module(f"diffusers.pipelines.{module}")
        vars(found).update(sizes)

    return after


def edited(**more):
    return qwen(**more) | {"processor": K.Seeing(K.qwen_tokens())}


DIMENSIONS = {"calculate_dimensions": lambda area, ratio: (16, 16, None)}
EDIT = {**QWEN, "image": SEEN, "after": small("qwenimage.pipeline_qwenimage_edit", **DIMENSIONS)}


@pictured("QwenImageEditPipeline", None, **EDIT)
def _():
    return edited()


@pictured(
    "QwenImageEditInpaintPipeline",
    None,
    **{**EDIT, **HOLE, "after": small("qwenimage.pipeline_qwenimage_edit_inpaint", **DIMENSIONS)},
)
def _():
    return edited()


@pictured(
    "QwenImageEditPlusPipeline",
    None,
    **{
        **EDIT,
        "image": [SEEN, SEEN],
        "after": small(
            "qwenimage.pipeline_qwenimage_edit_plus",
            calculate_dimensions=lambda area, ratio: (16, 16),
        ),
    },
)
def _():
    return edited()


def layered_parts():
    """The parts of a pipeline of several pictures for each latent, its layers."""
    return edited(use_additional_t_cond=True, use_layer3d_rope=True)


small_layers = small(
    "qwenimage.pipeline_qwenimage_layered", calculate_dimensions=lambda area, ratio: (16, 16)
)
