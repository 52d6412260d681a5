"""Further tiny random pipelines: editors of newer families, unconditional ones, and those that are retired."""

import rare
import tiny
import tokens as K
import torch
from pictured import HOLE, INTO, LARGE, LARGE_MASK, SEEN, SIZED, pictured, small
from tiny import BIG, MADE, START, D, flow, unet, vae

ALONE = {"height": None, "width": None, "guidance_scale": None}
"""The call of a pipeline that is told neither a size nor a guidance scale."""
WORDS = {"max_sequence_length": 32, "exact": False}


def z_image():
    return MADE["ZImagePipeline"].build()


@pictured("ZImageImg2ImgPipeline", None, **WORDS, **{**INTO, "height": 16, "width": 16})
def _():
    return z_image()


@pictured("ZImageInpaintPipeline", None, **WORDS, **HOLE)
def _():
    return z_image()


def z_control(channels):
    net = D.ZImageControlNetModel(
        control_layers_places=[0],
        control_refiner_layers_places=[0],
        add_control_noise_refiner="control_noise_refiner",
        control_in_dim=channels,
        dim=32,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
    )
    return z_image() | {"controlnet": net}


@pictured("ZImageControlNetPipeline", None, control_image=SEEN, **WORDS)
def _():
    return z_control(16)


@pictured("ZImageControlNetInpaintPipeline", None, control_image=SEEN, **WORDS, **HOLE)
def _():
    return z_control(33)


@pictured(
    "GlmImagePipeline",
    {"start": (4, 4, 4)},
    prior_token_ids=torch.arange(4)[None],
    max_sequence_length=64,
    **BIG,
)
def _():
    return {
        "transformer": D.GlmImageTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            text_embed_dim=32,
            time_embed_dim=16,
            condition_dim=8,
            prior_vq_quantizer_codebook_size=16,
        ),
        "vae": vae(widths=(8, 8, 8, 8), latents_mean=[0.1] * 4, latents_std=[1.2] * 4),
        "text_encoder": K.t5(),
        "tokenizer": K.t5_tokens(),
        "vision_language_encoder": None,
        "processor": None,
        "scheduler": flow(use_dynamic_shifting=True),
    }


@pictured(
    "LongCatImageEditPipeline",
    None,
    image=SEEN.resize((56, 56)),
    after=small(
        "longcat_image.pipeline_longcat_image_edit",
        calculate_dimensions=lambda area, ratio: (56, 56),
    ),
    **SIZED,
)
def _():
    return MADE["LongCatImagePipeline"].build() | {"text_processor": K.Seeing(K.qwen_tokens())}


@pictured("HunyuanImageRefinerPipeline", None, image=SEEN, guidance_scale=None)
def _():
    config = MADE["HunyuanImagePipeline"].build()
    transformer = D.HunyuanImageTransformer2DModel(
        in_channels=16,
        out_channels=8,
        num_attention_heads=2,
        attention_head_dim=12,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        text_embed_dim=32,
        guidance_embeds=True,
        patch_size=(1, 1, 1),
        rope_axes_dim=(4, 4, 4),
    )
    coder = D.AutoencoderKLHunyuanImageRefiner(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(32, 32),
        layers_per_block=1,
        spatial_compression_ratio=2,
        temporal_compression_ratio=1,
    )
    kept = ("text_encoder", "tokenizer", "scheduler")
    return {k: config[k] for k in kept} | {"transformer": transformer, "vae": coder}


@pictured(
    "BriaFiboEditPipeline",
    None,
    prompt='{"edit_instruction": "a hat"}',
    negative_prompt="blur",
    image=SEEN.resize((32, 32)),
    _auto_resize=False,
    **BIG,
)
def _():
    return rare.RARE["BriaFiboPipeline"].build()


def plain(**more):
    """The U-Net of an unconditional pipeline."""
    return D.UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        **more,
    )


def codes(channels=4):
    """A coder of pictures at half their size, without attention."""
    return D.VQModel(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=channels,
        norm_num_groups=4,
        num_vq_embeddings=12,
    )


def latent_ldm():
    """A pipeline whose decoder takes the nearest of a list of codes."""
    net = plain(in_channels=4, out_channels=4)
    return {"vqvae": codes(), "unet": net, "scheduler": D.DDIMScheduler()}


def larger_ldm():
    """The same from a small picture."""
    net = plain(in_channels=6, out_channels=3)
    return {"vqvae": codes(3), "unet": net, "scheduler": D.DDIMScheduler()}


PIXELS = {"start": (3, 8, 8)}


@pictured("DDPMPipeline", PIXELS | {"noise": (2, 3, 8, 8)}, **ALONE)
def _():
    return {"unet": plain(), "scheduler": D.DDPMScheduler()}


@pictured("DDIMPipeline", PIXELS, **ALONE)
def _():
    return {"unet": plain(), "scheduler": D.DDIMScheduler()}


@pictured("PNDMPipeline", PIXELS, **{**ALONE, "num_inference_steps": 4})
def _():
    return {"unet": plain(), "scheduler": D.PNDMScheduler()}


@pictured("ScoreSdeVePipeline", None, **ALONE)
def _():
    return {"unet": plain(), "scheduler": D.ScoreSdeVeScheduler()}


@pictured("KarrasVePipeline", None, **ALONE)
def _():
    return {"unet": plain(), "scheduler": D.KarrasVeScheduler()}


@pictured(
    "ConsistencyModelPipeline",
    PIXELS | {"noise": (2, 3, 8, 8)},
    **ALONE | {"num_inference_steps": 2},
)
def _():
    return {"unet": plain(), "scheduler": D.CMStochasticIterativeScheduler()}


@pictured(
    "RePaintPipeline",
    None,
    image=LARGE,
    mask_image=LARGE_MASK,
    **ALONE,
)
def _():
    return {"unet": plain(), "scheduler": D.RePaintScheduler()}


def versatile(**more):
    """The U-Net of Versatile Diffusion, which knows texts and pictures."""
    from diffusers.pipelines.deprecated.versatile_diffusion.modeling_text_unet import (
        UNetFlatConditionModel,
    )

    flat = UNetFlatConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        attention_head_dim=4,
        cross_attention_dim=32,
        down_block_types=("DownBlockFlat", "CrossAttnDownBlockFlat"),
        up_block_types=("CrossAttnUpBlockFlat", "UpBlockFlat"),
    )
    parts = {"image_unet": unet(), "text_unet": flat, "vae": vae()}
    return parts | {"scheduler": D.DDIMScheduler(clip_sample=False, steps_offset=1)}


def words():
    return {"text_encoder": K.clip(projection=True), "tokenizer": K.clip_tokens()}


def eyes():
    return {"image_encoder": tiny.seeing(), "image_feature_extractor": tiny.pictures()}


@pictured("VersatileDiffusionTextToImagePipeline", START, stays=True)
def _():
    return versatile() | words()


@pictured("VersatileDiffusionImageVariationPipeline", START, image=SEEN)
def _():
    parts = versatile() | eyes()
    del parts["text_unet"]
    return parts


@pictured("ZImageOmniPipeline", {"start": (16, 8, 8)}, **WORDS)
def _():
    parts = z_image()
    kind, config = type(parts["transformer"]), parts["transformer"].config
    parts["transformer"] = kind.from_config(config, siglip_feat_dim=32)
    return parts | {"siglip": None, "siglip_processor": None}


@pictured(
    "BriaFibo2Pipeline",
    None,
    after=lambda pipe: setattr(pipe, "text_encoder_out_layers", ((0, 1, 2),) * 2),
)
def _():
    parts = MADE["Flux2KleinPipeline"].build()
    return {
        "vae": parts["vae"],
        "scheduler": flow(use_dynamic_shifting=True),
        "text_encoder": K.T.Qwen3VLForConditionalGeneration(K.qwen3_vl().config),
        "processor": K.Processor(K.qwen_tokens()),
        "transformer": D.BriaFibo2Transformer2DModel(
            in_channels=4,
            dim=32,
            n_layers=2,
            n_refiner_layers=1,
            n_heads=2,
            cap_feat_dim=96,
            injection_layer_ids=(1,),
            perceiver_num_layers=1,
            min_num_gist_tokens=4,
            max_num_gist_tokens=8,
            gist_step=4,
            axes_dims=(8, 4, 4),
            axes_lens=(512, 32, 32),
        ),
    }


@pictured(
    "JoyImageEditPlusPipeline",
    None,
    stays=True,
    images=[SEEN],
    after=lambda pipe: vars(pipe.image_processor).update(
        get_default_height_width=lambda image, *sizes: (16, 16)
    ),
)
def _():
    parts = rare.RARE["JoyImageEditPipeline"].build()
    config = parts["text_encoder"].config
    config.image_token_id, config.vision_start_token_id = 260, 258
    kept = parts["transformer"].config
    sizes = ("in_channels", "hidden_size", "num_attention_heads", "text_dim", "num_layers")
    parts["transformer"] = D.JoyImageEditPlusTransformer3DModel(
        **{name: kept[name] for name in sizes}, rope_dim_list=kept["rope_dim_list"]
    )
    encoder = K.T.Qwen3VLForConditionalGeneration(config)
    return parts | {
        "text_encoder": encoder,
        "processor": K.Seeing(K.qwen_tokens(), patch=16, kinds=True),
    }


@pictured("UniDiffuserPipeline", None, stays=True)
def _():
    from diffusers.pipelines.deprecated.unidiffuser import (
        UniDiffuserModel,
        UniDiffuserTextDecoder,
    )

    unet = UniDiffuserModel(
        text_dim=32,
        clip_img_dim=32,
        num_text_tokens=77,
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        attention_bias=True,
        sample_size=8,
        patch_size=2,
        activation_fn="gelu",
        num_embeds_ada_norm=1000,
        norm_type="layer_norm",
        block_type="unidiffuser",
        use_patch_pos_embed=False,
        ff_final_dropout=True,
    )
    decoder = UniDiffuserTextDecoder(
        prefix_length=77,
        prefix_inner_dim=32,
        prefix_hidden_dim=32,
        vocab_size=600,
        n_embd=32,
        n_layer=1,
        n_head=2,
        n_positions=128,
    )
    parts = {"unet": unet, "text_decoder": decoder, "text_tokenizer": K.clip_tokens()}
    return parts | {
        "vae": vae(),
        "text_encoder": K.clip(),
        "clip_tokenizer": K.clip_tokens(),
        "image_encoder": tiny.seeing(),
        "clip_image_processor": tiny.pictures(),
        "scheduler": D.DPMSolverMultistepScheduler(),
    }
