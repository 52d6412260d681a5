"""Tiny random pipelines that are seldom met, in configurations of our own; their laws are held by slow tests."""

from types import SimpleNamespace as Names

import tiny
import tokens as K
import torch
from tiny import BIG, DEEP, START, D, flow, sd, unet, vae

RARE = {}


def rare(name, blocks, **about):
    return tiny.tiny(name, blocks, into=RARE, **about)


def wan_vae(**more):
    return D.AutoencoderKLWan(
        **{
            "base_dim": 4,
            "z_dim": 4,
            "dim_mult": [1, 1],
            "num_res_blocks": 1,
            "temperal_downsample": [False],
            "latents_mean": [0.1] * 4,
            "latents_std": [1.2] * 4,
            **more,
        }
    )


VISION = Names(
    Compose=lambda steps: steps,
    Lambda=lambda f: f,
    ToTensor=lambda: None,
    Normalize=lambda **how: None,
    InterpolationMode=Names(NEAREST="nearest"),
    functional=Names(
        resize=lambda x, size, interpolation: torch.nn.functional.interpolate(
            x, size, mode=interpolation
        )
    ),
)
"""What two pipelines ask of torchvision's transforms where no picture is given, as the tests do without the package."""


@rare("OmniGenPipeline", {"start": (4, 4, 4)}, guidance_scale=2.5, **BIG)
def _():
    from diffusers.pipelines.omnigen import pipeline_omnigen, processor_omnigen

    vars(processor_omnigen).setdefault("transforms", VISION)
    vars(pipeline_omnigen).update(
        OmniGenMultiModalProcessor=processor_omnigen.OmniGenMultiModalProcessor
    )
    return {
        "transformer": D.OmniGenTransformer2DModel(
            hidden_size=16,
            num_attention_heads=2,
            num_key_value_heads=2,
            intermediate_size=16,
            num_layers=1,
            in_channels=4,
            time_step_dim=8,
            rope_scaling={"long_factor": [1, 2, 3, 4], "short_factor": [1, 2, 3, 4]},
            pos_embed_max_size=8,
            vocab_size=300,
            pad_token_id=0,
        ),
        "vae": vae(widths=DEEP),
        "scheduler": flow(invert_sigmas=True, num_train_timesteps=1),
        "tokenizer": K.qwen_tokens(),
    }


@rare(
    "HiDreamImagePipeline",
    START,
    after=lambda pipe: setattr(pipe, "default_sample_size", 8),
    guidance_scale=3.0,
    max_sequence_length=16,
)
def _():
    llama = K.T.LlamaForCausalLM(K.T.LlamaConfig(**K.GROUPED))
    tokens = K.qwen_tokens()
    tokens.pad_token = tokens.eos_token = "<|im_end|>"
    return {
        "transformer": D.HiDreamImageTransformer2DModel(
            patch_size=2,
            in_channels=4,
            out_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            caption_channels=[32, 32],
            text_emb_dim=64,
            num_routed_experts=2,
            num_activated_experts=1,
            axes_dims_rope=(4, 2, 2),
            max_resolution=(8, 8),
            llama_layers=(0, 1),
        ),
        "vae": vae(shift_factor=0.1),
        "text_encoder": K.clip(projection=True),
        "tokenizer": K.clip_tokens(),
        "text_encoder_2": K.clip(projection=True),
        "tokenizer_2": K.clip_tokens(),
        "text_encoder_3": K.t5(),
        "tokenizer_3": K.t5_tokens(),
        "text_encoder_4": llama,
        "tokenizer_4": tokens,
        "scheduler": flow(),
    }


@rare("BriaFiboPipeline", {"start": (4, 2, 2)}, guidance_scale=3.0, negative_prompt="blur", **BIG)
def _():
    config = K.T.SmolLM3Config(
        **{**K.SIZES, "num_hidden_layers": 1},
        num_key_value_heads=2,
        vocab_size=300,
        pad_token_id=255,
    )
    return {
        "transformer": D.BriaFiboTransformer2DModel(
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=64,
            text_encoder_dim=32,
            axes_dims_rope=[4, 2, 2],
        ),
        "vae": wan_vae(dim_mult=[1] * 5, temperal_downsample=[False] * 4),
        "text_encoder": K.T.SmolLM3ForCausalLM(config),
        "tokenizer": K.qwen_tokens(),
        "scheduler": flow(use_dynamic_shifting=True),
    }


def unclip_prior():
    return D.PriorTransformer(
        num_attention_heads=2, attention_head_dim=8, num_layers=1, embedding_dim=32
    )


@rare(
    "UnCLIPPipeline",
    {
        "start": (32,),
        "noise": (1, 32),
        "start2": (3, 16, 16),
        "noise2": (1, 3, 16, 16),
        "start3": (3, 32, 32),
        "noise3": (1, 3, 32, 32),
    },
    stays=True,
    num_inference_steps=None,
    height=None,
    width=None,
    prior_num_inference_steps=2,
    decoder_num_inference_steps=2,
    super_res_num_inference_steps=2,
)
def _():
    from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel

    kinds = {
        "down_block_types": ("ResnetDownsampleBlock2D",) * 2,
        "up_block_types": ("ResnetUpsampleBlock2D",) * 2,
    }
    larger = lambda: D.UNet2DModel(
        sample_size=32,
        in_channels=6,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        **kinds,
    )
    learned = {"prediction_type": "sample", "clip_sample_range": 4.0}
    return {
        "prior": unclip_prior(),
        "decoder": unet(
            sample_size=16,
            in_channels=3,
            out_channels=6,
            cross_attention_dim=32,
            class_embed_type="identity",
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            resnet_time_scale_shift="scale_shift",
        ),
        "text_encoder": K.clip(projection=True),
        "tokenizer": K.clip_tokens(),
        "text_proj": UnCLIPTextProjModel(
            clip_embeddings_dim=32, time_embed_dim=32, cross_attention_dim=32
        ),
        "super_res_first": larger(),
        "super_res_last": larger(),
        "prior_scheduler": D.UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="sample", clip_sample_range=5.0
        ),
        "decoder_scheduler": D.UnCLIPScheduler(variance_type="learned_range", **learned),
        "super_res_scheduler": D.UnCLIPScheduler(variance_type="fixed_small_log", **learned),
    }


def wuerstchen():
    from diffusers.pipelines.deprecated.wuerstchen.modeling_wuerstchen_diffnext import (
        WuerstchenDiffNeXt,
    )

    return {
        "decoder": WuerstchenDiffNeXt(
            c_cond=32,
            c_hidden=[16, 16],
            nhead=[-1, 2],
            blocks=[1, 1],
            level_config=["CT", "CTA"],
            inject_effnet=[False, True],
            effnet_embd=2,
            clip_embd=32,
            dropout=0.0,
        ),
        "tokenizer": K.clip_tokens(),
        "text_encoder": K.clip(),
        "scheduler": D.DDPMWuerstchenScheduler(),
        "vqgan": tiny.paella(),
    }


@rare(
    "WuerstchenCombinedPipeline",
    {"start": (2, 3, 3), "noise": (1, 2, 3, 3), "start2": (4, 32, 32), "noise2": (1, 4, 32, 32)},
    **tiny.COMBINED,
)
def _():
    from diffusers.pipelines.deprecated.wuerstchen.modeling_wuerstchen_prior import WuerstchenPrior

    return wuerstchen() | {
        "prior_prior": WuerstchenPrior(
            c_in=2, c=16, c_cond=32, c_r=8, depth=1, nhead=2, dropout=0.0
        ),
        "prior_text_encoder": K.clip(),
        "prior_tokenizer": K.clip_tokens(),
        "prior_scheduler": D.DDPMWuerstchenScheduler(),
    }


@rare(
    "WuerstchenDecoderPipeline",
    {"start": (4, 32, 32), "noise": (1, 4, 32, 32)},
    guidance_scale=2.0,
    num_inference_steps=2,
    height=None,
    width=None,
    image_embeddings=torch.linspace(-1, 1, 18).reshape(1, 2, 3, 3),
)
def _():
    return wuerstchen()


def ideogram(**more):
    return D.Ideogram4Transformer2DModel(
        in_channels=16,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        intermediate_size=32,
        adaln_dim=8,
        llm_features_dim=13 * 32,
        mrope_section=(2, 1, 1),
    )


@rare(
    "Ideogram4Pipeline",
    {"start": (16, 16)},
    guidance_schedule=[3.0, 2.0, 1.0],
    max_sequence_length=64,
)
def _():
    return {
        **tiny.flux2(K.qwen3_vl(num_hidden_layers=36), K.qwen_tokens(), 64),
        "transformer": ideogram(),
        "unconditional_transformer": ideogram(),
        "scheduler": flow(),
    }


@rare("StableDiffusionSAGPipeline", START, guidance_scale=4.0, sag_scale=0.75)
def _():
    return sd(attention_head_dim=4, block_out_channels=(8, 16))


@rare("StableDiffusionLDM3DPipeline", START, guidance_scale=4.0)
def _():
    parts = sd()
    return parts | {"vae": vae(in_channels=6, out_channels=6), "image_encoder": None}


@rare(
    "SemanticStableDiffusionPipeline",
    START,
    stays=True,
    guidance_scale=4.0,
    editing_prompt=["a hat"],
    edit_warmup_steps=0,
)
def _():
    return sd()


@rare("StableDiffusionModelEditingPipeline", START, guidance_scale=4.0)
def _():
    return sd()


@rare("StableDiffusionParadigmsPipeline", START, guidance_scale=4.0, parallel=2)
def _():
    return sd(D.DDIMParallelScheduler(clip_sample=False, steps_offset=1))


def mended():
    """What PRX cleans its texts by, as the tests do without the package."""
    from diffusers.pipelines.prx import pipeline_prx, pipeline_prx_pixel

    for module in (pipeline_prx, pipeline_prx_pixel):
        vars(module).setdefault("ftfy", Names(fix_text=str))


@rare("PRXPipeline", START, guidance_scale=3.0)
def _():
    mended()
    return {
        "transformer": D.PRXTransformer2DModel(
            in_channels=4, context_in_dim=32, hidden_size=32, num_heads=2, depth=1, axes_dim=[8, 8]
        ),
        "vae": vae(shift_factor=0.1),
        "text_encoder": K.t5(),
        "tokenizer": K.t5_tokens(),
        "scheduler": flow(),
    }


@rare("PRXPixelPipeline", {"start": (3, 16, 16)}, guidance_scale=3.0)
def _():
    mended()
    return {
        "transformer": D.PRXTransformer2DModel(
            in_channels=3,
            context_in_dim=32,
            hidden_size=32,
            num_heads=2,
            depth=1,
            axes_dim=[8, 8],
            patch_size=2,
        ),
        "text_encoder": K.qwen3_vl(),
        "tokenizer": K.qwen_tokens(),
        "scheduler": flow(),
    }


@rare(
    "NucleusMoEImagePipeline",
    {"start": (1, 4, 4, 4)},
    stays=True,
    guidance_scale=3.0,
    max_sequence_length=512,
    return_index=-1,
)
def _():
    transformer = D.NucleusMoEImageTransformer2DModel(
        num_layers=2,
        **tiny.QWEN_SIZES,
        dense_moe_strategy="leave_first_block_dense",
        num_experts=2,
        moe_intermediate_dim=16,
        capacity_factors=[1.0, 1.0],
    )
    rng = torch.Generator().manual_seed(0)
    for value in transformer.parameters():  # it leaves its experts as the memory was
        if value.ndim == 3:
            value.data = 0.2 * torch.randn(value.shape, generator=rng)
    return {
        "transformer": transformer,
        "vae": tiny.qwen_vae(),
        "text_encoder": K.T.Qwen3VLForConditionalGeneration(K.qwen3_vl().config),
        "processor": K.Processor(K.qwen_tokens()),
        "scheduler": flow(use_dynamic_shifting=True),
    }


@rare(
    "Kandinsky5T2IPipeline",
    {"start": (1, 4, 4, 4)},
    after=lambda pipe: setattr(pipe, "resolutions", [(32, 32)]),
    guidance_scale=3.0,
    **BIG,
)
def _():
    return {
        "transformer": D.Kandinsky5Transformer3DModel(
            in_visual_dim=4,
            out_visual_dim=4,
            in_text_dim=32,
            in_text_dim2=32,
            time_dim=16,
            model_dim=16,
            ff_dim=16,
            num_text_blocks=1,
            num_visual_blocks=1,
            axes_dims=(4, 2, 2),
        ),
        "vae": vae(widths=DEEP),
        "text_encoder": K.qwen25_vl(),
        "tokenizer": K.Processor(K.qwen_tokens()),
        "text_encoder_2": K.clip(),
        "tokenizer_2": K.clip_tokens(),
        "scheduler": flow(),
    }


def multilingual():
    from diffusers.pipelines.kandinsky.text_encoder import MCLIPConfig, MultilingualCLIP

    return MultilingualCLIP(
        MCLIPConfig(
            **K.SIZES, numDims=32, transformerDimensions=32, vocab_size=300, project_dim=32
        )
    )


def kandinsky():
    return {
        "text_encoder": multilingual(),
        "tokenizer": K.bert_tokens(),
        "unet": unet(
            in_channels=4,
            out_channels=8,
            addition_embed_type="text_image",
            encoder_hid_dim=32,
            encoder_hid_dim_type="text_image_proj",
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            resnet_time_scale_shift="scale_shift",
        ),
        "movq": tiny.movq(),
        "scheduler": D.DDIMScheduler(clip_sample=False, steps_offset=1, thresholding=False),
    }


def unclip_scheduler():
    return D.UnCLIPScheduler(
        variance_type="fixed_small_log", prediction_type="sample", clip_sample_range=5.0
    )


@rare(
    "KandinskyCombinedPipeline",
    {"start": (32,), "noise": (1, 32), "start2": (4, 8, 8)},
    stays=True,
    guidance_scale=3.0,
    num_inference_steps=2,
    prior_num_inference_steps=2,
)
def _():
    return kandinsky() | {
        "prior_prior": unclip_prior(),
        "prior_image_encoder": tiny.seeing(),
        "prior_text_encoder": K.clip(projection=True),
        "prior_tokenizer": K.clip_tokens(),
        "prior_scheduler": unclip_scheduler(),
        "prior_image_processor": tiny.pictures(),
    }


SEEN = torch.linspace(-0.1, 0.1, 32)[None]


@rare(
    "KandinskyPipeline",
    START,
    stays=True,
    guidance_scale=3.0,
    image_embeds=SEEN,
    negative_image_embeds=-SEEN,
)
def _():
    return kandinsky()


@rare(
    "StableUnCLIPPipeline",
    {"start": (32,), "noise": (1, 32), "start2": (32,), "start3": (4, 8, 8)},
    stays=True,
    guidance_scale=3.0,
    prior_num_inference_steps=2,
)
def _():
    from diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer import (
        StableUnCLIPImageNormalizer,
    )

    return {
        "prior_tokenizer": K.clip_tokens(),
        "prior_text_encoder": K.clip(projection=True),
        "prior": unclip_prior(),
        "prior_scheduler": unclip_scheduler(),
        "image_normalizer": StableUnCLIPImageNormalizer(embedding_dim=32),
        "image_noising_scheduler": D.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        "tokenizer": K.clip_tokens(),
        "text_encoder": K.clip(),
        "unet": unet(class_embed_type="projection", projection_class_embeddings_input_dim=64),
        "scheduler": D.DDIMScheduler(clip_sample=False, steps_offset=1),
        "vae": vae(),
    }


def dream_lite():
    return {
        "unet": D.DreamLiteUNetModel(
            sample_size=8,
            block_out_channels=(8, 16),
            layers_per_block=1,
            norm_num_groups=4,
            attention_head_dim=4,
            cross_attention_dim=32,
            down_block_types=("DownBlock2D", "DreamLiteCrossAttnDownBlock2D"),
            up_block_types=("DreamLiteCrossAttnUpBlock2D", "UpBlock2D"),
        ),
        "vae": D.AutoencoderTiny(
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            num_encoder_blocks=(1, 1),
            num_decoder_blocks=(1, 1),
            latent_channels=4,
        ),
        "text_encoder": K.T.Qwen3VLForConditionalGeneration(K.qwen3_vl().config),
        "tokenizer": K.qwen_tokens(),
        "processor": K.Processor(K.qwen_tokens()),
        "scheduler": flow(use_dynamic_shifting=True),
    }


@rare("DreamLitePipeline", START, stays=True, guidance_scale=3.0)
def _():
    return dream_lite()


@rare("DreamLiteMobilePipeline", START, stays=True)
def _():
    return dream_lite()


@rare(
    "QwenImage21Pipeline",
    {"start": (1, 4, 2, 2)},
    true_cfg_scale=2.0,
    negative_prompt="blur",
    **BIG,
)
def _():
    return {
        "transformer": D.QwenImage21Transformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            context_in_dim=32,
            axes_dims_rope=(8, 4, 4),
        ),
        "vae": D.AutoencoderKLQwenImage21(
            base_dim=4,
            decoder_base_dim=4,
            z_dim=4,
            dim_mult=[1] * 5,
            num_res_blocks=1,
            temperal_downsample=[False] * 4,
            latents_mean=[0.1] * 4,
            latents_std=[1.2] * 4,
        ),
        "text_encoder": K.T.Qwen3VLForConditionalGeneration(K.qwen3_vl().config),
        "processor": K.Processor(K.qwen_tokens()),
        "scheduler": flow(use_dynamic_shifting=True),
    }


@rare(
    "JoyImageEditPipeline",
    {"start": (1, 4, 1, 8, 8)},
    guidance_scale=3.0,
    after=lambda pipe: vars(pipe.vae_image_processor).update(
        get_default_height_width=lambda image, height, width: (16, 16)
    ),
)
def _():
    return {
        "transformer": D.JoyImageEditTransformer3DModel(
            in_channels=4,
            hidden_size=32,
            num_attention_heads=2,
            text_dim=32,
            num_layers=1,
            rope_dim_list=[8, 4, 4],
        ),
        "vae": wan_vae(scale_factor_spatial=2, scale_factor_temporal=1),
        "text_encoder": K.T.Qwen3VLForConditionalGeneration(K.qwen3_vl().config),
        "tokenizer": K.qwen_tokens(),
        "processor": K.Processor(K.qwen_tokens()),
        "scheduler": flow(),
    }
