"""The parts of the text-to-image pipeline of the avatars, in the formats of diffusers and transformers.

The text encoder is small and taught the grammar alone, so that what a caption asserts is in every one of its last
states. The denoiser hears it twice: by cross-attention on the coarsest grid, and pooled, added to the features of the
time, which scale and shift every residual block. Both libraries annotate their networks loosely, so these are `Any`.

References:
    | High-Resolution Image Synthesis with Latent Diffusion Models (Rombach et al., 2022), https://arxiv.org/abs/2112.10752
    | FiLM: Visual Reasoning with a General Conditioning Layer (Perez et al., 2018), https://arxiv.org/abs/1709.07871
"""

import json
from collections.abc import Sequence
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.embeddings import TextTimeEmbedding
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from latentzoo.builtin.captions import vocabulary

LENGTH = 32
"""The number of tokens that a caption is padded to."""
STATES = 128
"""The length of a state of the text encoder."""
TIME = 256
"""The length of the features of time and pooled text."""
HEADS = 4
WIDTHS = (32, 64, 64)
"""The features of the denoiser on the grids 16x16, 8x8 and 4x4."""
START, END = "<|startoftext|>", "<|endoftext|>"


def tokenizer() -> Any:
    """Byte-pair encoding learnt on the words of the grammar, each weighted alike: every word becomes one token."""
    pairs = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    pairs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    # CLIP's own splitting makes three pieces of "clean-shaven"
    pieces = sorted({p for word in vocabulary() for p in word.replace("-", " - ").split()} | {","})
    trainer = trainers.BpeTrainer(
        vocab_size=4000,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        min_frequency=1,
        show_progress=False,
    )
    pairs.train_from_iterator(pieces, trainer)
    learnt = json.loads(pairs.to_str())["model"]["merges"]
    merges = [
        (pair[0], pair[1]) for pair in (m.split(" ") if isinstance(m, str) else m for m in learnt)
    ]
    symbols = [START, END, *alphabet, *(a + "</w>" for a in alphabet), *(a + b for a, b in merges)]
    vocab = {symbol: index for index, symbol in enumerate(dict.fromkeys(symbols))}
    made: Any = CLIPTokenizer
    return made(vocab=vocab, merges=merges, model_max_length=LENGTH)


def text_encoder(symbols: int, layers: int = 3) -> Any:
    """A text encoder with random weights, for so many symbols of a tokenizer."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=symbols,
            hidden_size=STATES,
            intermediate_size=2 * STATES,
            num_hidden_layers=layers,
            num_attention_heads=HEADS,
            max_position_embeddings=LENGTH,
            projection_dim=STATES,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )


def pooled() -> TextTimeEmbedding:
    """What the denoiser makes of a text's states, `(B, L, STATES)` to `(B, TIME)`, with random weights."""
    return TextTimeEmbedding(STATES, TIME, num_heads=HEADS)


def denoiser(widths: Sequence[int] = WIDTHS) -> Any:
    """A denoiser with random weights: v at `(B, 4, 16, 16)`, steps `(B,)` of 1000 and states `(B, L, STATES)`."""
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "DownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        block_out_channels=tuple(widths),
        layers_per_block=1,
        cross_attention_dim=STATES,
        # the argument of this name is the number of heads
        attention_head_dim=HEADS,
        norm_num_groups=8,
        time_embedding_dim=TIME,
        resnet_time_scale_shift="scale_shift",
        addition_embed_type="text",
        addition_embed_type_num_heads=HEADS,
    )


def autoencoder(widths: Sequence[int] = (16, 48, 64)) -> Any:
    """An autoencoder with random weights for the latents of the avatars, pictures in [-1, 1]."""
    made: Any = AutoencoderKL
    return made(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * len(widths),
        up_block_types=("UpDecoderBlock2D",) * len(widths),
        block_out_channels=tuple(widths),
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=64,
        scaling_factor=1.0,
        mid_block_add_attention=False,
    )


def scheduler() -> Any:
    """The schedule that the denoiser is trained on; its last step is pure noise."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
        rescale_betas_zero_snr=True,
        steps_offset=1,
    )


def tokens(words: Any, texts: Sequence[str]) -> Tensor:
    """The tokens of texts, padded as the pipeline pads them, `(B, LENGTH)`."""
    read = words(
        list(texts), padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt"
    )
    return torch.as_tensor(read["input_ids"])
