"""Tiny Qwen-VL folders in the hub's layout: network, tokenizer of one token a letter, image processor."""

from pathlib import Path
from typing import Any

import torch

from energies.guides import MEAN, STD, shake

TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for c in m['content'] %}"
    "{% if c['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}{{ c['text'] }}{% endif %}"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
MARKS = ("<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>")
TEXT = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 512,
}


def tokenizer(folder: Path) -> dict[str, int]:
    """Writes the tokenizer; gives the numbers of its marks."""
    from transformers import Qwen2Tokenizer

    letters = [*map(chr, (*range(33, 127), *range(161, 173), *range(174, 256)))]
    letters += [chr(256 + i) for i in range(256 - len(letters))]
    made = Qwen2Tokenizer(
        vocab={c: i for i, c in enumerate(letters)}, merges=[], model_max_length=512
    )
    made.add_special_tokens({"additional_special_tokens": [*MARKS, "<|video_pad|>"]})
    made.chat_template = TEMPLATE
    made.save_pretrained(folder)
    return {mark: made.convert_tokens_to_ids(mark) for mark in (*MARKS, "<|video_pad|>")}


def ids(marks: dict[str, int]) -> dict[str, int]:
    names = ("vision_start", "vision_end", "image_pad", "video_pad")
    start, end, image, video = (marks[f"<|{name}|>"] for name in names)
    return {
        "vision_start_token_id": start,
        "vision_end_token_id": end,
        "image_token_id": image,
        "video_token_id": video,
    }


def processor(folder: Path, *, patch: int, least: int, most: int) -> None:
    """Writes the image processor."""
    from transformers import Qwen2VLImageProcessorPil

    Qwen2VLImageProcessorPil(
        patch_size=patch,
        size={"shortest_edge": least, "longest_edge": most},
        image_mean=MEAN,
        image_std=STD,
    ).save_pretrained(folder)


def qwen3(folder: Path) -> Any:
    """A tiny Qwen3-VL, on disk and in memory."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    marks = tokenizer(folder)
    vision = {
        "hidden_size": 32,
        "intermediate_size": 40,
        "depth": 2,
        "num_heads": 4,
        "out_hidden_size": 32,
        "patch_size": 8,
        "num_position_embeddings": 64,
        "deepstack_visual_indexes": [0],
    }
    rope = {"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10000.0}
    text = {**TEXT, "head_dim": 8, "rope_parameters": rope}
    torch.manual_seed(0)
    config = Qwen3VLConfig(vision_config=vision, text_config=text, **ids(marks))
    network = shake(Qwen3VLForConditionalGeneration(config))
    network.save_pretrained(folder)
    processor(folder, patch=8, least=16 * 16, most=64 * 64)
    return network


def qwen2(folder: Path) -> Any:
    """A tiny Qwen2-VL, on disk and in memory."""
    from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

    marks = tokenizer(folder)
    vision = {"embed_dim": 32, "hidden_size": 32, "depth": 2, "num_heads": 4, "patch_size": 14}
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}
    torch.manual_seed(0)
    config = Qwen2VLConfig(
        vision_config=vision, text_config={**TEXT, "rope_parameters": rope}, **ids(marks)
    )
    network = shake(Qwen2VLForConditionalGeneration(config))
    network.save_pretrained(folder)
    processor(folder, patch=14, least=28 * 28, most=56 * 56)
    return network
