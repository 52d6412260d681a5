"""Tiny random pipelines of diffusers, one for each class, in configurations of our own.

A function makes the pipeline and says how it is called; its name is the class's.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import tokens as K
import torch

D = pytest.importorskip("diffusers")

PROMPT = "a red cube"
MADE = {}


@dataclass(frozen=True)
class Tiny:
    """A tiny pipeline: what makes it, how it is called, and what is known of it.

    Arguments:
        build: Makes its parts.
        call: The arguments of its call.
        blocks: The blocks of its latent.
        name: The class's name.
        exact: Whether it runs in 64 bits.
        stays: Whether its text encoders must stay.
        after: What is done to it when it is made.
        prompt: What its picture should show.
    """

    build: Callable
    call: dict
    blocks: dict
    name: str
    exact: bool = True
    stays: bool = False
    after: Callable = bool
    prompt: str = PROMPT

    def __call__(self, **over):
        torch.manual_seed(0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            parts = {**self.build(), **over}
            for part in parts.values():
                if isinstance(part, torch.nn.Module):
                    K.randomise(part)
            pipe = getattr(D, self.name)(**parts)
        pipe.set_progress_bar_config(disable=True)
        self.after(pipe)
        return pipe


def tiny(
    name,
    blocks,
    *,
    label=None,
    into=MADE,
    exact=True,
    stays=False,
    after=bool,
    prompt=PROMPT,
    **call,
):
    def note(build):
        given = {"num_inference_steps": 3, "height": 16, "width": 16, **call}
        given = {k: v for k, v in given.items() if v is not None}
        into[label or name] = Tiny(build, given, blocks, name, exact, stays, after, prompt)
        return build

    return note


QWEN_SIZES = {
    "in_channels": 16,
    "out_channels": 4,
    "attention_head_dim": 16,
    "num_attention_heads": 2,
    "joint_attention_dim": 32,
    "axes_dims_rope": (8, 4, 4),
}
"""Of transformers that are built as Qwen-Image's."""
COMBINED = {
    "prior_guidance_scale": 3.0,
    "prior_num_inference_steps": 2,
    "num_inference_steps": 2,
    "height": 128,
    "width": 128,
}
"""The call of a pipeline with a prior inside, whose latents are 42 times smaller than the picture."""


def vae(latent=4, widths=(8, 8), **more):
    n = len(widths)
    return D.AutoencoderKL(
        block_out_channels=widths,
        latent_channels=latent,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * n,
        up_block_types=("UpDecoderBlock2D",) * n,
        sample_size=16,
        **more,
    )


def unet(**more):
    given = {
        "sample_size": 8,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 4,
        "cross_attention_dim": 32,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        **more,
    }
    return D.UNet2DConditionModel(**given)


def sd(scheduler=None, **more):
    return {
        "vae": vae(),
        "unet": unet(**more),
        "text_encoder": K.clip(),
        "tokenizer": K.clip_tokens(),
        "scheduler": scheduler or D.DDIMScheduler(clip_sample=False, steps_offset=1),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


START = {"start": (4, 8, 8)}


@tiny("StableDiffusionPipeline", START, guidance_scale=4.0, negative_prompt="blur")
def _():
    return sd(D.PNDMScheduler(skip_prk_steps=True, steps_offset=1))


TURBO = {"timestep_spacing": "trailing"}


@tiny(
    "StableDiffusionPipeline",
    START,
    label="SD-Turbo",
    num_inference_steps=1,
    guidance_scale=0.0,
)
def _():
    return sd(D.EulerAncestralDiscreteScheduler(**TURBO))


@tiny("LatentConsistencyModelPipeline", START | {"noise": (2, 4, 8, 8)}, guidance_scale=4.0)
def _():
    return sd(D.LCMScheduler(), time_cond_proj_dim=8)


@tiny("StableDiffusionPAGPipeline", START, guidance_scale=4.0, pag_scale=2.0)
def _():
    return sd()


@tiny(
    "StableDiffusionGLIGENPipeline",
    START,
    stays=True,
    guidance_scale=4.0,
    gligen_phrases=["a hat"],
    gligen_boxes=[[0.1, 0.1, 0.6, 0.6]],
)
def _():
    return sd(attention_type="gated")


def sdxl(scheduler=None, **more):
    return {
        "vae": vae(force_upcast=True),
        "unet": unet(
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=24 + 32,
            cross_attention_dim=64,
            transformer_layers_per_block=(1, 2),
            **more,
        ),
        "text_encoder": K.clip(),
        "tokenizer": K.clip_tokens(),
        "text_encoder_2": K.clip(projection=True),
        "tokenizer_2": K.clip_tokens(),
        "scheduler": scheduler or D.EulerDiscreteScheduler(steps_offset=1),
    }


@tiny("StableDiffusionXLPipeline", START, guidance_scale=5.0, negative_prompt="blur")
def _():
    return sdxl()


@tiny(
    "StableDiffusionXLPipeline",
    START | {"noise": (1, 4, 8, 8)},
    label="SDXL-Turbo",
    num_inference_steps=2,
    guidance_scale=0.0,
)
def _():
    return sdxl(D.EulerAncestralDiscreteScheduler(**TURBO))


@tiny("StableDiffusionXLPAGPipeline", START, guidance_scale=4.0, pag_scale=2.0)
def _():
    return sdxl()


def kolors():
    return {
        "vae": vae(),
        "unet": unet(
            addition_embed_type="text_time",
            addition_time_embed_dim=4,
            projection_class_embeddings_input_dim=24 + 8,
            cross_attention_dim=8,
            transformer_layers_per_block=(1, 2),
        ),
        "text_encoder": K.chat_glm(),
        "tokenizer": K.ChatTokens(K.qwen_tokens()),
        "scheduler": D.EulerDiscreteScheduler(steps_offset=1),
    }


@tiny("KolorsPipeline", START, guidance_scale=3.0, max_sequence_length=32)
def _():
    return kolors()


@tiny("KolorsPAGPipeline", START, guidance_scale=3.0, pag_scale=2.0, max_sequence_length=32)
def _():
    return kolors()


def flow(**more):
    return D.FlowMatchEulerDiscreteScheduler(**more)


SD3 = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "attention_head_dim": 8,
    "num_attention_heads": 4,
    "joint_attention_dim": 64,
    "caption_projection_dim": 32,
    "pooled_projection_dim": 64,
    "pos_embed_max_size": 16,
}
"""The sizes of a transformer of Stable Diffusion 3, and of what controls one."""


def sd3():
    return {
        "transformer": D.SD3Transformer2DModel(**SD3, num_layers=2, qk_norm="rms_norm"),
        "vae": vae(shift_factor=0.06, scaling_factor=1.5),
        "text_encoder": K.clip(projection=True),
        "text_encoder_2": K.clip(projection=True),
        "text_encoder_3": K.t5(width=64),
        "tokenizer": K.clip_tokens(),
        "tokenizer_2": K.clip_tokens(),
        "tokenizer_3": K.t5_tokens(),
        "scheduler": flow(shift=3.0),
    }


@tiny("StableDiffusion3Pipeline", START, guidance_scale=4.0)
def _():
    return sd3()


@tiny("StableDiffusion3PAGPipeline", START, guidance_scale=4.0, pag_scale=2.0)
def _():
    return sd3() | {"pag_applied_layers": ["transformer_blocks.1"]}


STREAMS = {"num_layers": 1, "num_single_layers": 1, "num_attention_heads": 2}


@tiny("FluxPipeline", {"start": (4, 8, 8)}, guidance_scale=3.5, max_sequence_length=32)
def _():
    return {
        "transformer": D.FluxTransformer2DModel(
            **STREAMS,
            in_channels=16,
            attention_head_dim=16,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            guidance_embeds=True,
            axes_dims_rope=(4, 4, 8),
        ),
        "vae": vae(shift_factor=0.1, use_quant_conv=False, use_post_quant_conv=False),
        "text_encoder": K.clip(),
        "text_encoder_2": K.t5(),
        "tokenizer": K.clip_tokens(),
        "tokenizer_2": K.t5_tokens(),
        "scheduler": flow(use_dynamic_shifting=True),
    }


@tiny("ChromaPipeline", {"start": (4, 8, 8)}, guidance_scale=3.0, max_sequence_length=32)
def _():
    return {
        "transformer": D.ChromaTransformer2DModel(
            **STREAMS,
            in_channels=16,
            attention_head_dim=16,
            joint_attention_dim=32,
            axes_dims_rope=(4, 4, 8),
            approximator_num_channels=8,
            approximator_hidden_dim=16,
            approximator_layers=1,
        ),
        "vae": vae(shift_factor=0.1),
        "text_encoder": K.t5(),
        "tokenizer": K.t5_tokens(),
        "scheduler": flow(),
    }


def flux2(text_encoder, tokenizer, joint):
    return {
        "transformer": D.Flux2Transformer2DModel(
            **STREAMS,
            in_channels=16,
            attention_head_dim=16,
            joint_attention_dim=joint,
            timestep_guidance_channels=16,
            axes_dims_rope=(4, 4, 4, 4),
            guidance_embeds=True,
        ),
        "vae": D.AutoencoderKLFlux2(
            block_out_channels=(8, 8),
            down_block_types=("DownEncoderBlock2D",) * 2,
            up_block_types=("UpDecoderBlock2D",) * 2,
            latent_channels=4,
            norm_num_groups=4,
            layers_per_block=1,
            sample_size=16,
        ),
        "text_encoder": text_encoder,
        "tokenizer": tokenizer,
        "scheduler": flow(use_dynamic_shifting=True),
    }


@tiny(
    "Flux2Pipeline",
    {"start": (16, 4, 4)},
    guidance_scale=3.0,
    max_sequence_length=64,
    text_encoder_out_layers=(1, 2),
)
def _():
    return flux2(K.mistral(), K.Processor(K.qwen_tokens()), 64)


@tiny(
    "Flux2KleinPipeline",
    {"start": (16, 4, 4)},
    guidance_scale=3.0,
    max_sequence_length=64,
    text_encoder_out_layers=(1, 2),
)
def _():
    return flux2(K.qwen3(), K.qwen_tokens(), 64)


@tiny(
    "Flux2KleinKVPipeline",
    {"start": (16, 4, 4)},
    max_sequence_length=64,
    text_encoder_out_layers=(1, 2),
)
def _():
    return flux2(K.qwen3(), K.qwen_tokens(), 64)


def sana(scheduler, **more):
    return {
        "transformer": D.SanaTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=8,
            num_layers=1,
            num_cross_attention_heads=2,
            cross_attention_head_dim=8,
            cross_attention_dim=16,
            caption_channels=32,
            sample_size=8,
            **more,
        ),
        "vae": D.AutoencoderDC(
            latent_channels=4,
            attention_head_dim=2,
            encoder_block_types=("ResBlock", "EfficientViTBlock"),
            decoder_block_types=("ResBlock", "EfficientViTBlock"),
            encoder_block_out_channels=(8, 8),
            decoder_block_out_channels=(8, 8),
            encoder_qkv_multiscales=((), (5,)),
            decoder_qkv_multiscales=((), (5,)),
            encoder_layers_per_block=(1, 1),
            decoder_layers_per_block=(1, 1),
            downsample_block_type="conv",
            upsample_block_type="interpolate",
            decoder_norm_types="rms_norm",
            decoder_act_fns="silu",
            scaling_factor=0.4,
        ),
        "text_encoder": K.gemma2(),
        "tokenizer": K.gemma_tokens(),
        "scheduler": scheduler,
    }


SANA = {"complex_human_instruction": [], "max_sequence_length": 16, "height": 32, "width": 32}


@tiny("SanaPipeline", {"start": (4, 16, 16)}, guidance_scale=3.0, **SANA)
def _():
    return sana(
        D.DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction")
    )


@tiny(
    "SanaSprintPipeline",
    {"start": (4, 16, 16), "noise": (1, 4, 16, 16)},
    guidance_scale=3.0,
    num_inference_steps=2,
    **SANA,
)
def _():
    more = {"guidance_embeds": True, "qk_norm": "rms_norm_across_heads"}
    return sana(D.SCMScheduler(), **more)


@tiny("SanaPAGPipeline", {"start": (4, 16, 16)}, guidance_scale=3.0, pag_scale=2.0, **SANA)
def _():
    return sana(flow(shift=3.0)) | {"pag_applied_layers": ["transformer_blocks.0"]}


def pixart():
    return {
        "transformer": D.PixArtTransformer2DModel(
            sample_size=8,
            num_layers=1,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=3,
            caption_channels=32,
            cross_attention_dim=24,
            in_channels=4,
            out_channels=8,
            use_additional_conditions=False,
        ),
        "vae": vae(),
        "text_encoder": K.t5(),
        "tokenizer": K.t5_tokens(),
        "scheduler": D.DPMSolverMultistepScheduler(),
    }


for _name in ("PixArtAlphaPipeline", "PixArtSigmaPipeline"):
    tiny(_name, START, guidance_scale=3.0, max_sequence_length=16)(pixart)


@tiny("PixArtSigmaPAGPipeline", START, guidance_scale=3.0, pag_scale=2.0, max_sequence_length=16)
def _():
    return pixart() | {"pag_applied_layers": ["blocks.0"]}


@tiny(
    "ZImagePipeline",
    {"start": (16, 8, 8)},
    guidance_scale=0.0,
    exact=False,
    max_sequence_length=32,
)
def _():
    return {
        "transformer": D.ZImageTransformer2DModel(
            dim=32,
            n_layers=1,
            n_refiner_layers=1,
            n_heads=2,
            n_kv_heads=2,
            cap_feat_dim=32,
            axes_dims=[8, 4, 4],
            axes_lens=[256, 32, 32],
        ),
        "vae": vae(16, shift_factor=0.1),
        "text_encoder": K.qwen3(causal=False),
        "tokenizer": K.qwen_tokens(),
        "scheduler": flow(shift=3.0),
    }


def qwen_vae():
    return D.AutoencoderKLQwenImage(
        base_dim=8,
        z_dim=4,
        dim_mult=[1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True],
        latents_mean=[0.0] * 4,
        latents_std=[1.0] * 4,
    )


@tiny(
    "QwenImagePipeline",
    {"start": (1, 4, 4, 4)},
    true_cfg_scale=2.0,
    negative_prompt="blur",
    max_sequence_length=256,
)
def _():
    return {
        "transformer": D.QwenImageTransformer2DModel(num_layers=1, **QWEN_SIZES),
        "vae": qwen_vae(),
        "text_encoder": K.qwen25_vl(),
        "tokenizer": K.qwen_tokens(),
        "scheduler": flow(use_dynamic_shifting=True),
    }


BIG = {"height": 32, "width": 32}
DEEP = (8, 8, 8, 8)


@tiny("LuminaPipeline", {"start": (4, 4, 4)}, guidance_scale=3.0, max_sequence_length=16, **BIG)
def _():
    return {
        "transformer": D.LuminaNextDiT2DModel(
            sample_size=8,
            in_channels=4,
            hidden_size=16,
            num_layers=1,
            num_attention_heads=2,
            num_kv_heads=1,
            multiple_of=16,
            cross_attention_dim=32,
        ),
        "vae": vae(widths=DEEP),
        "text_encoder": K.gemma2("Gemma"),
        "tokenizer": K.gemma_tokens(),
        "scheduler": flow(),
    }


@tiny("Lumina2Pipeline", {"start": (4, 4, 4)}, guidance_scale=3.0, system_prompt="Draw", **BIG)
def _():
    return {
        "transformer": D.Lumina2Transformer2DModel(
            sample_size=8,
            in_channels=4,
            hidden_size=24,
            num_layers=1,
            num_refiner_layers=1,
            num_attention_heads=2,
            num_kv_heads=1,
            multiple_of=16,
            axes_dim_rope=(4, 4, 4),
            axes_lens=(64, 32, 32),
            cap_feat_dim=32,
        ),
        "vae": vae(widths=DEEP, shift_factor=0.1),
        "text_encoder": K.gemma2(),
        "tokenizer": K.gemma_tokens(),
        "scheduler": flow(),
    }


def hunyuan_dit(scheduler=None):
    return {
        "transformer": D.HunyuanDiT2DModel(
            sample_size=8,
            num_layers=2,
            patch_size=2,
            attention_head_dim=8,
            num_attention_heads=3,
            in_channels=4,
            cross_attention_dim=32,
            cross_attention_dim_t5=32,
            pooled_projection_dim=16,
            hidden_size=24,
            activation_fn="gelu-approximate",
        ),
        "vae": vae(),
        "text_encoder": K.bert(),
        "tokenizer": K.bert_tokens(),
        "text_encoder_2": K.t5(),
        "tokenizer_2": K.t5_tokens(),
        "scheduler": scheduler or D.DDPMScheduler(),
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


NOISY = START | {"noise": (2, 4, 8, 8)}


@tiny("HunyuanDiTPipeline", NOISY, guidance_scale=3.0)
def _():
    return hunyuan_dit()


@tiny("HunyuanDiTPAGPipeline", NOISY, guidance_scale=3.0, pag_scale=2.0)
def _():
    return hunyuan_dit() | {"pag_applied_layers": ["blocks.1"]}


@tiny("AuraFlowPipeline", START, guidance_scale=3.0, max_sequence_length=16)
def _():
    return {
        "transformer": D.AuraFlowTransformer2DModel(
            sample_size=8,
            in_channels=4,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=32,
            caption_projection_dim=16,
            pos_embed_max_size=64,
        ),
        "vae": vae(),
        "text_encoder": K.t5("UMT5"),
        "tokenizer": K.t5_tokens(),
        "scheduler": flow(),
    }


@tiny("CogView3PlusPipeline", START, guidance_scale=3.0, max_sequence_length=16)
def _():
    return {
        "transformer": D.CogView3PlusTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=4,
            num_attention_heads=2,
            text_embed_dim=32,
            time_embed_dim=8,
            condition_dim=2,
            pos_embed_max_size=8,
            sample_size=8,
        ),
        "vae": vae(),
        "text_encoder": K.t5(),
        "tokenizer": K.t5_tokens(),
        "scheduler": D.CogVideoXDDIMScheduler(),
    }


@tiny("CogView4Pipeline", START, guidance_scale=3.0, max_sequence_length=16)
def _():
    return {
        "transformer": D.CogView4Transformer2DModel(
            in_channels=4,
            out_channels=4,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            text_embed_dim=32,
            time_embed_dim=8,
            condition_dim=4,
            sample_size=8,
        ),
        "vae": vae(),
        "text_encoder": K.glm(),
        "tokenizer": K.glm_tokens(),
        "scheduler": flow(use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75),
    }


@tiny("OvisImagePipeline", {"start": (4, 8, 8)}, guidance_scale=3.0, max_sequence_length=256)
def _():
    return {
        "transformer": D.OvisImageTransformer2DModel(
            **STREAMS,
            in_channels=16,
            out_channels=16,
            attention_head_dim=16,
            joint_attention_dim=32,
            axes_dims_rope=(4, 4, 8),
        ),
        "vae": vae(shift_factor=0.1),
        "text_encoder": K.qwen3(causal=False),
        "tokenizer": K.qwen_tokens(),
        "scheduler": flow(use_dynamic_shifting=True),
    }


def movq():
    """Sees a tenth of its codes, whose attention at full size is too steep for differences."""
    model = D.VQModel(
        block_out_channels=(32, 32),
        down_block_types=("DownEncoderBlock2D", "AttnDownEncoderBlock2D"),
        up_block_types=("AttnUpDecoderBlock2D", "UpDecoderBlock2D"),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=32,
        norm_type="spatial",
        num_vq_embeddings=12,
        vq_embed_dim=4,
    )
    model.post_quant_conv.weight.data *= 0.1
    return model


@tiny(
    "Kandinsky3Pipeline",
    START | {"noise": (1, 4, 8, 8)},
    guidance_scale=2.0,
    num_inference_steps=2,
)
def _():
    return {
        "unet": D.Kandinsky3UNet(
            in_channels=4,
            time_embedding_dim=4,
            groups=2,
            attention_head_dim=4,
            layers_per_block=2,
            block_out_channels=(16, 32),
            cross_attention_dim=4,
            encoder_hid_dim=32,
        ),
        "movq": movq(),
        "text_encoder": K.t5(),
        "tokenizer": K.t5_tokens(),
        "scheduler": D.DDPMScheduler(
            beta_schedule="linear", clip_sample=False, thresholding=False
        ),
    }


def seeing():
    import transformers as T

    return T.CLIPVisionModelWithProjection(
        T.CLIPVisionConfig(**K.SIZES, projection_dim=32, image_size=16, patch_size=8)
    )


def pictures():
    import transformers as T

    return T.CLIPImageProcessor(crop_size=16, size=16)


def kandinsky22_decoder():
    return {
        "unet": unet(
            in_channels=4,
            out_channels=8,
            addition_embed_type="image",
            encoder_hid_dim=32,
            encoder_hid_dim_type="image_proj",
            class_embed_type=None,
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            resnet_time_scale_shift="scale_shift",
            cross_attention_dim=32,
        ),
        "movq": movq(),
        "scheduler": D.DDIMScheduler(clip_sample=False, steps_offset=1),
    }


@tiny(
    "KandinskyV22CombinedPipeline",
    {"start": (32,), "noise": (1, 32), "start2": (4, 8, 8)},
    stays=True,
    guidance_scale=3.0,
    num_inference_steps=2,
    prior_num_inference_steps=2,
)
def _():
    return kandinsky22_decoder() | {
        "prior_prior": D.PriorTransformer(
            num_attention_heads=2, attention_head_dim=8, num_layers=1, embedding_dim=32
        ),
        "prior_image_encoder": seeing(),
        "prior_text_encoder": K.clip(projection=True),
        "prior_tokenizer": K.clip_tokens(),
        "prior_scheduler": D.UnCLIPScheduler(
            variance_type="fixed_small_log", prediction_type="sample", clip_sample=True
        ),
        "prior_image_processor": pictures(),
    }


def cascade(**more):
    return D.StableCascadeUNet(
        conditioning_dim=8,
        block_out_channels=(8, 8),
        num_attention_heads=(2, 2),
        down_num_layers_per_block=(1, 1),
        up_num_layers_per_block=(1, 1),
        timestep_ratio_embedding_dim=8,
        clip_text_pooled_in_channels=32,
        **more,
    )


def cascade_decoder():
    return {
        "decoder": cascade(in_channels=4, out_channels=4, effnet_in_channels=4, patch_size=2),
        "tokenizer": K.clip_tokens(),
        "text_encoder": K.clip(projection=True),
        "scheduler": D.DDPMWuerstchenScheduler(),
        "vqgan": paella(),
    }


def paella():
    from diffusers.pipelines.deprecated.wuerstchen.modeling_paella_vq_model import PaellaVQModel

    return PaellaVQModel(bottleneck_blocks=1, num_vq_embeddings=12, embed_dim=8)


@tiny(
    "StableCascadeCombinedPipeline",
    {"start": (4, 3, 3), "noise": (1, 4, 3, 3), "start2": (4, 32, 32), "noise2": (1, 4, 32, 32)},
    **COMBINED,
)
def _():
    return cascade_decoder() | {
        "prior_prior": cascade(
            in_channels=4, out_channels=4, clip_text_in_channels=32, clip_image_in_channels=32
        ),
        "prior_text_encoder": K.clip(projection=True),
        "prior_tokenizer": K.clip_tokens(),
        "prior_scheduler": D.DDPMWuerstchenScheduler(),
        "prior_feature_extractor": None,
        "prior_image_encoder": None,
    }


@tiny(
    "StableCascadeDecoderPipeline",
    {"start": (4, 32, 32), "noise": (1, 4, 32, 32)},
    guidance_scale=2.0,
    num_inference_steps=2,
    height=None,
    width=None,
    image_embeddings=torch.linspace(-1, 1, 36).reshape(1, 4, 3, 3),
)
def _():
    return cascade_decoder()


def deep_floyd(**more):
    """The first stage, or with more channels and a time of its own a further one."""
    return {
        "unet": unet(
            **{
                "sample_size": 16,
                "in_channels": 3,
                "out_channels": 6,
                "class_embed_type": None,
                **more,
            },
            addition_embed_type="text",
            addition_embed_type_num_heads=2,
            act_fn="gelu",
            cross_attention_norm="group_norm",
            encoder_hid_dim=32,
            encoder_hid_dim_type="text_proj",
            down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
            up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
            mid_block_type="UNetMidBlock2DSimpleCrossAttn",
            resnet_time_scale_shift="scale_shift",
            time_embedding_act_fn="gelu",
        ),
        "text_encoder": K.t5(),
        "tokenizer": K.t5_tokens(77),
        "scheduler": D.DDPMScheduler(
            variance_type="learned_range",
            thresholding=True,
            dynamic_thresholding_ratio=0.95,
            sample_max_value=1.5,
            beta_schedule="squaredcos_cap_v2",
        ),
        "watermarker": None,
        "safety_checker": None,
        "feature_extractor": None,
        "requires_safety_checker": False,
    }


@tiny("IFPipeline", {"start": (3, 16, 16), "noise": (2, 3, 16, 16)}, guidance_scale=3.0)
def _():
    return deep_floyd()


@tiny(
    "IFSuperResolutionPipeline",
    {"start": (3, 16, 16), "start2": (3, 16, 16), "noise2": (2, 3, 16, 16)},
    guidance_scale=3.0,
    image=torch.linspace(-1, 1, 192).reshape(1, 3, 8, 8),
)
def _():
    parts = deep_floyd(in_channels=6, class_embed_type="timestep")
    return parts | {"image_noising_scheduler": D.DDPMScheduler()}


@tiny("LDMTextToImagePipeline", {"start": (4, 4, 4)}, stays=True, guidance_scale=3.0, **BIG)
def _():
    from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
        LDMBertConfig,
        LDMBertModel,
    )

    config = LDMBertConfig(
        vocab_size=514, encoder_layers=1, encoder_ffn_dim=16, encoder_attention_heads=2, d_model=32
    )
    return {
        "vqvae": vae(widths=DEEP),
        "bert": LDMBertModel(config),
        "tokenizer": K.clip_tokens(),
        "unet": unet(),
        "scheduler": D.DDIMScheduler(clip_sample=False),
    }


@tiny("Krea2Pipeline", {"start": (4, 4, 4)}, guidance_scale=3.0, max_sequence_length=320)
def _():
    return {
        "transformer": D.Krea2Transformer2DModel(
            in_channels=16,
            num_layers=1,
            attention_head_dim=8,
            num_attention_heads=4,
            num_key_value_heads=2,
            intermediate_size=32,
            timestep_embed_dim=8,
            text_hidden_dim=32,
            num_text_layers=2,
            text_num_attention_heads=2,
            text_num_key_value_heads=1,
            text_intermediate_size=16,
            num_layerwise_text_blocks=1,
            num_refiner_text_blocks=1,
            axes_dims_rope=(4, 2, 2),
        ),
        "vae": qwen_vae(),
        "text_encoder": K.qwen3_vl(),
        "tokenizer": K.qwen_tokens(),
        "scheduler": flow(use_dynamic_shifting=True),
        "text_encoder_select_layers": (1, 2),
    }


@tiny("BriaPipeline", START, guidance_scale=3.0, max_sequence_length=32)
def _():
    return {
        "transformer": D.BriaTransformer2DModel(
            **STREAMS,
            in_channels=16,
            attention_head_dim=16,
            joint_attention_dim=32,
            axes_dims_rope=[4, 4, 8],
        ),
        "vae": vae(shift_factor=0.0),
        "text_encoder": K.t5(),
        "tokenizer": K.t5_tokens(),
        "scheduler": flow(use_dynamic_shifting=True),
    }


@tiny("ErnieImagePipeline", {"start": (16, 4, 4)}, guidance_scale=3.0)
def _():
    return {
        **flux2(K.mistral().model, K.qwen_tokens(), 64),
        "transformer": D.ErnieImageTransformer2DModel(
            hidden_size=32,
            num_attention_heads=2,
            num_layers=1,
            ffn_hidden_size=32,
            in_channels=16,
            out_channels=16,
            text_in_dim=32,
            rope_axes_dim=(4, 6, 6),
        ),
        "scheduler": flow(),
        "pe": None,
        "pe_tokenizer": None,
    }


@tiny(
    "LongCatImagePipeline",
    {"start": (16, 8, 8)},
    guidance_scale=3.0,
    enable_prompt_rewrite=False,
)
def _():
    return {
        "transformer": D.LongCatImageTransformer2DModel(
            **STREAMS,
            in_channels=64,
            attention_head_dim=16,
            joint_attention_dim=32,
            pooled_projection_dim=32,
            axes_dims_rope=[4, 4, 8],
        ),
        "vae": vae(16, shift_factor=0.1),
        "text_encoder": K.qwen25_vl(),
        "tokenizer": K.qwen_tokens(),
        "text_processor": K.Processor(K.qwen_tokens()),
        "scheduler": flow(use_dynamic_shifting=True),
    }


@tiny("HunyuanImagePipeline", START)
def _():
    return {
        "transformer": D.HunyuanImageTransformer2DModel(
            in_channels=4,
            out_channels=4,
            num_attention_heads=2,
            attention_head_dim=16,
            num_layers=1,
            num_single_layers=1,
            num_refiner_layers=1,
            text_embed_dim=32,
            text_embed_2_dim=32,
            rope_axes_dim=(8, 8),
        ),
        "vae": D.AutoencoderKLHunyuanImage(
            in_channels=3,
            out_channels=3,
            latent_channels=4,
            block_out_channels=(32, 32),
            layers_per_block=1,
            spatial_compression_ratio=2,
            sample_size=16,
            scaling_factor=0.5,
        ),
        "text_encoder": K.qwen25_vl(),
        "tokenizer": K.qwen_tokens(),
        "text_encoder_2": K.t5(),
        "tokenizer_2": K.T.ByT5Tokenizer(),
        "scheduler": flow(),
    }


def prx():
    """A pipeline whose module asks for a package that is not among its requirements: `PRXPipeline`."""
    return D.PRXPipeline(
        transformer=D.PRXTransformer2DModel(
            in_channels=4, context_in_dim=32, hidden_size=32, num_heads=2, depth=1, axes_dim=[8, 8]
        ),
        vae=vae(),
        text_encoder=K.t5(),
        tokenizer=K.t5_tokens(),
        scheduler=flow(),
    )


def dit():
    """A class-conditional pipeline, which reads no text: `DiTPipeline`."""
    transformer = D.DiTTransformer2DModel(
        num_attention_heads=2, attention_head_dim=8, out_channels=8, num_layers=1, sample_size=8
    )
    torch.manual_seed(0)
    return D.DiTPipeline(
        transformer=K.randomise(transformer),
        vae=vae(),
        scheduler=D.DDIMScheduler(),
        id2label={207: "golden retriever", 360: "otter"},
    )
