"""GGUF files of tiny denoisers: matrices in few bits, and the names that published files have."""

import re

import numpy as np
import pytest
import torch

HALVES = {
    "Q2_K": (80, 82),
    "Q3_K": (108,),
    "Q4_K": (0, 2),
    "Q5_K": (0, 2),
    "Q6_K": (208,),
    "IQ4_NL": (0,),
    "IQ4_XS": (0,),
}
"""Where blocks have their scales, in 16 bits, of kinds that the package reads and does not write."""
WRITTEN = ("BF16", "Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")
KINDS = (*WRITTEN, *HALVES)


def packed(x, kind):
    """A matrix in few bits, and the numbers that it has then, by the package's own account.

    Of the kinds that it does not write, random bits of the matrix's spread.
    """
    library = pytest.importorskip("gguf")
    how = library.GGMLQuantizationType[kind]
    if kind in WRITTEN:
        data = library.quants.quantize(x, how)
        return data, library.quants.dequantize(data, how)
    size, bytes_ = library.GGML_QUANT_SIZES[how]
    blocks = np.random.default_rng(0).integers(0, 256, (x.size // size, bytes_), dtype=np.uint8)
    scaled = 1.0
    for _ in range(2):
        for at in HALVES[kind]:
            blocks[:, at : at + 2] = np.array([scaled], "float16").view(np.uint8)
        scaled = float(x.std() / library.quants.dequantize(blocks, how).std())
    data = blocks.reshape(x.shape[0], -1)
    return data, library.quants.dequantize(data, how)


def write(state, path, kind="Q8_0", *, without=None, names=dict):
    """Writes tensors as GGUF, matrices in few bits; the numbers that they have then, in 16 bits as diffusers has them.

    Arguments:
        state: The tensors by diffusers' names.
        path: The file.
        kind: The kind of few bits.
        without: A tensor that is lost.
        names: What gives the tensors other names.
    """
    library = pytest.importorskip("gguf")
    how = library.GGMLQuantizationType[kind]
    size, _ = library.GGML_QUANT_SIZES[how]
    writer, kept, written = library.GGUFWriter(path, "flux"), {}, {}
    for name, value in state.items():
        x = value.numpy()
        few = x.ndim == 2 and len(x) > 1 and not x.shape[1] % size
        data, numbers = packed(x, kind) if few else (x, x)
        kept[name] = torch.from_numpy(np.float32(np.float16(numbers) if few else numbers))
        written[name] = torch.from_numpy(np.array(data)), few
    tensors = names({name: x for name, (x, _) in written.items()})
    few = {name for name, x in tensors.items() if x.dtype == torch.uint8}
    for name, x in tensors.items():
        if name != without:
            writer.add_tensor(name, x.contiguous().numpy(), raw_dtype=how if name in few else None)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return kept


def renamed(state, rules):
    """Tensors by other names."""
    found = {}
    for name, x in state.items():
        for old, new in rules.items():
            name = re.sub(old, new, name)
        found[name] = x
    return found


def fused(state, parts, whole):
    """Tensors of which three are one."""
    first, *_ = parts
    for name in [name for name in state if first in name]:
        three = [state.pop(name.replace(first, part)) for part in parts]
        state[name.replace(first, whole)] = torch.cat(three)
    return state


def z_image(state):
    """The names of Z-Image's own files."""
    state = fused(dict(state), ("attention.to_q", "attention.to_k", "attention.to_v"), "qkv")
    return renamed(
        state,
        {
            r"all_(final_layer|x_embedder)\.2-1": r"\1",
            r"attention\.to_out\.0": "attention.out",
            r"attention\.norm_([qk])": r"attention.\1_norm",
            r"(\d)\.qkv": r"\1.attention.qkv",
        },
    )


def sd3(state):
    """The names of Stable Diffusion 3's own files, whose last modulations have shift and scale the other way round."""
    last = max(int(name.split(".")[1]) for name in state if name.startswith("transformer_blocks"))
    state = dict(state)
    for name in [n for n in state if f"{last}.norm1_context" in n or n.startswith("norm_out")]:
        scale, shift = state[name].chunk(2)
        state[name] = torch.cat([shift, scale])
    fused(state, ("attn.to_q", "attn.to_k", "attn.to_v"), "x_block.attn.qkv")
    fused(
        state,
        ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
        "context_block.attn.qkv",
    )
    return renamed(
        state,
        {
            r"^time_text_embed\.timestep_embedder\.": "t_embedder.",
            r"^time_text_embed\.text_embedder\.": "y_embedder.",
            r"^pos_embed\.proj": "x_embedder.proj",
            r"^pos_embed\.pos_embed": "pos_embed",
            r"embedder\.linear_1": "embedder.mlp.0",
            r"embedder\.linear_2": "embedder.mlp.2",
            r"^proj_out": "final_layer.linear",
            r"^norm_out\.linear": "final_layer.adaLN_modulation.1",
            r"transformer_blocks": "joint_blocks",
            r"norm1\.linear": "x_block.adaLN_modulation.1",
            r"norm1_context\.linear": "context_block.adaLN_modulation.1",
            r"\.attn\.norm_added_([qk])": r".context_block.attn.ln_\1",
            r"\.attn\.norm_([qk])": r".x_block.attn.ln_\1",
            r"\.attn\.to_out\.0": ".x_block.attn.proj",
            r"\.attn\.to_add_out": ".context_block.attn.proj",
            r"\.ff_context\.net\.0\.proj": ".context_block.mlp.fc1",
            r"\.ff_context\.net\.2": ".context_block.mlp.fc2",
            r"\.ff\.net\.0\.proj": ".x_block.mlp.fc1",
            r"\.ff\.net\.2": ".x_block.mlp.fc2",
        },
    )
