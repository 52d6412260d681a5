"""Tiny random pipelines of Stable Diffusion and its descendants, to which pictures are given."""

import inspect

import tiny
import tokens as K
import torch
from pictured import AGAIN, HOLE, INTO, SEEN, SIZED, controlled, pictured
from tiny import MADE, START, D, flow, sd, sdxl

SHOWN = {**INTO, "height": 16, "width": 16}
WIDE = {
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
}
"""A U-Net whose first block sees the text, as adapters ask for."""


@pictured(
    "LatentConsistencyModelImg2ImgPipeline",
    AGAIN | {"noise2": (3, 4, 8, 8)},
    **INTO,
)
def _():
    return sd(D.LCMScheduler(), time_cond_proj_dim=8)


@pictured("KolorsImg2ImgPipeline", AGAIN, max_sequence_length=32, **SHOWN)
def _():
    return tiny.kolors()


@pictured("StableDiffusionControlNetImg2ImgPipeline", AGAIN, control_image=SEEN, **INTO)
def _():
    return controlled()


@pictured(
    "StableDiffusionControlNetPAGInpaintPipeline", None, control_image=SEEN, pag_scale=2.0, **HOLE
)
def _():
    return controlled()


@pictured("StableDiffusionPAGInpaintPipeline", None, pag_scale=2.0, **HOLE)
def _():
    return sd()


@pictured("StableDiffusionInstructPix2PixPipeline", START, stays=True, image=SEEN, **SIZED)
def _():
    return sd(in_channels=8)


@pictured("StableDiffusionImageVariationPipeline", START, image=SEEN)
def _():
    parts = sd()
    for name in ("text_encoder", "tokenizer"):
        del parts[name]
    return parts | {"image_encoder": tiny.seeing(), "feature_extractor": tiny.pictures()}


@pictured("StableDiffusionLatentUpscalePipeline", None, image=SEEN.resize((8, 8)), **SIZED)
def _():
    parts = sd(D.EulerDiscreteScheduler(), in_channels=8, out_channels=5, time_cond_proj_dim=160)
    wanted = ("vae", "text_encoder", "tokenizer", "unet", "scheduler")
    return {name: parts[name] for name in wanted}


@pictured("StableDiffusionXLAdapterPipeline", START, image=SEEN)
def _():
    adapter = D.T2IAdapter(channels=[8, 16], num_res_blocks=1, downscale_factor=2)
    return sdxl(**WIDE) | {"adapter": adapter}


@pictured("StableDiffusionXLControlNetPipeline", START, image=SEEN)
def _():
    return controlled(sdxl)


@pictured(
    "StableDiffusionXLControlNetPAGImg2ImgPipeline",
    AGAIN,
    control_image=SEEN,
    pag_scale=2.0,
    **INTO,
)
def _():
    return controlled(sdxl)


@pictured("StableDiffusion3InpaintPipeline", None, **HOLE)
def _():
    sizes = {**tiny.SD3, "in_channels": 16, "out_channels": 16}
    parts = tiny.sd3() | {"vae": tiny.vae(16, shift_factor=0.06, scaling_factor=1.5)}
    return parts | {"transformer": D.SD3Transformer2DModel(**sizes, num_layers=2)}


@pictured(
    "StableDiffusion3ControlNetInpaintingPipeline",
    None,
    control_image=SEEN,
    control_mask=HOLE["mask_image"],
)
def _():
    net = D.SD3ControlNetModel(**tiny.SD3, num_layers=1, extra_conditioning_channels=1)
    return {**tiny.sd3(), "controlnet": net}


@pictured("CycleDiffusionPipeline", None, source_prompt="a blue cube", eta=0.5, **INTO)
def _():
    return sd(D.DDIMScheduler(clip_sample=False, steps_offset=1, set_alpha_to_one=False))


@pictured("PaintByExamplePipeline", None, example_image=SEEN, **HOLE)
def _():
    from diffusers.pipelines.deprecated.paint_by_example.image_encoder import (
        PaintByExampleImageEncoder,
    )

    parts = sd(in_channels=9)
    for name in ("text_encoder", "tokenizer", "requires_safety_checker"):
        del parts[name]
    encoder = PaintByExampleImageEncoder(tiny.seeing().config, proj_size=32)
    return parts | {"image_encoder": encoder, "feature_extractor": tiny.pictures()}


@pictured(
    "StableDiffusionGLIGENTextImagePipeline",
    START,
    stays=True,
    gligen_images=[SEEN],
    gligen_boxes=[[0.1, 0.1, 0.6, 0.6]],
)
def _():
    from diffusers.pipelines.stable_diffusion.clip_image_project_model import CLIPImageProjection

    parts = sd(attention_type="gated-text-image")
    return parts | {
        "processor": K.T.CLIPProcessor(tiny.pictures(), K.clip_tokens()),
        "image_encoder": tiny.seeing(),
        "image_project": CLIPImageProjection(hidden_size=32),
    }


def alt():
    from diffusers.pipelines.deprecated.alt_diffusion.modeling_roberta_series import (
        RobertaSeriesConfig,
        RobertaSeriesModelWithTransformation,
    )

    config = RobertaSeriesConfig(
        **K.SIZES, project_dim=32, vocab_size=300, max_position_embeddings=90, pad_token_id=1
    )
    return sd() | {
        "text_encoder": RobertaSeriesModelWithTransformation(config),
        "tokenizer": K.bert_tokens(),
    }


@pictured("AltDiffusionPipeline", START)
def _():
    return alt()


@pictured("AltDiffusionImg2ImgPipeline", AGAIN, **INTO)
def _():
    return alt()


@pictured("StableUnCLIPImg2ImgPipeline", None, image=SEEN)
def _():
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import (
        StableUnCLIPImageNormalizer,
    )

    parts = sd(class_embed_type="projection", projection_class_embeddings_input_dim=64)
    for name in ("safety_checker", "requires_safety_checker"):
        del parts[name]
    return parts | {
        "feature_extractor": tiny.pictures(),
        "image_encoder": tiny.seeing(),
        "image_normalizer": StableUnCLIPImageNormalizer(embedding_dim=32),
        "image_noising_scheduler": D.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
    }


@pictured(
    "UnCLIPImageVariationPipeline",
    {
        "start": (3, 16, 16),
        "noise": (1, 3, 16, 16),
        "start2": (3, 32, 32),
        "noise2": (1, 3, 32, 32),
    },
    stays=True,
    image=SEEN,
    guidance_scale=None,
    num_inference_steps=None,
    decoder_num_inference_steps=2,
    super_res_num_inference_steps=2,
    **SIZED,
)
def _():
    import rare

    parts = rare.RARE["UnCLIPPipeline"].build()
    for name in ("prior", "prior_scheduler"):
        del parts[name]
    return parts | {"feature_extractor": tiny.pictures(), "image_encoder": tiny.seeing()}


@pictured("IFImg2ImgPipeline", None, **INTO)
def _():
    return tiny.deep_floyd()


@pictured("IFInpaintingPipeline", None, **{**HOLE, **INTO})
def _():
    return tiny.deep_floyd()


def larger():
    parts = tiny.deep_floyd(in_channels=6, class_embed_type="timestep")
    return parts | {"image_noising_scheduler": D.DDPMScheduler()}


SMALL = torch.linspace(-1, 1, 192).reshape(1, 3, 8, 8)
LARGER = {**INTO, "image": SMALL, "original_image": SEEN}


@pictured("IFImg2ImgSuperResolutionPipeline", None, **LARGER)
def _():
    return larger()


@pictured("IFInpaintingSuperResolutionPipeline", None, **{**HOLE, **LARGER})
def _():
    return larger()


@pictured("HunyuanDiTControlNetPipeline", None, control_image=SEEN)
def _():
    parts = tiny.hunyuan_dit()
    kept = parts["transformer"].config
    known = inspect.signature(D.HunyuanDiT2DControlNetModel.__init__).parameters
    sizes = {k: kept[k] for k in known if k in kept}
    net = D.HunyuanDiT2DControlNetModel(**sizes, transformer_num_layers=2)
    return parts | {"controlnet": net}


@pictured("CogView4ControlPipeline", None, control_image=SEEN, max_sequence_length=16)
def _():
    parts = MADE["CogView4Pipeline"].build()
    config = parts["transformer"].config
    parts["transformer"] = type(parts["transformer"]).from_config(config, in_channels=8)
    return parts


SANA = {k: v for k, v in tiny.SANA.items() if k not in ("height", "width")}
SQUARE = SEEN.resize((32, 32))


@pictured(
    "SanaControlNetPipeline",
    None,
    control_image=SQUARE,
    controlnet_conditioning_scale=0.5,
    guidance_scale=1.5,
    **tiny.SANA,
)
def _():
    parts = tiny.sana(flow(shift=3.0))
    deep = type(parts["transformer"]).from_config(parts["transformer"].config, num_layers=2)
    parts["transformer"] = deep  # the first layer hears no ControlNet
    config = {k: v for k, v in parts["transformer"].config.items() if not k.startswith("_")}
    known = (
        "guidance_embeds",
        "guidance_embeds_scale",
        "qk_norm",
        "timestep_scale",
        "out_channels",
    )
    net = D.SanaControlNetModel(**{k: v for k, v in config.items() if k not in known})
    return parts | {"controlnet": net}


@pictured(
    "SanaSprintImg2ImgPipeline",
    None,
    image=SQUARE,
    num_inference_steps=2,
    strength=0.7,
    **tiny.SANA,
)
def _():
    return MADE["SanaSprintPipeline"].build()


@pictured(
    "QwenImageImg2ImgPipeline",
    None,
    true_cfg_scale=2.0,
    negative_prompt="blur",
    max_sequence_length=256,
    **{**SHOWN, "guidance_scale": None},
)
def _():
    return MADE["QwenImagePipeline"].build()
